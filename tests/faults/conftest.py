"""Faults, done for real: everything in this folder is marked `faults`, which `make faults` runs."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import shared
from tests.faults.commands import Commands, served
from tests.faults.courses import Course, measured
from tests.faults.tiny_site import stages

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.faults)


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """Starts commands of `pipeline`; their temporary files go to a folder of its own."""
    with served(tmp_path_factory.mktemp("commands")) as started:
        yield started


@dataclass(frozen=True)
class Site:
    """A competition whose stages nothing ever stopped.

    Attributes:
        stages: The stages' commands, in running order.
        root: Where they ran.
        before: A copy of the root as each stage found it.
        after: A copy of it as each stage left it.
        courses: How each ran.
    """

    stages: dict[str, list[str]]
    root: Path
    before: dict[str, Path]
    after: dict[str, Path]
    courses: dict[str, Course]


@pytest.fixture(scope="session")
def unbroken(commands: Commands, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A root in which every stage ran undisturbed; never change anything in it or its copies."""
    return shared(tmp_path_factory, "unbroken", partial(_run_all, commands))


def _run_all(commands: Commands, folder: Path) -> Site:
    root, copies, config = folder / "root", folder / "copies", folder / "config"
    for one in (root, copies, config):
        one.mkdir()
    site = Site(stages(config), root, {}, {}, {})
    latest = Path(shutil.copytree(root, copies / "nothing"))
    for name, arguments in site.stages.items():
        site.before[name] = latest
        site.courses[name] = measured(commands, arguments, root)
        site.after[name] = latest = Path(shutil.copytree(root, copies / name))
    return site
