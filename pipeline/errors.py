"""Define the errors that a user can mend; anything else that is raised is a bug.

    PipelineError
    ├── ConfigError       a TOML file, a --set or an argument says something impossible
    ├── DataError         archives, images, lists or tables aren't what they must be
    │   ├── ArchiveError  an archive is missing or damaged; another copy may serve
    │   ├── DownloadError a server didn't give a file; another one, or a later try, may
    │   ├── KilledError   a process that reads images was killed, for want of memory perhaps
    │   └── DiskError     a disk is full, read-only or not ours to write to
    ├── ArtifactError     features, predictions or checkpoints are missing, stale or don't fit
    ├── SubmissionError   a CSV isn't what the judge wants
    └── StoppedError      Ctrl-C; what was done is saved

A message is one line, "where: what must hold, what was found; the next command". The command
line prints it on stderr and exits with code 1, 130 after a StoppedError, without a traceback.
"""

import unicodedata

LONGEST_MESSAGE = 4000


class PipelineError(Exception):
    """Base of every error that a user can mend."""

    def __str__(self) -> str:
        """Return the message as one line that fits a screen, whatever was found."""
        message = printable(super().__str__())
        if len(message) <= LONGEST_MESSAGE:
            return message
        half = LONGEST_MESSAGE // 2
        return f"{message[:half]} ... {message[-half:]}"


class ConfigError(PipelineError):
    """A competition file, an experiment file, a --set or an argument is unusable."""


class DataError(PipelineError):
    """Archives, images, label lists or tables aren't what they must be."""


class ArchiveError(DataError):
    """An archive can't be had, or isn't what it must be; another copy of it may serve."""


class DownloadError(DataError):
    """A file can't be had from where it was to come from; another server or try may bring it."""


class KilledError(DataError):
    """A process that reads images was killed; a later try, or another machine, may have memory."""


class DiskError(DataError):
    """A disk is full, read-only or not ours to write to."""


class ArtifactError(PipelineError):
    """Features, predictions or checkpoints are missing, stale or don't fit together."""


class SubmissionError(PipelineError):
    """A submission isn't what the judge wants."""


class StoppedError(PipelineError):
    """The user stopped the work, and it was saved; exit code 130, as shells say it."""


def printable(text: str) -> str:
    """Escape line ends, a terminal's commands and broken letters; file names may hold them all."""
    return "".join(char if _is_printable(char) else repr(char)[1:-1] for char in text)


def _is_printable(char: str) -> bool:
    return char.isprintable() or unicodedata.category(char) == "Zs"  # spaces of other scripts
