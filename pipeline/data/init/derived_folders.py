"""Find the folders whose files are made of others of the same names: masks, smaller copies."""

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from pipeline.data.init.words import is_derived_name, is_image_folder_name

MIN_SHARED = 0.9


def find_derived(files: Iterable[PurePosixPath]) -> dict[PurePosixPath, PurePosixPath]:
    """Find folders that hold files of the same names as one beside them, and are called so.

    Args:
        files: Images, relative.

    Returns:
        The folder of the images themselves by the folder of what is made of them.
    """
    stems: dict[PurePosixPath, set[str]] = {}
    for file in files:
        for folder in file.parents:
            stems.setdefault(folder, set()).add(str(file.relative_to(folder).with_suffix("")))
    children: dict[PurePosixPath, list[PurePosixPath]] = {}
    for folder in stems:
        if folder.parts:
            children.setdefault(folder.parent, []).append(folder)
    return {
        derived: original
        for siblings in children.values()
        if len(siblings) > 1
        for derived in siblings
        for original in siblings
        if _is_made_of(derived, original, stems)
    }


def _is_made_of(
    derived: PurePosixPath, original: PurePosixPath, stems: Mapping[PurePosixPath, set[str]]
) -> bool:
    one, other = derived.name.lower(), original.name.lower()
    is_longer = one.startswith(other) and one != other and not one[len(other)].isalnum()
    is_so_called = is_derived_name(one) and not is_derived_name(other)
    if not is_longer and not (is_so_called and is_image_folder_name(other)):
        return False
    return len(stems[derived] & stems[original]) >= MIN_SHARED * len(stems[derived])
