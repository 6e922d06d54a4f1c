"""Join the names in a list to the images that they stand for."""

import re
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

ZEROS = re.compile(r"(?<![^/])0+(?=[0-9]+(\.[^/]*)?$)")  # before a name that is a number


class NameJoin:
    """Finds images by the names that somebody's list gives them.

    Lists and archives seldom agree on the folders around an image, so a name stands for the image
    that has it as image_id, else for those whose path ends alike, else for those of its file name;
    where there are none, capitals and the zeros before a number, which spreadsheets drop, don't
    count. It stands for none where they are several.
    """

    def __init__(self, image_ids: Iterable[str]) -> None:
        self._known = set(image_ids)
        self._exact = _Index(self._known, str)
        self._loose = _Index(self._known, _loose)

    def find(self, name: str) -> str | None:
        """Return the image_id that a name stands for, if there is exactly one."""
        if name in self._known:
            return name
        path = str(PurePosixPath(name.replace("\\", "/")))
        return self._exact.find(path) or self._loose.find(path)


class _Index:
    """Images by their file names, as `form` makes equal what counts as equal."""

    def __init__(self, image_ids: Iterable[str], form: Callable[[str], str]) -> None:
        self._form = form
        self._by_name: dict[str, list[str]] = {}
        for image_id in image_ids:
            self._by_name.setdefault(form(PurePosixPath(image_id).name), []).append(image_id)

    def find(self, path: str) -> str | None:
        namesakes = self._by_name.get(self._form(PurePosixPath(path).name), [])
        alike = [one for one in namesakes if _ends_alike(self._form(one), self._form(path))]
        matches = alike or namesakes
        return matches[0] if len(matches) == 1 else None


def _loose(path: str) -> str:
    return ZEROS.sub("", path.casefold())


def _ends_alike(one: str, other: str) -> bool:
    shorter, longer = sorted((f"/{one}", f"/{other}"), key=len)
    return longer.endswith(shorter)
