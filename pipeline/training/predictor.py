"""Predict the probabilities of images, averaged over their views."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit, softmax
from torch import Tensor, nn

from pipeline.config.experiment import Experiment
from pipeline.console import Advance
from pipeline.images.views import View, plain_views
from pipeline.machine import num_processes, rank
from pipeline.store.predictions import FloatArray, IntArray
from pipeline.training import processes
from pipeline.training.device import Precision, frozen_backend, pick_device
from pipeline.training.frozen import Forward
from pipeline.training.inputs import Inputs, images_at_once
from pipeline.training.memory import ChunkedForward
from pipeline.training.readback import delayed_by_one


def to_probs(logits: npt.ArrayLike, *, has_several: bool = False) -> FloatArray:
    """Turn logits `(..., K)` into probabilities: of one class, or of each of several labels."""
    probs: FloatArray = expit(logits) if has_several else softmax(logits, axis=-1)
    return probs


def average_probs(logits: npt.ArrayLike, axis: int, *, has_several: bool = False) -> FloatArray:
    """Turn logits into probabilities and average these, over views or over models.

    Args:
        logits: `(..., K)` float32.
        axis: What to average over, not the last one.
        has_several: Whether an image may have several labels, each with a probability of its own.

    Returns:
        float32, of the same shape without that axis; rows sum to 1 unless there are several labels.
    """
    probs = to_probs(logits, has_several=has_several)
    averaged: FloatArray = probs.mean(axis=axis, dtype=np.float32)
    return averaged


@torch.inference_mode()
def predict(  # noqa: PLR0913 (what to predict, with what, and how)
    experiment: Experiment,
    module: nn.Module,
    inputs: Inputs,
    rows: IntArray,
    advance: Advance | None = None,
    *,
    views: Sequence[View] | None = None,
    is_final: bool = False,
    has_several: bool = False,
) -> FloatArray:
    """Average probabilities over views; processes of a launch share the work.

    Memory doesn't grow with the number of images, but for the result.

    Args:
        experiment: Says how views are made, and in which precision.
        module: Inputs `(N, ...)` → logits `(N, K)`; switched to evaluation.
        inputs: Where images come from.
        rows: Which rows of their table, `(n,)`.
        advance: Moves a progress bar.
        views: The views; None for all plain ones.
        is_final: Whether the module learns no more, so that it may be converted to run faster.
        has_several: As of `average_probs`.

    Returns:
        `(n, K)`, as `average_probs` gives them.
    """
    module.train()  # some networks keep what they derive from their weights, until they train again
    module.eval()
    views = views or plain_views(experiment)
    own = np.array_split(rows, num_processes())[rank()]
    size = images_at_once(experiment, len(views))
    batches = [own[start : start + size].tolist() for start in range(0, len(own), size)]

    forward = _forward(experiment, module, inputs, is_final=is_final)

    def by_batch() -> Iterator[Tensor]:
        for loaded in inputs.load(views, batches):  # (B, V, ...)
            yield forward(loaded.flatten(0, 1)).reshape(*loaded.shape[:2], -1)  # (B, V, K)

    probs = []
    for by_view in delayed_by_one(by_batch()):
        probs.append(average_probs(by_view.numpy(), axis=1, has_several=has_several))
        if advance:
            advance(len(by_view))
    return np.concatenate([part for share in processes.gather(probs) for part in share])


def _forward(
    experiment: Experiment, module: nn.Module, inputs: Inputs, *, is_final: bool
) -> Forward:
    """Return the way from what was loaded, `(n, ...)`, to logits `(n, K)` float32."""
    device = pick_device()
    precision = Precision.choose(experiment.train.precision, device)
    if is_final and frozen_backend(device):
        return inputs.through_finished(module, precision)

    def forward(loaded: Tensor) -> Tensor:
        with precision.autocast():
            return module(inputs.prepare(loaded)).float()  # type: ignore[no-any-return]

    return ChunkedForward(forward)
