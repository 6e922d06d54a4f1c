import io

import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.reports.ensemble_results import lost, lost_heading, members_table, methods_table
from pipeline.scoring.ensembling.ensemble_methods import METHODS
from pipeline.scoring.ensembling.selection import AUTO, FALLBACK, Candidates, score_methods
from tests.scoring.drawn import FOLDS, TARGETS, by_thresholds, members


def lines(table: Table) -> list[str]:
    console = Console(file=io.StringIO(), width=200)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def rows(metric: str) -> dict[str, list[str]]:
    scores = score_methods(Candidates(members(1, 1.5), TARGETS, FOLDS, metric), [*METHODS, AUTO])
    cells = [line.split("│")[1:-1] for line in lines(methods_table(scores, metric, "calibrated"))]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in cells if row}


def test_every_method_has_its_honest_and_its_fitted_scores():
    found = rows("accuracy")
    names = ["mean", "weighted", "calibrated *", "rank", "stack", "auto, nested"]
    assert list(found) == names
    candidates = Candidates(members(1, 1.5), TARGETS, FOLDS, "accuracy")
    for name, score in zip(found, score_methods(candidates, [*METHODS, AUTO]), strict=True):
        assert found[name][:4] == [
            str(score.score), f"{score.fitted_score:.4f}",
            str(score.log_loss), f"{score.fitted_log_loss:.4f}",
        ]  # fmt: skip
    assert found[FALLBACK][4] == found["auto, nested"][4] == ""
    assert "[" in found["calibrated *"][4]


def test_log_loss_is_not_shown_twice():
    assert {len(row) for row in rows("log_loss").values()} == {3}


def test_members_that_do_not_help_are_flagged():
    change = {"metric": "log_loss", "difference": 0.01, "interval": [-0.002, 0.02]}
    shown = lines(
        members_table(
            [
                {"name": "a (2 seeds)", "weight": 0.75, "without": change, "helps": False},
                {"name": "b", "weight": np.float64(0.25), "without": None, "helps": True},
            ]
        )
    )
    [first] = [line for line in shown if "a (2 seeds)" in line]
    assert "0.75" in first
    assert "+0.0100 [-0.0020, +0.0200]" in first
    assert "no help beyond noise" in first
    [second] = [line for line in shown if "│ b " in line]
    assert "no help" not in second
    assert any("log loss lost without it" in line for line in shown)


def test_a_loss_is_named_only_if_members_were_compared_by_it():
    alone = {"name": "a", "weight": 1.0, "without": None, "helps": True}
    change = {"metric": "mae", "difference": 0.1, "interval": [0.0, 0.2]}
    assert lost_heading([alone]) == "lost without it"
    assert lost_heading([alone, alone | {"without": change}]) == "mae lost without it"


def test_a_score_that_should_be_high_is_lost_by_as_much_as_it_falls():
    change = {"metric": "quadratic_kappa", "difference": -0.02, "interval": [-0.03, 0.01]}
    assert lost(change) == (0.02, -0.01, 0.03)
    assert lost(change | {"metric": "log_loss"}) == (-0.02, -0.03, 0.01)
    same = lost(change | {"difference": 0.0, "interval": [0.0, 0.0]})
    assert [f"{one:+.1f}" for one in same] == ["+0.0"] * 3


def test_methods_of_ordered_classes_are_compared_by_what_thresholds_decide():
    truth = TARGETS, FOLDS, "quadratic_kappa", None, by_thresholds
    scores = score_methods(Candidates(members(1, 1.5), *truth), ["mean", FALLBACK])
    shown = "\n".join(lines(methods_table(scores, "quadratic_kappa", FALLBACK)))
    assert f"quadratic kappa against {FALLBACK}" in shown
    assert "temperature" not in shown
