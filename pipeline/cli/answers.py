"""Commands around what is answered: submissions, their scores, other images."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.arguments import CompetitionArgument, RootOption
from pipeline.cli.group import load


def submit(
    competition: CompetitionArgument,
    experiment: Annotated[
        str, typer.Option(metavar="NAME", help="Experiment or ensemble to submit.")
    ] = "ensemble",
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
    """Write the CSV that the judge wants, after checking it.

    Reads data/COMPETITION/test.csv and artifacts/COMPETITION/EXPERIMENT/test.npz. Writes
    submissions/COMPETITION/EXPERIMENT.csv and notes it in log.csv beside it.

    Fails if the predictions are missing or stale, or the file would be invalid; an older
    submission then stays as it was. Never sends a file twice.
    """
    from pipeline.stages import submit

    loaded = load(competition, root)
    submit.run(*loaded, experiment, to_kaggle=to_kaggle, message=message)


def score(
    csv: Annotated[Path, typer.Argument(metavar="FILE", help="The file that was handed in.")],
    public: Annotated[
        float | None, typer.Option(help="The judge's score.", show_default=False)
    ] = None,
    private: Annotated[
        float | None,
        typer.Option(help="The score on the part told at the end.", show_default=False),
    ] = None,
    root: RootOption = Path(),
) -> None:
    """Note the judge's score of a file; 'status' shows it beside the out-of-fold score.

    Reads FILE. Writes the scores into submissions/COMPETITION/log.csv, of the competition whose
    log knows the file's content.

    Fails if 'submit' didn't write that very file, or a log is damaged.
    """
    from pipeline.stages import log_score

    log_score.run(root, csv, public, private)


def tta(
    competition: CompetitionArgument,
    experiment: Annotated[str, typer.Option(metavar="NAME", help="A trained experiment.")],
    root: RootOption = Path(),
) -> None:
    """Compare test-time views: what they earn out of fold, and what they cost.

    Reads data/COMPETITION/train.csv and images, and the checkpoints of artifacts/COMPETITION/
    EXPERIMENT. Writes tta.json there; prints a score and milliseconds per policy, and recommends
    the cheapest that no dearer one beats beyond noise.

    Fails if the experiment isn't trained over all of today's folds, or is an ensemble.
    """
    from pipeline.stages import tta

    tta.run(*load(competition, root), experiment)


def predict(
    competition: CompetitionArgument,
    experiment: Annotated[str, typer.Option(metavar="NAME", help="What to predict with.")],
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
    root: RootOption = Path(),
) -> None:
    """Predict the images of any folder.

    Reads DIR and the checkpoints of artifacts/COMPETITION/EXPERIMENT, of every fold. Writes FILE:
    per image its class and the probability of each, or why it can't be read.

    Fails if the experiment isn't trained over all folds, is an ensemble, or DIR has no images.
    """
    from pipeline.stages import predict

    predict.run(*load(competition, root), experiment, images, tta, out)


def validate(
    competition: CompetitionArgument,
    csv: Annotated[Path, typer.Argument(metavar="CSV", help="The file to check.")],
    root: RootOption = Path(),
) -> None:
    """Check any CSV against the competition's format.

    Reads CSV and data/COMPETITION/test.csv. Writes nothing; prints every kind of fault with its
    count and its first line.

    Fails if there is any fault.
    """
    from pipeline.stages import validate

    validate.run(*load(competition, root), csv)


def grade(
    competition: CompetitionArgument,
    csv: Annotated[Path, typer.Argument(metavar="CSV", help="The submission to grade.")],
    truth: Annotated[
        Path, typer.Option(metavar="CSV", help="True labels of all or some test images.")
    ],
    root: RootOption = Path(),
) -> None:
    """Score a submission against known labels.

    Reads CSV and --truth (a submission's format, or image_id,label with a header). Writes
    nothing; prints the metric with its 95 % interval, macro F1 and the confusion counts.

    Fails if the submission is invalid, or the truth names unknown images or classes.
    """
    from pipeline.stages import grade

    grade.run(*load(competition, root), csv, truth)
