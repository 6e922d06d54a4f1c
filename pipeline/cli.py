"""One command per stage, in running order: parse, call, print errors. Nothing else happens here.

A stage is imported inside its command, so that `--help` stays instant and only `preview`, `train`,
`report`, `models` and `doctor` ever import torch.
"""

import io
import os
import re
import shlex
import sys
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from pipeline.errors import PipelineError, StoppedError

if TYPE_CHECKING:
    from pipeline.competition import Competition
    from pipeline.paths import Paths


ROOT_VARIABLE = "PIPELINE_ROOT"


class StageGroup(TyperGroup):
    """Lists commands in running order and prints our own errors as one line."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a PipelineError becomes one line on stderr and exit code 1."""
        try:
            return super().invoke(ctx)
        except PipelineError as error:
            typer.secho(f"error: {_as_typed(str(error))}", err=True, fg=typer.colors.RED)
            raise typer.Exit(130 if isinstance(error, StoppedError) else 1) from error


# A competition's name, and what the user typed for it, --root included.
_typed: ContextVar[tuple[str, str]] = ContextVar("typed", default=("", ""))


def _as_typed(message: str) -> str:
    """Let the commands that a message advises name the competition and root as the user did."""
    name, typed = _typed.get()
    advised = re.compile(rf"'pipeline ([\w-]+) {re.escape(name)}(?=[ '])")
    return advised.sub(lambda match: f"'pipeline {match[1]} {typed}", message) if name else message


app = typer.Typer(
    cls=StageGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Enter an image-classification competition: from archives to a submission the judge "
    "accepts. Run the stages from top to bottom; each says what it reads and writes.",
)

CompetitionArgument = Annotated[
    str,
    typer.Argument(
        metavar="COMPETITION",
        help="A built-in name (cat-dog, cat-12, cifar-10, demo, ...) or the path of a TOML file.",
        show_default=False,
    ),
]
RootOption = Annotated[
    Path,
    typer.Option(
        "--root",
        envvar=ROOT_VARIABLE,
        help="Folder that holds data, folds, artifacts and submissions.",
        show_default="the working directory",
    ),
]
ExperimentsOption = Annotated[
    list[str] | None,
    typer.Option("--experiment", metavar="NAME", help="May be repeated.", show_default=False),
]
OverridesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a value of the experiment, e.g. head.l2=0.01.",
        show_default=False,
    ),
]


def _load(
    name_or_path: str, root: Path, *, as_declared: bool = False
) -> "tuple[Paths, Competition]":
    """Load a competition, with what `prepare` has read of it unless it is wanted as declared."""
    from pipeline.competition import load_competition
    from pipeline.paths import Paths

    competition = load_competition(name_or_path)
    typed = shlex.quote(name_or_path)
    if root != Path() and str(root) != os.environ.get(ROOT_VARIABLE):
        typed += f" --root {shlex.quote(str(root))}"
    _typed.set((competition.name, typed))
    paths = Paths(root, competition.name)
    if as_declared:
        return paths, competition
    from pipeline.resolution import resolve

    return paths, resolve(competition, paths)


@app.command()
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
    """Write a competition's TOML file by looking at what you have.

    Reads what is named: folders and archives of images, lists of labels, a sample submission; with
    --from, whatever lies in a folder. Writes NAME.toml and says what was inferred from what.

    Fails if the file is there already, there are no images, or a list can't be made out.
    """
    from pipeline.inspecting.roles import Named
    from pipeline.stages import init

    init.run(name, Named(train, test, labels, sample_submission), source, out, force=force)


@app.command()
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
    """Bring the archives and unpack them.

    Reads the competition's archives from --from or from its urls, in order; a drawn competition
    (demo, demo-12, cifar-10-demo) is drawn. Writes data/COMPETITION/archives, images and
    download.json; what lies unpacked in the folder is linked to and read in place.

    Fails if an archive is missing, broken, encrypted, not what its size, sha256 or md5 says, or
    would write outside its folder; nothing half-done is left behind.
    """
    from pipeline.stages import download

    download.run(*_load(competition, root, as_declared=True), source)


@app.command()
def prepare(
    competition: CompetitionArgument,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that decode.", show_default="one per CPU core"),
    ] = None,
    root: RootOption = Path(),
) -> None:
    """Read every image once and write down what is there.

    Reads data/COMPETITION/archives and images. Writes data/COMPETITION/train.csv, test.csv,
    audit.json and audit.csv: labels, sizes, real types, duplicates, unreadable and unlisted files;
    and resolved.json: classes and header, where they are read from labels and sample submission.

    Fails if no image or no label is found, a label is unknown, a class is empty, or a list or
    the sample submission contradicts the competition's file.
    """
    from pipeline.stages import prepare

    prepare.run(*_load(competition, root, as_declared=True), workers)


@app.command()
def check_overlap(
    competition: CompetitionArgument,
    against: Annotated[
        Path, typer.Option(metavar="DIR", help="Any folder of images.", show_default=False)
    ],
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that decode.", show_default="one per CPU core"),
    ] = None,
    root: RootOption = Path(),
) -> None:
    """List test images that lie in another folder, so that a leak is noticed and not used.

    Reads data/COMPETITION/test.csv and images, and every image below --against. Writes
    data/COMPETITION/overlap.csv: exact copies, and pictures that are nearly the same.

    Fails if there is no image in either place; finding copies is a warning, no failure.
    """
    from pipeline.stages import check_overlap

    check_overlap.run(*_load(competition, root), against, workers)


@app.command()
def folds(
    competition: CompetitionArgument,
    num_folds: Annotated[
        int | None,
        typer.Option(min=2, help="Number of folds.", show_default="5, or as split before"),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Seed of the shuffle.", show_default="0, or as split before"),
    ] = None,
    corrections: Annotated[
        str | None,
        typer.Option(
            metavar="CSV|none",
            help="A table as 'suspects' writes it, with 'drop' or 'relabel' where you agree; "
            "'none' takes corrections back.",
            show_default="none, or as split before",
        ),
    ] = None,
    root: RootOption = Path(),
) -> None:
    """Split the training images into folds: classes level, duplicates together.

    Reads data/COMPETITION/train.csv and the --corrections. Writes folds/COMPETITION.csv: who takes
    part in training, with which label and in which fold.

    Fails if the smallest class can't fill the folds, a correction says something impossible, or
    the fold table was edited by hand.
    """
    from pipeline.stages import folds

    folds.run(*_load(competition, root), num_folds, seed, corrections)


@app.command()
def preview(
    competition: CompetitionArgument,
    experiment: Annotated[str, typer.Option(metavar="NAME", help="Whose views to show.")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where to write.",
            dir_okay=False,
            show_default="artifacts/COMPETITION/EXPERIMENT/preview.png",
        ),
    ] = None,
    images: Annotated[int, typer.Option(min=1, max=100, help="Number of images.")] = 8,
    views: Annotated[int, typer.Option(min=0, max=20, help="Augmented views of each.")] = 5,
    overrides: OverridesOption = None,
    root: RootOption = Path(),
) -> None:
    """Show what an experiment makes of images: a contact sheet, plain and augmented.

    Reads data/COMPETITION/train.csv and some images. Writes artifacts/COMPETITION/EXPERIMENT/
    preview.png, a row per image and a column per view, and prints its path.

    Fails if the experiment or its recipe of views is impossible.
    """
    from pipeline.stages import preview

    preview.run(*_load(competition, root), experiment, overrides or [], (images, views), out)


@app.command()
def train(
    competition: CompetitionArgument,
    experiment: ExperimentsOption = None,
    fold: Annotated[
        list[int] | None,
        typer.Option("--fold", metavar="K", help="Only these folds.", show_default=False),
    ] = None,
    overrides: OverridesOption = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Log for TensorBoard, too.")
    ] = False,
    pseudo_label: Annotated[
        float | None,
        typer.Option(
            metavar="THRESHOLD",
            help="Train NAME-pseudo: NAME and the test images it is so sure of.",
            show_default="off",
        ),
    ] = None,
    root: RootOption = Path(),
) -> None:
    """Train experiments over the folds.

    Reads data/COMPETITION/train.csv, test.csv and images, folds/COMPETITION.csv. Writes
    artifacts/COMPETITION/EXPERIMENT: config, environment, a checkpoint, history and predictions
    per fold, oof.npz, test.npz and metrics.json. Without --experiment: the competition's
    defaults for this device. Broken off or killed, the same command goes on where it was. Several
    GPUs: accelerate launch -m pipeline train ...; several machines: --fold K on each.

    Fails if an experiment, a key of --set or the weights are missing.
    """
    from pipeline.stages import train

    names, folds = experiment or [], fold or []
    train.run(
        *_load(competition, root),
        names,
        folds,
        overrides or [],
        tensorboard=tensorboard,
        pseudo_label=pseudo_label,
    )


@app.command()
def tune(
    competition: CompetitionArgument,
    experiment: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What to improve; its file holds a table [tune].",
            show_default="the competition's first for this device",
        ),
    ] = None,
    trials: Annotated[
        int,
        typer.Option(min=1, help="So many the study has in the end, earlier runs' included."),
    ] = 50,
    timeout: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="Begin no trial later.", show_default="none"),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that run trials.")] = 1,
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
    root: RootOption = Path(),
) -> None:
    """Search for better values of an experiment, judged out of fold.

    Reads what train reads, and the experiment's table [tune]. Writes every trial to
    artifacts/COMPETITION/.studies; trains EXPERIMENT-tuned with the best values, and writes
    best.toml, trials.csv and pictures beside its results. Broken off or killed, the same command
    goes on with the study; Ctrl-C ends it after the current fold.

    Fails if there is no table [tune], no trial goes through all folds, or the database doesn't
    answer.
    """
    from pipeline.stages import tune

    options = tune.Options(trials, timeout, workers, storage, study, sampler)
    tune.run(*_load(competition, root), experiment, overrides or [], options)


@app.command()
def ablate(
    competition: CompetitionArgument,
    experiment: Annotated[
        str, typer.Option(metavar="NAME", help="What to train with each recipe.")
    ],
    recipes: Annotated[
        str,
        typer.Option(
            metavar="A,B,...", help="Recipes of views; the others are compared with the first."
        ),
    ] = "none,light,medium,heavy",
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each recipe.")] = 3,
    overrides: OverridesOption = None,
    root: RootOption = Path(),
) -> None:
    """Find out whether an augmentation helps: train with each recipe, and compare.

    Reads what train reads. Writes artifacts/COMPETITION/ablations/EXPERIMENT: the trainings, laid
    out as experiments, ablation.json and ablation.csv, curves.csv and pictures; prints better,
    worse or can't tell of every recipe. Broken off or killed, the same command goes on where it
    was.

    Fails if a recipe is unknown, or the experiment draws no augmented views.
    """
    from pipeline.stages import ablate

    ablate.run(*_load(competition, root), experiment, recipes, seeds, overrides or [])


@app.command()
def ensemble(
    competition: CompetitionArgument,
    experiment: ExperimentsOption = None,
    name: Annotated[str, typer.Option(help="Name of the ensemble.")] = "ensemble",
    method: Annotated[
        str,
        typer.Option(
            metavar="auto|mean|weighted|calibrated|greedy|rank|stack",
            help="auto: calibrated, unless another one is better beyond noise.",
        ),
    ] = "auto",
    prune: Annotated[
        bool, typer.Option("--prune", help="Drop members that aren't missed beyond noise.")
    ] = False,
    root: RootOption = Path(),
) -> None:
    """Make one prediction of several experiments', by weights fitted on out-of-fold predictions.

    Reads artifacts/COMPETITION/EXPERIMENT/oof.npz and test.npz. Writes the same two, metrics.json
    and reliability.png to artifacts/COMPETITION/NAME; prints what each method scores and what each
    member is worth. Without --experiment: every trained experiment.

    Fails if members were trained over other folds, classes or images than the current ones, or an
    ensemble would be part of its own members.
    """
    from pipeline.stages import ensemble

    ensemble.run(*_load(competition, root), experiment or [], name, method, prune=prune)


@app.command()
def suspects(
    competition: CompetitionArgument,
    experiment: Annotated[
        str, typer.Option(metavar="NAME", help="Experiment or ensemble whose predictions to take.")
    ] = "ensemble",
    root: RootOption = Path(),
) -> None:
    """List the training images whose label the out-of-fold predictions contradict.

    Reads folds/COMPETITION.csv and artifacts/COMPETITION/EXPERIMENT/oof.npz. Writes suspects.csv
    beside it, the most contradicted first; write 'drop' or 'relabel' into its column action and
    give it to 'folds --corrections'. Nothing is corrected by itself.

    Fails if the predictions are missing or stale, or a list with actions would be overwritten.
    """
    from pipeline.stages import suspects

    suspects.run(*_load(competition, root), experiment)


@app.command()
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

    loaded = _load(competition, root)
    submit.run(*loaded, experiment, to_kaggle=to_kaggle, message=message)


@app.command()
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
    from pipeline.stages import score

    score.run(root, csv, public, private)


@app.command()
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

    tta.run(*_load(competition, root), experiment)


@app.command()
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

    predict.run(*_load(competition, root), experiment, images, tta, out)


@app.command()
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

    validate.run(*_load(competition, root), csv)


@app.command()
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

    grade.run(*_load(competition, root), csv, truth)


@app.command()
def report(competition: CompetitionArgument, root: RootOption = Path()) -> None:
    """Put everything that is known on one page: data, experiments, mistakes.

    Reads what the other stages wrote, and the images that it shows. Writes artifacts/COMPETITION/
    report/index.html, one file that any browser opens, and prints its path. What is missing is left
    out, or the command that makes it is named.

    Fails if the tables are missing or don't belong together, or an image can't be read.
    """
    from pipeline.stages import report

    loaded = _load(competition, root)
    report.run(*loaded, _typed.get()[1])


@app.command()
def status(competition: CompetitionArgument, root: RootOption = Path()) -> None:
    """Show each stage's state and the scores so far.

    Reads everything of COMPETITION below the root. Writes nothing.

    Fails if a trained experiment's files are damaged.
    """
    from pipeline.stages import status

    status.run(*_load(competition, root))


@app.command()
def models(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="One network, e.g. resnet50 or timm/convnext_tiny."),
    ] = None,
    image_size: Annotated[int, typer.Option(min=16, help="Height and width in pixels.")] = 224,
    num_classes: Annotated[int, typer.Option(min=1, help="Outputs of the head.")] = 1000,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print docs/models.md instead.")
    ] = False,
) -> None:
    """List the networks, or show what one costs: parameters, multiply-adds, speed.

    Reads the installation. Writes nothing.

    Fails if there is no such network, or it can't take images of that size.
    """
    from pipeline.stages import models

    models.run(name, image_size, num_classes, markdown=markdown)


@app.command()
def doctor(root: RootOption = Path()) -> None:
    """Show what this machine can do: Python, torch, device, disk, weights, data.

    Reads the installation and the root. Writes nothing. Fails never: what is missing is shown.
    """
    from pipeline.stages import doctor

    doctor.run(root)


def main() -> None:
    """Entry point of the `pipeline` command."""
    # Read when torch is imported: threads that wait asleep leave the cores to decoding and to
    # other programs; spinning, they took half as long again beside one other busy process.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # 猫 on a terminal that has no such letter
    app()
