"""Describe a competition: one TOML file says what is given and what the judge wants back.

`python -m pipeline.config.competition` prints the JSON schema of such files, for editors.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from pipeline.config.archive_table import Archive, Synthetic
from pipeline.config.class_names import (
    BETWEEN_LABELS,
    ONE_NUMBER,
    Classes,
    Range,
    split_labels,
)
from pipeline.config.images_table import Answers, TestImages, TrainImages
from pipeline.config.labels_table import label_files, tells_names
from pipeline.config.strict import (
    MAX_NAME_LENGTH,
    NAME_PATTERN,
    Name,
    Table,
    is_plain,
    locate_toml,
    parse,
    read_toml,
)
from pipeline.config.submission_table import (
    OF_LABELS,
    OF_LABELS_ALONE,
    OF_MANY_CLASSES,
    OF_NUMBERS,
    OF_TWO_CLASSES,
    MetricName,
    SubmissionFormat,
    match_columns,
)
from pipeline.errors import ConfigError

MOST_DENSE = 10_000  # classes of which all probabilities of an image are kept

__all__ = ["MAX_NAME_LENGTH", "NAME_PATTERN", "Competition", "Name", "load_competition"]


class DefaultExperiments(Table):
    """The experiments that `train` runs when none is named, by device.

    Names of shipped ones, or paths of TOML files, relative to the competition's own file.
    """

    cpu: Annotated[tuple[str, ...], Field(min_length=1)]
    """Where there is no GPU."""

    cuda: Annotated[tuple[str, ...], Field(min_length=1)]
    """Where there is one."""

    plan: str | None = None
    """The plan of `run` instead of the device's: a shipped one's name, or the path of its file."""


class Competition(Table):
    """Everything a stage must know of a competition."""

    name: Name
    """Names its folders; the file's own name where it is left out."""

    title: str
    """What people call it."""

    url: str = ""
    """Its page."""

    kaggle: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] | None = None
    """Its name in URLs of kaggle.com, for `submit --to-kaggle` and `download`."""

    metric: MetricName = "accuracy"
    """What the judge ranks by."""

    target: Literal["one_class", "ordered_classes", "several_labels", "number"] = "one_class"
    """What is told of an image: the "one_class" that it shows, also of "ordered_classes", whose
    order means something; "several_labels" of `classes`, any number of them; or a "number"."""

    classes: Classes
    """The class names, in the order of their indices; "from_labels" reads them from the training
    labels, sorted. They are empty then until `resolve` fills in what `prepare` has read. There are
    none where the target is a number."""

    range: Range = ()
    """The least and the largest number that the target can be, where it is one; "from_labels", or
    left out, those of the training images. No prediction leaves it."""

    answers: Answers | None = None
    """What tells which images are answered together, where an answer is of several."""

    horizontal_flip: bool | None = None
    """Whether a mirrored image still shows its class. Where it is false, as for arrows, digits,
    letters and whatever is left or right, no view is mirrored, in training or prediction, whatever
    an experiment says; where it is left out, probes are tried without, those that begin a
    fine-tuning included, and `train` says so if mirrors do harm."""

    duplicates: Literal["near", "exact", "none"] | None = None
    """Which copies share a fold: "near", pictures that look the same; "exact", files of the same
    bytes; or "none". Left out, near ones unless they join many labels, which then look alike
    without being copies."""

    archives: tuple[Archive, ...] = ()
    """The files to download; none where the images lie in a plain folder that is read in place."""

    train: TrainImages
    """The labelled images."""

    test: TestImages
    """The images to predict."""

    submission: SubmissionFormat
    """The file that the judge wants."""

    experiments: DefaultExperiments
    """What `train` runs when no experiment is named."""

    synthetic: Synthetic | None = None
    """How to draw the archives instead of fetching them."""

    @model_validator(mode="after")
    def _has_consistent_archives(self) -> Self:
        names = [archive.name for archive in self.archives]
        if len(set(names)) != len(names):
            raise ValueError("archives must differ in name")
        folders = [archive.stem for archive in self.archives if archive.container]
        if len(set(folders)) != len(folders):
            raise ValueError("archives must differ in the folder that they are unpacked into")
        if sum(archive.format == "cifar-batches" for archive in self.archives) > 1:
            raise ValueError("archives must name one file of 'cifar-batches' at most")
        return self

    @model_validator(mode="after")
    def _has_consistent_classes(self) -> Self:
        if self.classes:
            return self._with_known_classes()
        needs_names = (
            not tells_names(self.train.labels)
            or self.synthetic is not None
            or any(archive.format == "cifar-batches" for archive in self.archives)
        )
        keys = (self.train.groups, self.train.folds)
        in_rows = self.submission.has_label_rows or self.train.labels.source == "label_rows"
        if in_rows or self.metric == "weighted_log_loss":
            raise ValueError(
                "classes must be named where labels have lines of their own, or the metric is "
                "'weighted_log_loss', which tells the first apart"
            )
        if self.train.labels.source == "one_hot" and any(one and not one.file for one in keys):
            raise ValueError(
                "classes must be named where a one-hot list has a column of groups or folds, too"
            )
        if needs_names:
            raise ValueError(
                "classes must be named where labels are indices, pictures are drawn or a file is "
                "of 'cifar-batches'"
            )
        return self

    @model_validator(mode="after")
    def _has_consistent_number(self) -> Self:
        if self.is_number != (self.classes == ONE_NUMBER) or (self.range and not self.is_number):
            raise ValueError("target must be 'number' where there is a range, or no class")
        told = (self.metric in OF_NUMBERS, self.submission.label == "number")
        if told != (self.is_number, self.is_number):
            raise ValueError(
                "target, and submission.label, must be 'number' where the metric is "
                f"{' or '.join(map(repr, OF_NUMBERS))}, and only there"
            )
        if self.is_number and self.train.labels.source not in ("csv", "list_file"):
            raise ValueError("labels.source must be 'csv' or 'list_file' where target is 'number'")
        if self.is_ordered and self.metric != "quadratic_kappa":
            raise ValueError("metric must be 'quadratic_kappa' where target is 'ordered_classes'")
        return self

    @model_validator(mode="after")
    def _has_consistent_answers(self) -> Self:
        answers, source = self.answers, self.train.labels.source
        if (answers is not None) != (self.submission.id == "answer"):
            raise ValueError("submission.id must be 'answer' where there are answers, only there")
        if answers is None:
            return self
        if answers.pool != "mean" and not (
            self.has_several or self.submission.label == "probability"
        ):
            raise ValueError(
                "answers.pool must be 'mean' where neither one probability is asked for nor target "
                "is 'several_labels'"
            )
        is_listed = self.test.csv is not None and self.test.csv.id_column is not None
        if answers.columns and (source not in ("csv", "one_hot", "coco") or not is_listed):
            raise ValueError(
                "answers.columns must be of a list of labels with a header, and of a test.csv with "
                "an id_column"
            )
        if answers.labelled == "answers" and source not in ("csv", "one_hot", "list_file"):
            raise ValueError("labels must stand in a list where answers.labelled is 'answers'")
        return self

    @model_validator(mode="after")
    def _has_consistent_target(self) -> Self:
        label, source = self.submission.label, self.train.labels.source
        if not self.has_several:
            if self.metric in OF_LABELS_ALONE or label in ("labels", "label_rows"):
                raise ValueError(
                    "target must be 'several_labels' where submission.label is 'labels' or "
                    f"'label_rows' or the metric is {' or '.join(map(repr, OF_LABELS_ALONE))}"
                )
            return self
        if self.metric not in OF_LABELS:
            raise ValueError(
                f"metric must be {' or '.join(map(repr, OF_LABELS))} where target is "
                f"'several_labels', is '{self.metric}'"
            )
        is_row = label == "probabilities" and not self.submission.rows_sum_to_1
        is_fit = is_row or label in ("labels", "label_rows")
        if not is_fit or source not in ("csv", "one_hot", "label_rows"):
            raise ValueError(
                "where target is 'several_labels', labels.source must be 'csv', 'one_hot' or "
                "'label_rows', and submission.label 'labels', 'label_rows', or 'probabilities' "
                "with rows_sum_to_1 = false"
            )
        return self

    def _check_class_names(self) -> None:
        odd = [name for name in self.classes if not is_plain(name)]
        if odd:
            raise ValueError(
                f"classes must be printable text without spaces around it, {odd[0]!r} isn't"
            )
        if self.has_several and any(BETWEEN_LABELS in name for name in self.classes):
            raise ValueError(f"classes must hold no '{BETWEEN_LABELS}' where images have several")
        spaced = [name for name in self.classes if " " in name]
        if spaced and self.submission.label in ("names", "labels"):
            raise ValueError(f"classes must hold no spaces to be listed, {spaced[0]!r} does")

    def _check_many_classes(self) -> None:
        is_fit = self.target == "one_class" and self.answers is None
        is_fit = is_fit and self.metric in OF_MANY_CLASSES
        if self.keeps_likeliest and not (is_fit and not self.submission.has_probabilities):
            raise ValueError(
                f"classes must be {MOST_DENSE:,} at most, are {self.num_classes:,}, where "
                "probabilities are asked for, target isn't 'one_class', there are answers, or the "
                f"metric isn't {' or '.join(map(repr, OF_MANY_CLASSES))}"
            )

    def _with_known_classes(self) -> Self:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes must differ from each other")
        self._check_class_names()
        positive = self.submission.positive
        if positive is not None and positive not in self.classes:
            raise ValueError(f"submission.positive must be one of the classes, is '{positive}'")
        is_binary = len(self.classes) == 2
        if not is_binary and (positive is not None or self.metric in OF_TWO_CLASSES):
            raise ValueError(
                f"classes must be 2 where one probability is asked for or the metric is "
                f"{' or '.join(map(repr, OF_TWO_CLASSES))}, are {len(self.classes)}"
            )
        self._check_many_classes()
        if self.metric in ("weighted_auc", "p_f1") and positive == self.classes[0]:
            raise ValueError(
                "submission.positive must be the second of classes where the metric is "
                f"'{self.metric}', which tells them apart"
            )
        try:
            self.column_classes  # noqa: B018 (computed to be checked)
        except ValueError as error:
            raise ValueError(f"submission.columns {error}") from error
        return self

    @model_validator(mode="after")
    def _tells_train_from_test(self) -> Self:
        shared = set(self.train.folders) & set(self.test.folders)
        if (self.submission.id == "listed") != bool(self.test.csv and self.test.csv.tells_ids):
            raise ValueError(
                "submission.id must be 'listed' where test.csv has a column of ids and one of "
                "images, and only there"
            )
        if shared and self.test.csv is None and self.submission.sample is None:
            raise ValueError(
                f"test.csv or submission.sample must list the test images where train and test "
                f"share a folder, here '{min(shared)}'"
            )
        return self

    @property
    def has_several(self) -> bool:
        """Whether an image may have several labels."""
        return self.target == "several_labels"

    @property
    def is_number(self) -> bool:
        """Whether the target is a number."""
        return self.target == "number"

    @property
    def is_ordered(self) -> bool:
        """Whether the order of the classes means something."""
        return self.target == "ordered_classes"

    @property
    def scoring(self) -> str:
        """The metric and what changes its scores besides: scores of another one can't be compared.

        For most it is the metric's name.
        """
        parts: list[str] = [self.metric]
        if self.is_ordered:
            parts.append("by thresholds")
        if self.answers is not None:
            parts.append(f"pooled by {self.answers.pool}")
        return ", ".join(parts)

    @property
    def is_by_class(self) -> bool:
        """Whether each image has one class and an answer of its own, as a look at labels needs.

        Nor are there very many classes, of which each image's likeliest alone are kept.
        """
        return not self.why_not_by_class

    @property
    def why_not_by_class(self) -> str:
        """What images have instead of one class and an answer of their own; empty where they do."""
        if self.has_several:
            return "several labels"
        if self.is_number:
            return "a number"
        if self.answers is not None:
            return "an answer together with others"
        return f"one of more than {MOST_DENSE:,} classes" if self.keeps_likeliest else ""

    def check_by_class(self, what: str) -> None:
        """Refuse what goes by each image's class.

        Raises:
            ConfigError: Images have something else.
        """
        if self.why_not_by_class:
            raise ConfigError(
                f"{what}: must be of images with one class and one answer each, those of "
                f"{self.name} have {self.why_not_by_class}"
            )

    @property
    def keeps_likeliest(self) -> bool:
        """Whether classes are so many that of each image the likeliest alone are kept."""
        return self.num_classes > MOST_DENSE

    @property
    def has_free_outputs(self) -> bool:
        """Whether each output of a model stands for itself: no probabilities that sum to 1."""
        return self.has_several or self.is_number

    def labels_in(self, text: str) -> tuple[str, ...]:
        """Return the class names that a label of `train.csv` tells: one, or any number."""
        return split_labels(text) if self.has_several else (text,)

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return len(self.classes)

    @property
    def is_kaggles(self) -> bool:
        """Whether Kaggle is the judge."""
        host = urlsplit(self.url).hostname or ""
        return self.kaggle is not None or host.removeprefix("www.") == "kaggle.com"

    @property
    def listings(self) -> tuple[str, ...]:
        """The files, by name, that hold labels, groups or folds, or list the test images."""
        keys = (self.train.groups, self.train.folds)
        others = [one.file for one in (self.test.csv, *keys) if one is not None]
        names = (*label_files(self.train.labels), *others, self.submission.sample)
        return tuple(name for name in names if name)

    @property
    def columns(self) -> tuple[str, ...]:
        """The submission's columns, the id's first."""
        columns = self.submission.columns
        if self.submission.label != "probabilities":
            return columns or ("id", "label")
        return columns if len(columns) > 1 else (*(columns or ("id",)), *self.classes)

    @property
    def column_classes(self) -> tuple[int, ...]:
        """The class index of each probability column, where there is a column per class."""
        if self.submission.label != "probabilities":
            return ()
        return match_columns(self.columns[1:], self.classes)


def parse_competition(values: Mapping[str, Any], where: str) -> Competition:
    """Check what a competition's file says; where the target is a number it may name no classes.

    Raises:
        ConfigError: It is faulty.
    """
    classes = {"classes": list(ONE_NUMBER)} if values.get("target") == "number" else {}
    return parse(Competition, {**classes, **values}, where)


def load_competition(name_or_path: str) -> Competition:
    """Load a built-in competition by its name, or any by the path of its TOML file.

    What the file leaves to the data (see `resolution`) is still open.

    Raises:
        ConfigError: There is no such competition, or its file is faulty.
    """
    path = locate_toml(name_or_path, "competitions")
    competition = parse_competition({"name": path.stem, **read_toml(path)}, path.name)
    given = competition.experiments
    located = {
        "cpu": tuple(_beside(path, name) for name in given.cpu),
        "cuda": tuple(_beside(path, name) for name in given.cuda),
        "plan": given.plan and _beside(path, given.plan),
    }
    return competition.model_copy(update={"experiments": given.model_copy(update=located)})


def _beside(path: Path, name: str) -> str:
    """Locate what a competition's file names by a path, relative to itself."""
    return str(path.parent / name) if name.endswith(".toml") else name


def json_schema() -> dict[str, Any]:
    """Describe the files for editors; the name may be left out, as the file has one.

    So may the classes, where the target is a number.
    """
    schema = Competition.model_json_schema()
    schema["required"] = [one for one in schema["required"] if one not in ("name", "classes")]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2))  # noqa: T201
