"""Split images into training and test images by their folders."""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath

from pipeline.config.images_table import ImageFolders
from pipeline.config.strict import toml_value
from pipeline.data.init.words import find_derived, find_made, is_unlabeled, splits_named
from pipeline.data.joining import NameJoin, join_names
from pipeline.data.split_folders import (
    Splits,
    deciding_folders,
    find_images,
    folders_around,
    matched_by,
    splits_of,
)

NO_SUCH = "no such images were found"
NOWHERE = ImageFolders(folders=("",))
MOST_SHOWN = 3

Images = Sequence[PurePosixPath]


@dataclass(frozen=True)
class Split:
    """The folders of one split, and what they were inferred from.

    Attributes:
        folders: Their names; empty where the user has none.
        why: What they were inferred from.
        ids: image_ids of the images below them.
        is_certain: Whether nothing speaks against it.
    """

    folders: tuple[str, ...]
    why: str
    ids: tuple[str, ...] = ()
    is_certain: bool = True

    @cached_property
    def join(self) -> NameJoin:
        """Finds these images by the names that lists give them."""
        return NameJoin(self.ids)


@dataclass(frozen=True)
class GivenFolders:
    """Where, below `data/<competition>/images`, the user says that a split's images lie."""

    train: PurePosixPath | None = None
    test: PurePosixPath | None = None

    def split_of(self, image: PurePosixPath) -> str | None:
        """Name the split of an image by what the user says; None where that says nothing."""
        places = {"train": self.train, "test": self.test}
        return next((name for name, at in places.items() if at and image.is_relative_to(at)), None)


@dataclass
class _Part:
    """The images of a split, and the folders that hold them.

    Attributes:
        files: The images.
        roots: The folders; several where they have none in common.
        why: What they were inferred from.
        doubts: What speaks against it.
        is_given: Whether the user named the folder.
    """

    files: list[PurePosixPath] = field(default_factory=list)
    roots: list[PurePosixPath] = field(default_factory=list)
    why: str = NO_SUCH
    doubts: list[str] = field(default_factory=list)
    is_given: bool = False


MIN_MADE = 0.3  # of the images; of fewer the name may mean something else


@dataclass(frozen=True)
class LeftOut:
    """Files that are made of images and lie among them, as masks of segmentation do.

    Attributes:
        patterns: The key `leave_out`; none where it is only to be asked.
        why: What says so, or what is to be asked; empty where there are no such files.
    """

    patterns: tuple[str, ...] = ()
    why: str = ""

    def of(self, images: Images) -> list[PurePosixPath]:
        """Return the images that are left."""
        left_out = matched_by(images, self.patterns)
        return [image for image in images if image not in left_out]


def find_left_out(images: Images, listed: Iterable[str]) -> LeftOut:
    """Find files that are called as images beside them, and after what is made of these.

    Args:
        images: Paths.
        listed: What stands in lists: files that these name are images of their own.
    """
    made = find_made(images)
    files = set[PurePosixPath]().union(*made.values())
    if not files or not {PurePosixPath(one).stem for one in listed}.isdisjoint(
        {file.stem for file in files}
    ):
        return LeftOut()
    what = f"{len(files):,} files are called as images beside them, as '{min(files).name}'"
    patterns = tuple(sorted(made))
    are_all = matched_by(images, patterns) == files
    if are_all and len(files) >= MIN_MADE * (len(images) - len(files)):
        return LeftOut(patterns, what)
    asked = f"if they are made of these, leave_out = {toml_value(patterns)} in [train] and [test]"
    return LeftOut(why=f"{what}; {asked}")


def split_images(
    images: Images, given: GivenFolders, unread: Collection[str] = ()
) -> tuple[Split, Split]:
    """Tell the training images from the test images.

    Args:
        images: Paths below `data/<competition>/images`.
        given: What the user says.
        unread: Names of archives that can't be looked into, and may hold either.

    Returns:
        Train and test; they name one folder where their images lie mixed.
    """
    train, test, others = _parts(images, given)
    outside = frozenset().union(*map(splits_named, unread))
    if not train.files and not test.files and _named_by_all(images) == {"test"}:
        test, others = others, _Part()
    if not train.files and others.files and "train" not in outside:
        train, others = others, _Part()
    if not test.files and others.files and "test" not in outside:
        test, others = others, _Part()
    if others.files:
        doubt = f"{len(others.files):,} images in {_shown(others.roots)} are of neither split"
        (train if train.files else test).doubts.append(doubt)
    if not train.files and "train" not in outside:
        train = test  # all in one folder: a list must tell them apart
    elif not test.files and "test" not in outside and not train.is_given:
        test = train
    return _named_parts(images, train, test)


def _parts(images: Images, given: GivenFolders) -> tuple[_Part, _Part, _Part]:
    """Divide the images: for training, for testing, and those of which nothing tells."""
    common = _common(images)
    names: dict[PurePosixPath, Splits] = {
        # A folder that holds all images tells none of them from others.
        folder: frozenset()
        if common.is_relative_to(folder)
        else frozenset(splits_named(folder.name))
        for folder in folders_around(images)
    }
    if any("test" in named and not is_unlabeled(one.name) for one, named in names.items()):
        names |= {one: frozenset() for one in names if is_unlabeled(one.name)}
    parts = {"train": _Part(), "test": _Part(), "": _Part()}
    deciding = deciding_folders(images, names)
    for image, folder in deciding.items():
        named = next(iter(names.get(folder, ())), "")
        is_given = (given.train if named == "train" else given.test) if named else None
        parts[given.split_of(image) or ("" if is_given else named)].files.append(image)
    for split, place in (("train", given.train), ("test", given.test)):
        part = parts[split]
        if part.files:
            part.is_given = place is not None
            part.roots = [place] if place else sorted({deciding[image] for image in part.files})
            part.why = "in the folder that you named" if place else "below folders of such names"
    if parts[""].files:
        inner = _common(parts[""].files)
        tops = sorted({PurePosixPath(image.parts[0]) for image in parts[""].files})
        parts[""].roots = [inner] if inner.parts else tops
        parts[""].why = "that no other folder accounts for"
    return parts["train"], parts["test"], parts[""]


def _named_by_all(images: Images) -> Set[str]:
    """Tell for which split a folder is named that all images lie in."""
    parts = _common(images).parts[1:]  # the first may be called as the competition is
    return frozenset().union(*map(splits_named, parts))


def _named_parts(images: Images, train: _Part, test: _Part) -> tuple[Split, Split]:
    """Name folders that hold the images of each split, and none of the other."""
    for part in [train] if train is test else [train, test]:
        _leave_out_derived(part)
    longest = max((len(root.parts) for part in (train, test) for root in part.roots), default=1)
    wanted = {"train": set(train.files), "test": set(test.files)}
    for length in range(1, longest + 1):
        names = {
            "train": _endings(images, train, length),
            "test": _endings(images, test, length),
        }
        if _found(images, names) == wanted:
            break
    else:
        doubt = "other images lie below folders of these names, too"
        (train if train.files else test).doubts.append(doubt)
    return tuple(  # type: ignore[return-value]  # two
        _as_split(images, part, names[ours], names[theirs])
        for part, ours, theirs in ((train, "train", "test"), (test, "test", "train"))
    )


def _leave_out_derived(part: _Part) -> None:
    """Leave out masks and copies that are called as the images are."""
    derived = find_derived(part.files)
    ours = {one: original for one, original in derived.items() if _is_below(original, part.roots)}
    if not ours:
        return
    part.files = [file for file in part.files if ours.keys().isdisjoint(file.parents)]
    part.roots = sorted({_kept_root(file, part.roots, ours) for file in part.files})
    shown = _shown(sorted(ours))
    part.doubts.append(f"{shown} left out, of which the files are called as those beside it")


def _is_below(folder: PurePosixPath, roots: Sequence[PurePosixPath]) -> bool:
    return any(folder.is_relative_to(root) for root in roots)


def _kept_root(
    file: PurePosixPath,
    roots: Sequence[PurePosixPath],
    derived: Mapping[PurePosixPath, PurePosixPath],
) -> PurePosixPath:
    """Find the outermost folder around a file, from its root on, that holds nothing left out."""
    around = [folder for folder in file.parents if _is_below(folder, roots)][::-1]
    pure = (one for one in around if not any(left.is_relative_to(one) for left in derived))
    return next(pure, around[-1])


def _endings(images: Images, part: _Part, length: int) -> tuple[str, ...]:
    """Name each root by the end of its path."""
    if part.is_given:  # an inner part may stand in folders that weren't looked at, too
        shared = len({image.parts[0] for image in images}) == 1
        return tuple(
            str(PurePosixPath(*root.parts[shared:]) if len(root.parts) > 1 else root)
            for root in part.roots
        )
    return tuple(sorted({str(PurePosixPath(*root.parts[-length:])) for root in part.roots}))


def _found(images: Images, names: Mapping[str, Iterable[str]]) -> dict[str, set[PurePosixPath]]:
    splits = splits_of(images, names)
    return {name: {image for image in images if name in splits[image]} for name in names}


def _as_split(
    images: Images, part: _Part, names: tuple[str, ...], others: tuple[str, ...]
) -> Split:
    if not part.files:
        return Split((), part.why)
    ours = ImageFolders(folders=names)
    theirs = ImageFolders(folders=others) if others and others != names else NOWHERE
    ids = tuple(image.image_id for image in find_images(images, ours, theirs, images))
    why = "; ".join([f"{len(part.files):,} images {part.why}", *part.doubts])
    return Split(names, why, ids, not part.doubts)


def asked_folder(images: Images, train: Split, test: Split, asked: Sequence[str]) -> Split:
    """Choose the one of several folders of test images of which a sample asks for all images.

    Args:
        images: Paths below `data/<competition>/images`.
        train: The training images.
        test: The test images, of all such folders.
        asked: The sample's ids; one more, as its header, does no harm.

    Returns:
        The images of that folder; a guess where they are called alike in others; else all.
    """
    theirs = ImageFolders(folders=train.folders) if train.folders else NOWHERE
    fitting = {}
    for folder in test.folders if len(test.folders) > 1 else ():
        found = find_images(images, ImageFolders(folders=(folder,)), theirs, images)
        ids = tuple(one.image_id for one in found)
        joined = join_names(asked, NameJoin(ids))
        if len(joined.images) == len(ids) >= len(asked) - 1:
            fitting[folder] = ids
    if not fitting:
        return test
    (folder, ids), *others = fitting.items()
    why = f"{len(ids):,} images below a folder of which the sample asks for all"
    why += "".join(f"; or '{name}', whose images are called alike" for name, _ in others)
    return Split((folder,), why, ids, not others)


LABELLED = ("those that have labels", "those that have no labels")
ASKED = ("those that the sample doesn't ask for", "those that the sample asks for")


def split_by_list(
    images: Images, mixed: Split, listed: Set[str], why: tuple[str, str] = LABELLED
) -> tuple[Split, Split]:
    """Tell images apart by which of them are training images, if they lie in folders of their own.

    Args:
        images: Paths below `data/<competition>/images`.
        mixed: All images.
        listed: image_ids of the training images.
        why: What tells them and the others.

    Returns:
        Train and test; the latter without folders where there are none of its own.
    """
    found = find_images(images, ImageFolders(folders=mixed.folders), NOWHERE, images)
    files: dict[bool, list[PurePosixPath]] = {True: [], False: []}
    for one in found:
        files[one.image_id in listed].append(PurePosixPath(one.path))
    roots = _roots_apart(files[True], files[False]) if all(files.values()) else None
    if roots is None:
        return mixed, Split((), "no images or lists of such names were found")
    train, test = (
        _Part(files[are_ours], own, f", {what}")
        for are_ours, own, what in zip((True, False), roots, why, strict=True)
    )
    return _named_parts(images, train, test)


def _roots_apart(
    ours: Images, theirs: Images
) -> tuple[list[PurePosixPath], list[PurePosixPath]] | None:
    """Find folders that hold the images of two kinds, each of one; None where there are none."""
    one, other = _common(ours), _common(theirs)
    if not (one.is_relative_to(other) or other.is_relative_to(one)):
        return [one], [other]
    depth = len(_common([*ours, *theirs]).parts) + 1
    roots = [{PurePosixPath(*file.parts[:-1][:depth]) for file in part} for part in (ours, theirs)]
    are_folders = all(len(root.parts) == depth for part in roots for root in part)
    if are_folders and roots[0].isdisjoint(roots[1]):
        return sorted(roots[0]), sorted(roots[1])
    return ([one], [other]) if one != other and one.parts and other.parts else None


def _common(images: Iterable[PurePosixPath]) -> PurePosixPath:
    return PurePosixPath(os.path.commonpath([image.parent for image in images]))


def _shown(folders: Sequence[PurePosixPath]) -> str:
    shown = ", ".join(f"'{folder}'" for folder in folders[:MOST_SHOWN])
    return shown + ", ..." * (len(folders) > MOST_SHOWN)
