"""docs/stages.md, made of the commands themselves: `python -m tests.cli.test_stages_page`."""

import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import typer

from pipeline.cli import app

PAGE = Path(__file__).parents[2] / "docs" / "stages.md"
WRITE = "python -m tests.cli.test_stages_page > docs/stages.md"
# Described once, in the page's head.
SHARED = {"competition", "root", "help"}
HEAD = f"""<!-- Made from the commands by `{WRITE}`; change their docstrings. -->
# Commands

`make all` is `run`: the main path from `download` on, then `status` and `report`. Each is a command
of its own, `.venv/bin/pipeline COMMAND COMPETITION`; `pipeline COMMAND --help` says what is here.

- COMPETITION is a built-in name or the path of a TOML file ([competitions.md](competitions.md)).
- `--root DIR`, before the command or after it, or the variable `PIPELINE_ROOT`, says where the
  folders data, folds, artifacts and submissions lie; the default is the working directory.
- Tables, paths and scores are printed on stdout, all else on stderr. Exit codes: 0 done, 1 an error
  (one line: where, what must hold, what was found, the next command), 2 a mistyped command or
  option, 130 stopped by Ctrl-C, with what was done kept.
- `pipeline --install-completion` lets the shell complete commands, competitions and experiments.
"""


def page() -> str:
    """Write the page: a table of the commands by group, then a section for each."""
    group: Any = typer.main.get_command(app)
    groups = [
        (title, list(commands))
        for title, commands in groupby(group.commands.values(), lambda one: one.rich_help_panel)
    ]
    lines = [HEAD, "| | command | |", "|---|---|---|"]
    for title, commands in groups:
        for number, command in enumerate(commands):
            first = title if number == 0 else ""
            summary = command.help.partition("\n")[0]
            lines.append(f"| {first} | [`{command.name}`](#{command.name}) | {summary} |")
    for title, commands in groups:
        lines += ["", f"## {title}"]
        for command in commands:
            lines += section(command)
    return "\n".join(lines) + "\n"


def section(command: Any) -> Iterator[str]:
    """Describe one command, by its docstring and its options."""
    summary, *paragraphs, example = command.help.split("\n\n")
    yield from ("", f"### {command.name}", "", summary, "")
    for paragraph in paragraphs:
        verb, _, rest = paragraph.replace("\n", " ").partition(" ")
        yield f"- **{verb}** {rest}"
    yield from ("", "```", example.removeprefix("Example: "), "```")
    context = typer.Context(command, info_name=command.name)
    params = [param for param in command.params if param.name not in SHARED]
    if params:
        yield from ("", "| argument, option | |", "|---|---|")
    for param in params:
        name, text = (part.replace("|", "\\|") for part in param.get_help_record(context))
        yield f"| `{name.partition(' <')[0]}` | {text} |"


def test_the_page_is_what_the_commands_say_now():
    assert PAGE.read_text(encoding="utf-8") == page(), f"run '{WRITE}'"


def test_the_page_names_every_command_and_what_it_reads_writes_and_fails_on():
    sections = page().split("\n### ")[1:]
    assert len(sections) == len(app.registered_commands)
    for text in sections:
        assert [text.count(f"- **{verb}**") for verb in ("Reads", "Writes", "Fails")] == [1, 1, 1]
        assert "\npipeline " + text.partition("\n")[0] in text


if __name__ == "__main__":
    sys.stdout.write(page())
