"""Faults, done for real: everything in this folder is marked `faults`, which `make faults` runs."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.commands import Commands, served
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
    """All stages' commands, and a root in which nothing ever stopped them."""

    stages: dict[str, list[str]]
    root: Path


@pytest.fixture(scope="session")
def unbroken(commands: Commands, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A root in which every stage ran undisturbed; never change anything in it."""
    site = Site(stages(tmp_path_factory.mktemp("config")), tmp_path_factory.mktemp("unbroken"))
    for arguments in site.stages.values():
        commands.run(arguments, site.root)
    return site
