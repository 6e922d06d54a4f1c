"""The errors a user can mend; anything else that is raised is a bug.

    PipelineError
    ├── ConfigError       a TOML file, a --set or an argument says something impossible
    ├── DataError         archives, images, lists or tables aren't what they must be
    ├── ArtifactError     features, predictions or checkpoints are missing, stale or don't fit
    ├── SubmissionError   a CSV isn't what the judge wants
    └── StoppedError      Ctrl-C; what was done is saved

A message is one line, "where: what must hold, what was found; the next command". The command
line prints it on stderr and exits with code 1, without a traceback.
"""


class PipelineError(Exception):
    """Base of every error that a user can mend."""


class ConfigError(PipelineError):
    """A competition file, an experiment file, a --set or an argument is unusable."""


class DataError(PipelineError):
    """Archives, images, label lists or tables aren't what they must be."""


class ArtifactError(PipelineError):
    """Features, predictions or checkpoints are missing, stale or don't fit together."""


class SubmissionError(PipelineError):
    """A submission isn't what the judge wants."""


class StoppedError(PipelineError):
    """The user stopped the work, and it was saved; exit code 130, as shells say it."""
