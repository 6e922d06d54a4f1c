"""Tell the user's lists apart: labels, a sample submission, the test images."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.init.infer_splits import Split
from pipeline.data.init.user_files import LIST_SUFFIXES, UserFiles
from pipeline.data.init.user_lists import ForeignList, Ids, find_ids, read_list
from pipeline.data.init.words import is_sample_name, is_submission_name, splits_named
from pipeline.data.joining import NameJoin
from pipeline.errors import DataError
from pipeline.store.foreign import unusual_names


@dataclass(frozen=True)
class GivenPaths:
    """The paths that the user named; None is to be found.

    Attributes:
        train: Folder or archive of the training images.
        test: Folder or archive of the test images.
        labels: List of labels.
        sample: Sample submission.
    """

    train: Path | None = None
    test: Path | None = None
    labels: Path | None = None
    sample: Path | None = None

    @property
    def places(self) -> list[Path]:
        """All that is named."""
        return [one for one in (self.train, self.test, self.labels, self.sample) if one]


@dataclass(frozen=True)
class FileRoles:
    """The lists by their role.

    Attributes:
        labels: Those that may be label lists.
        sample: The sample submission.
        other_samples: Further lists that may be one.
        test: A list of test images, and how it names them.
        others: All lists but samples.
    """

    labels: list[ForeignList]
    sample: ForeignList | None
    other_samples: list[ForeignList]
    test: tuple[ForeignList, Ids] | None
    others: list[ForeignList]


def read_lists(user_files: UserFiles, given: GivenPaths) -> dict[str, ForeignList]:
    """Read all lists that can be, by name.

    Raises:
        DataError: What the user called a list is none.
    """
    known = unusual_names(map(str, user_files.files))
    lists = {name: read_list(name, one, known) for name, one in sorted(user_files.lists.items())}
    for place in filter(None, (given.labels, given.sample)):
        if lists.get(place.name) is None:
            raise DataError(
                f"{place}: must be a {', '.join(sorted(LIST_SUFFIXES))} file of text, its lines of "
                f"as many columns each, {_why_no_list(place)}"
            )
    return {name: table for name, table in lists.items() if table is not None}


def find_roles(
    lists: Mapping[str, ForeignList], given: GivenPaths, train: Split, test: Split
) -> FileRoles:
    """Tell lists apart by their names and by the images that they name."""
    named = {role: path.name for role, path in vars(given).items() if path is not None}
    tables = [one for one in lists.values() if one.name != named.get("labels")]
    joins = (train.join, test.join)
    samples = [
        one
        for one in tables
        if is_submission_name(one.name) or (is_sample_name(one.name) and not _is_of(one, *joins))
    ]
    if "sample" in named:
        samples = [one for one in tables if one.name == named["sample"]]
    tests = [one for one in tables if "test" in splits_named(one.name) and one not in samples]
    if not samples:  # a list of test images with something beside each, whatever it is called
        unknown = [one for one in tables if one not in tests]
        answers = [one for one in unknown if one.num_columns > 1 and find_ids(one, joins[1])]
        samples = [one for one in answers if find_ids(one, joins[0]) is None]
    others = [one for one in lists.values() if one not in samples]
    found = [(one, ids) for one in tests if (ids := find_ids(one, joins[1])) is not None]
    labels = [one for one in others if one not in tests]
    if "labels" in named:
        labels = [one for one in labels if one.name == named["labels"]]
    return FileRoles(
        labels, next(iter(samples), None), samples[1:], next(iter(found), None), others
    )


def _is_of(table: ForeignList, ours: NameJoin, others: NameJoin) -> bool:
    """Whether a list names these images, and hardly any of the others, where these aren't ours."""
    named = find_ids(table, ours)
    return named is not None and find_ids(table, others) is None


def _why_no_list(place: Path) -> str:
    if place.suffix.lower() not in LIST_SUFFIXES:
        return f"is called '{place.name}'"
    return "has lines of several lengths, or is no text"
