"""Check the tables `[[archives]]`, files to download, and `[synthetic]`, what is drawn instead."""

from string import Formatter
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from pipeline.config.strict import MAX_NAME_LENGTH, Table, Text

BSON = ".bson"
Container = Literal["zip", "tar", "7z"]
CONTAINERS: dict[str, Container] = {
    ".zip": "zip",
    ".7z": "7z",
    ".tar": "tar",
    ".tar.gz": "tar",
    ".tgz": "tar",
    ".tar.bz2": "tar",
    ".tbz2": "tar",
    ".tar.xz": "tar",
    ".txz": "tar",
}


# As people call files, in any script, spaces included; no path, and nothing hidden.
FileName = Annotated[
    str, Field(pattern=r"^[^./\\\x00-\x1f][^/\\\x00-\x1f]*$", max_length=MAX_NAME_LENGTH)
]


class Records(Table):
    """What to make of files that hold images: JSON, an object per image, or BSON.

    A document of BSON holds one or more pictures, as those of a product.
    """

    id: Text
    """The key that names an image or a document."""

    arrays: tuple[Text, ...] = ()
    """Of JSON the keys of an image's channels: square pictures as lists of numbers, row by row."""

    pictures: Text | None = None
    """Of BSON the key of a document's list of pictures: bytes, or documents that hold them."""

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        if bool(self.arrays) == (self.pictures is not None):
            raise ValueError("must have one of arrays, of JSON, and pictures, of BSON")
        return self


class Archive(Table):
    """A file to download: a zip, tar or 7z that is unpacked, or a plain file (a label list)."""

    name: FileName
    """The file's name; its suffix says what it is unpacked as."""

    aliases: tuple[FileName, ...] = ()
    """Other names under which a user's folder may hold the same file."""

    urls: tuple[str, ...] = ()
    """Where to fetch it, tried in order; left out where the data need a login."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Checked where it is known."""

    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    """Checked where it is known."""

    num_bytes: Annotated[int, Field(ge=1)] | None = None
    """Size of the file, checked where it is known."""

    optional: bool = False
    """Whether a folder or server that lacks the file will do."""

    format: Literal["files", "cifar-batches"] = "files"
    """What is packed: files as they are, or the pickled batches of CIFAR-10, of which train and
    test images and the test images' labels are made."""

    records: Records | None = None
    """How to make images of the JSON files that it holds: `train.json` becomes the folder `train`
    of `.npy` files, and `train.csv` of all else that it says; or of BSON, in it or itself:
    `train.bson` becomes the folder `train` with a folder of pictures per document, and the CSV."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        is_bson = self.records is not None and self.records.pictures is not None
        is_packed = self.container is not None or (is_bson and self.name.endswith(BSON))
        if self.records is not None and (self.format != "files" or not is_packed):
            or_bson = " or .bson" * is_bson
            raise ValueError(f"must be a zip, tar or 7z{or_bson}, of 'files', where it has records")
        if self.format == "cifar-batches" and self.container != "tar":
            raise ValueError("must be a .tar, .tar.gz or .tgz where its format is 'cifar-batches'")
        if self.format == "cifar-batches" and self.optional:
            raise ValueError("must not be optional where its format is 'cifar-batches'")
        return self

    @property
    def container(self) -> Container | None:
        """The kind of archive that the file is; None for a plain file."""
        return container_of(self.name)

    @property
    def stem(self) -> str:
        """The name without the suffix: the folder that the file is unpacked into."""
        return stem_of(self.name)

    @property
    def hashes(self) -> dict[str, str]:
        """The digests that are known, by algorithm."""
        known = {"sha256": self.sha256, "md5": self.md5}
        return {algorithm: value for algorithm, value in known.items() if value is not None}


def container_of(name: str) -> Container | None:
    """Return the kind of archive that a file's name tells; None for a plain file."""
    return CONTAINERS.get(_container_suffix(name))


def stem_of(name: str) -> str:
    """Return the name without what says that it is an archive: `a.tar.gz` → `a`."""
    return name[: len(name) - len(_container_suffix(name))]


def _container_suffix(name: str) -> str:
    return next((suffix for suffix in CONTAINERS if name.lower().endswith(suffix)), "")


TEMPLATE_FIELDS = ("label", "index", "number")


def _checked_template(template: str) -> str:
    try:
        fields = [name for _, name, _, _ in Formatter().parse(template) if name is not None]
        strangers = [name for name in fields if name not in TEMPLATE_FIELDS]
        template.format(label="cat", index=0, number=1)
    except (KeyError, IndexError, ValueError, AttributeError):
        strangers = [template]
    if strangers:
        known = ", ".join(f"{{{name}}}" for name in TEMPLATE_FIELDS)
        raise ValueError(f"must be a file name with no fields but {known}")
    return template


Template = Annotated[str, AfterValidator(_checked_template)]


class Synthetic(Table):
    """Parameters of archives that are drawn instead of fetched."""

    num_train: Annotated[int, Field(ge=1)]
    """Number of training images."""

    num_test: Annotated[int, Field(ge=1)]
    """Number of test images."""

    min_side_px: Annotated[int, Field(ge=16)] = 96
    """Smallest width and height."""

    max_side_px: Annotated[int, Field(ge=16)] = 200
    """Largest width and height."""

    odd_files: bool = True
    """Whether duplicates, wrong types, broken files and the like are among them."""

    seed: int = 0
    """Another seed draws other images."""

    name_template: Template | None = None
    """Names the training images, from `{label}`, `{index}` (from 0) and `{number}` (from 1), both
    counted per class where the label is in the name; left out, the names are 32 random letters."""

    test_name_template: Template | None = None
    """Names the test images, from `{index}` and `{number}`; left out, the names are indices where
    the judge's ids are integers, else 32 random letters."""
