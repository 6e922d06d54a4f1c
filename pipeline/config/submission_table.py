"""Check the table `[submission]`: the format of the file that the judge wants; name metrics."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from pipeline.config.class_names import (
    ClassLookup,
    check_row_id,
    classes_of_columns,
    places_of_columns,
)
from pipeline.config.strict import Table, Text, is_plain

IdForm = Literal["file_name", "stem", "path", "integer", "listed", "answer"]
Order = Literal["any", "ascending", "sample"]
LabelForm = Literal[
    "index", "name", "names", "labels", "probability", "probabilities", "label_rows", "number"
]  # fmt: skip
MetricName = Literal[
    "accuracy",
    "log_loss",
    "weighted_log_loss",
    "roc_auc",
    "macro_f1",
    "micro_f1",
    "quadratic_kappa",
    "mean_column_auc",
    "weighted_auc",
    "map_at_3",
    "map_at_5",
    "map_at_10",
    "sample_f1",
    "sample_f2",
    "micro_f2",
    "macro_f2",
    "p_f1",
    "rmse",
    "mae",
]
OF_TWO_CLASSES = ("roc_auc", "weighted_auc", "p_f1")
OF_NUMBERS = ("rmse", "mae")
OF_MANY_CLASSES = ("accuracy", "micro_f1", "macro_f1", "map_at_3", "map_at_5", "map_at_10")
LOG_LOSSES = ("log_loss", "weighted_log_loss")
OF_LABELS_ALONE = ("sample_f1", "sample_f2", "micro_f2", "macro_f2", "weighted_log_loss")
OF_LABELS = ("accuracy", "log_loss", "macro_f1", "micro_f1", "mean_column_auc", *OF_LABELS_ALONE)
LineField = Literal["id", "label", "row_from_0", "row_from_1"]


def _check_file_name(name: str) -> str:
    if name in (".", "..", "log.csv") or set(name) & set("/\\"):
        raise ValueError("must be the name of a file without folders, and not the log's")
    return name


FileName = Annotated[Text, AfterValidator(_check_file_name)]


class SubmissionFormat(Table):
    """The file that the judge wants: one line per test image, its id first."""

    file_name: FileName | None = None
    """The name under which the judge wants the file; `submit` writes it under that, too."""

    id: IdForm
    """How a test image is named: "file_name" (`0.jpg`), "stem" (`0`), "path" (`a/0.jpg`, the path
    below the test folder), "integer" (`0`, a number without leading zeros), "listed", as
    `test.csv` says, or "answer", as `answers` says of several images."""

    id_prefix: str = ""
    """What stands before every id, as `test/`."""

    label: LabelForm = "index"
    """What is answered: the class's "index" in `classes`, its "name", the "names" of the `top_k`
    likeliest classes, all "labels" that an image has, the "probability" of the class `positive`,
    "probabilities", one column per class, the same in "label_rows", a line per image and class
    whose id is as `row_id` says, or the "number" that is the target."""

    row_id: Annotated[str, AfterValidator(check_row_id)] = "{id}_{label}"
    """How an image's id and a class make the id of a line, where `label` is "label_rows"."""

    top_k: Annotated[int, Field(ge=1)] | None = None
    """How many classes at most are named, the likeliest first and a space between them, where
    `label` is "names"."""

    positive: str | None = None
    """The class whose probability is wanted, where `label` is "probability"."""

    columns: tuple[str, ...] = ()
    """The header; left out, it is the sample's, else `id,label`, or `id` and the class names. Of
    probability columns only the id's need be named. Columns that are named after the classes, or
    numbered, may stand in any order, others stand in the order of `classes`."""

    has_header: bool = False
    """Whether the judge wants the header."""

    sample: Text | None = None
    """Name of the sample submission, among the archives or inside one. Its ids are those that must
    be answered, in its order, and its header is that of the submission."""

    sample_rows: Literal["all", "some"] = "all"
    """Whether the sample has a row for every image that must be answered, or for some, as an
    example: then all test images are answered."""

    order: Order | None = None
    """What the judge demands of the ids; left out, the "sample" order where there is a sample, else
    "ascending" by number or code point. That is also what is written where "any" order will do."""

    separator: Literal[",", ";", "\t", " ", "|"] = ","
    """What stands between columns."""

    layout: tuple[LineField, ...] = ("id", "label")
    """What stands in a line, from left to right: the id, the label or the columns of probabilities,
    and maybe the line's number. `columns` names the id's first all the same, the number's not."""

    row_column: str = ""
    """What the header calls the column of line numbers."""

    line_ending: Literal["lf", "crlf", "any"] = "lf"
    """What ends a line; "any" writes LF and accepts CRLF, too."""

    encoding: Literal["utf-8", "utf-8-sig", "gb18030"] = "utf-8"
    """How text becomes bytes; "utf-8-sig" begins with a byte order mark."""

    float_digits: Annotated[int, Field(ge=1, le=15)] = 8
    """Decimals of a probability or number as it is written; any number of them is accepted. Where
    log loss judges, none is 0, unless so few decimals make that too dear."""

    rows_sum_to_1: bool = True
    """Whether the probabilities of one image must sum to 1, where there is a column per class."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if (self.positive is not None) != (self.label == "probability"):
            raise ValueError("positive must name a class where label is 'probability', only there")
        if (self.top_k is not None) != (self.label == "names"):
            raise ValueError("top_k must be a number where label is 'names', only there")
        if self.has_label_rows and self.order != "any":
            raise ValueError("order must be 'any' where label is 'label_rows'")
        if len(set(self.columns)) != len(self.columns):
            raise ValueError("columns must differ from each other")
        odd = [
            name for name in self.columns if name and not is_plain(name)
        ]  # pandas' index has none
        if odd:
            raise ValueError(
                f"columns must be printable text without spaces around it, {odd[0]!r} isn't"
            )
        if self.columns and self.label != "probabilities" and len(self.columns) != 2:
            raise ValueError(f"columns must be 2, an id's and a label's, are {len(self.columns)}")
        return self

    @model_validator(mode="after")
    def _has_consistent_ids(self) -> Self:
        if self.order == "sample" and not self.is_ordered_by_sample:
            raise ValueError("sample must name a file where order is 'sample'")
        if self.order == "ascending" and self.is_ordered_by_sample:
            raise ValueError("order must be 'any' or 'sample' where there is a sample")
        if self.sample_rows == "some" and self.sample is None:
            raise ValueError("sample must name a file where sample_rows is 'some'")
        if self.id in ("integer", "listed") and self.id_prefix:
            raise ValueError(f"id_prefix must be empty where id is '{self.id}'")
        rows = [one for one in self.layout if one not in ("id", "label")]
        if self.layout.count("id") != 1 or self.layout.count("label") != 1 or len(rows) > 1:
            raise ValueError("layout must name 'id' and 'label' once each, and one row at most")
        return self

    @property
    def demanded_order(self) -> Order:
        """The order that a submission must have."""
        return self.order or ("sample" if self.is_ordered_by_sample else "ascending")

    @property
    def is_ordered_by_sample(self) -> bool:
        """Whether a sample tells all ids and their order."""
        return self.sample is not None and self.sample_rows == "all"

    @property
    def has_probabilities(self) -> bool:
        """Whether probabilities are answered rather than classes."""
        return self.label in ("probability", "probabilities", "label_rows")

    @property
    def has_label_rows(self) -> bool:
        """Whether an image has a line per class."""
        return self.label == "label_rows"

    @property
    def has_numbers(self) -> bool:
        """Whether numbers are answered, probabilities among them."""
        return self.has_probabilities or self.label == "number"


def match_columns(names: Sequence[str], classes: Sequence[str]) -> tuple[int, ...]:
    """Find the class of each probability column.

    Columns are those of the classes that they are named after, in whatever way of writing; else
    those of their numbers, where they are numbered; else they stand in the order of the classes.

    Args:
        names: The columns after the id's.
        classes: The class names, in order.

    Returns:
        Class indices, one per column.

    Raises:
        ValueError: Some columns are named after classes and others aren't, or their number isn't
            that of the classes.
    """
    lookup = ClassLookup(classes)
    strangers = [name for name in names if lookup.find(name) is None]
    if len(names) == len(classes):
        named = classes_of_columns(names, classes) or places_of_columns(names)
        if named is not None:
            return named
    if len(names) != len(classes) or len(strangers) < len(names):
        first = f", the first other one is '{strangers[0]}'" if strangers else ""
        raise ValueError(
            f"must be one column per class ({len(classes)}), all named after them or none, are "
            f"{len(names)}, {len(names) - len(strangers)} of them named after a class{first}"
        )
    return tuple(range(len(classes)))
