"""Load the models that an experiment learned, one per fold, and predict with them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.config.competition import Competition
from pipeline.config.experiment import Experiment
from pipeline.config.strict import parse
from pipeline.errors import ArtifactError, ConfigError
from pipeline.inference.grad_cam import Maps, grad_cam, has_map
from pipeline.models.registry import Network, build_random, build_trunk
from pipeline.models.split import below_head
from pipeline.models.weights_source import weights_digest
from pipeline.scoring.targets import to_numbers
from pipeline.store.freshness import Stamp, read_stamp
from pipeline.store.paths import ExperimentPaths, Paths
from pipeline.store.predictions import FloatArray, load_predictions
from pipeline.store.results import gathered_folds, load_result, making_command
from pipeline.training.checkpoint import load_checkpoint
from pipeline.training.device import Precision, pick_device, round_to_float16, set_up, to_inputs
from pipeline.training.frozen import Forward, frozen_forward
from pipeline.training.head import LinearHead
from pipeline.training.memory import GPU_VIEWS, ChunkedForward, explained_shortage
from pipeline.training.predictor import to_probs

# Logits of the models at some places of `folds`: (N, H, W, 3) uint8 → (F, N, K).
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
        again = making_command(paths, competition.name, name)
        self.experiment = _load_experiment(files, again)
        self.folds = gathered_folds(files)
        _check_made_for(files, competition, again)
        _check_made_from(files, competition, self.experiment, again)
        self._competition = competition
        self._device = pick_device()
        set_up(self._device)
        self._precision = Precision.choose(self.experiment.train.precision, self._device)
        # By fold: inputs → logits, and pixels → what the head reads.
        self._networks: list[nn.Module] = []
        self._lower_parts: list[Forward] = []
        make = self._probe if self.experiment.method == "probe" else self._finetuned
        self._predict = make(files, competition.num_classes)

    def images_at_once(self, on_cpu: int, num_views: int = 1) -> int:
        """Return how many images to read and predict together: a GPU wants many views at once.

        Args:
            on_cpu: So many on other devices.
            num_views: Views of each.
        """
        is_gpu = self._device.type == "cuda"
        return max(on_cpu, GPU_VIEWS // num_views) if is_gpu else on_cpu

    @torch.inference_mode()
    def probs(self, pixels: Tensor, only_fold: int | None = None) -> FloatArray:
        """Predict views of images.

        Args:
            pixels: `(B, V, H, W, 3)` uint8.
            only_fold: Whose model is wanted; None for all.

        Returns:
            `(F, V, B, K)`, in the order of `folds`; rows sum to 1 unless there are several labels,
            or the target is a number.
        """
        places = range(len(self.folds)) if only_fold is None else [self.folds.index(only_fold)]
        logits = self._predict(pixels.flatten(0, 1), places)
        free = self._competition.has_free_outputs
        by_row = to_numbers(self._competition, to_probs(logits, has_several=free))  # (F, B·V, K)
        by_view = by_row.reshape(len(by_row), *pixels.shape[:2], -1)  # (F, B, V, K)
        return np.ascontiguousarray(by_view.transpose(0, 2, 1, 3))

    @torch.inference_mode()
    def features(self, pixels: Tensor, fold: int) -> FloatArray:
        """Return what the head of a fold's network reads, averaged over places where it has any.

        Args:
            pixels: `(B, H, W, 3)` uint8.
            fold: Whose network.

        Returns:
            `(B, D)`.
        """
        features = self._lower_parts[self.folds.index(fold)](pixels)
        if features.ndim > 2:  # a map (B, D, h, w), or tokens (B, T, D)
            features = features.flatten(2).mean(2) if features.ndim == 4 else features.mean(1)
        return np.asarray(features.cpu().numpy(), dtype=np.float32)

    def has_maps(self) -> bool:
        """Tell whether the networks have a map of features, which `class_maps` needs."""
        size = self.experiment.images.size_px
        image = torch.zeros(1, 3, size, size, device=self._device)
        return has_map(self._networks[0], image)

    def class_maps(self, pixels: Tensor, classes: Tensor, fold: int) -> Maps:
        """Map which places speak for classes, by the network of a fold; see `grad_cam`.

        Args:
            pixels: `(B, H, W, 3)` uint8.
            classes: Class indices, `(B, M)`.
            fold: Whose network.
        """
        network = self._networks[self.folds.index(fold)]

        def maps_of(rows: Tensor) -> Tensor:
            inputs = to_inputs(pixels[rows], self.experiment.images, self._device)
            return torch.from_numpy(grad_cam(network, inputs, classes[rows].to(self._device)))

        # What gradients are computed from takes more memory than predictions.
        maps: Maps = ChunkedForward(maps_of)(torch.arange(len(pixels))).numpy()
        return maps

    def _probe(self, files: ExperimentPaths, num_classes: int) -> Predict:  # noqa: ARG002
        """Run the trunk once for all folds' heads."""
        model, size = self.experiment.model, self.experiment.images.size_px
        network = self._ready(build_trunk(model, self.experiment.seed, size).module)
        heads = [LinearHead.load(files.fold(fold).checkpoint) for fold in self.folds]
        self._networks = [nn.Sequential(network, self._linear(head)) for head in heads]
        trunk = self._run(network)
        self._lower_parts = [trunk] * len(heads)

        def predict(pixels: Tensor, places: Sequence[int]) -> FloatArray:
            # Rounded as in the cache of features that the heads learned from.
            rows = round_to_float16(trunk(pixels)).float().cpu().numpy()
            return np.stack([heads[place].logits(rows) for place in places])

        return predict

    def _finetuned(self, files: ExperimentPaths, num_classes: int) -> Predict:
        networks = []
        for fold in self.folds:
            network = load_network(self.experiment, num_classes, files.fold(fold).checkpoint)
            networks.append(self._run(self._ready(network.module)))
            self._networks.append(network.module)
            self._lower_parts.append(self._run(below_head(network)))

        def predict(pixels: Tensor, places: Sequence[int]) -> FloatArray:
            return np.stack([networks[place](pixels).cpu().numpy() for place in places])

        return predict

    def _linear(self, head: LinearHead) -> nn.Module:
        """Make a layer of a head that reads features as they are."""
        weight, bias = map(torch.from_numpy, head.linear())
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.load_state_dict({"weight": weight, "bias": bias})
        return self._ready(layer)

    def _run(self, network: nn.Module) -> Forward:
        images = self.experiment.images
        return frozen_forward(network, self._device, self._precision, images)

    def _ready(self, network: nn.Module) -> nn.Module:
        number = len(self.folds)
        with explained_shortage(f"{self.experiment.name}: {number} networks must fit in memory"):
            return network.to(self._device).to(memory_format=torch.channels_last).eval()


def load_network(experiment: Experiment, num_classes: int, path: Path) -> Network:
    """Build a fine-tuned experiment's network and load a fold's checkpoint into it.

    Raises:
        ArtifactError: The checkpoint is missing, damaged or another network's.
    """
    size = experiment.images.size_px
    network = build_random(experiment.model, num_classes, experiment.seed, size)
    tensors: Any = {name: torch.tensor(one) for name, one in load_checkpoint(path).items()}
    try:
        network.module.load_state_dict(tensors)
    except RuntimeError as error:
        lines = str(error).splitlines()  # a title, then what differs
        raise ArtifactError(
            f"{path}: must fit {experiment.model.name}, differs: {lines[-1].strip()[:100]}; train "
            "again"
        ) from error
    return network


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
        for stamp in [files.stamp, *(files.fold(fold).stamp for fold in gathered_folds(files))]
        for path in Stamp(stamp, {}).damaged()
    ]
    if damaged:
        state = "was changed since" if damaged[0].is_file() else "is gone"
        raise ArtifactError(f"{damaged[0]}: must be as it was trained, {state}; run '{again}'")
    try:
        return parse(Experiment, result.config, str(files.config))
    except ConfigError as error:  # a key that other versions had
        raise ArtifactError(f"{error}; run '{again}'") from error


def _check_made_for(files: ExperimentPaths, competition: Competition, again: str) -> None:
    """Refuse models of other classes, or of another kind of answer."""
    predictions = load_predictions(files.oof, again)
    kind = predictions.has_several, predictions.is_number
    if kind != (competition.has_several, competition.is_number):
        raise ArtifactError(
            f"{files.oof}: must be for the competition's target, '{competition.target}', was "
            f"trained for another; run '{again}'"
        )
    names = predictions.class_names
    if names != list(competition.classes):
        raise ArtifactError(
            f"{files.oof}: classes must be {list(competition.classes)}, are {names}; run '{again}'"
        )


def _check_made_from(
    files: ExperimentPaths, competition: Competition, experiment: Experiment, again: str
) -> None:
    """Refuse heads of another trunk than today's weights make, and numbers of another range."""
    first = gathered_folds(files)[0]
    inputs = (read_stamp(files.fold(first).stamp) or {"inputs": {}})["inputs"]
    today: dict[str, Any] = {}
    if experiment.method == "probe":
        today["weights"] = weights_digest(experiment.model)
    if competition.is_number:
        today["range"] = list(competition.range)
    for key, value in today.items():
        if inputs.get(key, value) != value:
            raise ArtifactError(
                f"{files.experiment_dir}: {key} must be as they were when it was trained, changed "
                f"since; run '{again}'"
            )
