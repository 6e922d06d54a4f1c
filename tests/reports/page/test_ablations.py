"""The section about augmentation, on what `ablate` leaves."""

import json

import pytest

from pipeline.reports.page.blocks import Chart, Table
from pipeline.reports.page.sections import contributions
from pipeline.reports.style import drawing, to_png

ROWS = [
    {"recipe": "none", "accuracy": 0.9, "log_loss": 0.3, "accuracy_gap": 0.05},
    {
        "recipe": "light",
        "accuracy": 0.92,
        "accuracy_difference": 0.02,
        "accuracy_low": 0.01,
        "accuracy_high": 0.03,
        "accuracy_verdict": "better",
        "log_loss": 0.25,
        "accuracy_gap": 0.03,
    },
]


@pytest.fixture
def found(project):
    """What the section shows while an ablation stands there."""
    files = project.paths.ablation("probe")
    files.ablation_dir.mkdir(parents=True)
    record = {"metric": "accuracy", "num_seeds": 3, "num_folds": 2, "recipes": ROWS}
    files.record.write_text(json.dumps(record), encoding="utf-8")
    with drawing() as figure:
        files.picture("differences").write_bytes(to_png(figure))
    files.stamp.write_text("{}", encoding="utf-8")
    *_, section = contributions.build(project.data)
    yield section.blocks
    for path in files.ablation_dir.iterdir():
        path.unlink()
    files.ablation_dir.rmdir()


def test_every_recipe_is_told_with_its_difference_and_verdict(found):
    (table,) = [block for block in found if isinstance(block, Table)]
    assert "probe" in table.caption
    assert "3 seeds" in table.caption
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["none", "0.9000", "", "", "", "0.3000", "0.0500"],
        ["light", "0.9200", "+0.0200", "+0.0100 to +0.0300", "better", "0.2500", "0.0300"],
    ]


def test_pictures_that_are_there_are_shown(found):
    (chart,) = [block for block in found if isinstance(block, Chart)]
    assert chart.picture.uri.startswith("data:image/png;base64,")
    assert (chart.picture.width, chart.picture.height) == (461, 326)  # text as in other charts
