"""The main path's first half, from what a user has to folds."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.group import CompetitionArgument, ExcelOption, RootOption, load


def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Names the competition's folders.")],
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="Holds all of it.", show_default=False),
    ] = None,
    train: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Training images, or their archive.", show_default=False),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Test images, or their archive.", show_default=False),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="CSV", help="List of labels.", show_default=False)
    ] = None,
    sample_submission: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="The judge's sample.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The file to write.", show_default="NAME.toml"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a competition's TOML from your files.

    Reads what is named: folders and archives of images, lists of labels, a sample submission;
    with --from, whatever lies in a folder.

    Writes NAME.toml and prints what was inferred from what.

    Fails if the file is there already, there are no images, or a list can't be made out.

    Example: pipeline init plants --from ~/plants
    """
    from pipeline.data.init.file_roles import GivenPaths
    from pipeline.stages import init

    init.run(name, GivenPaths(train, test, labels, sample_submission), source, out, force=force)


def download(
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
    root: RootOption = Path(),
) -> None:
    """Fetch the archives and unpack them.

    Reads the competition's archives from --from or from its urls, in order, those of Kaggle's
    with Kaggle's own client if it is installed (package kaggle); draws those of a drawn
    competition (demo, demo-12, cifar-10-demo).

    Writes data/COMPETITION/archives, images and download.json, and truth.csv where the archives
    tell it. What lies unpacked in the folder is linked to and read in place.

    Fails if an archive is missing, broken, encrypted, not what its size, sha256 or md5 says, or
    would write outside its folder; nothing half-done is left behind.

    Example: pipeline download cat-12 --from ~/cat-12
    """
    from pipeline.stages import download

    download.run(*load(competition, root, as_declared=True), source)


def prepare(
    competition: CompetitionArgument,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Processes that decode.", show_default="one per CPU core"
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Look for the test images in any folder.", show_default=False
        ),
    ] = None,
    excel: ExcelOption = False,
    root: RootOption = Path(),
) -> None:
    """Read every image once and write the tables.

    Reads data/COMPETITION/archives and images; with --against, every image below DIR.

    Writes data/COMPETITION/train.csv, test.csv, audit.json and audit.csv: labels, sizes, real
    types, duplicates, unreadable and unlisted files; and resolved.json: classes and header,
    where they are read from labels and sample submission; given_folds.csv, the organiser's folds
    where there are some. With --against, overlap.csv: the test images that lie in DIR, too, byte
    for byte or nearly, so that a leak is noticed and not used.

    Fails if no image or no label is found, a label is unknown, a class is empty, or a list or
    the sample submission contradicts the competition's file.

    Example: pipeline prepare cat-12
    """
    from pipeline.stages import prepare

    loaded = load(competition, root, as_declared=True)
    prepare.run(*loaded, workers, against, excel=excel)


def folds(
    competition: CompetitionArgument,
    num_folds: Annotated[
        int | None,
        typer.Option(
            min=2, metavar="N", help="Number of folds.", show_default="5, or as split before"
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="N", help="Seed of the shuffle.", show_default="0, or as split before"
        ),
    ] = None,
    corrections: Annotated[
        str | None,
        typer.Option(
            metavar="CSV|none",
            help="A table as 'suspects' writes it, with 'drop', 'relabel' or 'keep'; "
            "'none' takes corrections back.",
            show_default="none, or as split before",
        ),
    ] = None,
    root: RootOption = Path(),
) -> None:
    """Split into stratified, grouped folds.

    Reads data/COMPETITION/train.csv, given_folds.csv and the --corrections.

    Writes folds/COMPETITION.csv: which images take part in training, with which label, held out
    in which fold. Every fold has the same shares of the classes (stratified), and duplicates and
    images of one subject share a fold (grouped); or folds are those of the organiser. A class
    whose images all lie in one fold, as one of a single image, is learned from in every fold and
    held out of none (fold -1): no score knows of it.

    Fails if two classes don't have different images for two folds, folds can't be filled, a
    correction says something impossible, or the fold table was edited by hand.

    Example: pipeline folds cat-12 --num-folds 5
    """
    from pipeline.stages import folds

    folds.run(*load(competition, root), num_folds, seed, corrections)
