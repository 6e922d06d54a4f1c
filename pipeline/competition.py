"""A competition is data: one TOML file says what is given and what the judge wants back."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from pipeline.strict import StrictModel, locate_toml, parse, read_toml

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]


class Archive(StrictModel):
    """A file to bring: a zip that is unpacked, or a plain file (a label list) that is kept.

    `aliases` are other names under which a user's folder may hold the same file. `urls` are
    tried in order. `sha256` is checked where it is known.
    """

    name: Name
    aliases: tuple[Name, ...] = ()
    urls: tuple[str, ...] = ()
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None

    @property
    def is_zip(self) -> bool:
        """Whether the file is unpacked after the download."""
        return self.name.lower().endswith(".zip")


class FileNameLabels(StrictModel):
    """Labels in the images' names: the group `label` of a pattern searched in the image_id."""

    source: Literal["file_name"]
    pattern: str

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


class FolderLabels(StrictModel):
    """Labels are the names of the folders that the images lie in."""

    source: Literal["folder"]


class ListFileLabels(StrictModel):
    """Labels stand in a text file of lines `<image><separator><label>`, without a header."""

    source: Literal["list_file"]
    file: str
    separator: str = "\t"
    values: Literal["index", "name"] = "index"


class CsvLabels(StrictModel):
    """Labels stand in a CSV with a header; `extension` is added to ids that lack it."""

    source: Literal["csv"]
    file: str
    id_column: str
    label_column: str
    extension: str = ""
    values: Literal["index", "name"] = "name"


Labels = Annotated[
    FileNameLabels | FolderLabels | ListFileLabels | CsvLabels, Field(discriminator="source")
]


class ImageFolders(StrictModel):
    """Where images lie: every image below a folder of one of these names, at any depth.

    An archive is unpacked into a folder named after it, so its stem counts as a folder too.
    """

    folders: Annotated[tuple[str, ...], Field(min_length=1)]


class TrainImages(ImageFolders):
    """The labelled images and where their labels come from."""

    labels: Labels


class SubmissionFormat(StrictModel):
    """What the judge wants: one line per test image, `<id><separator><label>`.

    `id`: "file_name" (`0.jpg`), "stem" (`0`) or "integer" (`0`, a number without leading zeros).
    `label`: the class's "index" in `classes` or its "name".
    `order`: what the judge demands; "any" is still written sorted.
    `line_ending`: "lf", or "any" where the judge takes CRLF too; LF is what is written.
    """

    id: Literal["file_name", "stem", "integer"]
    label: Literal["index", "name"] = "index"
    columns: tuple[str, str] = ("id", "label")
    has_header: bool = False
    order: Literal["any", "ascending"] = "ascending"
    separator: Literal[",", ";", "\t"] = ","
    line_ending: Literal["lf", "any"] = "lf"


class DefaultExperiments(StrictModel):
    """The experiments that `train` runs when none is named, by device."""

    cpu: Annotated[tuple[str, ...], Field(min_length=1)]
    cuda: Annotated[tuple[str, ...], Field(min_length=1)]


class Synthetic(StrictModel):
    """How to draw the competition's archives instead of fetching them.

    `name_template` names the training images, from `{label}` and `{index}`; where it is left out
    the names are 32 random letters.
    """

    num_train: Annotated[int, Field(ge=1)]
    num_test: Annotated[int, Field(ge=1)]
    min_side_px: Annotated[int, Field(ge=16)] = 96
    max_side_px: Annotated[int, Field(ge=16)] = 200
    odd_files: bool = True
    seed: int = 0
    name_template: str | None = None


class Competition(StrictModel):
    """Everything a stage must know of a competition; see the TOML files beside this module."""

    name: Name
    title: str
    url: str = ""
    metric: Literal["accuracy", "log_loss"] = "accuracy"
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    archives: Annotated[tuple[Archive, ...], Field(min_length=1)]
    train: TrainImages
    test: ImageFolders
    submission: SubmissionFormat
    experiments: DefaultExperiments
    synthetic: Synthetic | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes must differ from each other")
        names = [archive.name for archive in self.archives]
        if len(set(names)) != len(names):
            raise ValueError("archives must differ in name")
        return self

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return len(self.classes)


def load_competition(name_or_path: str) -> Competition:
    """Load a built-in competition by its name, or any by the path of its TOML file.

    Raises:
        ConfigError: There is no such competition, or its file is faulty.
    """
    path = locate_toml(name_or_path, "competitions")
    return parse(Competition, {"name": path.stem, **read_toml(path)}, str(path.name))
