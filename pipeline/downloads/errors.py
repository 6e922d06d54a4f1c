"""The one error of downloads that another server, or a later attempt, may mend."""

from pipeline.errors import DataError


class DownloadError(DataError):
    """A file can't be had from where it was to come from."""
