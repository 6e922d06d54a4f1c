"""Make the best submission that this machine can make in the time given."""

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isinf

from pipeline.config.competition import Competition
from pipeline.console import result, say, warn
from pipeline.data.resolution import resolve
from pipeline.data.training_table import load_tables
from pipeline.errors import ConfigError, PipelineError, StoppedError
from pipeline.ladder.commands import FOREVER, Commands, Ending
from pipeline.ladder.conductor import Climb
from pipeline.ladder.costs import Cost, Rates, Rehearsal
from pipeline.ladder.course import ENSEMBLE, begin_course, open_course, restore_submission
from pipeline.ladder.plan import Job, Plan, list_jobs, load_plan
from pipeline.ladder.schedule import Deadline, Forecast, clock, lay_out, schedule_table
from pipeline.ladder.schedule import parse_seconds as parse_seconds
from pipeline.machine import num_processes
from pipeline.store.locks import held_alone
from pipeline.store.paths import Paths

# What the rehearsal may take: a share of the limit, and seconds without one.
REHEARSAL_SHARE, REHEARSAL_SECONDS = 0.03, 60.0
# How long the device may take to answer: torch is imported meanwhile, from a slow disk perhaps.
DEVICE_SECONDS = 180.0
# How long before the very end the report must be written: on a busy machine this process itself
# takes two seconds to start and one to end.
REPORT_ENDS = 4.0


@dataclass(frozen=True)
class Options:
    """The options of a run.

    Attributes:
        source: Where archives come from, see `download`.
        limit: Seconds; None for as long as it takes.
        plan: Name or path of a plan; None for the device's.
        tune: Options of `tune`, where there is neither limit nor plan; "off" leaves it out.
        is_dry: Whether to stop at the schedule.
        devices: Options of `train` that say what several jobs at once run on.
    """

    source: str | None = None
    limit: float | None = None
    plan: str | None = None
    tune: str = ""
    is_dry: bool = False
    devices: tuple[str, ...] = ()


def run(paths: Paths, competition: Competition, typed: str, options: Options) -> None:
    """Run all stages; with a limit or a plan, climb its rungs as far as time allows.

    Reads what `download` reads, or what is there already.

    Writes what the stages write; with a limit or a plan submissions/COMPETITION/run.csv, the best
    so far, and artifacts/COMPETITION/run.json.

    Fails if a stage does (PipelineError), the plan is impossible (ConfigError), or Ctrl-C stopped
    it, with what was done kept (StoppedError).

    Args:
        paths: The competition's files.
        competition: As its file declares it.
        typed: The competition as the user named it.
        options: How far to go.
    """
    begun = time.monotonic()
    if num_processes() > 1:
        raise ConfigError(
            "run: must run in one process, which starts others, runs in "
            f"{num_processes()}; start it without accelerate launch"
        )
    commands = Commands(typed, paths.root, options.devices)
    if options.limit is None and options.plan is None:
        if options.is_dry:
            raise ConfigError(
                "--dry-run: must come with a limit or a plan, whose trainings it lays out; add "
                "--time-limit TIME"
            )
        _run_all(paths, commands, options)
        return
    deadline = Deadline(begun, options.limit if options.limit is not None else inf)
    if options.is_dry:
        _run_plan(paths, competition, commands, options, deadline)
        return
    with held_alone(paths.run_lock, f"run {competition.name}"):
        _run_plan(paths, competition, commands, options, deadline)


def _run_plan(
    paths: Paths,
    competition: Competition,
    commands: Commands,
    options: Options,
    deadline: Deadline,
) -> None:
    """Climb a plan, or stop at its schedule."""
    named = options.plan or competition.experiments.plan
    if named:
        list_jobs(load_plan(named), competition)  # a fault is told before anything is done
    rehearsal = Rehearsal(commands)  # it imports torch while images are read
    try:
        _prepare(commands, options, deadline)
        plan, climb = _begin(paths, competition, commands, options, deadline, rehearsal)
        jobs = list_jobs(plan, climb.competition)
        if not options.is_dry:
            open_course(paths, climb.course)
            _climb_first(climb, jobs, rehearsal)
        seconds = rehearsal.seconds
        forecasts = [_forecast(climb, job, rehearsal) for job in jobs]
        if rehearsal.seconds > seconds:
            climb.pace = 1.0  # rehearsed just now, at the machine's pace
    except KeyboardInterrupt as interrupt:  # while nothing but the rehearsal is at work
        raise StoppedError(
            f"run {commands.typed}: stopped by Ctrl-C, what was done is saved; the same command "
            "goes on from there"
        ) from interrupt
    finally:
        rehearsal.close()
    _print_schedule(climb, plan, forecasts)
    if options.is_dry:
        return
    climb.climb(forecasts)
    _end(climb, forecasts)


def _run_all(paths: Paths, commands: Commands, options: Options) -> None:
    """Run the stages one after the other, with the competition's own experiments."""
    tuners = () if "--ray" in options.devices else options.devices
    is_tuned = options.tune.strip() != "off"
    steps = [
        ("download", *_from(options)),
        ("prepare",),
        ("folds",),
        ("train", *options.devices),
        *([("tune", *_split(options.tune), *tuners)] if is_tuned else []),
        ("ensemble",),
        ("submit", "--experiment", ENSEMBLE),
    ]
    for command, *words in steps:
        _require(commands, command, commands.run(command, *words))
    if paths.truth_csv.is_file():
        csv = str(paths.submission(ENSEMBLE))
        ending = commands.run("grade", csv, "--truth", str(paths.truth_csv))
        _require(commands, "grade", ending)
    for command in ("status", "report"):
        _require(commands, command, commands.run(command))


def _split(words: str) -> list[str]:
    try:
        return shlex.split(words)
    except ValueError as error:
        raise ConfigError(
            f"--tune {words}: must be options as a shell takes them ({error}); correct the quotes"
        ) from error


def _from(options: Options) -> list[str]:
    return ["--from", options.source] if options.source else []


def _require(commands: Commands, command: str, ending: Ending) -> None:
    """Go on only after a command that did what it was asked for.

    Raises:
        PipelineError: It failed; its own line says why.
        StoppedError: It was stopped.
    """
    if ending.is_good:
        return
    line = f"pipeline {command} {commands.typed}"
    if ending.was_stopped:
        raise StoppedError(
            f"run: '{line}' was not done when time was up; give more by --time-limit, and run the "
            "same command again"
        )
    raise PipelineError(
        f"run: '{line}' must succeed, ended with exit code {ending.code}; mend what it says above, "
        "and run the same command again"
    )


def _prepare(commands: Commands, options: Options, deadline: Deadline) -> None:
    """Download, prepare and split; a limit counts from the command's beginning."""
    kill_at = FOREVER if options.is_dry else deadline.last - REPORT_ENDS
    for command, *words in (("download", *_from(options)), ("prepare",), ("folds",)):
        _require(commands, command, commands.run(command, *words, kill_at=kill_at))


def _begin(
    paths: Paths,
    declared: Competition,
    commands: Commands,
    options: Options,
    deadline: Deadline,
    rehearsal: Rehearsal,
) -> tuple[Plan, Climb]:
    """Load the plan and what was reached before."""
    patience = min(deadline.last - REPORT_ENDS, time.monotonic() + DEVICE_SECONDS)
    machine = rehearsal.machine(patience)
    plan = load_plan(options.plan or declared.experiments.plan or machine["device"])
    competition, tables = resolve(declared, paths), load_tables(paths)
    climb = Climb(
        paths,
        competition,
        tables,
        commands,
        deadline,
        Rates(paths, machine["machine"]),
        begin_course(paths, competition, plan.name, options.limit),
    )
    return plan, climb


def _climb_first(climb: Climb, jobs: Sequence[Job], rehearsal: Rehearsal) -> None:
    """Make the first file, which is made whatever it costs, before all else is rehearsed."""
    if climb.has_file:
        return
    first = jobs[0].rung.name
    forecasts = [
        _forecast(climb, job, rehearsal) if job.rung.name == first else Forecast(job)
        for job in jobs
    ]
    climb.climb(forecasts, num_rungs=1)


def _forecast(climb: Climb, job: Job, rehearsal: Rehearsal) -> Forecast:
    """Say what a training will take: by what is remembered, else by a rehearsal."""
    try:
        is_trained = climb.is_trained(job)
    except PipelineError as error:  # its weights aren't there
        return Forecast(job, refused=str(error))
    if is_trained:
        return Forecast(job, is_done=True)
    cost = climb.rates.get(job.experiment)
    return _measured(climb, job, rehearsal) if cost is None else _predicted(climb, job, cost)


def _measured(climb: Climb, job: Job, rehearsal: Rehearsal) -> Forecast:
    limit, end = climb.deadline.limit, climb.deadline.end
    budget = REHEARSAL_SECONDS if isinf(limit) else REHEARSAL_SHARE * limit
    until = time.monotonic() + budget - rehearsal.seconds
    answer = rehearsal.rehearse(job, min(until, end))
    if answer.fault:
        warn(f"{job.name}: can't be rehearsed ({answer.fault}); begun if there is time")
    if answer.cost is None:
        return Forecast(job, refused=answer.refused)
    return _predicted(climb, job, answer.cost)


def _predicted(climb: Climb, job: Job, cost: Cost) -> Forecast:
    seconds = cost.predict(climb.num_images, climb.folds_left(job), len(climb.folds()))
    return Forecast(job, cost, seconds=seconds)


def _print_schedule(climb: Climb, plan: Plan, forecasts: Sequence[Forecast]) -> None:
    """Print what can't run here and why, and what fits when."""
    for one in forecasts:
        if one.refused:
            say(f"{one.job.name}: skipped: {one.refused}")
    first_rung = climb.first_rung(forecasts)
    rows = lay_out(forecasts, climb.deadline, climb.reserve, climb.pace, first_rung)
    limit = climb.deadline.limit
    told = "without a limit" if isinf(limit) else f"in {clock(limit)}"
    result(schedule_table(rows, f"run {climb.competition.name}: plan {plan.name}, {told}"))


def _end(climb: Climb, forecasts: list[Forecast]) -> None:
    """Write the report, as far as there is time, and say what there is in the end."""
    course, deadline = climb.course, climb.deadline
    restore_submission(climb.paths, course)
    best = course.best
    if best is None or not climb.has_file:
        raise _no_file(climb, forecasts)
    climb.commands.run("report", kill_at=deadline.last - REPORT_ENDS, is_quiet=True)
    low, high = best.interval
    result(
        f"{climb.paths.submission('run')}: rung {best.rung}, OOF {course.metric} {best.score:.4f} "
        f"[{low:.4f}, {high:.4f}], made of {' + '.join(best.members)}, sha256 {best.sha256}"
    )
    say(f"run {climb.competition.name}: over after {clock(deadline.elapsed)}")


def _no_file(climb: Climb, forecasts: Sequence[Forecast]) -> PipelineError:
    """Say why there is no submission."""
    course, deadline, name = climb.course, climb.deadline, climb.competition.name
    planned = {one.job.name for one in forecasts}
    outcomes = {one.outcome for one in course.attempts if one.experiment in planned}
    if isinf(deadline.limit) or (outcomes and outcomes <= {"failed", "skipped"}):
        return PipelineError(
            f"run {name}: a training of plan '{course.plan}' must succeed, none did; mend what "
            "they say above, and run the same command again"
        )
    first = forecasts[0].seconds
    told = f"there was none after {clock(deadline.elapsed)}"
    if first is not None:
        told = f"some {clock(first * climb.pace)} for the first rung"
    return StoppedError(
        f"run {name}: {clock(deadline.limit)} is too short for a submission here ({told}); give "
        "more by --time-limit: the same command goes on from here"
    )
