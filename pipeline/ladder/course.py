"""Keep the course of `run`, `artifacts/<competition>/run.json`: what was reached when."""

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from pipeline.config.competition import Competition
from pipeline.console import say
from pipeline.errors import ConfigError
from pipeline.scoring.metrics import get_metric
from pipeline.store.atomic import write_bytes, write_text
from pipeline.store.disk_errors import explained_os_errors
from pipeline.store.freshness import digest, fingerprint
from pipeline.store.paths import Paths

ENSEMBLE = "ensemble"  # what `ensemble` calls a blend of all, unless it is told otherwise
Outcome = Literal["trained", "stopped", "failed", "skipped", "did not fit"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Reached(_Record):
    """A rung that was climbed, and the file that came of it.

    Attributes:
        rung: Its name.
        time: When, UTC.
        seconds: Of work until then, earlier commands' included.
        members: The experiments that were blended.
        score: Of the blend, nested out of fold.
        interval: Its 95 % interval.
        log_loss: The same predictions' log loss; None of numbers.
        source: Whose submission it is, an ensemble or, for want of time, an experiment.
        sha256: Of the submission; empty where it wasn't better than what there was.
    """

    rung: str
    time: AwareDatetime
    seconds: float
    members: tuple[str, ...]
    score: float
    interval: tuple[float, float]
    log_loss: float | None
    source: str
    sha256: str = ""


class Attempt(_Record):
    """A training: what it was expected to take, and what it took.

    Attributes:
        rung: Its rung.
        experiment: Its name.
        outcome: What became of it.
        predicted_seconds: None where nothing was known.
        seconds: None where it wasn't begun.
        why: Of one that was skipped or failed.
    """

    rung: str
    experiment: str
    outcome: Outcome
    predicted_seconds: float | None = None
    seconds: float | None = None
    why: str = ""


class Course(_Record):
    """All of it, oldest first.

    Attributes:
        plan: The plan's name.
        metric: What scores measure.
        scored_by: How they are made, see `Competition.scoring`; empty for by the metric alone.
        folds_sha256: Of the fold table: over other folds, a course begins anew.
        answers_sha256: Of what decides scores and submissions besides folds: train and test images
            by content, form; empty where an older version wrote it, which goes on.
        limit_seconds: The last command's limit; None without.
        seconds: Of work so far.
        reached: The rungs that were climbed.
        attempts: The trainings, one of each experiment, the last one.
    """

    plan: str
    metric: str
    folds_sha256: str
    answers_sha256: str = ""
    scored_by: str = ""
    limit_seconds: float | None = None
    seconds: float = 0.0
    reached: tuple[Reached, ...] = ()
    attempts: tuple[Attempt, ...] = ()

    @property
    def best(self) -> Reached | None:
        """The rung whose submission stands."""
        written = [one for one in self.reached if one.sha256]
        return written[-1] if written else None

    def is_no_worse(self, score: float) -> bool:
        """Tell whether a score is as good as that of the file that stands, or better."""
        if self.best is None:
            return True
        gain = score - self.best.score
        return (gain if get_metric(self.metric).greater_is_better else -gain) >= 0

    def with_reached(self, new: Reached) -> "Course":
        """Add a rung, unless its file stands already or the same blend was worse before."""
        if new.sha256:
            same = [self.best] if self.best and self.best.sha256 == new.sha256 else []
        else:
            same = list(self.reached)
        if (new.rung, new.members, new.score) in [
            (one.rung, one.members, one.score) for one in same
        ]:
            return self
        return self.model_copy(update={"reached": (*self.reached, new)})

    def with_attempt(self, new: Attempt) -> "Course":
        """Note a training in the place of an earlier one of the same experiment."""
        others = [one for one in self.attempts if one.experiment != new.experiment]
        return self.model_copy(update={"attempts": (*others, new)})


def load_course(paths: Paths) -> Course | None:
    """Read what earlier commands reached over today's folds; None where there is nothing."""
    try:
        course = Course.model_validate_json(paths.run_json.read_bytes())
    except (OSError, ValidationError):
        return None
    return course if course.folds_sha256 == digest(paths.folds_csv) else None


def blend_to_take(paths: Paths, named: str | None) -> str:
    """Name the blend that a command takes which wasn't told any: `make all`'s or the best of `run`.

    Raises:
        ConfigError: Both are there; which one is meant can't be known.
    """
    course = load_course(paths)
    best = course.best if course else None
    if named is not None or best is None:
        return named or ENSEMBLE
    if not paths.experiment(ENSEMBLE).stamp.is_file():
        return best.source
    raise ConfigError(
        f"--experiment: must be named where a blend of all, '{ENSEMBLE}', and the best of 'run', "
        f"'{best.source}', are there; give --experiment {best.source} or --experiment {ENSEMBLE}"
    )


def begin_course(paths: Paths, competition: Competition, plan: str, limit: float | None) -> Course:
    """Go on with the course that there is, or begin one and say why; nothing is written.

    It begins anew over other folds, images, measures or forms of answers, and without a file
    that could stand.
    """
    new = Course(
        plan=plan,
        metric=competition.metric,
        scored_by=competition.scoring,
        folds_sha256=digest(paths.folds_csv) or "",
        answers_sha256=_answers_digest(paths, competition),
        limit_seconds=limit,
    )
    course = load_course(paths)
    if course is None:
        if paths.run_json.is_file():
            say(f"{paths.run_json}: is of other folds, or can't be read; begins anew")
        return new
    before = course.scored_by or course.metric, course.answers_sha256 or new.answers_sha256
    if before != (new.scored_by, new.answers_sha256):
        say(f"{paths.run_json}: is of another metric, other images or form of answers; begins anew")
        return new
    if course.best is not None and _find_submission(paths, course.best) is None:
        say(f"{paths.submission('run')}: is gone, as is what it was made from; made again")
        course = course.model_copy(update={"reached": ()})
    today = {"plan": plan, "limit_seconds": limit, "answers_sha256": new.answers_sha256}
    return course.model_copy(update=today)


def _answers_digest(paths: Paths, competition: Competition) -> str:
    # What the file is called is no part of it, and a key that is new has its default.
    form = competition.submission.model_dump(
        mode="json", exclude={"file_name"}, exclude_defaults=True
    )
    tables = [digest(paths.train_csv), digest(paths.test_csv)]
    return fingerprint([*tables, form, list(competition.classes)])


def open_course(paths: Paths, course: Course) -> None:
    """Write the course that a command begins with, and put its submission in its place.

    A course that isn't gone on with is kept beside it, as run-before.json.
    """
    known, old = load_course(paths), paths.run_json
    if known is None or (known.reached, known.attempts) != (course.reached, course.attempts):
        with explained_os_errors(old), suppress(FileNotFoundError):
            old.replace(old.with_name("run-before.json"))
    save_course(paths, course)
    restore_submission(paths, course)


def restore_submission(paths: Paths, course: Course) -> None:
    """Put the best rung's submission back, should it be gone or another one."""
    target = paths.submission("run")
    source = _find_submission(paths, course.best) if course.best else None
    if source is not None and source != target:
        write_bytes(target, source.read_bytes())


def _find_submission(paths: Paths, best: Reached) -> Path | None:
    places = (paths.submission("run"), paths.submission(best.source))
    return next((place for place in places if digest(place) == best.sha256), None)


def save_course(paths: Paths, course: Course) -> None:
    """Write it, whole or not at all."""
    write_text(paths.run_json, course.model_dump_json(indent=2) + "\n")


def utc_now() -> datetime:
    """Return the time in whole seconds, UTC."""
    return datetime.now(UTC).replace(microsecond=0)
