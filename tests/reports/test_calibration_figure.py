import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.reports.ensemble_results import save_reliability_diagram
from pipeline.scoring.calibration import reliability_table


def table(sharpness: float, num: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    first = 1 / (1 + np.exp(-sharpness * rng.normal(size=num)))
    targets = (rng.random(num) > first).astype(np.int64)
    return reliability_table(np.stack([first, 1 - first], axis=1).astype(np.float32), targets)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "reliability.png"


def test_the_diagram_is_a_picture_with_both_curves_in_it(path):
    save_reliability_diagram({"before": table(1), "after": table(3)}, "a title", path)
    pixels = np.asarray(Image.open(path).convert("RGB"))
    assert pixels.shape == (840, 720, 3)
    for color in ((213, 94, 0), (0, 114, 178)):
        assert (pixels == color).all(axis=2).sum() > 100


def test_equal_tables_give_equal_bytes_without_a_date(path, tmp_path):
    other = tmp_path / "other.png"
    for target in (path, other):
        save_reliability_diagram({"before": table(1)}, "a title", target)
    assert path.read_bytes() == other.read_bytes()
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        assert set(image.info) <= {"dpi"}


def test_empty_bins_are_no_points(path):
    certain = reliability_table(np.eye(2, dtype=np.float32)[[0, 1]], np.array([0, 1]))
    save_reliability_diagram({"certain": certain}, "a title", path)
    assert path.is_file()
