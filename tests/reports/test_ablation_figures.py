from dataclasses import replace

import numpy as np
import pytest

from pipeline.ablation import ablation_summary
from pipeline.ablation.ablation_summary import analyse, compare_recipes, curve_points, summarise
from pipeline.ablation.trainings import TrainingResult
from pipeline.config.competition import load_competition
from pipeline.reports import ablation_figures
from pipeline.reports.ablation_figures import format_verdicts
from pipeline.reports.style import to_png
from pipeline.scoring.comparison import bonferroni
from tests.scoring.drawn import FOLDS, TARGETS, member


def examination(sharpness: float, seed: int) -> TrainingResult:
    names = ("train_accuracy", "train_log_loss", "val_accuracy", "val_log_loss")
    numbers = dict(zip(names, (1.0, 0.1, 0.8, 0.4), strict=True))
    rows = FOLDS == 0
    features = member(sharpness, seed)[rows]
    numbers |= {"silhouette": sharpness / 10, "scatter_ratio": sharpness}
    probs = member(sharpness, seed)
    return TrainingResult(probs, probs, numbers, features)


BY_RECIPE = {
    "none": [examination(1, 0), examination(1, 1)],
    "same": [examination(1, 0), examination(1, 1)],
    "good": [examination(4, 0), examination(4, 1)],
}


@pytest.fixture
def ablation():
    return analyse(BY_RECIPE, TARGETS, FOLDS, "accuracy")


def test_intervals_hold_all_together():
    found = compare_recipes(BY_RECIPE, TARGETS, "accuracy")
    assert list(found) == ["accuracy", "macro_f1", "log_loss"]
    for comparisons in found.values():
        assert {one.confidence for one in comparisons.values()} == {bonferroni(0.95, 6)}


def test_better_is_said_of_the_better_recipe_alone():
    rows = summarise(BY_RECIPE, TARGETS, "accuracy")
    assert [row.get("accuracy_verdict") for row in rows] == [None, "can't tell", "better"]
    same, good = format_verdicts(rows, "accuracy")
    assert same == "same: can't tell it from none, accuracy +0.0000 [+0.0000, +0.0000]"
    assert good.startswith("good: better than none, accuracy +0.")


def test_a_gap_says_how_much_worse_held_out_images_are():
    row = summarise(BY_RECIPE, TARGETS, "accuracy")[0]
    assert row["accuracy_gap"] == pytest.approx(0.2)
    assert row["log_loss_gap"] == pytest.approx(0.3)


def test_the_competitions_metric_comes_first():
    assert ablation_summary.compared_metrics("roc_auc") == [
        "roc_auc",
        "accuracy",
        "macro_f1",
        "log_loss",
    ]


def test_curves_are_means_over_the_seeds():
    points = curve_points(BY_RECIPE, TARGETS)
    alone = [curve_points({"x": [one]}, TARGETS) for one in BY_RECIPE["good"]]
    expected = np.mean([one.query("recipe == 'x'")["y"] for one in alone], axis=0)
    np.testing.assert_allclose(points.query("recipe == 'good'")["y"], expected)


def test_equal_features_give_equal_layouts(ablation):
    np.testing.assert_array_equal(ablation.layouts["none"], ablation.layouts["same"])
    assert len(ablation.layout_targets) == len(ablation.layouts["none"]) == (FOLDS == 0).sum()


def test_every_picture_is_written_and_names_its_axes(ablation, monkeypatch, tmp_path):
    drawn = []

    def watch(figure):
        drawn.append(figure)
        return to_png(figure)

    monkeypatch.setattr("pipeline.reports.ablation_figures.to_png", watch)
    competition = load_competition("demo").model_copy(update={"classes": ("a", "b", "c")})
    files = ablation_figures.save_pictures(
        ablation, competition, lambda name: tmp_path / f"{name}.png"
    )
    assert [file.read_bytes()[:4] for file in files] == [b"\x89PNG"] * 4
    for figure in drawn:
        for axes in figure.axes:
            assert not axes.get_visible() or axes.get_xlabel()
            is_shared = len(axes.get_shared_y_axes().get_siblings(axes)) > 1
            assert not axes.get_visible() or is_shared or axes.get_ylabel()


def test_answers_that_thresholds_decide_are_compared_as_they_are_answered():
    ordered = {
        name: [replace(one, answers=np.eye(3, dtype=np.float32)[TARGETS]) for one in seeds]
        for name, seeds in BY_RECIPE.items()
    }
    found, before = (summarise(one, TARGETS, "quadratic_kappa")[0] for one in (ordered, BY_RECIPE))
    assert found["quadratic_kappa"] == 1.0 > before["quadratic_kappa"]
    assert found["log_loss"] == before["log_loss"]
