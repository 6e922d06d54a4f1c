"""Check the table `[train] labels`: the source of the training images' labels."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator

from pipeline.config.class_names import check_row_id
from pipeline.config.strict import Separator, Table, Text

Files = Text | Annotated[tuple[Text, ...], Field(min_length=1)]


class AnyLabels(Table):
    """Keys that every source of labels has."""

    names: dict[str, str] = Field(default_factory=dict)
    """What labels are called in `classes`, where files write something else, as
    `{ n02085620 = "Chihuahua" }`."""


class FileNameLabels(AnyLabels):
    """Labels in the images' names."""

    source: Literal["file_name"]

    pattern: str
    """A regular expression, searched in the path below the training folder, case ignored; its
    group `(?P<label>...)` is the class."""

    @field_validator("pattern")
    @classmethod
    def _has_label_group(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groupindex
        except re.error as error:
            raise ValueError(f"must be a regular expression ({error})") from error
        if "label" not in groups:
            raise ValueError("must hold a group (?P<label>...)")
        return pattern


class FolderLabels(AnyLabels):
    """Labels are the names of the folders that the images lie in.

    Of each image it is the innermost one that is a class; simply the innermost where the classes
    aren't named.
    """

    source: Literal["folder"]


class ListFileLabels(AnyLabels):
    """Labels stand in a text file without a header, a line per image."""

    source: Literal["list_file"]

    file: Files
    """Name of the list, among the archives or inside one; or the names of several of one form."""

    separator: Text = "\t"
    """What stands between columns; the image's name may hold it, too. A space is any number of
    them."""

    columns: tuple[Text, ...] = ("image", "label")
    """What stands in a line, from left to right: "image", "label", and other names, which `groups`
    and `folds` may refer to."""

    values: Literal["index", "name"] = "index"
    """Whether a label is the class's number in `classes`, from 0, or its name."""

    @field_validator("columns")
    @classmethod
    def _has_image_and_label(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        if columns.count("image") != 1 or columns.count("label") != 1:
            raise ValueError("must name 'image' and 'label' once each")
        return columns


class CsvLabels(AnyLabels):
    """Labels stand in a CSV with a header."""

    source: Literal["csv"]

    file: Files
    """Name of the CSV, among the archives or inside one; or the names of several of one form."""

    id_column: str
    """The column that names the image."""

    label_column: Text
    """The column that holds the label."""

    label_separator: Separator = " "
    """What stands between the labels of an image that has several; a space is any number of
    them."""

    separator: Separator = ","
    """What stands between columns."""

    extension: str = ""
    """Added to ids that lack it, as `.jpg`."""

    values: Literal["index", "name"] = "name"
    """Whether a label is the class's number in `classes`, from 0, or its name."""


class OneHotLabels(AnyLabels):
    """Labels stand in a CSV with a column per class: 1 or True in the image's, else 0 or False."""

    source: Literal["one_hot"]

    file: Files
    """Name of the CSV, among the archives or inside one; or the names of several of one form."""

    id_column: str
    """The column that names the image; the classes name the others."""

    separator: Separator = ","
    """What stands between columns."""

    extension: str = ""
    """Added to ids that lack it, as `.jpg`."""


class LabelRowLabels(AnyLabels):
    """Labels stand in a CSV with a line per image and class: 1 or True where the image has it."""

    source: Literal["label_rows"]

    file: Files
    """Name of the CSV, among the archives or inside one; or the names of several of one form."""

    id_column: str
    """The column that names the image and the class, as `row_id` says."""

    label_column: Text
    """The column of 1 and 0."""

    row_id: Annotated[str, AfterValidator(check_row_id)] = "{id}_{label}"
    """How an image's id and a class make what stands in `id_column`."""

    separator: Separator = ","
    """What stands between columns."""

    extension: str = ""
    """Added to ids of images that lack it, as `.jpg`."""


class CocoLabels(AnyLabels):
    """Labels stand in a JSON file as COCO's: lists of images, of annotations and of categories."""

    source: Literal["coco"]

    file: Files
    """Name of the JSON file, among the archives or inside one; or the names of several."""

    label: Literal["id", "name"] = "id"
    """Whether a label is the category's id or its name."""


Labels = Annotated[
    FileNameLabels
    | FolderLabels
    | ListFileLabels
    | CsvLabels
    | OneHotLabels
    | LabelRowLabels
    | CocoLabels,
    Field(discriminator="source"),
]


def tells_names(labels: Labels) -> bool:
    """Whether the labels are the classes' names, so that these can be read from them."""
    return getattr(labels, "values", "name") == "name"


def label_files(labels: Labels) -> tuple[str, ...]:
    """Name the files that hold labels; none where they stand in names."""
    files = getattr(labels, "file", ())
    return (files,) if isinstance(files, str) else files
