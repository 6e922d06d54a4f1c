"""Look at what there is, check what is handed in, and log how it was judged."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.group import (
    CompetitionArgument,
    OverridesOption,
    RootOption,
    experiment_option,
    load,
    typed,
)


def status(competition: CompetitionArgument, root: RootOption = Path()) -> None:
    """Show the stages' state and the scores so far.

    Reads everything of COMPETITION below the root.

    Writes nothing.

    Fails if a trained experiment's files are damaged.

    Example: pipeline status cat-12
    """
    from pipeline.stages import status

    status.run(*load(competition, root))


def report(competition: CompetitionArgument, root: RootOption = Path()) -> None:
    """Make one page of data, scores and mistakes.

    Reads what the other stages wrote, and the images that it shows.

    Writes artifacts/COMPETITION/report/index.html, one file that any browser opens, and prints
    its path. What is missing is left out, or the command that makes it is named.

    Fails if the tables are missing or don't belong together, or an image can't be read.

    Example: pipeline report cat-12
    """
    from pipeline.stages import report

    loaded = load(competition, root)
    report.run(*loaded, typed.get()[1])


def preview(
    competition: CompetitionArgument,
    experiment: Annotated[str, experiment_option("Whose views to show.")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where to write.",
            dir_okay=False,
            show_default="artifacts/COMPETITION/EXPERIMENT/preview.png",
        ),
    ] = None,
    images: Annotated[int, typer.Option(min=1, max=100, metavar="N", help="Number of images.")] = 8,
    views: Annotated[
        int, typer.Option(min=0, max=20, metavar="N", help="Augmented views of each.")
    ] = 5,
    overrides: OverridesOption = None,
    root: RootOption = Path(),
) -> None:
    """Draw augmented views on a contact sheet.

    Reads data/COMPETITION/train.csv and some images.

    Writes artifacts/COMPETITION/EXPERIMENT/preview.png, a row per image and a column per view,
    and prints its path.

    Fails if the experiment or its augmentation is impossible.

    Example: pipeline preview cat-12 --experiment lite0-finetune
    """
    from pipeline.stages import preview

    preview.run(*load(competition, root), experiment, overrides or [], (images, views), out)


def models(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="One network, e.g. resnet50 or timm/convnext_tiny."),
    ] = None,
    image_size: Annotated[
        int, typer.Option(min=16, metavar="PX", help="Height and width in pixels.")
    ] = 224,
    num_classes: Annotated[
        int, typer.Option(min=1, metavar="N", help="Outputs of the head.")
    ] = 1000,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print docs/models.md instead.")
    ] = False,
) -> None:
    """List the networks and what each one costs.

    Reads the installation.

    Writes nothing; prints parameters, multiply-adds and speed.

    Fails if there is no such network, or it can't take images of that size.

    Example: pipeline models resnet50 --image-size 224
    """
    from pipeline.stages import models

    models.run(name, image_size, num_classes, markdown=markdown)


def doctor(root: RootOption = Path()) -> None:
    """Show what this machine can do.

    Reads the installation and the root: Python, torch, device, disk, weights, data.

    Writes nothing.

    Fails never: what is missing is shown.

    Example: pipeline doctor
    """
    from pipeline.stages import doctor

    doctor.run(root)


def validate(
    competition: CompetitionArgument,
    csv: Annotated[Path, typer.Argument(metavar="CSV", help="The file to check.")],
    root: RootOption = Path(),
) -> None:
    """Check any CSV against the judge's format.

    Reads CSV and data/COMPETITION/test.csv.

    Writes nothing; prints every kind of fault with its count and its first line, and remarks on
    answers that are all the same. Kaggle takes quotes, a byte order mark, columns and rows in
    another order, rows to be rescaled, and zips: of its competitions these are told and no fault.

    Fails if there is any fault.

    Example: pipeline validate cat-12 my.csv
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

    Reads CSV, --truth (any table of ids and labels, or a column of 0 and 1 per class; a column
    Usage tells Public from Private) and data/COMPETITION/test.csv.

    Writes nothing; prints the metric with its 95 % interval, macro F1 and the confusion counts.

    Fails if an answer is missing or in doubt, or the truth names unknown images or classes.

    Example: pipeline grade demo my.csv --truth data/demo/truth.csv
    """
    from pipeline.stages import grade

    grade.run(*load(competition, root), csv, truth)


def log_score(
    csv: Annotated[Path, typer.Argument(metavar="FILE", help="The file that was handed in.")],
    public: Annotated[
        float | None, typer.Option(metavar="SCORE", help="The judge's score.", show_default=False)
    ] = None,
    private: Annotated[
        float | None,
        typer.Option(
            metavar="SCORE",
            help="The score that is hidden until the end.",
            show_default=False,
        ),
    ] = None,
    from_kaggle: Annotated[
        str | None,
        typer.Option(
            metavar="COMPETITION",
            help="Ask Kaggle for both scores instead.",
            show_default=False,
        ),
    ] = None,
    root: RootOption = Path(),
) -> None:
    """Log the judge's score of a submitted file.

    Reads FILE.

    Writes the scores into submissions/COMPETITION/log.csv, of the competition whose log knows
    the file's content; 'status' shows them beside the out-of-fold score.

    Fails if 'submit' didn't write that very file, a log is damaged, or Kaggle doesn't have it.

    Example: pipeline log-score submissions/cat-12/ensemble.csv --public 0.93
    """
    from pipeline.stages import log_score as stage

    competition = load(from_kaggle, root)[1] if from_kaggle else None
    stage.run(root, csv, public, private, competition)
