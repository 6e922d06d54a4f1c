"""Check the tables `[train]` and `[test]`: the folders and lists of training and test images."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from pipeline.config.labels_table import (
    CocoLabels,
    CsvLabels,
    Labels,
    ListFileLabels,
    OneHotLabels,
)
from pipeline.config.strict import Separator, Table, Text


class ImageFolders(Table):
    """The folders of images."""

    folders: Annotated[tuple[str, ...], Field(min_length=1)]
    """Every image below a folder of one of these names counts, at any depth; a name may be the end
    of a path, as `train/images`. An archive is unpacked into a folder named after it, so its stem
    counts as a folder, too."""

    leave_out: tuple[Text, ...] = ()
    """Files and folders below them that are no images of the split, by patterns of how their paths
    end: `"*_mask.png"`, `"unlabeled"`, `"2019/raw_*"`."""


class KeyColumn(Table):
    """A column that says something else of each training image than its label."""

    column: Text | None = None
    """The column's name."""

    file: Text | None = None
    """The CSV that has the column, among the archives or inside one; left out, the one that holds
    the labels."""

    id_column: Text | None = None
    """The column of `file` that names the image."""

    columns: tuple[Text, ...] = ()
    """Where `file` has no header, what its columns are called, from left to right: one is "image",
    which is `id_column` then, and one is `column`."""

    separator: Separator = ","
    """What stands between the columns of `file`."""

    extension: str = ""
    """Added to names of images in `file` that lack it, as `.jpg`."""

    @model_validator(mode="after")
    def _names_a_place(self) -> Self:
        if self.column is None:
            raise ValueError("column must name a column of the list of labels or of file")
        return self._with_whole_file()

    def _with_whole_file(self) -> Self:
        has_ids = self.id_column is not None or bool(self.columns)
        if (self.file is None) == has_ids or (self.id_column is not None and self.columns):
            raise ValueError("file and one of id_column and columns must be given, or none of them")
        if self.columns and (self.columns.count("image"), self.column in self.columns) != (1, True):
            raise ValueError("columns must name 'image' once, and what column says")
        if self.file is None and (self.separator != "," or self.extension):
            raise ValueError("file must be given where separator or extension is")
        return self


class Groups(KeyColumn):
    """What tells which images are of one subject: a column, or a part of the images' paths."""

    pattern: Text | None = None
    """A regular expression, searched in the path below the training folder, case ignored; its group
    `(?P<group>...)` says what the image is of."""

    @field_validator("pattern")
    @classmethod
    def _has_group(cls, pattern: str | None) -> str | None:
        return _check_pattern(pattern, "group")

    @model_validator(mode="after")
    def _names_a_place(self) -> Self:
        if (self.pattern is None) == (self.column is None):
            raise ValueError("must have one of pattern and column")
        if self.pattern is not None and self.file is not None:
            raise ValueError("file must be left out where there is a pattern")
        return self._with_whole_file()


class Answers(Table):
    """What tells which images are answered together, as those of one scan, breast or product."""

    pattern: Text | None = None
    """A regular expression, searched in the path below the training or test folder, case ignored;
    its group `(?P<answer>...)` is the judge's id."""

    columns: tuple[Text, ...] = ()
    """Columns of the list of labels, and of the list of test images `test.csv`, whose values make
    the judge's id, with `_` between them."""

    pool: Literal["mean", "max", "noisy_or"] = "mean"
    """What an answer's probability is of those of its images: the "mean", the "max", or 1 - the
    product of what each lacks to 1 ("noisy_or": that one image shows it)."""

    labelled: Literal["images", "answers"] = "images"
    """Whether the list of labels names images, or answers: then each image has its answer's."""

    @field_validator("pattern")
    @classmethod
    def _has_answer(cls, pattern: str | None) -> str | None:
        return _check_pattern(pattern, "answer")

    @model_validator(mode="after")
    def _names_a_place(self) -> Self:
        if (self.pattern is None) == (not self.columns):
            raise ValueError("must have one of pattern and columns")
        if self.labelled == "answers" and self.pattern is None:
            raise ValueError("pattern must be given where the list of labels names answers")
        return self


def _check_pattern(pattern: str | None, group: str) -> str | None:
    """Check that a regular expression has the group that is read of it."""
    try:
        names = re.compile(pattern or f"(?P<{group}>)").groupindex
    except re.error as error:
        raise ValueError(f"must be a regular expression ({error})") from error
    if group not in names:
        raise ValueError(f"must hold a group (?P<{group}>...)")
    return pattern


class TrainImages(ImageFolders):
    """The labelled images and where their labels come from."""

    labels: Labels
    """Where the labels stand: `source` is "file_name", "folder", "list_file", "csv", "one_hot" or
    "coco"."""

    groups: Groups | None = None
    """What tells which images are of one patient, driver, place or camera: they share a fold, as
    those to predict are of others."""

    folds: KeyColumn | None = None
    """Where the organiser's own folds stand, which `folds` then takes."""

    @model_validator(mode="after")
    def _has_lists_of_columns(self) -> Self:
        for name in ("groups", "folds"):
            keys: KeyColumn | None = getattr(self, name)
            if keys is None or keys.column is None or keys.file is not None:
                continue
            if isinstance(self.labels, ListFileLabels):
                if keys.column not in {*self.labels.columns} - {"image", "label"}:
                    raise ValueError(
                        f"{name}.column must be one of labels.columns, beside 'image' and 'label'"
                    )
            elif not isinstance(self.labels, CsvLabels | OneHotLabels | CocoLabels):
                raise ValueError(
                    f"{name}.file must name the CSV of its column where the labels are in none"
                )
        return self


class ImageList(Table):
    """A CSV that lists images, or a JSON file with a list of objects that are images."""

    file: Text
    """Name of the CSV, among the archives or inside one; or of a `.json` file, whose objects'
    keys are the columns: they are its list `images`, or all that it holds."""

    id_column: str | None = None
    """The column that names the image; left out where there is no header."""

    image_column: Text | None = None
    """The column that names the image's file, where that of the ids doesn't. The judge's ids are
    those of `id_column` then, and `submission.id` is "listed"."""

    columns: tuple[Literal["id", "image", "other"], ...] = ("image",)
    """What stands in a line where there is no header, from left to right; further columns aren't
    read. Ids are the judge's, as with `image_column`."""

    separator: Separator = ","
    """What stands between columns."""

    extension: str = ""
    """Added to names of images that lack it, as `.jpg`."""

    @model_validator(mode="after")
    def _has_one_form(self) -> Self:
        if self.columns.count("image") != 1 or self.columns.count("id") > 1:
            raise ValueError("columns must name 'image' once and 'id' once at most")
        if self.id_column is None and self.image_column is not None:
            raise ValueError("id_column must be named where image_column is")
        if self.id_column is not None and self.columns != ("image",):
            raise ValueError("columns must be left out where id_column names one of a header")
        return self

    @property
    def tells_ids(self) -> bool:
        """Whether it says by which ids the judge knows the images."""
        return self.image_column is not None or "id" in self.columns


class TestImages(ImageFolders):
    """The images to predict: those that a CSV or the sample submission lists, else all."""

    csv: ImageList | None = None
    """Lists the test images; needed where they lie among the training images."""
