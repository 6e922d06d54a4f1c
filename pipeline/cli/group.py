"""The group that runs the commands: running order, errors of one line, a competition loaded."""

import os
import re
import shlex
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from pipeline.cli.arguments import ROOT_VARIABLE
from pipeline.errors import PipelineError, StoppedError

if TYPE_CHECKING:
    from pipeline.config.competition import Competition
    from pipeline.store.paths import Paths


class StageGroup(TyperGroup):
    """Lists commands in running order and prints our own errors as one line."""

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
