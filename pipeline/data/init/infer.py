"""Infer the tables of a competition's file from the user's files."""

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from pipeline.data.archives.cifar import read_class_names
from pipeline.data.init.draft import Section
from pipeline.data.init.file_roles import FileRoles, GivenPaths, find_roles
from pipeline.data.init.infer_answer import Answer
from pipeline.data.init.infer_labels import find_labels, with_class_names
from pipeline.data.init.infer_splits import Split, split_by_list, split_images
from pipeline.data.init.infer_submission import from_sample, without_sample
from pipeline.data.init.label_columns import Asked, LabelSource
from pipeline.data.init.user_files import UserFiles
from pipeline.data.init.user_lists import ForeignList, Ids
from pipeline.errors import DataError

PROBES = ["lite0-probe", "lite1-probe", "lite2-probe"]
METRICS = {
    "name": ("accuracy", '"macro_f1", "micro_f1", "quadratic_kappa"'),
    "index": ("accuracy", '"macro_f1", "micro_f1", "quadratic_kappa"'),
    "probability": ("log_loss", '"roc_auc"'),
    "probabilities": ("log_loss", '"mean_column_auc", "accuracy"'),
}


def infer(name: str, user_files: UserFiles, given: GivenPaths) -> list[Section]:
    """Infer the tables of a competition's file.

    Raises:
        DataError: There are no images, or a list has a form that no file can describe.
    """
    if user_files.meta is not None:
        return _infer_batches(name, user_files, given)
    train, test = split_images(user_files.files, *_places(name, user_files, given))
    roles = find_roles(user_files, given, train, test)
    labels = _labels(roles, given, train)
    is_mixed = bool(train.folders) and train.folders == test.folders
    if is_mixed and roles.sample is None and roles.test is None:
        train, test = split_by_list(user_files.files, train, labels.images)
        roles = find_roles(user_files, given, train, test)
        labels = _labels(roles, given, train)
    submission, answer = _infer_submission(roles.sample, test.ids, labels)
    test_list = roles.test if roles.sample is None else None
    listed = [labels.keys.get("file"), roles.sample.name if roles.sample else None]
    listed.append(test_list[0].name if test_list else None)
    return [
        _head(name, labels, answer),
        *_archives(user_files, listed),
        _train(train, labels),
        _test(test, test_list),
        submission,
        _experiments(),
    ]


def _places(
    name: str, user_files: UserFiles, given: GivenPaths
) -> tuple[PurePosixPath | None, PurePosixPath | None]:
    """Return the folder of each split's images, where the user named one of its own."""
    train_at, test_at = (
        user_files.place(place, name) if place and user_files.root != place.resolve() else None
        for place in (given.train, given.test)
    )
    return (None, None) if train_at == test_at else (train_at, test_at)


def _labels(roles: FileRoles, given: GivenPaths, train: Split) -> LabelSource:
    asked = _asked(roles.sample)
    labels = find_labels(roles.labels, train.ids, asked)
    if given.labels is not None and labels.keys.get("file") != given.labels.name:
        first = f", the first of which is '{train.ids[0]}'" if train.ids else ""
        raise DataError(
            f"{given.labels}: must name training images in one column and labels in another, "
            f"knows too few of the {len(train.ids):,} images{first}"
        )
    return with_class_names(labels, roles.others, asked)


def _asked(sample: ForeignList | None) -> Asked:
    """Tell what the sample says of labels; what may be its header is among its answers."""
    if sample is None:
        return Asked()
    values = {row[1] for row in sample.rows[1:]} if sample.num_columns == 2 else set()
    return Asked(tuple(sample.rows[0][1:]), frozenset(values - {""}))


def _infer_submission(
    sample: ForeignList | None, test_ids: Sequence[str], labels: LabelSource
) -> tuple[Section, Answer]:
    if sample is None:
        return without_sample(test_ids, labels)
    return from_sample(sample, test_ids, labels)


def _head(name: str, labels: LabelSource, answer: Answer) -> Section:
    section = Section("")
    section.guess("title", name, "what people call it")
    section.unknown("url", "https://", "its page")
    section.unknown("kaggle", name, "its name in URLs of kaggle.com, for 'submit --to-kaggle'")
    metric, others = METRICS[answer.label]
    section.guess("metric", metric, f"usual for such answers; else {others}")
    if labels.classes:
        is_certain = labels.are_classes_certain and labels.is_certain
        names = list(answer.classes or labels.classes)
        (section.found if is_certain else section.guess)("classes", names, labels.classes_why)
    else:
        section.guess("classes", "from_labels", "no labels were found")
    return section


def _archives(user_files: UserFiles, listed: Iterable[str | None]) -> list[Section]:
    """Name the archives to download; a plain folder is read in place, lists in it included."""
    if not user_files.archives:
        return []
    beside = [one for one in listed if one and user_files.lists[one].parent == user_files.root]
    sections = []
    for archive in [*user_files.archives, *dict.fromkeys(beside)]:
        section = Section("[[archives]]")
        is_there = (user_files.root / archive).exists()
        why = "lies there" if is_there else "lies there unpacked, in a folder of its name"
        section.found("name", archive, why)
        sections.append(section)
    return sections


def _train(train: Split, labels: LabelSource) -> Section:
    section = Section("[train]")
    if train.folders:
        section.found("folders", list(train.folders), train.why)
    else:
        section.guess("folders", ["train"], train.why)
    if labels.keys:
        (section.found if labels.is_certain else section.guess)("labels", labels.keys, labels.why)
    else:
        section.guess("labels", {"source": "folder"}, "no labels were found, see the other sources")
    return section


def _test(test: Split, listed: tuple[ForeignList, Ids] | None) -> Section:
    """Name the folder; where no sample lists the test images, name the list that does."""
    section = Section("[test]")
    if test.folders:
        section.found("folders", list(test.folders), test.why)
    else:
        section.guess("folders", ["test"], test.why)
    if listed is not None:
        table, ids = listed
        header = {"id_column": table.rows[0][ids.column]} if ids.has_header else {}
        keys = {"file": table.name, **header, **table.form}
        extension = {"extension": ids.extension} if ids.extension else {}
        section.found("csv", {**keys, **extension}, f"it names {ids.num_joined:,} test images")
    return section


def _experiments() -> Section:
    section = Section("[experiments]")
    section.guess("cpu", PROBES, "what 'train' runs without a GPU")
    section.guess("cuda", PROBES, "what 'train' runs with one")
    return section


def _infer_batches(name: str, user_files: UserFiles, given: GivenPaths) -> list[Section]:
    """Describe CIFAR's batches, of which `download` makes the folders train and test."""
    assert user_files.meta is not None
    (archive,) = user_files.archives
    classes = read_class_names(user_files.root / archive, user_files.meta)
    roles = find_roles(user_files, given, Split((), ""), Split((), ""))
    sample = roles.sample
    why = f"{archive} holds pickled batches"
    labels = LabelSource({"source": "folder"}, why, classes, "batches.meta")
    numbers = [row[0] for row in sample.rows if row[0].isdigit()] if sample else ["0"]
    test_ids = [f"{number}.png" for number in numbers]
    submission, answer = _infer_submission(sample, test_ids, labels)
    archives = _archives(user_files, [sample.name] if sample else [])
    archives[0].found("format", "cifar-batches", why)
    train, test = (Split((split,), "made of the batches") for split in ("train", "test"))
    head = _head(name, labels, answer)
    return [head, *archives, _train(train, labels), _test(test, None), submission, _experiments()]
