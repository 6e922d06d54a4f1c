"""Give test images that can't be read the class prior of the training images, and say so."""

import numpy as np
import pandas as pd

from pipeline import console
from pipeline.store.predictions import FloatArray, IntArray

MOST_NAMES = 10


def is_readable(images: pd.DataFrame) -> pd.Series:
    """Tell which rows of `test.csv` could be decoded, `(N,)` bool."""
    return images["width"] > 0


def fill_with_prior(
    readable_probs: FloatArray, test: pd.DataFrame, targets: IntArray
) -> FloatArray:
    """Give the unreadable test images the training class shares: the best guess without a look.

    Args:
        readable_probs: `(num_readable, K)`, rows in the order of the readable rows of `test`.
        test: Rows of `test.csv`.
        targets: Class indices of the training images.

    Returns:
        `(num_test, K)`, rows in the order of `test`.
    """
    num_classes = readable_probs.shape[1]
    prior = np.bincount(targets, minlength=num_classes) / len(targets)
    probs = np.tile(prior.astype(np.float32), (len(test), 1))
    probs[is_readable(test).to_numpy()] = readable_probs
    return probs


def warn_of_unreadable(test: pd.DataFrame) -> None:
    """Name the test images that get the class prior."""
    unreadable = test.loc[~is_readable(test), "image_id"].tolist()
    if unreadable:
        others = f" and {len(unreadable) - MOST_NAMES:,} more" * (len(unreadable) > MOST_NAMES)
        others += ", all named in audit.csv" * (len(unreadable) > MOST_NAMES)
        console.warn(
            f"{len(unreadable):,} of {len(test):,} test images are unreadable and get the class "
            f"prior: {', '.join(unreadable[:MOST_NAMES])}{others}"
        )
