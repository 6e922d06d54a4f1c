"""Small images first: their size, epoch by epoch (Tan and Le 2021, "EfficientNetV2")."""

from pipeline.train_config import ProgressiveConfig

STEP_PX = 32  # what most networks reduce by, from image to last map


def size_in_epoch(full_px: int, growth: ProgressiveConfig | None, epoch: int) -> int:
    """Return the images' size in an epoch: multiples of 32 until it is full, none larger.

    Args:
        full_px: `images.size_px`.
        growth: How they grow; None for not at all.
        epoch: Counted from 0.
    """
    if growth is None or epoch >= growth.epochs:
        return full_px
    size = growth.from_px + (full_px - growth.from_px) * epoch / growth.epochs
    return min(round(size / STEP_PX) * STEP_PX, full_px)
