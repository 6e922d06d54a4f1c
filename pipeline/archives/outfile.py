"""A file that an entry is unpacked into, no further than the entry claims to go."""

from pathlib import Path
from types import TracebackType
from typing import Self


class OutFile:
    """A new file of a size that is known beforehand; read-only when it is complete.

    Raises:
        EOFError: More or fewer bytes came than were declared.
    """

    def __init__(self, path: Path, num_bytes: int) -> None:
        self._path = path
        self._declared = num_bytes
        self._num_written = 0

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("xb")
        return self

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._num_written += len(chunk)
        if self._num_written > self._declared:
            self._check_size()
        self._file.write(chunk)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        if kind is None:
            self._check_size()
            self._path.chmod(0o444)

    def _check_size(self) -> None:
        if self._num_written != self._declared:
            raise EOFError(f"{self._num_written:,} bytes came, {self._declared:,} were declared")
