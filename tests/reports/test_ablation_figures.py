import numpy as np
import pytest

from pipeline.ablation import ablation_summary
from pipeline.ablation.ablation_summary import compare_recipes, curve_points, find, summarise
from pipeline.ablation.trainings import Examination
from pipeline.config.competition import load_competition
from pipeline.reports import ablation_figures
from pipeline.reports.ablation_figures import verdicts
from pipeline.reports.style import to_png
from pipeline.scoring.comparison import bonferroni
from tests.scoring.drawn import FOLDS, TARGETS, member


def examination(sharpness: float, seed: int) -> Examination:
    names = ("train_accuracy", "train_log_loss", "val_accuracy", "val_log_loss")
    numbers = dict(zip(names, (1.0, 0.1, 0.8, 0.4), strict=True))
    rows = FOLDS == 0
    features = member(sharpness, seed)[rows]
    numbers |= {"silhouette": sharpness / 10, "scatter_ratio": sharpness}
    return Examination(member(sharpness, seed), numbers, features)


EXAMINED = {
    "none": [examination(1, 0), examination(1, 1)],
    "same": [examination(1, 0), examination(1, 1)],
    "good": [examination(4, 0), examination(4, 1)],
}


@pytest.fixture
def findings():
    return find(EXAMINED, TARGETS, FOLDS, "accuracy")


def test_intervals_hold_all_together():
    found = compare_recipes(EXAMINED, TARGETS, "accuracy")
    assert list(found) == ["accuracy", "macro_f1", "log_loss"]
    for comparisons in found.values():
        assert {one.confidence for one in comparisons.values()} == {bonferroni(0.95, 6)}


def test_better_is_said_of_the_better_recipe_alone():
    rows = summarise(EXAMINED, TARGETS, "accuracy")
    assert [row.get("accuracy_verdict") for row in rows] == [None, "can't tell", "better"]
    same, good = verdicts(rows, "accuracy")
    assert same == "same: can't tell it from none, accuracy +0.0000 [+0.0000, +0.0000]"
    assert good.startswith("good: better than none, accuracy +0.")


def test_a_gap_says_how_much_worse_held_out_images_are():
    row = summarise(EXAMINED, TARGETS, "accuracy")[0]
    assert row["accuracy_gap"] == pytest.approx(0.2)
    assert row["log_loss_gap"] == pytest.approx(0.3)


def test_the_competitions_metric_comes_first():
    assert ablation_summary.metrics_of("roc_auc") == ["roc_auc", "accuracy", "macro_f1", "log_loss"]


def test_curves_are_means_over_the_seeds():
    points = curve_points(EXAMINED, TARGETS)
    alone = [curve_points({"x": [one]}, TARGETS) for one in EXAMINED["good"]]
    expected = np.mean([one.query("recipe == 'x'")["y"] for one in alone], axis=0)
    np.testing.assert_allclose(points.query("recipe == 'good'")["y"], expected)


def test_equal_features_give_equal_layouts(findings):
    np.testing.assert_array_equal(findings.layouts["none"], findings.layouts["same"])
    assert len(findings.layout_targets) == len(findings.layouts["none"]) == (FOLDS == 0).sum()


def test_every_picture_is_written_and_names_its_axes(findings, monkeypatch, tmp_path):
    drawn = []

    def watch(figure):
        drawn.append(figure)
        return to_png(figure)

    monkeypatch.setattr("pipeline.reports.ablation_figures.to_png", watch)
    competition = load_competition("demo").model_copy(update={"classes": ("a", "b", "c")})
    files = ablation_figures.save_pictures(
        findings, competition, lambda name: tmp_path / f"{name}.png"
    )
    assert [file.read_bytes()[:4] for file in files] == [b"\x89PNG"] * 4
    for figure in drawn:
        for axes in figure.axes:
            assert not axes.get_visible() or axes.get_xlabel()
            is_shared = len(axes.get_shared_y_axes().get_siblings(axes)) > 1
            assert not axes.get_visible() or is_shared or axes.get_ylabel()
