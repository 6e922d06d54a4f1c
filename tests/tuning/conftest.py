"""A search over a tiny experiment's head, in seconds."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.config.competition import Competition
from pipeline.config.experiment_files import load_search
from pipeline.data.training_table import load_tables
from pipeline.store.paths import Paths
from pipeline.tuning.search import Search
from tests import tiny

SPACE = """
[tune]
head.l2 = { low = 0.001, high = 3.0, log = true }
views.num_augmented = { low = 0, high = 1 }
"""


@pytest.fixture
def search(workspace, tmp_path):
    """A search in a folder of its own."""
    return make(workspace, tmp_path)


def make(
    site: tuple[Paths, Competition], folder: Path, space: str = SPACE, **options: Any
) -> Search:
    """Search over the tiny experiment, or one of `space`, which may hold more than that."""
    paths, competition = site
    experiment, read = load_search(tiny.write_toml(folder / "tiny.toml", space), [])
    return Search(paths, competition, experiment, read, load_tables(paths), **options)
