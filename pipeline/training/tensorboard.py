"""Scalars for TensorBoard, where they were asked for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.training import processes


@contextmanager
def scalar_log(folder: Path | None) -> Iterator[Callable[[dict[str, float]], None]]:
    """Yield what logs a row of the history; without a folder it does nothing.

    Raises:
        ConfigError: The package tensorboard isn't installed.
    """
    if folder is None or not processes.is_main():
        yield lambda _: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "--tensorboard: must have the package tensorboard, it isn't installed; run "
            "'pip install tensorboard'"
        ) from error
    with SummaryWriter(folder) as writer:

        def log(row: dict[str, float]) -> None:
            for name, value in row.items():
                writer.add_scalar(name, value, row["step"])
            writer.flush()

        yield log
