"""Names in a list joined to the images that they stand for."""

from collections.abc import Iterable
from pathlib import PurePosixPath


class NameJoin:
    """Finds images by the names that somebody's list gives them.

    Lists and archives seldom agree on the folders around an image, so a name stands for the image
    that has it as image_id, else for those whose path ends alike, else for those of its file name;
    it stands for none where they are several.
    """

    def __init__(self, image_ids: Iterable[str]) -> None:
        self._by_name: dict[str, list[str]] = {}
        self._known = set()
        for image_id in image_ids:
            self._known.add(image_id)
            self._by_name.setdefault(PurePosixPath(image_id).name, []).append(image_id)

    def find(self, name: str) -> str | None:
        """Return the image_id that a name stands for, if there is exactly one."""
        if name in self._known:
            return name
        namesakes = self._by_name.get(PurePosixPath(name).name, [])
        alike = [image_id for image_id in namesakes if _ends_alike(image_id, name)]
        matches = alike or namesakes
        return matches[0] if len(matches) == 1 else None


def _ends_alike(one: str, other: str) -> bool:
    shorter, longer = sorted((f"/{one}", f"/{other}"), key=len)
    return longer.endswith(shorter)
