"""Decoded pixels → a network's inputs."""

import torch

from pipeline.config import ImageConfig


def to_inputs(pixels: torch.Tensor, config: ImageConfig, device: torch.device) -> torch.Tensor:
    """Move pixels to a device and normalise them there.

    Bytes travel, not floats: a quarter of the traffic.

    Args:
        pixels: `(N, H, W, 3)` uint8 RGB.
        config: Mean and standard deviation per channel, for pixels in [0, 1].
        device: Where to.

    Returns:
        `(N, 3, H, W)` float32, channels last in memory, as the pixels come from the decoder.
    """
    mean = torch.tensor(config.mean, device=device).view(3, 1, 1)
    std = torch.tensor(config.std, device=device).view(3, 1, 1)
    flat = pixels.to(device, non_blocking=True).permute(0, 3, 1, 2)
    return (flat.float() / 255 - mean) / std
