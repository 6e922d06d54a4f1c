"""The journal of a study, of which every line is whole whatever becomes of its writers."""

import json
import os
from pathlib import Path
from typing import Any

from filelock import FileLock
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from pipeline.files.disk_errors import explained_os_errors

BLOCK_BYTES = 1 << 16


class WholeLineJournal(JournalFileBackend):
    """Optuna's journal file, mended by whoever writes next.

    A full disk, a kill or a power cut may leave half a line at its end. Optuna would append to that
    half, and never read the study again.

    Args:
        path: The journal; made where missing.
        lock_path: Held while a line is written.
    """

    def __init__(self, path: Path, lock_path: Path) -> None:
        self._path = path
        self._kernel_lock = _KernelLock(lock_path)
        super().__init__(str(path), self._kernel_lock)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write lines, all of them or none.

        Raises:
            DiskError: The disk is full, or not ours to write to.
        """
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        with explained_os_errors(self._path, len(lines)), self._kernel_lock.file_lock:
            _cut_half_line(self._path)
            num_bytes = self._path.stat().st_size
            try:
                with self._path.open("ab") as file:
                    file.write(lines)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:
                os.truncate(self._path, num_bytes)
                raise


class _KernelLock(JournalFileOpenLock):
    """A lock that the kernel frees when its holder dies; Optuna's own waits for half a minute."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.file_lock = FileLock(path)

    def acquire(self) -> bool:
        """Wait for the lock."""
        self.file_lock.acquire()
        return True

    def release(self) -> None:
        """Give it back."""
        self.file_lock.release()


def _cut_half_line(path: Path) -> None:
    """Cut off what stands behind the last line end."""
    with path.open("r+b") as file:
        end = kept = file.seek(0, os.SEEK_END)
        while kept > 0:
            start = max(0, kept - BLOCK_BYTES)
            file.seek(start)
            kept = start + file.read(kept - start).rfind(b"\n") + 1
            if kept > start:
                break
        if kept < end:
            file.truncate(kept)
