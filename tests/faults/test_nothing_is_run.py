"""No code of a file is run, and no shell is made of what a person or a file says."""

import ast
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

import pipeline

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*Path(pipeline.__path__[0]).rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")])

RUNS_TEXT = {"eval", "exec", "compile", "__import__"}
RUNS_FILES = {
    "os.system",
    "os.popen",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "runpy.run_path",
    "runpy.run_module",
    "pickle.load",
    "pickle.loads",
    "pickle.Unpickler",
    "marshal.load",
    "marshal.loads",
    "shelve.open",
    "joblib.load",
    "yaml.load",
    "pandas.read_pickle",
}
# No file's: what a process hands to its own child over a pipe.
OWN_PIPES = {"ray_cluster.py": "pickle.load(sys.stdin.buffer)"}
# Safe with this argument alone.
NEEDS = {"torch.load": ("weights_only", True), "numpy.load": ("allow_pickle", False)}
MODULES_BY_NAME = {"importlib.import_module"}


def imported(tree: ast.AST) -> dict[str, str]:
    """Map the names that a file's imports give to what they stand for."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {one.asname: one.name for one in node.names if one.asname}
        elif isinstance(node, ast.ImportFrom):
            names |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
    return names


def dotted(node: ast.expr, names: Mapping[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value, names)}.{node.attr}"
    return names.get(node.id, node.id) if isinstance(node, ast.Name) else ""


def faults(source: str) -> list[str]:
    """List the calls that would run what a file or a person says."""
    tree = ast.parse(source)
    names = imported(tree)
    calls = [
        (dotted(node.func, names).removeprefix("builtins."), node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    ]
    return [f"line {call.lineno}: {name}" for name, call in calls if is_fault(name, call)]


def is_fault(name: str, call: ast.Call) -> bool:
    given = {word.arg: getattr(word.value, "value", None) for word in call.keywords}
    needed, value = NEEDS.get(name, ("", None))
    return (
        name in RUNS_TEXT | RUNS_FILES
        or (name in MODULES_BY_NAME and not isinstance(call.args[0], ast.Constant))
        or ("shell" in given and given["shell"] is not False)
        or given.get("allow_pickle") is True
        or (bool(needed) and given.get(needed) is not value)
    )


def test_no_code_runs_what_a_file_says() -> None:
    sources = {path: path.read_text(encoding="utf-8") for path in SOURCES}
    found = {
        str(path): faults(source.replace(OWN_PIPES.get(path.name, "\0"), "None"))
        for path, source in sources.items()
    }
    assert {path: lines for path, lines in found.items() if lines} == {}


OFFENDERS = [
    "eval(text)",
    "exec(open(path).read())",
    "os.system(f'unzip {archive}')",
    "subprocess.run(command, shell=True)",
    "subprocess.run(command, shell=is_shell)",
    "pickle.load(file)",
    "pickle.Unpickler(file).load()",
    "torch.load(path)",
    "torch.load(path, weights_only=False)",
    "import numpy as np; np.load(path)",
    "import numpy as np; np.load(path, allow_pickle=True)",
    "import numpy; numpy.load(path)",
    "from numpy import load; load(path)",
    "from torch import load as read; read(path)",
    "from pickle import loads; loads(content)",
    "from pickle import Unpickler as Reader; Reader(file).load()",
    "import pickle as p; p.load(file)",
    "from os import system; system(command)",
    "from importlib import import_module; import_module(name)",
    "import builtins; builtins.eval(text)",
    "from builtins import exec as run; run(text)",
    "import pandas as pd; pd.read_pickle(path)",
    "yaml.load(text)",
    "importlib.import_module(name)",
    "__import__(name)",
]


@pytest.mark.parametrize("source", OFFENDERS)
def test_what_would_run_something_is_noticed(source: str) -> None:
    assert len(faults(source)) == 1


def test_what_is_harmless_is_let_through() -> None:
    harmless = [
        "torch.load(p, weights_only=True); module.eval()",
        "import numpy as np; np.load(p, allow_pickle=False)",
        "from safetensors.torch import load; load(content)",
        "from importlib import import_module; import_module('torch')",
    ]
    assert [faults(source) for source in harmless] == [[]] * len(harmless)
    assert len(SOURCES) > 200


# Stands in for the pipeline's command and writes down what it is asked.
RECORDER = r"""#!/bin/sh
{ printf '%s\0' "$@"; printf '\n'; } >> asked
"""
NASTY = [
    "it's here",
    'a "quoted" name',
    "$(touch canary)",
    "`touch canary`",
    "; touch canary;",
    "&& touch canary",
    "$(shell touch canary)",
    "${HOME}",
    "two  spaces",
    "* ? [a]",
    "猫",
]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder whose Makefile believes that all is installed."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    command = tmp_path / ".venv/bin/pipeline"
    command.parent.mkdir(parents=True)
    command.write_text(RECORDER, encoding="utf-8")
    command.chmod(0o755)
    (tmp_path / ".venv/.installed").touch()
    return tmp_path


def asked(checkout: Path, *arguments: str, **environment: str) -> list[list[str]]:
    """Run make and return the arguments of each command."""
    done = subprocess.run(
        ["make", "all", *arguments],
        cwd=checkout,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = (checkout / "asked").read_text(encoding="utf-8").split("\0\n")
    return [line.split("\0") for line in lines[:-1]]


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
@pytest.mark.parametrize("is_environment", [False, True])
@pytest.mark.parametrize("name", NASTY)
def test_make_hands_names_on_as_they_are(
    checkout: Path, name: str, *, is_environment: bool
) -> None:
    competition, folder = f"my {name}/plants.toml", f"/data/{name}"
    given = {"COMPETITION": competition, "FROM": folder}
    if is_environment:
        commands = asked(checkout, **given)
    else:
        commands = asked(checkout, *(f"{key}={value}" for key, value in given.items()))
    tune = "--tune=--trials 12 --timeout 15"
    assert commands == [["run", competition, "--from", folder, tune]]
    assert not (checkout / "canary").exists()


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_make_hands_on_options_of_tune_and_a_limit_and_runs_none_of_them(checkout: Path) -> None:
    words = "--trials 3 $(touch canary) ; touch canary"
    commands = asked(checkout, f"TUNE={words}", "TIME=2h; touch canary")
    assert commands == [["run", "demo", "--time-limit", "2h; touch canary", f"--tune={words}"]]
    assert not (checkout / "canary").exists()
