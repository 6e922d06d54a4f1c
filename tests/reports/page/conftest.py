"""A tiny project with everything that the page shows, and its page; never change them."""

import dataclasses
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from pipeline.config.competition import Competition
from pipeline.reports.page.blocks import Section
from pipeline.reports.page.build_page import build_page, build_sections, render
from pipeline.reports.page.report_data import BestResult, ReportData, read_report_data
from pipeline.stages import ensemble, submit, train, tune
from pipeline.store.freshness import file_sha256
from pipeline.store.paths import Paths
from pipeline.store.results import Result
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


@pytest.fixture(scope="session")
def many_classes(project: Project, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of 150 classes and 6,000 images of noise, which no codec makes small."""
    return shared(tmp_path_factory, "many", partial(_make_many, project))


def _make_many(made: Project, folder: Path) -> str:
    rng = np.random.default_rng(0)
    num, names = 6_000, tuple(f"class {number}" for number in range(150))
    pixels = rng.integers(0, 256, (200, 200, 3), dtype=np.uint8)
    paths = dataclasses.replace(made.paths, root=folder)
    paths.images_dir.mkdir(parents=True)
    noise = paths.images_dir / "noise.png"
    cv2.imwrite(str(noise), pixels)
    targets = np.arange(num) % len(names)
    images = pd.DataFrame({"image_id": [f"{n}.png" for n in range(num)], "path": "noise.png"})
    images = images.assign(group=[str(n // 2) for n in range(num)], width=200, height=200)
    images = images.assign(format="PNG", sha256=file_sha256(noise))
    train = images.assign(label=[names[target] for target in targets])
    probs = rng.random((num, len(names)), dtype=np.float32) ** 20
    probs /= probs.sum(axis=1, keepdims=True)
    metrics = made.data.results[0].metrics | {"fold_scores": [0.1, 0.2]}
    result = Result("x", {"members": {"y": 1.0}}, metrics | {"members": [], "methods": []})
    data = ReportData(
        paths=paths,
        competition=made.competition.model_copy(update={"classes": names}),
        typed="x",
        train=train,
        test=images.head(0),
        folds=train[["image_id", "label", "group"]].assign(fold=targets % 5),
        audit=made.data.audit,
        findings=pd.DataFrame(
            {"finding": "not-rgb", "split": "train", "image_id": images["image_id"]}
        ),
        results=(result,),
        best=BestResult(result, probs, targets, None),
    )
    return build_page(data)
