"""The degradation experiment: deeper plain nets train worse, deeper residual nets don't.

He et al. 2016, "Deep Residual Learning for Image Recognition", section 4.1 and figure 4.
"""

import re
from collections.abc import Sequence

import pandas as pd

from pipeline.config.experiment import Experiment
from pipeline.errors import ConfigError
from pipeline.store.paths import Paths
from pipeline.store.tables import load_record

COLUMNS = ["experiment", "family", "network", "epoch", "train_error", "val_error"]


def check_measures(experiments: Sequence[Experiment]) -> None:
    """Refuse experiments whose history won't tell the training error.

    Raises:
        ConfigError: One is such.
    """
    for one in experiments:
        if one.method != "finetune" or not one.train.measure_train:
            raise ConfigError(
                f"experiment '{one.name}': must fine-tune a network and measure its training "
                "error; set method = 'finetune' and train.measure_train = true"
            )


def error_curves(paths: Paths, experiments: Sequence[Experiment], fold: int) -> pd.DataFrame:
    """Return the errors after every epoch of a fold's training.

    Returns:
        COLUMNS, a row per experiment and epoch, epochs counted from 1; errors are shares of the
        images that were learned from, without augmentation, and of the held-out ones.
    """
    curves = []
    for one in experiments:
        history = load_record(paths.experiment(one.name).fold(fold).history)
        curve = pd.DataFrame(
            {
                "experiment": one.name,
                "family": family_of(one.model.name),
                "network": one.model.name,
                "epoch": history["epoch"] + 1,
                "train_error": 1 - history["train_accuracy"],
                "val_error": 1 - history["val_accuracy"],
            }
        )
        curves.append(curve[COLUMNS])
    return pd.concat(curves, ignore_index=True)


def family_of(network: str) -> str:
    """Return a network's name up to its depth, as `plain` of `plain34_cifar`."""
    return re.split(r"\d", network)[0]
