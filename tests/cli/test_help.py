"""The help: groups in running order, lines that fit, examples that can be typed; and --root."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

import pipeline
from pipeline.cli import app
from pipeline.cli.group import LONGEST_SUMMARY

GROUPS = {
    "All of it": "run",
    "Main path, in this order": "init download prepare folds train tune ensemble submit",
    "Look": "status report preview models doctor",
    "Improve": "suspects review tta ablate predict",
    "Check and log": "validate grade log-score",
}
COMMANDS = " ".join(GROUPS.values()).split()
# They touch no data.
ROOTLESS = ("init", "models")
NARROW = {"COLUMNS": "80"}


def invoke(*arguments: object, **environment: str) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)), env=NARROW | environment)


def listed() -> dict[str, dict[str, str]]:
    """Return what the help lists: groups of commands with their summaries."""
    sections = [section.splitlines() for section in invoke("--help").stdout.split("\n\n")]
    return {
        title.rstrip(":"): dict(line.strip().split(maxsplit=1) for line in lines)
        for title, *lines in sections
        if title.rstrip(":") in GROUPS
    }


def test_the_help_lists_the_commands_in_groups_and_running_order():
    names = {title: " ".join(commands) for title, commands in listed().items()}
    assert list(names.items()) == list(GROUPS.items())


def test_no_summary_is_cut_off_at_80_columns():
    summaries = {name: text for group in listed().values() for name, text in group.items()}
    whole = {name: invoke(name, "--help").stdout.split("\n\n")[1].strip() for name in COMMANDS}
    assert summaries == whole
    assert max(map(len, summaries.values())) <= LONGEST_SUMMARY
    assert max(map(len, invoke("--help").stdout.splitlines())) <= 80


def test_without_arguments_the_help_is_shown():
    result = invoke()
    assert result.exit_code == 2
    assert result.output.rstrip() == invoke("--help").stdout.rstrip()


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_says_what_it_reads_writes_and_fails_on_with_an_example(command):
    paragraphs = invoke(command, "--help").stdout.split("\n\n")[2:6]
    starts = [paragraph.split()[0] for paragraph in paragraphs]
    assert starts == ["Reads", "Writes", "Fails", "Example:"]
    assert re.fullmatch(rf" *Example: pipeline {command}( .*)?", paragraphs[-1])  # on one line


@pytest.mark.parametrize("command", COMMANDS)
def test_each_example_can_be_typed(command):
    group: Any = typer.main.get_command(app)
    example = invoke(command, "--help").stdout.split("Example: pipeline ")[1].partition("\n")[0]
    name, *arguments = shlex.split(example)
    context = group.commands[name].make_context(name, arguments)  # fails on a wrong option
    assert context.args == []


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_that_touches_data_takes_the_root(command):
    assert ("--root DIR" in invoke(command, "--help").stdout) != (command in ROOTLESS)


def test_a_command_of_an_earlier_version_still_works_and_is_not_listed():
    old, new = (invoke(name, "--help").stdout for name in ("score", "log-score"))
    assert old == new.replace("log-score [", "score [")
    assert "\n  score " not in invoke("--help").stdout


MISTYPED = {
    "a misspelled command": ("trian demo", "No such command 'trian'. Did you mean 'train'?"),
    "a command that is none": ("win demo", "No such command 'win'."),
    "a misspelled option": (
        "train demo --experimant lite0-probe",
        "No such option: --experimant (Possible options: --experiment)",
    ),
    "no competition": ("prepare", "Missing argument 'COMPETITION'."),
    "a number out of range": (
        "folds demo --num-folds 1",
        "Invalid value for '--num-folds': Input should be greater than or equal to 2",
    ),
    "a word for a number": (
        "train demo --fold one",
        "Invalid value for '--fold': Input should be a valid integer, "
        "unable to parse string as an integer",
    ),
    "an option without its value": ("train demo --set", "Option '--set' requires an argument."),
}


@pytest.mark.parametrize("mistake", MISTYPED)
def test_what_is_mistyped_is_exit_code_2_and_says_what(mistake):
    line, message = MISTYPED[mistake]
    result = invoke(*line.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1] == f"Error: {message}"


def test_the_version_is_that_of_the_package():
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    assert pipeline.__version__ == project["version"]
    result = invoke("--version")
    assert (result.exit_code, result.stdout) == (0, f"pipeline {project['version']}\n")


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("folds demo --root after", "after"),
        ("--root before folds demo", "before"),
        ("--root=before folds demo", "before"),
        ("--root before folds demo --root after", "after"),
        ("folds demo", "environment"),
    ],
)
def test_the_root_after_the_command_goes_before_that_before_it_and_the_environment(line, where):
    result = invoke(*line.split(), PIPELINE_ROOT="environment")
    table = Path(where) / "data" / "demo" / "train.csv"
    typed = "" if where == "environment" else f" --root {where}"
    assert result.stderr == (
        f"error: {table}: must exist, is missing; run 'pipeline prepare demo{typed}'\n"
    )


def test_without_a_root_the_working_directory_is_it(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PIPELINE_ROOT", raising=False)
    assert invoke("folds", "demo").stderr.startswith(f"error: {Path('data') / 'demo'}")
