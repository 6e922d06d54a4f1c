"""The models that an experiment learned, one per fold, ready to predict."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import softmax
from torch import Tensor, nn

from pipeline.competition import Competition
from pipeline.config import Experiment
from pipeline.errors import ArtifactError
from pipeline.freshness import Stamp
from pipeline.machine import keep_freed_memory
from pipeline.models.registry import build_random, build_trunk
from pipeline.paths import ExperimentPaths, Paths
from pipeline.predictions import FloatArray, load_predictions
from pipeline.results import load_result, making_command
from pipeline.strict import parse
from pipeline.training.checkpoint import load_checkpoint
from pipeline.training.device import Precision, pick_device
from pipeline.training.features import FLOAT16_MAX
from pipeline.training.head import LinearHead
from pipeline.training.inputs import to_inputs

# What the models at some places of `folds` make of inputs: (N, 3, H, W) → (F, N, K).
Predict = Callable[[Tensor, Sequence[int]], FloatArray]


class FoldModels:
    """Predicts with every fold's model of a trained experiment.

    Args:
        paths: The competition's files.
        competition: Its classes.
        name: The experiment.

    Attributes:
        experiment: Its configuration.
        folds: Numbers of its folds.

    Raises:
        ArtifactError: There is no such experiment, it is an ensemble, incomplete, damaged or was
            trained for other classes; or weights of a frozen trunk can't be had.
    """

    def __init__(self, paths: Paths, competition: Competition, name: str) -> None:
        files = paths.experiment(name)
        again = making_command(paths, competition, name)
        self.experiment = _load_experiment(files, again)
        stamps = sorted(files.experiment_dir.glob("fold*/stamp.json"))
        self.folds = sorted(int(stamp.parent.name.removeprefix("fold")) for stamp in stamps)
        _check_classes(files, competition, again)
        keep_freed_memory()
        self._device = pick_device()
        self._precision = Precision.choose(self.experiment.train.precision, self._device)
        make = self._probe if self.experiment.method == "probe" else self._finetuned
        self._predict = make(files, competition.num_classes)

    @torch.inference_mode()
    def probs(self, pixels: Tensor, only_fold: int | None = None) -> FloatArray:
        """Predict views of images.

        Args:
            pixels: `(B, V, H, W, 3)` uint8.
            only_fold: Whose model is wanted; None for all.

        Returns:
            `(F, V, B, K)`, in the order of `folds`; rows sum to 1.
        """
        places = range(len(self.folds)) if only_fold is None else [self.folds.index(only_fold)]
        inputs = to_inputs(pixels.flatten(0, 1), self.experiment.images, self._device)
        with self._precision.autocast():
            by_row = self._predict(inputs, places)  # (F, B·V, K)
        by_view = by_row.reshape(len(by_row), *pixels.shape[:2], -1)  # (F, B, V, K)
        return np.ascontiguousarray(by_view.transpose(0, 2, 1, 3))

    def _probe(self, files: ExperimentPaths, num_classes: int) -> Predict:  # noqa: ARG002
        """Run the trunk once for all folds' heads."""
        trunk = build_trunk(self.experiment.model, self.experiment.seed).network
        network = self._ready(trunk)
        heads = [LinearHead.load(files.fold(fold).checkpoint) for fold in self.folds]

        def predict(inputs: Tensor, places: Sequence[int]) -> FloatArray:
            # Rounded as in the cache of features that the heads learned from.
            features = network(inputs).float().clamp(-FLOAT16_MAX, FLOAT16_MAX).half().float()
            rows = features.cpu().numpy()
            return np.stack([softmax(heads[place].logits(rows), axis=1) for place in places])

        return predict

    def _finetuned(self, files: ExperimentPaths, num_classes: int) -> Predict:
        num_earlier = self.experiment.train.snapshots - 1
        networks = []  # of each fold, its snapshots
        for fold in map(files.fold, self.folds):
            checkpoints = [*map(fold.snapshot, range(num_earlier)), fold.checkpoint]
            networks.append([self._network(path, num_classes) for path in checkpoints])

        def predict(inputs: Tensor, places: Sequence[int]) -> FloatArray:
            logits = [
                [network(inputs).float().cpu().numpy() for network in networks[place]]
                for place in places
            ]
            probs: FloatArray = softmax(np.array(logits), axis=-1).mean(axis=1)
            return probs

        return predict

    def _network(self, path: Path, num_classes: int) -> nn.Module:
        network = build_random(self.experiment.model, num_classes, self.experiment.seed).module
        tensors: Any = {name: torch.tensor(one) for name, one in load_checkpoint(path).items()}
        try:
            network.load_state_dict(tensors)
        except RuntimeError as error:
            raise ArtifactError(
                f"{path}: must fit {self.experiment.model.name}, doesn't; train again"
            ) from error
        return self._ready(network)

    def _ready(self, network: nn.Module) -> nn.Module:
        return network.to(self._device).to(memory_format=torch.channels_last).eval()


def _load_experiment(files: ExperimentPaths, again: str) -> Experiment:
    name = files.experiment_dir.name
    if not files.stamp.is_file():
        raise ArtifactError(f"experiment '{name}': must be trained over all folds; run '{again}'")
    result = load_result(files)
    if result.is_ensemble:
        members = ", ".join(result.config["members"])
        raise ArtifactError(
            f"experiment '{name}': must have checkpoints, is an ensemble; name a member: {members}"
        )
    damaged = [
        path
        for stamp in [files.stamp, *sorted(files.experiment_dir.glob("fold*/stamp.json"))]
        for path in Stamp(stamp, {}).damaged()
    ]
    if damaged:
        raise ArtifactError(f"{damaged[0]}: must be as it was trained, isn't; run '{again}'")
    return parse(Experiment, result.config, str(files.config))


def _check_classes(files: ExperimentPaths, competition: Competition, again: str) -> None:
    names = load_predictions(files.oof, again).class_names
    if names != list(competition.classes):
        raise ArtifactError(
            f"{files.oof}: classes must be {list(competition.classes)}, are {names}; run '{again}'"
        )
