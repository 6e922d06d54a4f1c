"""What the methods score, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.scoring.comparison import Comparison
from pipeline.scoring.ensembling.selection import Candidates
from pipeline.scoring.metrics import Score, evaluate, score


@dataclass(frozen=True)
class MethodScore:
    """What a method scores, honestly and fitted to the very images that it is scored on.

    Attributes:
        method: Its name.
        score: By the competition's metric, cross-fitted or nested.
        log_loss: The same.
        fitted_score: What the method's optimism makes of it.
        fitted_log_loss: The same.
        against_fallback: Difference in log loss, see `choose`; None for AUTO and the fallback.
    """

    method: str
    score: Score
    log_loss: Score
    fitted_score: float
    fitted_log_loss: float
    against_fallback: Comparison | None

    def record(self) -> dict[str, Any]:
        """Return what metrics.json says of it."""
        against = self.against_fallback
        return {
            "method": self.method,
            "oof_score": round(self.score.value, 6),
            "oof_interval_95": [round(self.score.low, 6), round(self.score.high, 6)],
            "log_loss": round(self.log_loss.value, 6),
            "log_loss_interval_95": [round(self.log_loss.low, 6), round(self.log_loss.high, 6)],
            "fitted_score": round(self.fitted_score, 6),
            "fitted_log_loss": round(self.fitted_log_loss, 6),
            "against_fallback": against.record() if against else None,
        }


def score_methods(candidates: Candidates, methods: Sequence[str]) -> list[MethodScore]:
    """Score each method, or AUTO, on all training images."""
    against = candidates.against_fallback()
    targets, metric = candidates.targets, candidates.metric
    scores = []
    for method in methods:
        oof_probs = candidates.oof(method)
        fitted_probs = candidates.fitted(method).apply(candidates.members)
        scores.append(
            MethodScore(
                method=method,
                score=evaluate(metric, targets, oof_probs),
                log_loss=evaluate("log_loss", targets, oof_probs),
                fitted_score=score(metric, targets, fitted_probs),
                fitted_log_loss=score("log_loss", targets, fitted_probs),
                against_fallback=against.get(method),
            )
        )
    return scores
