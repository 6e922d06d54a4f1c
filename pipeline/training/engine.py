"""The training loop."""

import time
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from accelerate import Accelerator
from scipy.special import softmax
from torch import nn

from pipeline.config import Experiment, TrainConfig
from pipeline.errors import ArtifactError
from pipeline.images.dataset import ViewDataset, load_batches
from pipeline.images.views import View, plain_views
from pipeline.models.registry import Network
from pipeline.paths import Paths
from pipeline.predictions import FloatArray, IntArray
from pipeline.scoring.metrics import score
from pipeline.training.device import fast_dtype, keep_freed_memory, pick_device
from pipeline.training.inputs import to_inputs
from pipeline.training.optim import build_optimizer, rate_factor


class Engine:
    """Trains one network on some images and predicts others.

    Args:
        paths: Where the images lie.
        experiment: How to train.
        network: What to train; it is changed in place.
        seed: Seed of the order of images and of dropout, different for every fold.
    """

    def __init__(self, paths: Paths, experiment: Experiment, network: Network, seed: int) -> None:
        keep_freed_memory()
        is_bf16 = fast_dtype(pick_device()) == torch.bfloat16
        self._accelerator = Accelerator(mixed_precision="bf16" if is_bf16 else "no")
        self._paths = paths
        self._experiment = experiment
        self._config: TrainConfig = experiment.train
        self._network = network
        self._seed = seed
        self._device = self._accelerator.device
        network.module.to(self._device)
        network.module.to(memory_format=torch.channels_last)

    def fit(
        self,
        train: pd.DataFrame,
        targets: IntArray,
        validate: Callable[[], dict[str, float]],
        advance: Callable[[int], None],
    ) -> pd.DataFrame:
        """Train for all epochs.

        Args:
            train: The images to learn from, rows of `train.csv`, N of them.
            targets: Their class indices, `(N,)`.
            validate: Called after every epoch; what it measures joins the history.
            advance: Called with the number of images newly seen.

        Returns:
            The history, one row per epoch.

        Raises:
            ArtifactError: The loss isn't finite any more.
        """
        config = self._config
        torch.manual_seed(self._seed)
        _freeze(self._network, config)
        optimizer = build_optimizer(config.optimizer, self._network.module.parameters())
        optimizer = self._accelerator.prepare(optimizer)
        steps_per_epoch = len(_shuffled_batches(len(train), config.batch_size, (0, 0)))
        factor = rate_factor(config.schedule, config.epochs * steps_per_epoch, steps_per_epoch)
        criterion = nn.CrossEntropyLoss(label_smoothing=config.label_smoothing)
        rows = []
        step = 0
        for epoch in range(config.epochs):
            start = time.monotonic()
            _train_mode(self._network, config)
            losses = []
            for batch, pixels in self._epoch(train, epoch):
                rate = config.optimizer.learning_rate * factor(step)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                labels = torch.from_numpy(targets[batch]).to(self._device)
                with self._accelerator.autocast():
                    logits = self._logits(pixels)
                loss = criterion(logits.float(), labels)
                losses.append(self._finite(loss, step, train["image_id"].iloc[batch].tolist()))
                self._learn(loss, optimizer)
                step += 1
                advance(len(batch))
            speed = len(train) / (time.monotonic() - start)
            row = {"epoch": epoch, "step": step, "learning_rate": rate}
            row |= {"train_loss": float(np.mean(losses)), "images_per_second": round(speed, 1)}
            rows.append(row | validate())
        return pd.DataFrame(rows)

    def _learn(self, loss: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
        self._accelerator.backward(loss)
        if self._config.clip_norm:
            parameters = self._network.module.parameters()
            self._accelerator.clip_grad_norm_(parameters, self._config.clip_norm)
        optimizer.step()
        optimizer.zero_grad()

    def _epoch(self, train: pd.DataFrame, epoch: int) -> Iterator[tuple[list[int], torch.Tensor]]:
        """Yield shuffled row numbers and their augmented pixels, `(B, H, W, 3)` uint8."""
        view = View(self._experiment.views.recipe, number=epoch, seed=self._experiment.seed)
        batches = _shuffled_batches(len(train), self._config.batch_size, (self._seed, epoch))
        for batch, pixels in zip(batches, self._load(train, [view], batches), strict=True):
            yield batch, pixels[:, 0]

    @torch.inference_mode()
    def predict(self, images: pd.DataFrame) -> FloatArray:
        """Average probabilities over the plain views: N rows → `(N, K)`, rows sum to 1."""
        self._network.module.eval()
        views = plain_views(self._experiment)
        size = self._config.batch_size
        batches = [list(range(s, min(s + size, len(images)))) for s in range(0, len(images), size)]
        probs = []
        for pixels in self._load(images, views, batches):  # (B, V, H, W, 3)
            with self._accelerator.autocast():
                logits = self._logits(pixels.flatten(0, 1))
            by_view = logits.float().cpu().numpy().reshape(*pixels.shape[:2], -1)
            probs.append(softmax(by_view, axis=-1).mean(axis=1, dtype=np.float32))
        return np.concatenate(probs)

    def measure(self, images: pd.DataFrame, targets: IntArray) -> dict[str, float]:
        """Predict labelled images and score them, for the history."""
        probs = self.predict(images)
        return {
            "val_loss": round(score("log_loss", targets, probs), 6),
            "val_accuracy": round(score("accuracy", targets, probs), 6),
        }

    def _logits(self, pixels: torch.Tensor) -> torch.Tensor:
        inputs = to_inputs(pixels, self._experiment.images, self._device)
        if self._config.freeze == "trunk":
            with torch.no_grad():
                features = self._network.trunk(inputs)
            return self._network.head(features)
        logits: torch.Tensor = self._network.module(inputs)
        return logits

    def _load(
        self, images: pd.DataFrame, views: list[View], batches: list[list[int]]
    ) -> Iterator[torch.Tensor]:
        dataset = ViewDataset(self._paths, [(images, tuple(views))], self._experiment.images)
        return load_batches(dataset, batches, self._device.type)

    def _finite(self, loss: torch.Tensor, step: int, image_ids: list[str]) -> float:
        value = float(loss.detach())
        if not np.isfinite(value):
            raise ArtifactError(
                f"{self._experiment.name}: the loss must be finite, is {value} at step {step} on "
                f"{', '.join(image_ids[:5])}; lower train.optimizer.learning_rate or set "
                "train.clip_norm"
            )
        return value


def _freeze(network: Network, config: TrainConfig) -> None:
    if config.freeze == "trunk":
        for name, parameter in network.module.named_parameters():
            parameter.requires_grad_(network.is_head(name))


def _train_mode(network: Network, config: TrainConfig) -> None:
    """Switch to training; a frozen trunk stays in evaluation, so that its batch norm rests."""
    network.module.train(config.freeze == "none")
    if config.freeze == "trunk":
        heads = set(network.head_names)
        for name, module in network.module.named_modules():
            if name in heads:
                module.train()


def _shuffled_batches(count: int, batch_size: int, seed: tuple[int, int]) -> list[list[int]]:
    """Cut a random order into batches; a last image alone joins the batch before.

    Batch norm has no variance to learn from a single image.
    """
    order: npt.NDArray[np.int64] = np.random.default_rng(seed).permutation(count)
    batches = [order[start : start + batch_size].tolist() for start in range(0, count, batch_size)]
    if len(batches) > 1 and len(batches[-1]) == 1:
        alone = batches.pop()
        batches[-1] += alone
    return batches
