"""The main path's second half, from folds to a submission; and `run`, all of it in one."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.group import (
    BLEND,
    CompetitionArgument,
    GpusOption,
    OverridesOption,
    PerGpuOption,
    RayOption,
    RootOption,
    complete_result,
    experiment_option,
    load,
)


def train(
    competition: CompetitionArgument,
    experiment: Annotated[
        list[str] | None,
        experiment_option("May be repeated.", default="the competition's, for this device"),
    ] = None,
    fold: Annotated[
        list[int] | None,
        typer.Option("--fold", metavar="K", help="Only these folds.", show_default=False),
    ] = None,
    overrides: OverridesOption = None,
    gpus: GpusOption = None,
    per_gpu: PerGpuOption = 1,
    ray: RayOption = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="DIR|URL",
            help="Where machines of --ray that don't share --root fetch the archives.",
            show_default="they share it",
        ),
    ] = None,
    root: RootOption = Path(),
) -> None:
    """Train experiments over the folds.

    Reads data/COMPETITION/train.csv, test.csv and images, and folds/COMPETITION.csv. Without
    --experiment: the competition's defaults for this device.

    Writes artifacts/COMPETITION/EXPERIMENT: config, environment, a checkpoint, history and
    predictions per fold, oof.npz, test.npz and metrics.json. Broken off or killed, the same
    command goes on where it was. Started several times, each takes the next fold that no other
    one is at. One fold on several GPUs: accelerate launch -m pipeline train ...

    Fails if an experiment, a key of --set or the weights are missing.

    Example: pipeline train cat-12 --experiment lite0-probe --set head.l2=0.1
    """
    from pipeline.stages import train
    from pipeline.training.ray_cluster import PoolOptions

    pool = PoolOptions(gpus, per_gpu, ray, source, competition)
    train.run(*load(competition, root), experiment or [], fold or [], overrides or [], pool)


def tune(
    competition: CompetitionArgument,
    experiment: Annotated[
        str | None,
        experiment_option(
            "What to improve; its file holds a table [tune].",
            default="the competition's first for this device",
        ),
    ] = None,
    trials: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Trials of the study in the end."),
    ] = 50,
    timeout: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="Begin no trial later.", show_default="none"),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, metavar="N", help="Processes that run trials.")
    ] = 1,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="A database for several machines, postgresql+psycopg://...",
            show_default="a journal file",
        ),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Its name.", show_default="one by all that decides it"),
    ] = None,
    sampler: Annotated[
        str, typer.Option(metavar="tpe|gp|random", help="How values are chosen.")
    ] = "tpe",
    overrides: OverridesOption = None,
    gpus: GpusOption = None,
    per_gpu: PerGpuOption = 1,
    ray: RayOption = None,
    root: RootOption = Path(),
) -> None:
    """Search for better hyperparameters, by OOF.

    Reads what train reads, and the experiment's table [tune].

    Writes every trial to artifacts/COMPETITION/.studies; trains EXPERIMENT-tuned with the best
    values, and writes best.toml, trials.csv and pictures beside its results. Broken off or
    killed, the same command goes on with the study; Ctrl-C ends it after the current fold.

    Fails if there is no table [tune], no trial goes through all folds, or the database doesn't
    answer.

    Example: pipeline tune cat-12 --trials 100 --timeout 600
    """
    from pipeline.stages import tune
    from pipeline.training.ray_cluster import PoolOptions

    pool = PoolOptions(gpus, per_gpu, ray)
    options = tune.Options(trials, timeout, workers, storage, study, sampler, pool)
    tune.run(*load(competition, root), experiment, overrides or [], options)


def ensemble(
    competition: CompetitionArgument,
    experiment: Annotated[
        list[str] | None,
        experiment_option("May be repeated.", complete_result, "every trained one"),
    ] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="Name of the ensemble.")] = "ensemble",
    method: Annotated[
        str,
        typer.Option(
            metavar="auto|mean|weighted|calibrated|rank|stack",
            help="auto: stack, unless another one is better beyond noise.",
        ),
    ] = "auto",
    prune: Annotated[
        bool, typer.Option("--prune", help="Drop members that aren't missed beyond noise.")
    ] = False,
    root: RootOption = Path(),
) -> None:
    """Blend the experiments' predictions.

    Reads artifacts/COMPETITION/EXPERIMENT/oof.npz and test.npz. Without --experiment: every
    trained experiment.

    Writes the same two, metrics.json and reliability.png to artifacts/COMPETITION/NAME; prints
    what each method scores (nested: fitted on the other folds) and what each member is worth.

    Fails if members were trained over other folds, classes or images than the current ones, or
    an ensemble would be part of its own members.

    Example: pipeline ensemble cat-12 --prune
    """
    from pipeline.stages import ensemble

    ensemble.run(*load(competition, root), experiment or [], name, method, prune=prune)


def submit(
    competition: CompetitionArgument,
    experiment: Annotated[
        str | None, experiment_option("Experiment or ensemble to submit.", complete_result, BLEND)
    ] = None,
    to_kaggle: Annotated[
        bool, typer.Option("--to-kaggle", help="Send the file, with Kaggle's own client.")
    ] = False,
    message: Annotated[
        str,
        typer.Option(
            "--message",
            "-m",
            metavar="TEXT",
            help="Describes it there.",
            show_default="the experiment's name",
        ),
    ] = "",
    root: RootOption = Path(),
) -> None:
    """Check and write the CSV for the judge.

    Reads data/COMPETITION/test.csv and artifacts/COMPETITION/EXPERIMENT/test.npz.

    Writes submissions/COMPETITION/EXPERIMENT.csv, beside it the same under the name that the
    judge wants (result.csv of cat-12), and notes it in log.csv.

    Fails if the predictions are missing or stale, both blends are there and none is named, or
    the file would be invalid; an older submission then stays as it was. Never sends a file twice:
    of one that was sent, --to-kaggle asks for the scores that Kaggle tells by now.

    Example: pipeline submit cat-12 --experiment ensemble
    """
    from pipeline.ladder.course import blend_to_take
    from pipeline.stages import submit

    paths, loaded = load(competition, root)
    chosen = blend_to_take(paths, experiment)
    submit.run(paths, loaded, chosen, to_kaggle=to_kaggle, message=message)


def run(
    competition: CompetitionArgument,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="DIR|URL",
            help="Folder or base URL that holds the archives.",
            show_default="the competition's own urls",
        ),
    ] = None,
    time_limit: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="As 2h, 45m or 90s.", show_default="none"),
    ] = None,
    plan: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="What to train in which order: cpu, cuda, mps or a TOML file.",
            show_default="with a limit, the competition's or the device's",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what fits in the time, and stop.")
    ] = False,
    tune: Annotated[
        str,
        typer.Option(
            metavar="OPTIONS|off",
            help="Options of 'tune', where there is neither limit nor plan; off leaves it out.",
        ),
    ] = "--trials 12 --timeout 15",
    gpus: GpusOption = None,
    per_gpu: PerGpuOption = 1,
    ray: RayOption = None,
    root: RootOption = Path(),
) -> None:
    """Make the best submission in the time given.

    Reads what download reads, or what is there already; without a limit the competition's own
    experiments are trained, tuned and blended.

    Writes what the commands of the main path write. With --time-limit the trainings of a plan are
    made in their order, the cheap ones first, and submissions/COMPETITION/run.csv is always the
    best file so far; artifacts/COMPETITION/run.json says what was reached when. It ends in time,
    30 s or 2 % allowed for; the same command with more time goes on from there.

    Fails if the data can't be prepared, the plan is impossible, or no training gives a file in
    time; without a plan, if any of its commands does.

    Example: pipeline run cat-12 --from ~/cat-12 --time-limit 45m
    """
    from pipeline.stages import run as stage

    limit = None if time_limit is None else stage.parse_seconds(time_limit)
    given = (("--gpus", gpus), ("--per-gpu", per_gpu if per_gpu > 1 else None), ("--ray", ray))
    devices = tuple(word for name, one in given if one is not None for word in (name, str(one)))
    options = stage.Options(source, limit, plan, tune, dry_run, devices)
    stage.run(*load(competition, root, as_declared=True), competition, options)
