"""Check the tables `[train]` and `[test]`: the folders and lists of training and test images."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.config.labels_table import Labels
from pipeline.config.strict import Separator, Table, Text


class ImageFolders(Table):
    """The folders of images."""

    folders: Annotated[tuple[str, ...], Field(min_length=1)]
    """Every image below a folder of one of these names counts, at any depth; a name may be the end
    of a path, as `train/images`. An archive is unpacked into a folder named after it, so its stem
    counts as a folder, too."""


class TrainImages(ImageFolders):
    """The labelled images and where their labels come from."""

    labels: Labels
    """Where the labels stand: `source` is "file_name", "folder", "list_file", "csv", "one_hot" or
    "coco"."""


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
