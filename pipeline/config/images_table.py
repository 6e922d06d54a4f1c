"""Check the tables `[train]` and `[test]`: the folders and lists of training and test images."""

from typing import Annotated

from pydantic import Field

from pipeline.config.labels_table import Labels
from pipeline.config.strict import Separator, Table, Text


class ImageFolders(Table):
    """The folders of images."""

    folders: Annotated[tuple[str, ...], Field(min_length=1)]
    """Every image below a folder of one of these names counts, at any depth. An archive is
    unpacked into a folder named after it, so its stem counts as a folder, too."""


class TrainImages(ImageFolders):
    """The labelled images and where their labels come from."""

    labels: Labels
    """Where the labels stand: `source` is "file_name", "folder", "list_file", "csv" or
    "one_hot"."""


class ImageList(Table):
    """A CSV that lists images."""

    file: Text
    """Name of the CSV, among the archives or inside one."""

    id_column: str | None = None
    """The column that names the image; left out where there is no header: then it is the first."""

    separator: Separator = ","
    """What stands between columns."""

    extension: str = ""
    """Added to ids that lack it, as `.jpg`."""


class TestImages(ImageFolders):
    """The images to predict: those that a CSV or the sample submission lists, else all."""

    csv: ImageList | None = None
    """Lists the test images; needed where they lie among the training images."""
