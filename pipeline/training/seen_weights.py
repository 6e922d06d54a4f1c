"""Refuse weights that were learned from the images that they would be scored on."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.config.experiment import WEIGHTS_SOURCES, ModelConfig
from pipeline.errors import ConfigError, PipelineError
from pipeline.models.weights_source import find_weights_file
from pipeline.store.freshness import file_sha256
from pipeline.store.paths import FoldPaths, Paths
from pipeline.store.predictions import load_predictions


def check_unseen(
    paths: Paths, config: ModelConfig, fold_table: pd.DataFrame, folds: Sequence[int]
) -> None:
    """Refuse a checkpoint of this competition that has learned from a fold's held-out images.

    A checkpoint is known by its sha256, wherever the file lies; what it hasn't seen, by the
    out-of-fold predictions beside it.

    Args:
        paths: The competition's files.
        config: The network and its weights.
        fold_table: The fold of every image, `image_id` and `fold`.
        folds: Those to train.

    Raises:
        ConfigError: It has: out-of-fold scores would flatter.
    """
    if config.weights in WEIGHTS_SOURCES:
        return
    origin = _find_origin(paths, find_weights_file(config.weights))
    if origin is None:
        return
    unseen = _held_out_ids(origin)
    for fold in folds:
        held_out = set(fold_table.loc[fold_table["fold"] == fold, "image_id"])
        if not held_out <= unseen:
            raise ConfigError(
                f"model.weights: must not have learned from the images of fold {fold}, on which "
                f"they would be scored; '{config.weights}' is the checkpoint of "
                f"{origin.fold_dir.relative_to(paths.artifacts_dir)}, which has; "
                "use weights from before this competition"
            )


def _find_origin(paths: Paths, file: Path) -> FoldPaths | None:
    """Find the fold that a file is a checkpoint of, or a copy of one."""
    num_bytes = file.stat().st_size
    candidates = paths.artifacts_dir.glob("**/fold*/*.safetensors")
    alike = [one for one in candidates if one.stat().st_size == num_bytes]
    if not alike:
        return None
    sha256 = file_sha256(file)
    found = sorted(one for one in alike if file_sha256(one) == sha256)
    return FoldPaths(found[0].parent) if found else None


def _held_out_ids(fold: FoldPaths) -> set[str]:
    """Return the images that a fold's checkpoint didn't learn from; none where nothing says so."""
    try:
        return set(load_predictions(fold.oof, "pipeline train").image_ids)
    except PipelineError:
        return set()
