"""The one error of archives that another copy of the file may mend."""

from pipeline.errors import DataError


class ArchiveError(DataError):
    """An archive can't be had, or isn't what it must be."""
