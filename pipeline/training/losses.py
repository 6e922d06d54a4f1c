"""Compute the loss of every image from logits and soft targets."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.config.train_table import LossConfig
from pipeline.store.predictions import FloatArray, IntArray
from pipeline.training.device import to_device

# Logits `(B, K)` float32 and targets `(B, K)`, whose rows sum to 1 → losses `(B,)`.
Criterion = Callable[[Tensor, Tensor], Tensor]

# The smallest 1 - p that the focal loss tells from 0; float32 knows none between 0 and 6e-8.
_SMALLEST_DOUBT = 1e-8


def build_criterion(
    config: LossConfig, class_counts: IntArray, *, has_several: bool = False
) -> Criterion:
    """Build a criterion that returns losses image by image.

    Whoever calls it adds up and divides by the batch's size, so neither micro-batches nor processes
    change anything.

    Args:
        config: Label smoothing (Szegedy et al. 2016, section 7), the focal loss's gamma, and
            whether classes are balanced.
        class_counts: Training images of each class, `(K,)`.
        has_several: Whether targets are 1 or 0 for each of several labels; losses of the labels are
            added up, and classes must not be balanced.
    """
    if has_several:
        return _of_labels(config)
    is_balanced = config.class_weights == "balanced"
    weights = torch.from_numpy(balanced_weights(class_counts)) if is_balanced else None

    def criterion(logits: Tensor, targets: Tensor) -> Tensor:
        smoothing = config.label_smoothing
        smooth = targets * (1 - smoothing) + smoothing / logits.shape[1]
        losses = _focal(logits, smooth, config.focal_gamma)
        if weights is None:
            return losses
        # By what the image shows, not by the smoothing, which gives every class to every image.
        return losses * (targets @ to_device(weights, targets.device))

    return criterion


def balanced_weights(class_counts: IntArray) -> FloatArray:
    """Weigh classes by the inverse of their counts, so that the mean over all images is 1.

    Args:
        class_counts: Training images of each class, `(K,)`.

    Returns:
        Weights `(K,)`; 0 for a class without images.
    """
    is_present = class_counts > 0
    shares = class_counts / class_counts.sum()
    weights = np.zeros(len(class_counts), dtype=np.float32)
    weights[is_present] = 1 / (is_present.sum() * shares[is_present])
    return weights


def _focal(logits: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """Return `-Σ t (1 - p)^gamma log p`, the focal loss expected under soft targets t.

    With one class it is Lin et al. 2017, "Focal Loss for Dense Object Detection", eq. 4; with
    gamma 0 cross-entropy.
    """
    log_probs = F.log_softmax(logits, dim=1)  # (B, K)
    terms = -targets * log_probs
    if gamma:
        # A power below 1 rises without bound at 0, where the gradient would be 0 times infinity.
        doubt = (1 - log_probs.exp()).clamp(min=_SMALLEST_DOUBT)
        terms = terms * doubt**gamma
    return terms.sum(1)


def _of_labels(config: LossConfig) -> Criterion:
    """Build binary cross-entropy, or the focal loss, added up over the labels."""

    def criterion(logits: Tensor, targets: Tensor) -> Tensor:
        smoothing = config.label_smoothing
        smooth = targets * (1 - smoothing) + smoothing / 2
        losses = F.binary_cross_entropy_with_logits(logits, smooth, reduction="none")  # (B, K)
        if config.focal_gamma:
            probs = logits.sigmoid()
            doubt = (smooth * (1 - probs) + (1 - smooth) * probs).clamp(min=_SMALLEST_DOUBT)
            losses = losses * doubt**config.focal_gamma
        return losses.sum(1)

    return criterion
