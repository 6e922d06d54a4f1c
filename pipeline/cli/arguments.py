"""Arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

ROOT_VARIABLE = "PIPELINE_ROOT"

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
