"""Pseudo-labels: confident predictions of test images, learned from like labels.

Lee 2013, "Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep Neural
Networks"; with the teacher's probabilities for targets instead of its hard choice.

A fold learns from what the teacher's model of the *same* fold predicts. That model saw no label of
the fold's images either, so the student's OOF score stays honest; the mean over the teacher's
folds, which learned from them, would tell the student what it is examined on.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.config.competition import Competition
from pipeline.config.experiment import PSEUDO_SUFFIX, Experiment
from pipeline.data.priors import is_readable
from pipeline.errors import ArtifactError, ConfigError
from pipeline.store.freshness import Stamp, digest
from pipeline.store.paths import Paths
from pipeline.store.predictions import FloatArray, IntArray, load_predictions


@dataclass(frozen=True)
class PseudoLabels:
    """Test images that join one fold's training.

    Attributes:
        rows: Which of the readable test images, `(m,)`.
        targets: The teacher's probabilities of them, `(m, K)`; rows sum to 1.
    """

    rows: IntArray
    targets: FloatArray


def self_training(experiment: Experiment, threshold: float) -> Experiment:
    """Return the student of an experiment, `<name>-pseudo`, that is otherwise the same.

    Raises:
        ConfigError: The threshold isn't a probability.
    """
    changes = {
        "name": experiment.name + PSEUDO_SUFFIX,
        "data.pseudo_label.experiment": experiment.name,
        "data.pseudo_label.threshold": threshold,
    }
    return experiment.changed(changes, "--pseudo-label")


def check_allowed(experiment: Experiment, competition: Competition) -> None:
    """Refuse pseudo-labels where the competition's rules do.

    Raises:
        ConfigError: They are wanted and not allowed, or of the experiment itself.
    """
    wanted = experiment.data.pseudo_label
    if wanted and not competition.allows_pseudo_labels:
        raise ConfigError(
            f"{experiment.name}: data.pseudo_label must be left out, as {competition.name} doesn't "
            "allow learning from test images"
        )
    if wanted and wanted.experiment == experiment.name:
        raise ConfigError(
            f"{experiment.name}: data.pseudo_label.experiment must be another experiment, is itself"
        )


def teacher_digest(paths: Paths, experiment: Experiment, fold: int) -> str | None:
    """Identify what a fold would learn from; None where nothing or nothing yet."""
    wanted = experiment.data.pseudo_label
    return digest(_predictions_path(paths, wanted.experiment, fold)) if wanted else None


def load_pseudo_labels(
    paths: Paths, competition: Competition, experiment: Experiment, fold: int, test: pd.DataFrame
) -> PseudoLabels | None:
    """Choose the test images of whose class the teacher's model of a fold is sure enough.

    Args:
        paths: The competition's files.
        competition: Its classes.
        experiment: The student; says who its teacher is, and how sure is sure.
        fold: Counted from 0.
        test: The test table, unreadable images included; these never join.

    Returns:
        None where the experiment wants none.

    Raises:
        ArtifactError: The teacher isn't trained over today's folds and classes.
    """
    wanted = experiment.data.pseudo_label
    if wanted is None:
        return None
    path = _predictions_path(paths, wanted.experiment, fold)
    again = f"pipeline train {competition.name} --experiment {wanted.experiment}"
    if not path.is_file():
        raise ArtifactError(f"{path}: must exist to learn from, is missing; run '{again}'")
    predictions = load_predictions(path, again)
    is_stale = (
        Stamp(paths.experiment(wanted.experiment).fold(fold).stamp, {}).damaged()
        or predictions.folds_sha256 != digest(paths.folds_csv)
        or predictions.class_names != list(competition.classes)
    )
    if is_stale:
        raise ArtifactError(f"{path}: must be of today's folds and classes, isn't; run '{again}'")
    test_ids = test.loc[is_readable(test), "image_id"].tolist()
    row_of = {image_id: row for row, image_id in enumerate(predictions.image_ids)}
    missing = [image_id for image_id in test_ids if image_id not in row_of]
    if missing:
        raise ArtifactError(
            f"{path}: must hold every test image, lacks {missing[0]}; run '{again}'"
        )
    probs = predictions.probs[[row_of[image_id] for image_id in test_ids]]
    rows = np.flatnonzero(probs.max(axis=1) >= wanted.threshold)
    return PseudoLabels(rows, probs[rows])


def _predictions_path(paths: Paths, teacher: str, fold: int) -> Path:
    return paths.experiment(teacher).fold(fold).test
