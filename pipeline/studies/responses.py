"""The layers' responses of networks that were trained; see `models/responses.py`."""

import numpy as np
import pandas as pd

from pipeline.config.competition import Competition
from pipeline.config.experiment import Experiment
from pipeline.config.strict import parse
from pipeline.data.training_table import Tables, subsample
from pipeline.errors import ArtifactError, ConfigError
from pipeline.images.working_copy import WorkingCopies, working_side_px
from pipeline.inference.fold_models import load_network
from pipeline.models.responses import recorded_responses
from pipeline.store.freshness import Stamp, read_stamp
from pipeline.store.paths import FoldPaths, Paths
from pipeline.training.device import pick_device
from pipeline.training.inputs import PixelInputs
from pipeline.training.predictor import predict

COLUMNS = ["experiment", "family", "network", "layer", "name", "std", "rank"]


def layer_responses(
    paths: Paths, competition: Competition, name: str, fold: int, tables: Tables
) -> pd.DataFrame:
    """Measure the responses of a fold's network to the images that it didn't learn from.

    Returns:
        COLUMNS without the family, a row per layer in the order in which they run, counted from 1;
        `rank` counts them from the strongest response on.

    Raises:
        ArtifactError: The fold isn't trained, or not over today's folds, or is damaged.
        ConfigError: The experiment trained no network, or one without batch norm.
    """
    files = paths.experiment(name).fold(fold)
    experiment = _experiment_of(paths, files, name, tables)
    device = pick_device()
    network = load_network(experiment, competition.num_classes, files.checkpoint).module.to(device)
    used = subsample(tables, experiment.data.limit)
    copies = WorkingCopies(paths, working_side_px(experiment.images))
    inputs = PixelInputs(copies, experiment, used.train, None, device)
    rows = np.flatnonzero(used.folds["fold"] == fold)
    with recorded_responses(network) as moments:
        predict(experiment, network, inputs, rows)
    if not moments:
        raise ConfigError(
            f"experiment '{name}': must train a network with batch norm, whose output is what is "
            f"measured; {experiment.model.name} has none"
        )
    table = pd.DataFrame(
        {
            "experiment": name,
            "network": experiment.model.name,
            "layer": range(1, len(moments) + 1),
            "name": list(moments),
            "std": [one.std() for one in moments.values()],
        }
    )
    return table.assign(rank=table["std"].rank(method="first", ascending=False).astype(int))


def _experiment_of(paths: Paths, files: FoldPaths, name: str, tables: Tables) -> Experiment:
    """Read what a fold was trained with, whatever `--set` said then."""
    again = f"run 'pipeline train {paths.competition} --experiment {name}'"
    stamp = read_stamp(files.stamp)
    if stamp is None:
        raise ArtifactError(f"{files.fold_dir}: must be trained, isn't; {again}")
    if Stamp(files.stamp, {}).damaged() or stamp["inputs"]["folds"] != tables.digests["folds"]:
        raise ArtifactError(f"{files.fold_dir}: must be whole and of today's folds, isn't; {again}")
    experiment = parse(Experiment, stamp["inputs"]["config"], str(files.stamp))
    if experiment.method != "finetune":
        raise ConfigError(
            f"experiment '{name}': must have trained a network, its method is "
            f"'{experiment.method}'; name one of method 'finetune'"
        )
    return experiment
