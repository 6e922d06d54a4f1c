"""Results in the order of their scores."""

from collections.abc import Iterable

from pipeline.competition import Competition
from pipeline.results import Result
from pipeline.scoring.metrics import get_metric


def best_first(competition: Competition, results: Iterable[Result]) -> list[Result]:
    """Sort results by their out-of-fold scores in the competition's metric, the best first."""
    return sorted(
        results,
        key=lambda one: float(one.metrics["oof_score"]),
        reverse=get_metric(competition.metric).greater_is_better,
    )
