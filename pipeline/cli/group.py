"""Run the commands as one group, with the arguments they share and errors of one line."""

import os
import re
import shlex
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

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
