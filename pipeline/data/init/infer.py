"""Infer the tables of a competition's file from the user's files."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from pipeline.data.archives.cifar import read_class_names
from pipeline.data.init.answered_together import (
    LabelRows,
    Together,
    find_label_rows,
    find_together,
)
from pipeline.data.init.draft import Section, experiments_section, head_section
from pipeline.data.init.file_roles import (
    ArrangedSample,
    FileRoles,
    GivenPaths,
    IdList,
    arrange_sample,
    describe_odd_lists,
    find_id_list,
    find_roles,
    read_lists,
    unread_files,
)
from pipeline.data.init.infer_answer import Answer
from pipeline.data.init.infer_groups import add_groups
from pipeline.data.init.infer_labels import find_labels, with_class_names
from pipeline.data.init.infer_splits import (
    ASKED,
    NO_SUCH,
    GivenFolders,
    LeftOut,
    Split,
    asked_folder,
    find_left_out,
    split_by_list,
    split_images,
)
from pipeline.data.init.infer_submission import ListedIds, ToldIds, from_sample, without_sample
from pipeline.data.init.label_values import Asked, LabelSource, doubt_merged, with_doubt
from pipeline.data.init.user_files import UserFiles
from pipeline.data.init.user_lists import ForeignList, Ids, find_ids
from pipeline.data.init.words import (
    describe_hidden,
    describe_sidecars,
    describe_unread,
    is_unread_archive,
    is_unread_list,
    splits_named,
    unread_folders,
)
from pipeline.data.joining import NameJoin, join_names
from pipeline.errors import DataError
from pipeline.store.foreign import doubt_of_encoding, unusual_names


@dataclass(frozen=True)
class Inferred:
    """What was inferred.

    Attributes:
        sections: The tables of the competition's file.
        notes: What the user must know beside them, in one line each.
    """

    sections: list[Section]
    notes: list[str]


@dataclass(frozen=True)
class _Found:
    """The images of each split, the lists, the labels, and what is answered together."""

    train: Split
    test: Split
    roles: FileRoles
    rows: LabelRows | None
    labels: LabelSource
    together: Together | None

    @property
    def sample(self) -> ArrangedSample | None:
        """The sample submission, with a row for each image or answer."""
        return self.rows.sample if self.rows else None


def infer(name: str, user_files: UserFiles, given: GivenPaths) -> Inferred:
    """Infer the tables of a competition's file.

    Raises:
        DataError: There are no images, or a list has a form that no file can describe.
    """
    if user_files.meta is not None:
        return Inferred(_infer_batches(name, user_files, given), _notes(user_files))
    lists = read_lists(user_files, given)
    user_files = replace(user_files, unread=unread_files(user_files, lists))
    notes = _notes(user_files)
    notes += describe_odd_lists(user_files, lists)
    _check_images(user_files, lists, notes)
    cells = (cell for table in lists.values() for row in table.rows for cell in row)
    left_out = find_left_out(user_files.images, cells)
    found = _find(name, user_files, left_out.of(user_files.images), lists, given)
    asked = found.sample.table if found.sample else None
    used = [*_listed(found.labels), *([asked.name] if asked else [])]
    texts = [lists[one].path for one in used if lists[one].kind == "text"]
    known = unusual_names(map(str, user_files.files))
    doubts = [doubt for path in texts if (doubt := doubt_of_encoding(path, known))]
    labels = replace(
        _doubt_unread(found.labels, user_files.unread),
        are_classes_certain=found.labels.are_classes_certain and not doubts,
    )
    id_list = _id_list(found)
    submission, answer = _infer_submission(found, id_list)
    listing = _test_list(found, id_list)
    train = _train(found.train, labels, user_files.unread)
    test = _test(found.test, listing, user_files.unread)
    _add_left_out(train, left_out, labels.left_out)
    _add_left_out(test, left_out, ())
    grouped_by = add_groups(train, found.roles.others, labels, found.train, found.test)
    files = (listing.keys["file"] if listing else None, grouped_by)
    sections = [
        head_section(name, labels, answer, found.together, [*found.train.folders, *lists]),
        *_archives(user_files, [*used, *(str(file) for file in files if file)]),
        train,
        test,
        submission,
        experiments_section(len(labels.classes)),
    ]
    doubts += [left_out.why] if left_out.why and not left_out.patterns else []
    samples = [one.name for one in found.roles.other_samples]
    if samples and asked is not None:
        doubts.append(
            f"{', '.join(samples)}: may be the sample submission, too; {asked.name} is taken"
        )
    return Inferred(sections, [*notes, *doubts])


def _notes(user_files: UserFiles) -> list[str]:
    """Say in one line each which files can't be used."""
    notes = describe_unread(user_files.unread)
    notes += describe_sidecars(user_files.images, user_files.files)
    return [*notes, *describe_hidden(user_files.hidden)]


def _add_left_out(section: Section, made: LeftOut, folders: Sequence[str]) -> None:
    """Leave out what is made of images, and folders of images without labels."""
    if made.patterns or folders:
        unlabeled = f"{', '.join(folders)}: without labels" if folders else ""
        why = "; ".join(filter(None, (made.why, unlabeled)))
        section.guess("leave_out", [*made.patterns, *folders], why)


def _check_images(
    user_files: UserFiles, lists: Mapping[str, ForeignList], notes: Sequence[str]
) -> None:
    if user_files.images:
        return
    by_address = [name for name, table in lists.items() if table.names_addresses]
    if by_address:
        raise DataError(
            f"{by_address[0]}: must name images that are there, names them by URL; fetch them into "
            "a folder, and run this again with --from"
        )
    why = f"; {'; '.join(notes)}" if notes else ""
    raise DataError(
        f"init: expected images, found {len(user_files.files):,} files, none of them one{why}; "
        "name the folder or archive that holds them by --from, --train or --test"
    )


def _find(
    name: str,
    user_files: UserFiles,
    images: Sequence[PurePosixPath],
    lists: Mapping[str, ForeignList],
    given: GivenPaths,
) -> _Found:
    unread = [file.name for file in user_files.unread if is_unread_archive(file)]
    train, test = split_images(images, _places(name, user_files, given), unread)
    found = _with_roles(lists, given, train, test)
    if found.sample is not None:
        test = asked_folder(images, train, test, found.sample.table.column(0))
        found = _with_roles(lists, given, train, test)
    is_mixed = bool(train.folders) and train.folders == test.folders
    if is_mixed and not found.labels.images and _are_of_test(train):
        return _with_roles(lists, given, Split((), NO_SUCH), test)
    if not is_mixed or found.roles.test is not None:
        return found
    if found.sample is None:
        train, test = split_by_list(images, train, found.labels.images)
        return _with_roles(lists, given, train, test)
    if not found.labels.images:  # the sample may ask for all images of a folder
        asked = join_names(found.sample.table.column(0), train.join).images.values()
        train, test = split_by_list(images, train, {*train.ids} - {*asked}, ASKED)
    return _with_roles(lists, given, train, test) if test.folders else found


def _are_of_test(mixed: Split) -> bool:
    """Whether all images lie in folders that are called after the test images."""
    return all("test" in splits_named(folder) for folder in mixed.folders)


def _with_roles(
    lists: Mapping[str, ForeignList], given: GivenPaths, train: Split, test: Split
) -> _Found:
    roles = find_roles(lists, given, train, test)
    sample = arrange_sample(roles.sample, test.join) if roles.sample is not None else None
    rows = find_label_rows(sample, roles.labels, test) if sample is not None else None
    sample = rows.sample if rows else None
    is_mixed = train.folders == test.folders
    together = find_together(sample, roles, train, test) if sample and not is_mixed else None
    asked_for = _asked_for(roles, sample, train) if is_mixed else frozenset()
    labelled = together.train if together and together.are_labelled else train
    labels = _labels(roles, _asked(rows), given, labelled, asked_for)
    if labels.keys.get("source") == "folder" and together and "pattern" in together.keys:
        together = None  # it would take all training images of a class for one answer
    if labelled is not train:
        labels = replace(labels, why=labels.why.replace("training images", "answers"))
    if rows and rows.row_id:
        labels = replace(labels, several_why=rows.why, is_target_certain=rows.is_whole)
    return _Found(train, test, roles, rows, labels, together)


def _asked_for(roles: FileRoles, sample: ArrangedSample | None, mixed: Split) -> frozenset[str]:
    """Find the images, of those of both splits in one folder, that are to be predicted."""
    if roles.test is not None:
        return roles.test[1].images
    names = sample.table.column(0) if sample is not None else []
    return frozenset(join_names(names, mixed.join).images.values())


def _places(name: str, user_files: UserFiles, given: GivenPaths) -> GivenFolders:
    """Return the folder of each split's images, where the user named one of its own."""
    train_at, test_at = (
        user_files.place(place, name) if place and user_files.root != place.resolve() else None
        for place in (given.train, given.test)
    )
    return GivenFolders() if train_at == test_at else GivenFolders(train_at, test_at)


def _labels(
    roles: FileRoles,
    asked: Asked,
    given: GivenPaths,
    train: Split,
    asked_for: frozenset[str],
) -> LabelSource:
    labels = find_labels(roles.labels, train, asked, asked_for)
    names = {PurePosixPath(one).name for one in _listed(labels)}
    if given.labels is not None and given.labels.name not in names:
        first = f", the first of which is '{train.ids[0]}'" if train.ids else ""
        raise DataError(
            f"{given.labels}: must name training images in one column and labels in another, "
            f"knows too few of the {len(train.ids):,} images{first}"
        )
    return doubt_merged(with_class_names(labels, roles.others, asked), asked)


def _doubt_unread(labels: LabelSource, unread: Iterable[PurePosixPath]) -> LabelSource:
    """Doubt what folders or names of files say where a list of labels can't be read."""
    if labels.keys.get("source") not in ("folder", "file_name"):
        return labels
    names = sorted(str(file) for file in unread if is_unread_list(file))
    return with_doubt(labels, [f"in {name}, which can't be read" for name in names[:1]])


def _listed(labels: LabelSource) -> list[str]:
    """Name the lists that hold the labels."""
    files = labels.keys.get("file", [])
    return [files] if isinstance(files, str) else list(files)


def _asked(rows: LabelRows | None) -> Asked:
    """Tell what the sample says of labels; what may be its header is among its answers."""
    if rows is None or rows.row_id:
        return Asked(rows.labels if rows else ())
    sample = rows.sample.table
    values = {row[1] for row in sample.rows[1:]} if sample.num_columns == 2 else set()
    return Asked(tuple(sample.rows[0][1:]), frozenset(values - {""}))


def _id_list(found: _Found) -> IdList | None:
    """Find the list that says of which images the sample's ids are, if one must."""
    if found.sample is None or found.together is not None:
        return None
    return find_id_list(found.roles.others, found.sample.table, found.test.join)


def _infer_submission(found: _Found, id_list: IdList | None) -> tuple[Section, Answer]:
    # Of images that lie mixed, those with labels are none of the test images.
    is_mixed = found.train.folders == found.test.folders
    known = found.labels.images if is_mixed else frozenset()
    test_ids = [image_id for image_id in found.test.ids if image_id not in known]
    if found.rows is None:
        return without_sample(test_ids, found.labels, _listed_ids(found))
    told = None
    if found.together is not None:
        told, test_ids = ToldIds("answer", found.together.why), list(found.together.test.ids)
    elif id_list is not None:
        told = ToldIds("listed", id_list.why, id_list.is_certain)
    return from_sample(found.rows, test_ids, found.labels, told)


def _listed_ids(found: _Found) -> ListedIds | None:
    """Find what a list calls the test images, else the training images."""
    if found.roles.test is not None:
        table, ids = found.roles.test
        return ListedIds(table.name, table.column(ids.column)[ids.has_header :], found.test.ids)
    names = _listed(found.labels)
    tables = (table for table in found.roles.labels if table.name in names)
    for table in tables:
        ids_of = find_ids(table, found.train.join)
        if ids_of is not None:
            column = table.column(ids_of.column)[ids_of.has_header :]
            return ListedIds(table.name, column, found.train.ids)
    return None


def _test_list(found: _Found, id_list: IdList | None) -> IdList | None:
    """Describe the list of the test images that the competition's file must name."""
    are_made = found.together is not None and "columns" in found.together.keys
    is_asked = found.sample is not None and not are_made
    if id_list is not None or is_asked or found.roles.test is None:
        return id_list
    table, ids = found.roles.test
    keys = {"file": table.name, **_image_column(table, ids), **table.form}
    why = "; or ".join((f"it names {ids.num_joined:,} test images", *ids.doubts))
    return IdList(keys, why, not ids.doubts)


def _image_column(table: ForeignList, ids: Ids) -> dict[str, object]:
    if ids.has_header:
        return {"id_column": table.rows[0][ids.column]}
    columns = ["other"] * ids.column + ["image"]
    return {} if ids.column == 0 else {"columns": columns}


def _archives(user_files: UserFiles, listed: Iterable[str]) -> list[Section]:
    """Name the archives to download; a plain folder is read in place, lists in it included."""
    if not user_files.archives:
        return []
    beside = [one for one in listed if user_files.lists[one].folder is None]
    names = [*user_files.archives, *(user_files.lists[one].path.name for one in beside)]
    sections = []
    for archive in dict.fromkeys(names):
        section = Section("[[archives]]")
        is_there = any(path.is_file() for path in user_files.root.rglob(archive))
        why = "lies there" if is_there else "lies there unpacked, in a folder of its name"
        section.found("name", archive, why)
        if archive in user_files.records:
            section.found("records", user_files.records[archive], "images in its JSON files")
        sections.append(section)
    return sections


def _train(train: Split, labels: LabelSource, unread: Sequence[PurePosixPath]) -> Section:
    section = Section("[train]")
    _add_folders(section, train, "train", unread)
    if labels.keys:
        (section.found if labels.is_certain else section.guess)("labels", labels.keys, labels.why)
    else:
        # Of several folders of images each would be a class; a list that isn't there is refused.
        unnamed = {"file": "labels.csv", "id_column": "image", "label_column": "label"}
        keys = {"source": "csv", **unnamed} if len(train.folders) > 1 else {"source": "folder"}
        section.guess("labels", keys, f"no labels were found, see the other sources{labels.why}")
    return section


def _add_folders(
    section: Section, split: Split, name: str, unread: Sequence[PurePosixPath]
) -> None:
    if split.folders:
        add = section.found if split.is_certain else section.guess
        add("folders", list(split.folders), split.why)
        return
    outside = unread_folders(unread, name)
    why = f"{split.why}; {', '.join(outside)} can't be looked into" if outside else split.why
    section.guess("folders", outside or [name], why)


def _test(test: Split, listing: IdList | None, unread: Sequence[PurePosixPath]) -> Section:
    """Name the folder, and the list of test images or of their ids."""
    section = Section("[test]")
    _add_folders(section, test, "test", unread)
    if listing is not None:
        add = section.found if listing.is_certain else section.guess
        add("csv", dict(listing.keys), listing.why)
    return section


def _infer_batches(name: str, user_files: UserFiles, given: GivenPaths) -> list[Section]:
    """Describe CIFAR's batches, of which `download` makes the folders train and test."""
    assert user_files.meta is not None
    (archive,) = user_files.archives
    classes = read_class_names(user_files.root / archive, user_files.meta)
    roles = find_roles(read_lists(user_files, given), given, Split((), ""), Split((), ""))
    sample = arrange_sample(roles.sample, NameJoin([])) if roles.sample else None
    why = f"{archive} holds pickled batches"
    labels = LabelSource({"source": "folder"}, why, classes, "batches.meta")
    rows = sample.table.rows if sample else []
    test_ids = [f"{row[0]}.png" for row in rows if row[0].isdigit()] or ["0.png"]
    if sample is None:
        submission, answer = without_sample(test_ids, labels)
    else:
        submission, answer = from_sample(LabelRows(sample), test_ids, labels, None)
    archives = _archives(user_files, [sample.table.name] if sample else [])
    archives[0].found("format", "cifar-batches", why)
    train, test = (Split((split,), "made of the batches") for split in ("train", "test"))
    head = head_section(name, labels, answer, None, [])
    tables = [_train(train, labels, []), _test(test, None, [])]
    return [head, *archives, *tables, submission, experiments_section(len(classes))]
