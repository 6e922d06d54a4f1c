"""Measure each member's contribution by leaving it out, and prune the members without one."""

from pipeline.scoring.calibration import at_best_temperature
from pipeline.scoring.comparison import Comparison, compare_all
from pipeline.scoring.cross_fitting import cross_fitted
from pipeline.scoring.ensembling.ensemble_methods import Method
from pipeline.store.predictions import FloatArray, IntArray


class Contributions:
    """Compares an ensemble with itself without some of its members.

    Log losses are cross-fitted and compared at each ensemble's best temperature. Log loss tells
    far smaller changes from noise than accuracy does, where most images are right either way.

    Args:
        method: The kind of ensemble.
        members: OOF probabilities, `(M, N, K)`.
        targets: True class indices, `(N,)`.
        folds: Fold of every image, `(N,)`.
    """

    def __init__(
        self, method: Method, members: FloatArray, targets: IntArray, folds: IntArray
    ) -> None:
        self._method = method
        self._members = members
        self._targets = targets
        self._folds = folds
        self._whole = self._predictions(list(range(len(members))))

    def leave_one_out(self) -> list[Comparison]:
        """Compare the ensemble without each member to the whole one, in the members' order.

        A member whose lack isn't "worse" doesn't help beyond noise. There must be two at least.
        """
        return list(self._leave_one_out(list(range(len(self._members)))).values())

    def prune(self) -> list[int]:
        """Drop members while the rest isn't worse than the whole beyond noise.

        One at a time, the least missed first, as of two members that say the same each is
        dispensable, but not both. The choice sees all labels, so the score of what is left is a
        little too good, by less than the noise.

        Returns:
            Indices of the members that stay, at least one, ascending.
        """
        kept = list(range(len(self._members)))
        while len(kept) > 1:
            lacks = self._leave_one_out(kept)
            dispensable = [index for index in kept if lacks[index].verdict != "worse"]
            if not dispensable:
                break
            kept.remove(min(dispensable, key=lambda index: lacks[index].difference))
        return kept

    def _leave_one_out(self, kept: list[int]) -> dict[int, Comparison]:
        """Compare what is left of `kept` without each of them to the whole ensemble, by index."""
        rests = {
            str(index): self._predictions([other for other in kept if other != index])
            for index in kept
        }
        losses = compare_all("log_loss", self._targets, self._whole, rests)
        return dict(zip(kept, losses.values(), strict=True))

    def _predictions(self, chosen: list[int]) -> FloatArray:
        members = self._members[chosen]
        oof_probs = cross_fitted(self._method, members, self._targets, self._folds)
        return at_best_temperature(oof_probs, self._targets)
