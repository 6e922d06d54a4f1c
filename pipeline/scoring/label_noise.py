"""Find labels that the predictions contradict: confident learning (Northcutt et al. 2021)."""

import numpy as np
import pandas as pd

from pipeline.store.predictions import FloatArray, IntArray


def find_suspects(probs: FloatArray, targets: IntArray) -> pd.DataFrame:
    """List the images whose label is probably wrong, the most contradicted first.

    A class counts for an image where the image's probability of it is at least its threshold: the
    mean probability that images with this label get for it (section 3.1). So a class that the
    models are never sure of isn't suspected wherever they hesitate. An image is suspect where the
    likeliest class that counts isn't its label (off the diagonal of the confident joint, eq. 1)
    and is likelier than the label.

    Args:
        probs: OOF probabilities, `(N, K)`; in-sample ones have learned the wrong labels, too.
        targets: Given class indices, `(N,)`.

    Returns:
        Columns `row` (of `probs`), `suggested` (class index), `prob_label` and `prob_suggested`,
        by descending margin between the two.
    """
    num_classes = probs.shape[1]
    own = probs[np.arange(len(targets)), targets].astype(np.float64)
    counts = np.bincount(targets, minlength=num_classes)
    with np.errstate(invalid="ignore"):
        thresholds = np.bincount(targets, own, num_classes) / counts  # NaN, no class without images
    confident = np.where(probs >= thresholds, probs, 0).astype(np.float64)
    margins = confident.max(axis=1) - own  # (N,), 0 where it is the label that counts most
    rows = np.argsort(-margins, kind="stable")[: np.count_nonzero(margins > 0)]
    return pd.DataFrame(
        {
            "row": rows,
            "suggested": confident[rows].argmax(axis=1),
            "prob_label": own[rows],
            "prob_suggested": confident[rows].max(axis=1),
        }
    )
