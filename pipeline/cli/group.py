"""Run the commands as one group, with the arguments they share and errors of one line."""

import os
import re
import shlex
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

import pipeline
from pipeline.errors import PipelineError, StoppedError

if TYPE_CHECKING:
    from pipeline.config.competition import Competition
    from pipeline.store.paths import Paths


ROOT_VARIABLE = "PIPELINE_ROOT"
LONGEST_SUMMARY = 45
OLD_NAMES = {"score": "log-score"}


class StageGroup(TyperGroup):
    """Lists commands in groups and running order, and prints our own errors as one line."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Find a command by its name, or by one that it had in earlier versions."""
        return super().get_command(ctx, OLD_NAMES.get(cmd_name, cmd_name))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands, a section for each group."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            groups.setdefault(command.rich_help_panel, []).append(
                (name, command.get_short_help_str(LONGEST_SUMMARY))
            )
        widest = max(map(len, self.list_commands(ctx)))
        for group, rows in groups.items():
            with formatter.section(group):
                formatter.write_dl([(name.ljust(widest), summary) for name, summary in rows])

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a PipelineError becomes one line on stderr and exit code 1."""
        try:
            return super().invoke(ctx)
        except PipelineError as error:
            typer.secho(f"error: {as_typed(str(error))}", err=True, fg=typer.colors.RED)
            raise typer.Exit(130 if isinstance(error, StoppedError) else 1) from error


# A competition's name, and what the user typed for it, --root included.
typed: ContextVar[tuple[str, str]] = ContextVar("typed", default=("", ""))


def as_typed(message: str) -> str:
    """Let the commands that a message advises name the competition and root as the user did."""
    name, argument = typed.get()
    advised = re.compile(rf"'pipeline ([\w-]+) {re.escape(name)}(?=[ '])")
    if not name:
        return message
    return advised.sub(lambda match: f"'pipeline {match[1]} {argument}", message)


app = typer.Typer(
    cls=StageGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pipeline {pipeline.__version__}")
        raise typer.Exit


def _choose_root(context: typer.Context, root: Path) -> Path:
    """Prefer --root after the command, then before it, then the environment."""
    source, before = context.get_parameter_source("root"), context.find_root().params.get("root")
    is_given = source is not None and source.name == "COMMANDLINE"
    return root if is_given or before is None else before


@app.callback()
def common(
    root: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of all outputs; also after COMMAND.", show_default=False
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Enter an image-classification competition, from archives to a submission the judge accepts.

    Run the main path from top to bottom; 'pipeline COMMAND --help' says what a command reads,
    writes and fails on.
    """
    # The root is read by `_choose_root`, as each command has the option, too.
    del root, version


def complete_competition() -> list[str]:
    """List the competitions that come with the package, for the shell."""
    return _shipped("competitions")


def complete_experiment() -> list[str]:
    """List the experiments that come with the package, for the shell."""
    return _shipped("experiments")


def complete_result(context: typer.Context) -> list[str]:
    """List the experiments and ensembles that are trained for the competition, for the shell."""
    # Before an option's value is typed, the argument stands among those not yet taken.
    competition = context.params.get("competition") or next(iter(context.args), "")
    artifacts = Path(context.params["root"]) / "artifacts" / Path(competition).stem
    trained = artifacts.glob("*/oof.npz")
    return sorted(path.parent.name for path in trained)


def _shipped(folder: str) -> list[str]:
    # Not by `built_in_names`: pydantic, which it needs, would take longer than a key press may.
    return sorted(path.stem for path in (Path(pipeline.__file__).parent / folder).glob("*.toml"))


CompetitionArgument = Annotated[
    str,
    typer.Argument(
        metavar="COMPETITION",
        autocompletion=complete_competition,
        help="A built-in name (cat-dog, cat-12, cifar-10, demo, ...) or the path of a TOML file.",
        show_default=False,
    ),
]
RootOption = Annotated[
    Path,
    typer.Option(
        "--root",
        metavar="DIR",
        callback=_choose_root,
        envvar=ROOT_VARIABLE,
        help="Folder that holds data, folds, artifacts and submissions.",
        show_default="the working directory",
    ),
]


ExcelOption = Annotated[
    bool,
    typer.Option(
        "--excel",
        envvar="PIPELINE_EXCEL",
        help="Begin the CSV with the mark by which Excel knows UTF-8.",
    ),
]


# What a command takes that is told no experiment, see `blend_to_take`.
BLEND = "ensemble, or the best of run"


def experiment_option(
    text: str,
    complete: Callable[..., list[str]] = complete_experiment,
    default: str | bool = True,
) -> Any:
    """Make an option --experiment: its help, what the shell offers for it, and its default."""
    return typer.Option(
        "--experiment", metavar="NAME", help=text, autocompletion=complete, show_default=default
    )


OverridesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a value of the experiment, e.g. head.l2=0.01.",
        show_default=False,
    ),
]


GpusOption = Annotated[
    str | None,
    typer.Option(
        metavar="all|0,1,...",
        help="Train as much at once as there are GPUs, by Ray (pipeline[ray]).",
        show_default="one after the other, on the first",
    ),
]
PerGpuOption = Annotated[int, typer.Option(min=1, metavar="N", help="Jobs at once on each GPU.")]
RayOption = Annotated[
    str | None,
    typer.Option(
        metavar="auto|HOST:PORT",
        help="Deal the jobs to this Ray cluster; its machines share --root, or train has --from.",
        show_default="this machine alone",
    ),
]


def load(
    name_or_path: str, root: Path, *, as_declared: bool = False
) -> "tuple[Paths, Competition]":
    """Load a competition, with what `prepare` has read of it unless it is wanted as declared."""
    from pipeline.config.competition import load_competition
    from pipeline.store.paths import Paths

    competition = load_competition(name_or_path)
    argument = shlex.quote(name_or_path)
    if root != Path() and str(root) != os.environ.get(ROOT_VARIABLE):
        argument += f" --root {shlex.quote(str(root))}"
    typed.set((competition.name, argument))
    paths = Paths(root, competition.name)
    if as_declared:
        return paths, competition
    from pipeline.data.resolution import resolve

    return paths, resolve(competition, paths)
