"""A tiny project with everything that the page shows, and its page; never change them."""

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from pipeline.config.competition import Competition
from pipeline.reports.page.blocks import Section
from pipeline.reports.page.build_page import build_sections, render
from pipeline.reports.page.report_data import ReportData, read_report_data
from pipeline.stages import ensemble, submit, train, tune
from pipeline.store.paths import Paths
from tests import tiny
from tests.conftest import shared

PROBE = """
[tune."head.l2"]
low = 0.01
high = 1.0
log = true
"""
FINETUNE = """
method = "finetune"
seed = 1
train = { epochs = 2, batch_size = 16 }
"""


@dataclass(frozen=True)
class Project:
    """Its files, what was found in them, and what that made: sections and a page."""

    paths: Paths
    competition: Competition
    data: ReportData
    sections: list[Section]
    html: str


@pytest.fixture(scope="session")
def project(drawn: tuple[Path, Competition], tmp_path_factory: pytest.TempPathFactory) -> Project:
    return shared(tmp_path_factory, "report", partial(_make, *drawn))


def _make(drawn: Path, competition: Competition, folder: Path) -> Project:
    root = folder / "root"
    shutil.copytree(drawn, root)
    paths = Paths(root, competition.name)
    probe = tiny.write_toml(root / "probe.toml", PROBE)
    finetune = tiny.write_toml(root / "finetune.toml", FINETUNE)
    train.run(paths, competition, [probe, finetune], [], [])
    tune.run(paths, competition, probe, [], tune.Options(num_trials=3))
    ensemble.run(paths, competition, [], "ensemble")
    submit.run(paths, competition, "ensemble")
    data = read_report_data(paths, competition, competition.name)
    sections = build_sections(data)
    return Project(paths, competition, data, sections, render("a title", sections))
