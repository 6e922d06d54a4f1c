"""Show how well calibrated the best result is."""

from collections.abc import Hashable
from typing import Any

import pandas as pd

from pipeline.reports.ensemble_results import draw_reliability
from pipeline.reports.page.blocks import Block, Chart, Paragraph, Section, chart, table
from pipeline.reports.page.report_data import ReportData
from pipeline.reports.style import drawing
from pipeline.scoring.calibration import (
    expected_calibration_error,
    fit_temperature,
    reliability_table,
)
from pipeline.scoring.metrics import score


def build(data: ReportData) -> list[Section]:
    """Build the section on calibration, as predicted and at the best temperature."""
    best = data.best
    if best is None:
        return []
    calibration = fit_temperature(best.probs, best.targets)
    both = {
        "as predicted": best.probs,
        "at its best temperature": calibration.apply(best.probs),
    }
    tables = {name: reliability_table(probs, best.targets) for name, probs in both.items()}
    scores = [
        f"{name}: ECE {expected_calibration_error(tables[name]):.4f}, log loss "
        f"{score('log_loss', best.targets, probs):.4f}"
        for name, probs in both.items()
    ]
    text = (
        f"{best.result.name}, out of fold. {'; '.join(scores)}. The temperature is "
        f"{calibration.temperature:.3f}: above 1 the predictions were surer than right, below 1 "
        "less sure. No class changes by it; it is fitted on these images."
    )
    before = tables["as predicted"]
    rows = [
        [f"{one['low']:.2f} to {one['high']:.2f}", int(one["count"]), *_means(one)]
        for one in before.to_dict("records")
    ]
    headings = ["confidence", "images", "mean confidence", "accuracy"]
    numbers = table("Reliability as predicted, bin by bin", headings, rows, is_folded=True)
    blocks: list[Block] = [Paragraph(text), _chart(tables), numbers]
    return [Section("reliability", "Reliability", blocks)]


def _means(one: dict[Hashable, Any]) -> list[Any]:
    return [one["confidence"], one["accuracy"]]


def _chart(tables: dict[str, pd.DataFrame]) -> Chart:
    with drawing(4.8, 5.2) as figure:
        draw_reliability(figure, tables)
        caption = (
            "Reliability diagram: images are sorted by how sure the prediction is; on the dashed "
            "line it is right as often as it is sure."
        )
        return chart(figure, "accuracy by confidence, and the images per bin", caption)
