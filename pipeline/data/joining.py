"""Join the names in a list to the images that they stand for."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, field
from pathlib import PurePosixPath

ZEROS = re.compile(r"(?<![^/])0+(?=[0-9]+(\.[^/]*)?$)")  # before a name that is a number
FRACTION = re.compile(r"(?<![^/])([0-9]+)\.0+$")  # of a number that a table made a float
SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,4}$")

Form = Callable[[str], str]


def _stem(path: str) -> str:
    return SUFFIX.sub("", path)


def _respelled(path: str) -> str:
    return ZEROS.sub("", FRACTION.sub(r"\1", unicodedata.normalize("NFC", path).casefold()))


def _respelled_stem(path: str) -> str:
    return _respelled(_stem(path))


# From the closest to the loosest: what counts as equal of a name and of an image_id. Of the first
# two, the second for ids without a suffix, nothing needs to be said.
FORMS: tuple[tuple[Form, Form], ...] = (
    (str, str),
    (str, _stem),
    (_respelled, _respelled),
    (_respelled, _respelled_stem),
    (_respelled_stem, _respelled_stem),
)
NUM_USUAL = 2
Way = tuple[int, bool]  # the place in FORMS, and whether the folders differ
NO_WAY: Way = (len(FORMS), False)
CLOSE: set[Way] = {(form, False) for form in range(NUM_USUAL)}


def named_in_paths(pattern: str, part: str, image_ids: Iterable[str]) -> dict[str, str]:
    """Read a part of images' paths, by image_id; those in which there is none are left out.

    Args:
        pattern: A regular expression, whose case doesn't count.
        part: The name of its group that is read.
        image_ids: The paths.
    """
    found = ((one, re.search(pattern, one, re.IGNORECASE)) for one in image_ids)
    return {one: match[part] for one, match in found if match and match[part]}


class NameJoin:
    """Finds images by the names that somebody's list gives them.

    Lists and archives seldom agree on the folders around an image, so a name stands for the image
    that has it as image_id, else for those whose path ends alike, else for those of its file name,
    with or without the suffix. Where there are none, capitals, forms of Unicode and the zeros
    before a number, which spreadsheets drop, or behind its point don't count; where there are none
    either, nor does the suffix (`7.jpg` for `7.jpeg`). A name stands for none where they are
    several.
    """

    def __init__(self, image_ids: Iterable[str]) -> None:
        self._known = set(image_ids)
        self._indices: dict[Form, _Index] = {}

    def __len__(self) -> int:
        return len(self._known)

    @property
    def names(self) -> Set[str]:
        """The image_ids."""
        return self._known

    def find(self, name: str) -> str | None:
        """Return the image_id that a name stands for, if there is exactly one."""
        return self.match(name)[1]

    def match(self, name: str) -> tuple[Way, str | None]:
        """Return the image_id that a name stands for, and in which way of writing."""
        if name in self._known:
            return (0, False), name
        path = str(PurePosixPath(name.replace("\\", "/")))
        for way, (form, of_image) in enumerate(FORMS):
            index = self._index(of_image)
            if index.knows(form(path)):
                image_id, is_elsewhere = index.find(form(path))
                return (way, is_elsewhere), image_id
        return NO_WAY, None

    def _index(self, form: Form) -> "_Index":
        if form not in self._indices:  # made when it is needed: most lists are written as the files
            self._indices[form] = _Index(self._known, form)
        return self._indices[form]


@dataclass
class Joined:
    """The images that names stand for, and the names that stand for none.

    Attributes:
        images: image_id by name.
        missing: The names that stand for none, or not for a single one, as they are listed.
        respelled: The names, of those in `images`, that are written otherwise than the image's.
    """

    images: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    respelled: list[str] = field(default_factory=list)


def join_names(names: Sequence[str], join: NameJoin) -> Joined:
    """Join all names of a list.

    An image is found in another folder or way of writing only where no other name stands for it
    more closely, and none as closely.
    """
    found: dict[Way, list[tuple[str, str]]] = {}
    for name in dict.fromkeys(names):
        way, image_id = join.match(name)
        if image_id is not None:
            found.setdefault(way, []).append((name, image_id))
    joined = Joined()
    taken: set[str] = set()
    for (form, is_elsewhere), pairs in sorted(found.items()):
        claims = Counter(image_id for _, image_id in pairs)
        is_close = (form, is_elsewhere) in CLOSE
        for name, image_id in pairs:
            if is_close or (claims[image_id] == 1 and image_id not in taken):
                joined.images[name] = image_id
                joined.respelled += [name] if form >= NUM_USUAL else []
        taken.update(claims)
    joined.missing = [name for name in names if name not in joined.images]
    return joined


def names_beside(join: NameJoin, folder: PurePosixPath | None, names: Sequence[str]) -> list[str]:
    """Complete the names of a list that lies among the images, where they are relative to it.

    Args:
        join: The images.
        folder: Where the list lies, relative to where image paths begin; None for elsewhere.
        names: What the list calls the images.

    Returns:
        The names, with the list's folder before those of which an image lies there.
    """
    if folder is None:
        return list(names)
    below = [str(folder / name.replace("\\", "/").removeprefix("./")) for name in names]
    return [
        longer if join.match(longer)[0] in CLOSE else name
        for longer, name in zip(below, names, strict=True)
    ]


class _Index:
    """Images by their file names, as `form` makes equal what counts as equal."""

    def __init__(self, image_ids: Iterable[str], form: Form) -> None:
        self._form = form
        self._by_name: dict[str, list[str]] = {}
        for image_id in image_ids:
            self._by_name.setdefault(_last(form(image_id)), []).append(image_id)

    def knows(self, written: str) -> bool:
        """Whether some image has the name that a path ends with."""
        return _last(written) in self._by_name

    def find(self, written: str) -> tuple[str | None, bool]:
        """Return the image whose path ends alike, else that of the name, if there is just one.

        Also returns whether it lies in another folder.
        """
        namesakes = self._by_name.get(_last(written), [])
        alike = [one for one in namesakes if _ends_alike(self._form(one), written)]
        matches = alike or namesakes
        return (matches[0] if len(matches) == 1 else None), not alike


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _ends_alike(one: str, other: str) -> bool:
    shorter, longer = sorted((f"/{one}", f"/{other}"), key=len)
    return longer.endswith(shorter)
