"""What reading spoiled archives raises, turned into one line."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

from pipeline.archives import sevenzips, tars, zips
from pipeline.archives.errors import ArchiveError

FAULTS = (*zips.FAULTS, *tars.FAULTS, *sevenzips.FAULTS)


@contextmanager
def explained_damage(rule: str) -> Iterator[None]:
    """Explain damage as breaking `rule`, which says what of which archive must be whole.

    Raises:
        ArchiveError: Instead of one of FAULTS, or of the system's refusal to read at a place
            before the file's begin.
    """
    try:
        yield
    except FAULTS as error:
        reason = str(error) or "its data end too early"
        raise ArchiveError(f"{rule}, is damaged ({reason})") from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise ArchiveError(f"{rule}, is damaged (it points outside itself)") from error


@contextmanager
def explained_faults(where: str, name: PurePosixPath) -> Iterator[None]:
    """Explain damage of an entry, and names that can't be written.

    Raises:
        ArchiveError: Instead of one of FAULTS, or of an OSError of those kinds.
    """
    try:
        with explained_damage(f"{where}: entry '{name}' must be whole"):
            yield
    except (FileExistsError, NotADirectoryError) as error:
        raise ArchiveError(
            f"{where}: entries must differ in name, '{name}' is there twice "
            "(to this disk, 'a' and 'A' may be one name)"
        ) from error
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise ArchiveError(f"{where}: entry '{name}' must have a shorter name") from error
