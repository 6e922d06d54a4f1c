"""Find out what would make the result better, and use it elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.group import (
    BLEND,
    CompetitionArgument,
    ExcelOption,
    GpusOption,
    OverridesOption,
    PerGpuOption,
    RayOption,
    RootOption,
    complete_result,
    experiment_option,
    load,
    typed,
)


def suspects(
    competition: CompetitionArgument,
    experiment: Annotated[
        str | None,
        experiment_option(
            "Experiment or ensemble whose predictions to take.", complete_result, BLEND
        ),
    ] = None,
    excel: ExcelOption = False,
    root: RootOption = Path(),
) -> None:
    """List training labels that are probably wrong.

    Reads folds/COMPETITION.csv and artifacts/COMPETITION/EXPERIMENT/oof.npz.

    Writes suspects.csv beside it: the images whose label the out-of-fold predictions
    contradict, the most contradicted first. Write 'drop', 'relabel' or 'keep' into its column
    action and give it to 'folds --corrections'; nothing is corrected by itself.

    Fails if the predictions are missing or stale, both blends are there and none is named, or a
    list with actions would be overwritten.

    Example: pipeline suspects cat-12 --experiment large-probe-lite0
    """
    from pipeline.ladder.course import blend_to_take
    from pipeline.stages import suspects

    paths, loaded = load(competition, root)
    suspects.run(paths, loaded, blend_to_take(paths, experiment), excel=excel)


def review(
    competition: CompetitionArgument,
    port: Annotated[
        int,
        typer.Option(
            min=0, max=65535, metavar="N", help="To listen on.", show_default="any that is free"
        ),
    ] = 0,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")
    ] = True,
    root: RootOption = Path(),
) -> None:
    """Keep, drop or relabel doubtful images.

    Reads what report reads, and the images that are opened.

    Writes artifacts/COMPETITION/report/corrections.csv, at every decision, for 'folds
    --corrections'; serves the page of 'report' from 127.0.0.1 until Ctrl-C, to whoever has the
    address that it prints.

    Fails if no label is in doubt, the tables don't belong together, or an image can't be read.

    Example: pipeline review cat-12
    """
    from pipeline.stages import review

    loaded = load(competition, root)
    review.run(*loaded, typed.get()[1], port, opens=browser)


def tta(
    competition: CompetitionArgument,
    experiment: Annotated[str, experiment_option("A trained experiment.", complete_result)],
    root: RootOption = Path(),
) -> None:
    """Compare test-time augmentations out of fold.

    Reads data/COMPETITION/train.csv and images, folds/COMPETITION.csv and the checkpoints of
    artifacts/COMPETITION/EXPERIMENT.

    Writes tta.json there; prints a score and milliseconds per policy, and recommends the
    cheapest that no dearer one beats beyond noise.

    Fails if the experiment isn't trained over all of today's folds, or is an ensemble.

    Example: pipeline tta cat-12 --experiment large-probe-lite0
    """
    from pipeline.stages import tta

    tta.run(*load(competition, root), experiment)


def ablate(
    competition: CompetitionArgument,
    experiment: Annotated[str, experiment_option("What to train with each recipe.")],
    recipes: Annotated[
        str,
        typer.Option(
            metavar="A,B,...", help="Recipes of views; the others are compared with the first."
        ),
    ] = "none,light,medium,heavy",
    seeds: Annotated[int, typer.Option(min=1, metavar="N", help="Trainings of each recipe.")] = 3,
    overrides: OverridesOption = None,
    gpus: GpusOption = None,
    per_gpu: PerGpuOption = 1,
    ray: RayOption = None,
    root: RootOption = Path(),
) -> None:
    """Compare augmentation recipes.

    Reads what train reads.

    Writes artifacts/COMPETITION/ablations/EXPERIMENT: a training per recipe and seed, laid out
    as an experiment, ablation.json and ablation.csv, curves.csv and pictures; prints better,
    worse or can't tell of every recipe. Broken off or killed, the same command goes on where it
    was.

    Fails if a recipe is unknown, or the experiment draws no augmented views.

    Example: pipeline ablate cat-12 --experiment lite0-finetune --seeds 3
    """
    from pipeline.stages import ablate
    from pipeline.training.ray_cluster import PoolOptions

    options = ablate.Options(
        experiment, recipes, seeds, overrides or [], PoolOptions(gpus, per_gpu, ray)
    )
    ablate.run(*load(competition, root), options)


def predict(
    competition: CompetitionArgument,
    experiment: Annotated[str, experiment_option("What to predict with.", complete_result)],
    images: Annotated[Path, typer.Option(metavar="DIR", help="Folder of images, at any depth.")],
    tta: Annotated[
        str | None,
        typer.Option(
            metavar="plain|flip|scales|rotations|five-crops|auto",
            help="Test-time views to average over; auto: what 'tta' recommends.",
            show_default="the experiment's own, plain or flip",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="A .csv, .json or .parquet.", dir_okay=False)
    ] = Path("predictions.csv"),
    excel: ExcelOption = False,
    root: RootOption = Path(),
) -> None:
    """Predict the images of any folder.

    Reads DIR and the checkpoints of artifacts/COMPETITION/EXPERIMENT, of every fold.

    Writes FILE: per image its class and the probability of each, or why it can't be read.

    Fails if the experiment isn't trained over all folds, is an ensemble, or DIR has no images.

    Example: pipeline predict cat-12 --experiment lite0-probe --images ~/cats
    """
    from pipeline.stages import predict
    from pipeline.store.tables import add_mark

    predict.run(*load(competition, root), experiment, images, tta, out)
    if excel and out.suffix == ".csv":
        add_mark(out)
