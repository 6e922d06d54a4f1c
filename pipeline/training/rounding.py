"""Features as the cache keeps them, whether they were cached or not."""

import numpy as np
from torch import Tensor

FLOAT16_MAX = float(np.finfo(np.float16).max)


def rounded(features: Tensor) -> Tensor:
    """Round features to float16; what is too large for it becomes the largest."""
    return features.float().clamp(-FLOAT16_MAX, FLOAT16_MAX).half()
