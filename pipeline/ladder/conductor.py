"""Climb a plan rung by rung: train what fits, blend it, keep the best submission."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from math import isinf

from pipeline.config.competition import Competition
from pipeline.console import run_view, say, warn
from pipeline.data.training_table import Tables
from pipeline.errors import PipelineError, StoppedError
from pipeline.ladder.commands import Commands, Ending
from pipeline.ladder.costs import Rates, pace_of
from pipeline.ladder.course import (
    Attempt,
    Course,
    Outcome,
    Reached,
    restore_submission,
    save_course,
    utc_now,
)
from pipeline.ladder.plan import Job
from pipeline.ladder.schedule import MARGIN, Deadline, Forecast, lay_out
from pipeline.store.freshness import Stamp, file_sha256
from pipeline.store.paths import Paths
from pipeline.store.results import changed_members, is_scored_by, load_result
from pipeline.store.tables import held_out
from pipeline.training.fold_stamps import FoldStamps

# What a rung's ensemble and submission take before any was made, and a little more each time.
FIRST_FINISH_SECONDS, SPARE = 12.0, 1.3
REPORT_SECONDS = 10.0
# How long before the very end a step must be over: a submission and the last line come after it.
ENSEMBLE_ENDS, SUBMISSION_ENDS = 8.0, 3.0
# How long a training may save when it is stopped; a fraction of what may be had beyond the limit.
SAVING_SECONDS = 8.0
# How much longer than the longest so far a training is expected to be that nobody has measured: of
# its own rung, whose trainings are alike, or else of the rungs before, as plans grow dearer.
ALIKE, DEARER = 1.25, 2.0
# Trainings that are shorter say little of the machine's pace.
TELLING_SECONDS = 10.0


@dataclass
class Climb:
    """What happens on the way up.

    Attributes:
        paths: The competition's files.
        competition: Its classes and metric.
        tables: Its images and folds.
        commands: What trains, blends and submits.
        deadline: Of the run.
        rates: What trainings cost here.
        course: What was reached, earlier commands' included.
        finish_seconds: What a rung's ensemble and submission take.
        pace: How much slower than rehearsed trainings are now.
    """

    paths: Paths
    competition: Competition
    tables: Tables
    commands: Commands
    deadline: Deadline
    rates: Rates
    course: Course
    finish_seconds: float = FIRST_FINISH_SECONDS
    pace: float = 1.0
    _before: float = field(init=False)
    _begun: set[str] = field(init=False, default_factory=set)
    _left_out: set[str] = field(init=False, default_factory=set)
    _trained: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self._before = self.course.seconds

    @property
    def has_file(self) -> bool:
        """Whether there is a submission to fall back on."""
        return self.course.best is not None and self.paths.submission("run").is_file()

    @property
    def reserve(self) -> float:
        """Seconds that the rung's end and the report take."""
        return self.finish_seconds + REPORT_SECONDS

    def folds_left(self, job: Job) -> int:
        """Count a training's folds that are still to be trained; 0 where all is done."""
        stamps = self._stamps(job)
        return sum(not stamps.fold(fold).is_fresh() for fold in self.folds())

    def is_trained(self, job: Job) -> bool:
        """Tell whether a training is complete, up to date and scored by today's metric."""
        if job.name not in self._trained:  # else all its files would be read again at every rung
            is_whole = self.folds_left(job) == 0
            if not (is_whole and self._stamps(job).result(self.folds()).is_fresh()):
                return False
            if not is_scored_by(load_result(self.paths.experiment(job.name)), self.competition):
                return False
            self._trained.add(job.name)
        return True

    def folds(self) -> list[int]:
        """List the folds to train."""
        return sorted(held_out(self.tables.folds)["fold"].unique().tolist())

    def _stamps(self, job: Job) -> FoldStamps:
        out = self.paths.experiment(job.name)
        return FoldStamps(self.paths, self.competition, job.experiment, self.tables, out)

    def first_rung(self, forecasts: Sequence[Forecast]) -> str:
        """Name the rung that is begun whatever it costs, as there is no file: the plan's first.

        Where that can't be, the first that can, unless anything is expected to fit.
        """
        attempts = self.course.attempts
        failed = {one.experiment for one in attempts if one.outcome == "failed"} & self._begun
        able = [one for one in forecasts if not one.refused and one.job.name not in failed]
        if self.has_file or not able:
            return ""
        first = able[0].job.rung.name
        if first != forecasts[0].job.rung.name:
            rows = lay_out(able, self.deadline, self.reserve, self.pace)
            first = "" if any(row.fits == "yes" for row in rows) else first
        return first

    def climb(self, forecasts: Sequence[Forecast], num_rungs: int | None = None) -> None:
        """Train, blend and submit, rung by rung, until all is done or time is up.

        Args:
            forecasts: Of all trainings of the plan, in its order.
            num_rungs: How many rungs to climb; None for all.

        Raises:
            StoppedError: Ctrl-C.
            PipelineError: A submission can't be made at all.
        """
        rungs = [(one, list(group)) for one, group in groupby(forecasts, lambda f: f.job.rung.name)]
        able: list[Job] = []
        for number, (name, group) in enumerate(rungs[:num_rungs], start=1):
            place = f"rung {number} of {len(rungs)}"
            for one in group:
                self._train(one, forecasts, place)
            able += [one.job for one in group if not one.refused]
            whole = [job for job in able if self.is_trained(job)]
            members = [job for job in whole if job.name not in self._left_out]
            is_new = any(job.rung.name == name for job in members)
            if (is_new or (members and not self.has_file)) and not self._is_reached(name, members):
                self._finish(name, members, place)

    def _is_reached(self, rung: str, members: Sequence[Job]) -> bool:
        """Tell whether this very blend was made before, and its submission considered."""
        names = tuple(job.name for job in members)
        known = [(one.rung, one.members) for one in self.course.reached]
        blend = self.paths.experiment(f"run-{rung}")
        is_whole = not Stamp(blend.stamp, {}).damaged() and blend.stamp.is_file()
        changed = changed_members(self.paths, f"run-{rung}")
        return self.has_file and (rung, names) in known and is_whole and not changed

    def _train(self, forecast: Forecast, forecasts: Sequence[Forecast], place: str) -> None:
        job = forecast.job
        if forecast.refused:
            self._note(job, "skipped", why=forecast.refused)
            return
        if self.is_trained(job) or job.name in self._begun:  # what failed isn't begun twice
            return
        expected = self._guessed(forecast, forecasts[: forecasts.index(forecast)])
        first_rung = self.first_rung(forecasts)
        (row,) = lay_out([expected], self.deadline, self.reserve, self.pace, first_rung)
        stop_at = self._stop_at(is_first=job.rung.name == first_rung)
        if row.fits != "yes" or time.monotonic() > stop_at:
            is_guess = forecast.seconds is None
            say(f"{place}, {job.name}: not begun, {_reason(expected, self, is_guess=is_guess)}")
            earlier = self._earlier(job)
            if earlier is None or earlier.outcome != "stopped":  # whose time is still to be counted
                self._note(job, "did not fit", forecast.seconds)
            return
        predicted = None if forecast.seconds is None else forecast.seconds * self.pace
        self._begun.add(job.name)
        begun = time.monotonic()
        try:
            ending = self.commands.run(
                "train",
                *job.words,
                *self.commands.devices,
                stop_at=stop_at,
                kill_at=stop_at + SAVING_SECONDS,
                view=self._view(place),
            )
        except StoppedError:
            self._note(job, "stopped", predicted, time.monotonic() - begun, "Ctrl-C")
            raise
        self._learn(forecast, ending, predicted)

    def _guessed(self, forecast: Forecast, before: Sequence[Forecast]) -> Forecast:
        """Expect of what wasn't rehearsed a multiple of the longest so far.

        And no less than of any before it that was predicted, whether that one fitted or not.
        """
        trained = [one for one in self.course.attempts if one.outcome == "trained" and one.seconds]
        alike = [one for one in trained if one.rung == forecast.job.rung.name]
        if forecast.seconds is not None or not trained:
            return forecast
        longest = max(one.seconds or 0.0 for one in alike or trained)
        guess = (ALIKE if alike else DEARER) * longest / self.pace
        least = max((one.seconds or 0.0 for one in before), default=0.0)
        # The guess holds a margin already; `lay_out` adds its own.
        return replace(forecast, seconds=guess / MARGIN if alike else max(guess / MARGIN, least))

    def _stop_at(self, *, is_first: bool) -> float:
        """Say when a training must stop; without a file there is nothing that matters more."""
        if is_first:
            return self.deadline.last - SAVING_SECONDS - self.finish_seconds
        return self.deadline.end - self.reserve

    def _learn(self, forecast: Forecast, ending: Ending, predicted: float | None) -> None:
        """Note how a training went, and what that says of those to come."""
        job, seconds = forecast.job, ending.seconds
        if not ending.is_good:
            outcome: Outcome = "stopped" if ending.was_stopped else "failed"
            why = "time was up" if ending.was_stopped else f"exit code {ending.code}"
            self._note(job, outcome, predicted, seconds, why)
            if outcome == "stopped":
                say(f"{job.name}: stopped, as time is up; what it did is kept")
            else:
                warn(f"{job.name}: failed, as its error says; going on without it")
            return
        self._note(job, "trained", predicted, seconds)
        if forecast.cost is None or not forecast.seconds:
            return
        pace = pace_of(seconds, forecast.seconds, several_jobs=bool(self.commands.devices))
        if pace is None:
            self.rates.forget(job.experiment)
            return
        if seconds > TELLING_SECONDS:
            self.pace = pace
        whole = forecast.cost.predict(self.num_images, len(self.folds()), len(self.folds()))
        # Rates are of one device, for trainings from their beginning.
        if not self.commands.devices and abs(whole - forecast.seconds) < 1.0:
            self.rates.put(job.experiment, forecast.cost.scaled(pace))

    @property
    def num_images(self) -> int:
        """Count train and test images."""
        return len(self.tables.train) + len(self.tables.test)

    def _finish(self, rung: str, members: Sequence[Job], place: str) -> None:
        """Blend what is trained; make its submission the run's unless it scores worse."""
        name, begun = f"run-{rung}", time.monotonic()
        blend = self._blend(name, members, place)
        if not blend.is_good:
            if blend.code > 0 and not blend.was_stopped:  # by itself, so it would again
                self._left_out |= {job.name for job in members if job.rung.name == rung}
            if self.has_file:
                why = "no time to blend" if blend.was_stopped else "not blended, as its error says"
                say(f"{place}, {rung}: {why}; the submission of before stands")
                return
            members = members[-1:]  # alone it is better than nothing
            name = members[0].name
        result = load_result(self.paths.experiment(name))
        score, (low, high) = result.metrics["oof_score"], result.metrics["oof_interval_95"]
        restore_submission(self.paths, self.course)
        is_kept = not self.has_file or self.course.is_no_worse(score)
        sha256 = self._submit(name, place) if is_kept else ""
        reached = Reached(
            rung=rung,
            time=utc_now(),
            seconds=round(self._before + self.deadline.elapsed, 1),
            members=tuple(job.name for job in members),
            score=score,
            interval=(low, high),
            log_loss=result.metrics.get("log_loss"),
            source=name,
            sha256=sha256,
        )
        if is_kept and not sha256:
            stands = "the one of before stands" if self.has_file else "there is none yet"
            warn(f"{place}, {rung}: its submission was not written; {stands}")
            return
        course = self.course.with_reached(reached)
        if not self.has_file:  # what is noted as reached has a file
            restore_submission(self.paths, course)
        self._save(course)
        # A later one is noted first: of a run that is killed between, the next one copies it.
        restore_submission(self.paths, course)
        self.finish_seconds = max(4.0, (time.monotonic() - begun) * SPARE)
        fate = "" if is_kept else f", worse than {self.course.best and self.course.best.score:.4f}"
        say(
            f"{place}, {rung}: OOF {result.metrics['metric']} {score:.4f} [{low:.4f}, {high:.4f}] "
            f"after {reached.seconds:.0f} s{fate} -> {self.paths.submission('run')}"
        )

    def _blend(self, name: str, members: Sequence[Job], place: str) -> Ending:
        return self.commands.run(
            "ensemble",
            "--name",
            name,
            *(word for job in members for word in ("--experiment", job.name)),
            kill_at=self.deadline.last - ENSEMBLE_ENDS,
            view=self._view(place),
            is_quiet=True,
        )

    def _submit(self, name: str, place: str) -> str:
        """Write a result's submission.

        Returns:
            Its sha256; "" where it wasn't written.

        Raises:
            PipelineError: It can't be, for another reason than time, and there is none yet.
        """
        ending = self.commands.run(
            "submit",
            "--experiment",
            name,
            kill_at=self.deadline.last - SUBMISSION_ENDS,
            view=self._view(place),
            is_quiet=True,
        )
        if not ending.is_good:
            if ending.was_stopped or self.has_file:
                return ""
            raise PipelineError(
                f"run {self.competition.name}: 'pipeline submit {self.commands.typed} --experiment "
                f"{name}' must succeed, ended with exit code {ending.code}; mend what it says "
                "above, and run the same command again"
            )
        return file_sha256(self.paths.submission(name))

    def _note(
        self,
        job: Job,
        outcome: Outcome,
        predicted: float | None = None,
        seconds: float | None = None,
        why: str = "",
    ) -> None:
        earlier = self._earlier(job)
        if seconds is not None and earlier and earlier.outcome == "stopped":  # it went on
            done = earlier.seconds or 0.0
            seconds, predicted = seconds + done, None if predicted is None else predicted + done
        attempt = Attempt(
            rung=job.rung.name,
            experiment=job.name,
            outcome=outcome,
            predicted_seconds=None if predicted is None else round(predicted, 1),
            seconds=None if seconds is None else round(seconds, 1),
            why=why,
        )
        self._save(self.course.with_attempt(attempt))

    def _earlier(self, job: Job) -> Attempt | None:
        """Return what became of a training when it was last tried."""
        return next((one for one in self.course.attempts if one.experiment == job.name), None)

    def _save(self, course: Course) -> None:
        seconds = round(self._before + self.deadline.elapsed, 1)
        self.course = course.model_copy(update={"seconds": seconds})
        save_course(self.paths, self.course)

    def _view(self, place: str) -> str:
        best = self.course.best
        ends = None if isinf(self.deadline.limit) else time.time() + self.deadline.left
        return run_view(place, ends, f"{best.score:.4f}" if best else "")


def _reason(forecast: Forecast, climb: Climb, *, is_guess: bool) -> str:
    if forecast.seconds is None:
        return "as there was no time to rehearse it"
    needed, left = forecast.seconds * climb.pace, climb.deadline.left - climb.reserve
    takes = "it wasn't rehearsed, and may take" if is_guess else "it takes"
    return f"{takes} {needed / 60:.1f} min, {max(0.0, left) / 60:.1f} are left"
