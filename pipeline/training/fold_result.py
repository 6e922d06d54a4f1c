"""What training one fold gives, whatever the method."""

from dataclasses import dataclass

import pandas as pd

from pipeline.predictions import FloatArray
from pipeline.training.checkpoint import Tensors


@dataclass(frozen=True)
class FoldResult:
    """What training one fold gives.

    Attributes:
        weights: What was learned, by name.
        history: One row per epoch, or per fit of a head: losses, accuracies, learning rate.
        val_probs: `(num_val, K)`, rows in the order of the training table.
        test_probs: `(num_test, K)`, rows in the order of the readable test images.
    """

    weights: Tensors
    history: pd.DataFrame
    val_probs: FloatArray
    test_probs: FloatArray
