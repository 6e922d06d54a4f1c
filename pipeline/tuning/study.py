"""Open studies that outlive their workers: a journal file on one machine, a database for several.

Every line of a journal is whole, whatever becomes of its writers.
"""

import json
import os
import warnings
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning
from optuna.storages import (
    BaseStorage,
    JournalStorage,
    RDBStorage,
    RetryHeartbeatStaleTrialCallback,
)
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import Study

from pipeline.errors import ArtifactError, ConfigError
from pipeline.machine import pip_install
from pipeline.scoring.metrics import get_metric
from pipeline.store.disk_errors import explained_os_errors
from pipeline.tuning.samplers import FoldPruner, TrialSeededSampler
from pipeline.tuning.search import Search, finite_space

BLOCK_BYTES = 1 << 16
POSTGRES_DRIVER = '"psycopg[binary]"'  # quoted, as shells read brackets


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
        """Release the lock."""
        self.file_lock.release()


def _cut_half_line(path: Path) -> None:
    """Truncate a file behind its last line end."""
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


# Attributes of a study and of its trials.
IDENTITY = "identity"
BASELINE = "baseline"

# A live worker writes a heartbeat every so many seconds; a database's other workers take over its
# trial once there was none for so long.
HEARTBEAT_SECONDS = 60
SILENCE_SECONDS = 180


def open_study(search: Search) -> Study:
    """Open the search's study; where there is none, begin it with the experiment as it stands.

    Raises:
        ConfigError: The experiment's own values aren't in the space, the storage can't be used, or
            the study of that name is another search's.
        ArtifactError: The database doesn't answer.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # lines about trials are ours to say
    baseline = search.space.baseline(search.experiment)
    storage = _storage(search)
    is_greater_better = get_metric(search.competition.metric).greater_is_better
    sampler = TrialSeededSampler(search.sampler, search.experiment.seed, finite_space(search))
    name = f"{search.competition.name}/{search.study_name}"
    with _lock_study(search):
        is_new = True
        try:
            study = optuna.create_study(
                storage=storage,
                study_name=name,
                sampler=sampler,
                pruner=FoldPruner(search.experiment.train.epochs),
                direction="maximize" if is_greater_better else "minimize",
            )
        except DuplicatedStudyError:
            is_new = False
            study = optuna.load_study(
                study_name=name,
                storage=storage,
                sampler=sampler,
                pruner=FoldPruner(search.experiment.train.epochs),
            )
            _check_identity(study, search)
        # Whoever makes the study, one of several commands, enqueues its first trial; if it was
        # killed meanwhile, the next one on this machine does.
        if is_new or (search.url is None and IDENTITY not in study.user_attrs):
            if not study.get_trials(deepcopy=False):
                study.enqueue_trial(baseline, user_attrs={BASELINE: True})
            study.set_user_attr(IDENTITY, search.identity)
    return study


def _lock_study(search: Search) -> AbstractContextManager[object]:
    """Let the workers of this machine open a study one after the other."""
    path = search.paths.study_lock(search.study_name)
    with explained_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path).acquire()


def _check_identity(study: Study, search: Search) -> None:
    if study.user_attrs.get(IDENTITY, search.identity) != search.identity:
        raise ConfigError(
            f"study '{search.study_name}': must be of this experiment, space, data and folds, was "
            "begun with others; name another one with --study"
        )


def _storage(search: Search) -> BaseStorage:
    if search.url is None:
        path = search.paths.study_journal(search.study_name)
        with explained_os_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock_path = search.paths.study_journal_lock(search.study_name)
            return JournalStorage(WholeLineJournal(path, lock_path))
    if search.url.startswith("sqlite"):
        raise ConfigError(
            "--storage: must be a database that serves several workers, SQLite locks under them; "
            "leave it out for a journal file"
        )
    return _database(search.url)


def _database(url: str) -> RDBStorage:
    from sqlalchemy.exc import ArgumentError, IntegrityError, OperationalError, ProgrammingError

    try:
        # Optuna makes its tables, then notes their version. Another command that begins at the same
        # moment may get ahead of either; by the next try it is done.
        for _ in range(2):
            with suppress(IntegrityError, ProgrammingError):
                return _connected(url)
        return _connected(url)
    except ImportError as error:
        raise ConfigError(
            f"--storage: its driver must be installed ({error}); "
            f"run '{pip_install(POSTGRES_DRIVER)}' for postgresql+psycopg"
        ) from error
    except ArgumentError as error:
        raise ConfigError(
            "--storage: must be like postgresql+psycopg://user:password@host/database"
        ) from error
    except OperationalError as error:
        reason = str(error.orig).strip().partition("\n")[0]
        raise ArtifactError(f"--storage: the database must answer, {reason}; start it") from error


def _connected(url: str) -> RDBStorage:
    """Connect to a database, and make Optuna's tables where it has none."""
    from sqlalchemy.pool import NullPool

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return RDBStorage(
            url,
            # Workers are many and silent for long: none keeps a connection open.
            engine_kwargs={"poolclass": NullPool},
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=SILENCE_SECONDS,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
        )
