"""Tell a user's lists apart: labels, sample submission, list of test images."""

import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.init.infer_splits import Split
from pipeline.data.init.user_files import LIST_SUFFIXES, UserFiles
from pipeline.data.init.user_lists import ForeignList, Ids, find_ids, read_list
from pipeline.errors import DataError

SAMPLE_NAME = re.compile(r"sample|submi|提交|示例|样例", re.IGNORECASE)
TEST_NAME = re.compile(r"test|测试", re.IGNORECASE)


@dataclass(frozen=True)
class GivenPaths:
    """The files and folders that the user named; None is to be found.

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
        """The paths that were named."""
        return [one for one in (self.train, self.test, self.labels, self.sample) if one]


@dataclass(frozen=True)
class FileRoles:
    """The user's lists by their role.

    Attributes:
        labels: Those that may be label lists.
        sample: The sample submission.
        test: A list of test images, and how it names them.
        others: All lists but samples.
    """

    labels: list[ForeignList]
    sample: ForeignList | None
    test: tuple[ForeignList, Ids] | None
    others: list[ForeignList]


def find_roles(user_files: UserFiles, given: GivenPaths, train: Split, test: Split) -> FileRoles:
    """Tell lists apart by their names and by the images that they name.

    Raises:
        DataError: What the user called a list is none.
    """
    lists = {name: read_list(name, path) for name, path in sorted(user_files.lists.items())}
    tables = [table for table in lists.values() if table is not None]
    for place in filter(None, (given.labels, given.sample)):
        if lists.get(place.name) is None:
            raise DataError(
                f"{place}: must be a {', '.join(sorted(LIST_SUFFIXES))} file of text, its lines of "
                f"as many columns each, {_why_no_list(place)}"
            )
    labels_name, sample_name = (place and place.name for place in (given.labels, given.sample))
    samples = [one for one in tables if SAMPLE_NAME.search(one.name) and one.name != labels_name]
    if sample_name is not None:
        samples = [one for one in tables if one.name == sample_name]
    tests = [one for one in tables if TEST_NAME.search(one.name) and one.name != labels_name]
    tests = [one for one in tests if one not in samples]
    if not samples:  # a list of test images with something beside each, whatever it is called
        unknown = [one for one in tables if one not in tests and one.name != labels_name]
        answers = [one for one in unknown if one.num_columns > 1 and find_ids(one, test.ids)]
        samples = [one for one in answers if find_ids(one, train.ids) is None]
    others = [one for one in tables if one not in samples]
    found = [(one, ids) for one in tests if (ids := find_ids(one, test.ids)) is not None]
    found = [(one, ids) for one, ids in found if ids.has_header or ids.column == 0]
    labels = [one for one in others if one not in tests]
    if labels_name is not None:
        labels = [one for one in labels if one.name == labels_name]
    return FileRoles(labels, next(iter(samples), None), next(iter(found), None), others)


def _why_no_list(place: Path) -> str:
    if place.suffix.lower() not in LIST_SUFFIXES:
        return f"is called '{place.name}'"
    return "has lines of several lengths, or is no text"
