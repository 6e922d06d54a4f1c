"""Turn tables of images into what is scored: targets, groups, and answers of several images."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config.class_names import BETWEEN_LABELS
from pipeline.config.competition import Competition
from pipeline.errors import DataError
from pipeline.scoring.decisions import (
    FEW_THRESHOLDS,
    decided,
    decisions_for,
    needs_decisions,
)
from pipeline.scoring.measures import Values
from pipeline.scoring.metrics import score
from pipeline.store.predictions import AnyProbs, FloatArray, IntArray, Likeliest
from pipeline.store.tables import ANSWER


def class_indices(competition: Competition, images: pd.DataFrame) -> IntArray:
    """Turn the column `label` into class indices, `(N,)`.

    Where images have several labels, into 1 for each that one has and 0 for the others, `(N, K)`;
    where the target is a number, into float64, `(N, 1)`.

    Raises:
        DataError: A label is none of the competition's, as before its file changed.
    """
    try:
        return _indices(competition, images["label"])
    except (KeyError, ValueError) as error:
        span = " from {:g} to {:g}".format(*competition.range) if competition.range else ""
        kinds = {"number": f"numbers{span}", "several_labels": "any of its classes, as |one|two|"}
        raise DataError(
            f"{competition.name}: labels in train.csv must be "
            f"{kinds.get(competition.target, 'its classes')}, one isn't ({error}), as the "
            f"competition's file changed; run 'pipeline prepare {competition.name}'"
        ) from error


def _indices(competition: Competition, labels: pd.Series) -> IntArray:
    index = {name: number for number, name in enumerate(competition.classes)}
    if competition.is_number:
        numbers: Any = labels.to_numpy(dtype=np.float64)[:, None]
        low, high = competition.range or (-np.inf, np.inf)
        if len(outside := numbers[(numbers < low) | (numbers > high)]):
            raise ValueError(f"{outside[0]:g}")
        return np.asarray(numbers)
    if competition.has_several:
        marks = np.zeros((len(labels), competition.num_classes), dtype=np.int64)
        for row, label in enumerate(labels):
            if not label.startswith(BETWEEN_LABELS):
                raise ValueError(f"'{label}'")
            marks[row, [index[name] for name in competition.labels_in(label)]] = 1
        return marks
    return np.array([index[label] for label in labels], dtype=np.int64)


def image_groups(images: pd.DataFrame) -> IntArray | None:
    """Number the groups of images that new images don't come from, as copies or one patient's.

    Args:
        images: Column group.

    Returns:
        `(N,)`, counted from 0 in the order of their first rows; None where each image is alone.
    """
    groups: IntArray = pd.factorize(images["group"])[0].astype(np.int64)
    return groups if len(groups) > 1 + groups.max(initial=-1) else None


def to_shares(competition: Competition, numbers: IntArray) -> IntArray:
    """Turn numbers into their places in the target's range, from 0 to 1; other targets stay.

    Models learn and predict these: a logit each, whatever the numbers are.
    """
    if not competition.is_number:
        return numbers
    low, high = competition.range
    shares: Any = (numbers - low) / (high - low)
    return np.asarray(shares)


def to_numbers(competition: Competition, shares: AnyProbs) -> AnyProbs:
    """Turn places in the target's range into numbers, `(..., 1)`; other probabilities stay."""
    if not competition.is_number or isinstance(shares, Likeliest):
        return shares
    low, high = competition.range
    numbers: FloatArray = (low + (high - low) * shares.astype(np.float64)).astype(np.float32)
    return numbers


def pooled(
    competition: Competition, images: pd.DataFrame, probs: AnyProbs
) -> tuple[pd.DataFrame, AnyProbs]:
    """Pool the probabilities of images that are answered together, as the competition's file says.

    Of two classes that of the positive one is pooled. Unreadable images count only where an answer
    has no others.

    Args:
        competition: How to pool.
        images: Rows of `test.csv`, or of the fold table; N of them.
        probs: `(N, K)`.

    Returns:
        A row per answer, in the order of `images`, with what its first image has and the answer as
        `image_id`; and probabilities `(A, K)`. Both as given where each image is an answer.
    """
    if competition.answers is None or isinstance(probs, Likeliest):
        return images, probs
    answers = images[ANSWER]
    if "width" in images:
        is_read = images["width"] > 0
        counts = (is_read | ~answers.isin(answers[is_read])).to_numpy()
        images, probs, answers = images[counts], probs[counts], answers[counts]
    owners, names = pd.factorize(answers)
    order = np.argsort(owners, kind="stable")
    starts = np.searchsorted(owners[order], np.arange(len(names)))
    positive = competition.submission.positive
    column = slice(None) if positive is None else [competition.classes.index(positive)]
    values = probs[order][:, column].astype(np.float64)
    found = _POOLS[competition.answers.pool](values, starts)
    if positive is not None:
        found = np.hstack([found, 1 - found] if column == [0] else [1 - found, found])
    firsts = images.iloc[order[starts]].assign(image_id=names)
    return firsts.reset_index(drop=True), found.astype(np.float32)


def _mean(values: Values, starts: IntArray) -> Values:
    counts = np.diff(np.append(starts, len(values)))[:, None]
    mean: Values = np.add.reduceat(values, starts) / counts
    return mean


def _noisy_or(values: Values, starts: IntArray) -> Values:
    none: Values = np.multiply.reduceat(1 - values, starts)
    return 1 - none


_POOLS: dict[str, Callable[[Values, IntArray], Values]] = {
    "mean": _mean,
    "max": np.maximum.reduceat,
    "noisy_or": _noisy_or,
}


@dataclass(frozen=True)
class Judged:
    """Out-of-fold predictions as the judge scores them: pooled, and decided where a metric asks.

    Attributes:
        competition: Says how.
        images: The fold table, of the rows that `held_out` keeps.
    """

    competition: Competition
    images: pd.DataFrame

    def of(
        self, probs: AnyProbs, *, is_raw: bool = False
    ) -> tuple[IntArray, AnyProbs, IntArray | None]:
        """Return targets, probabilities and groups of the A answers.

        Args:
            probs: Of the images, `(N, K)`.
            is_raw: Whether to leave them undecided.

        Returns:
            Targets `(A,)` or `(A, K)`, see `class_indices`; probabilities `(A, K)`; and groups
            `(A,)`, see `image_groups`: those of patients, not of the images of one answer.
        """
        images, probs = pooled(self.competition, self.images, probs)
        targets, groups = class_indices(self.competition, images), image_groups(images)
        if not is_raw:
            probs = decided(self.competition, targets, probs, images["fold"].to_numpy())
        return targets, probs, groups

    def fold_scores(self, probs: AnyProbs) -> list[float]:
        """Score each fold by the competition's metric, in their order; NaN where it isn't defined.

        Args:
            probs: Of the images, `(N, K)`.
        """
        targets, answers, _ = self.of(probs)
        folds = pooled(self.competition, self.images, probs)[0]["fold"].to_numpy()
        metric = self.competition.metric
        rows = (folds == fold for fold in np.unique(folds))
        return [score(metric, targets[own], answers[own]) for own in rows]

    def alone(self, rows: IntArray, probs: AnyProbs) -> tuple[IntArray, AnyProbs, IntArray | None]:
        """Return what `of` does of some of the images, without the others.

        Thresholds are chosen on the very images: the score flatters a little, that of all that is
        compared alike.

        Args:
            rows: Which images, `(n,)`.
            probs: Theirs, `(n, K)`.
        """
        part = replace(self, images=self.images.iloc[rows])
        targets, probs, groups = part.of(probs, is_raw=True)
        if needs_decisions(self.competition) and not isinstance(probs, Likeliest):
            few = decisions_for(self.competition, targets, probs, num_tried=FEW_THRESHOLDS)
            probs = few.apply(probs)
        return targets, probs, groups

    def score_alone(self, rows: IntArray, probs: AnyProbs) -> float:
        """Score some of the images by the competition's metric; see `alone`."""
        targets, probs, _ = self.alone(rows, probs)
        return score(self.competition.metric, targets, probs)
