"""Check what is handed in, and log how it was judged."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.group import CompetitionArgument, RootOption, load


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
