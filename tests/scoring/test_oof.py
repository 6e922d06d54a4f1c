import json

import numpy as np
import pandas as pd
import pytest

from pipeline.config.competition import load_competition
from pipeline.errors import ArtifactError
from pipeline.scoring.metrics import score
from pipeline.scoring.oof import assemble_oof, describe_oof
from pipeline.scoring.targets import class_indices, image_groups
from pipeline.store.predictions import FloatArray

FOLDS = pd.DataFrame(
    {
        "image_id": list("abcdefg"),
        "label": ["cat", "dog", "cat", "dog", "cat", "dog", "cat"],
        "group": list("abcdefg"),
        "fold": [2, 0, 1, 0, 2, 1, 0],
    }
)


def rows(*dogs: float) -> FloatArray:
    return np.array([[1 - dog, dog] for dog in dogs], dtype=np.float32)


def by_fold() -> dict[int, FloatArray]:
    return {0: rows(0.1, 0.2, 0.3), 1: rows(0.4, 0.5), 2: rows(0.6, 0.7)}


def test_each_row_gets_the_prediction_of_its_own_fold():
    oof_probs = assemble_oof(by_fold(), FOLDS)
    np.testing.assert_array_equal(oof_probs, rows(0.6, 0.1, 0.4, 0.2, 0.7, 0.5, 0.3))
    assert oof_probs.dtype == np.float32


def test_the_index_of_the_table_does_not_matter():
    shifted = FOLDS.set_index(np.arange(len(FOLDS))[::-1] + 5)
    np.testing.assert_array_equal(assemble_oof(by_fold(), shifted), assemble_oof(by_fold(), FOLDS))


def test_a_fold_without_predictions_is_named():
    probs = by_fold()
    del probs[1]
    with pytest.raises(ArtifactError, match=r"^fold 1: expected 2 rows of predictions, got 0; the"):
        assemble_oof(probs, FOLDS)


@pytest.mark.parametrize("found", [1, 3])
def test_a_fold_of_another_length_is_named(found):
    probs = by_fold() | {2: rows(*[0.5] * found)}
    line = f"^fold 2: expected 2 rows of predictions, got {found}; .* with --fold 2$"
    with pytest.raises(ArtifactError, match=line):
        assemble_oof(probs, FOLDS)


def test_targets_are_the_order_of_the_classes():
    assert class_indices(load_competition("demo"), FOLDS).tolist() == [0, 1, 0, 1, 0, 1, 0]


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_a_description_scores_the_pool_and_each_fold(metric):
    competition = load_competition("demo").model_copy(update={"metric": metric})
    oof_probs, targets = assemble_oof(by_fold(), FOLDS), class_indices(competition, FOLDS)
    found = describe_oof(competition, FOLDS, oof_probs)
    per_fold = [
        score(metric, targets[FOLDS["fold"] == fold], oof_probs[FOLDS["fold"] == fold])
        for fold in range(3)
    ]
    assert found["metric"] == metric
    assert found["oof_score"] == pytest.approx(score(metric, targets, oof_probs), abs=1e-6)
    assert found["fold_scores"] == pytest.approx(per_fold, abs=1e-6)
    assert found["cv_score"] == pytest.approx(np.mean(per_fold), abs=1e-6)
    low, high = found["oof_interval_95"]
    assert low < found["oof_score"] < high
    assert found["accuracy"] == pytest.approx(score("accuracy", targets, oof_probs), abs=1e-6)
    assert found["log_loss"] == pytest.approx(score("log_loss", targets, oof_probs), abs=1e-6)
    assert found["num_images"] == 7


def test_fold_of_one_class_has_no_area_under_the_curve_and_is_left_out_of_the_mean():
    competition = load_competition("demo").model_copy(update={"metric": "roc_auc"})
    oof_probs = assemble_oof(by_fold(), FOLDS)
    first, second, third = describe_oof(competition, FOLDS, oof_probs)["fold_scores"]
    assert third is None  # both of its images are cats
    found = describe_oof(competition, FOLDS, oof_probs)
    assert found["cv_score"] == pytest.approx((first + second) / 2)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_metric_that_is_not_defined_for_the_pool_is_refused_in_one_line():
    competition = load_competition("demo").model_copy(update={"metric": "roc_auc"})
    cats = FOLDS.assign(label="cat")
    line = r"^roc_auc: must be measured on images of several classes, the 7 images here are of 1; "
    with pytest.raises(ArtifactError, match=line):
        describe_oof(competition, cats, assemble_oof(by_fold(), cats))


def test_groups_are_numbered_as_they_come_and_single_images_are_in_none():
    assert image_groups(FOLDS) is None
    twins = FOLDS.assign(group=list("zyzxwzv"))
    groups = image_groups(twins)
    assert groups is not None
    assert groups.tolist() == [0, 1, 0, 2, 3, 0, 4]


def test_intervals_of_images_in_groups_are_wider():
    table = pd.concat([FOLDS.assign(image_id=FOLDS["image_id"] + str(n)) for n in range(9)])
    probs = np.tile(rows(0.6, 0.1, 0.4, 0.2, 0.7, 0.5, 0.3), (9, 1))
    alone = table.assign(group=table["image_id"])
    widths = []
    for one in (table, alone):
        low, high = describe_oof(load_competition("demo"), one, probs)["oof_interval_95"]
        widths.append(high - low)
    assert widths[0] > 2 * widths[1]
