"""A competition is data: one TOML file says what is given and what the judge wants back."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from pipeline.strict import StrictModel, locate_toml, parse, read_toml

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
MAX_NAME_LENGTH = 100
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=MAX_NAME_LENGTH)]
Container = Literal["zip", "tar"]
CONTAINERS: dict[str, Container] = {".zip": "zip", ".tar": "tar", ".tar.gz": "tar", ".tgz": "tar"}


class Archive(StrictModel):
    """A file to bring: a zip or tar that is unpacked, or a plain file (a label list) that is kept.

    `aliases` are other names under which a user's folder may hold the same file. `urls` are
    tried in order. `sha256` and `md5` are checked where they are known.
    `format`: what is packed: "files" as they are, or the pickled "cifar-batches" of CIFAR-10, of
    which train and test images and the test images' labels are made.
    """

    name: Name
    aliases: tuple[Name, ...] = ()
    urls: tuple[str, ...] = ()
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    format: Literal["files", "cifar-batches"] = "files"

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.format == "cifar-batches" and self.container != "tar":
            raise ValueError("must be a .tar, .tar.gz or .tgz where its format is 'cifar-batches'")
        return self

    @property
    def container(self) -> Container | None:
        """What the file is unpacked as; None for a plain file."""
        return container_of(self.name)

    @property
    def stem(self) -> str:
        """The name without the suffix: the folder that the file is unpacked into."""
        return self.name[: len(self.name) - len(_container_suffix(self.name))]

    @property
    def hashes(self) -> dict[str, str]:
        """The digests that are known, by algorithm."""
        known = {"sha256": self.sha256, "md5": self.md5}
        return {algorithm: value for algorithm, value in known.items() if value is not None}


def container_of(name: str) -> Container | None:
    """Tell by a file's name what it is unpacked as; None for a plain file."""
    return CONTAINERS.get(_container_suffix(name))


def _container_suffix(name: str) -> str:
    return next((suffix for suffix in CONTAINERS if name.lower().endswith(suffix)), "")


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
    separator: Annotated[str, Field(min_length=1)] = "\t"
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
    """The experiments that `train` runs when none is named, by device.

    Names of shipped ones, or paths of TOML files, relative to the competition's own file.
    """

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
        folders = [archive.stem for archive in self.archives if archive.container]
        if len(set(folders)) != len(folders):
            raise ValueError("archives must differ in the folder that they are unpacked into")
        if sum(archive.format == "cifar-batches" for archive in self.archives) > 1:
            raise ValueError("archives must name one file of 'cifar-batches' at most")
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
    competition = parse(Competition, {"name": path.stem, **read_toml(path)}, path.name)
    cpu, cuda = (
        tuple(str(path.parent / name) if name.endswith(".toml") else name for name in names)
        for names in (competition.experiments.cpu, competition.experiments.cuda)
    )
    return competition.model_copy(update={"experiments": DefaultExperiments(cpu=cpu, cuda=cuda)})
