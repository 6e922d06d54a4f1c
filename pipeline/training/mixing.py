"""Mix training images in pairs, and their targets with them: Mixup and CutMix.

Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", arXiv 1710.09412; Yun et al. 2019,
"CutMix", arXiv 1905.04899.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.config.train_table import MixingConfig
from pipeline.errors import ConfigError
from pipeline.training.device import to_device


class Mixture(NamedTuple):
    """How an image is mixed: inside the box it is its partner, outside it keeps the share `lam`.

    Mixup has no box, CutMix a `lam` of 1; without both, an image stays as it is.
    """

    lam: float = 1.0
    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0


class Mixing:
    """Mixes neighbours of a shuffled batch, each with the other: 0 with 1, 2 with 3, and so on.

    The last of an odd number is mixed with the one before it, by a lam of its own; that one keeps
    its other neighbour. The papers mix a batch with its permutation and one lam. Pairs with a lam
    each are as random, and what becomes of an image depends on its batch and its place in the
    epoch's order alone: on no micro-batch, process or earlier draw.

    Args:
        config: The Beta distributions' alphas, and how many pairs are mixed.
        seed: Seed of the draws.
    """

    def __init__(self, config: MixingConfig, seed: int) -> None:
        self._config = config
        self._seed = seed

    @property
    def is_on(self) -> bool:
        """Tell whether anything is ever mixed."""
        return self._config.is_on

    def with_partners(self, part: slice, count: int) -> slice:
        """Widen a part of a batch by the partners of its images, of which it may lack some.

        Args:
            part: Places in the batch, counted from 0.
            count: Length of the batch, or of a share of it that begins at an even place and, if it
                is odd, is the batch's last.

        Returns:
            What must be given to `apply` so that all images of `part` come out as they should.
        """
        if not self.is_on:
            return part
        start, stop = part.start - part.start % 2, min(part.stop + part.stop % 2, count)
        has_odd_one = stop == count and count % 2 == 1
        return slice(max(min(start, count - 3), 0) if has_odd_one else start, stop)

    def apply(
        self, inputs: Tensor, targets: Tensor, epoch: int, first: int
    ) -> tuple[Tensor, Tensor]:
        """Mix a batch, or as much of it as `with_partners` says.

        Args:
            inputs: Images `(B, C, H, W)`, square maps of features, `(B, H, W, C)` too, or for mixup
                alone any features `(B, ...)`; float.
            targets: `(B, K)` float, rows sum to 1.
            epoch: Counted from 0.
            first: Place of the first image in the epoch's order.

        Returns:
            Mixed inputs and targets, of the same shapes; what came in is unchanged.

        Raises:
            ConfigError: CutMix was asked for, and the inputs are no images or maps.
        """
        if not self.is_on:
            return inputs, targets
        if self._config.cutmix_alpha > 0 and inputs.ndim != 4:
            raise ConfigError(
                "train.mixing.cutmix_alpha: must be 0 where a frozen trunk's features are mixed, "
                f"which have no places, is {self._config.cutmix_alpha}; use mixup_alpha"
            )
        if self._config.cutmix_alpha > 0 and _has_channels_last(inputs.shape):
            mixed, targets = self._mix(inputs.movedim(-1, 1), targets, epoch, first)
            return mixed.movedim(1, -1), targets
        return self._mix(inputs, targets, epoch, first)

    def _mix(
        self, inputs: Tensor, targets: Tensor, epoch: int, first: int
    ) -> tuple[Tensor, Tensor]:
        """See `apply`; what has places has its channels before them."""
        drawn = torch.tensor(self._mixtures(inputs, epoch, first))  # (B, 5)
        mixtures = to_device(drawn, inputs.device)
        partners = torch.arange(len(inputs), device=inputs.device) ^ 1
        partners[-1] = max(len(inputs) - 2, 0)  # where there is one image, it is its own partner
        kept, shares = _kept(mixtures, inputs)
        # lerp is exact at both ends: what isn't mixed keeps its bits.
        mixed = torch.lerp(inputs[partners], inputs, kept.to(inputs.dtype))
        return mixed, torch.lerp(targets[partners], targets, shares.to(targets.dtype))

    def _mixtures(self, inputs: Tensor, epoch: int, first: int) -> list[Mixture]:
        """Draw one for both images of a pair, and one for the last of an odd number."""
        size = tuple(inputs.shape[2:])
        mixtures = []
        for place in range(first, first + len(inputs) - 1, 2):
            # Seeds are padded with zeros: without the 1, the first pair would draw from the stream
            # that shuffled the epoch.
            mixtures += 2 * [self._draw((self._seed, epoch, 1 + place // 2), size)]
        if len(inputs) % 2:
            # The next batch's first pair may have the same number.
            last = first + len(inputs) - 1
            mixtures.append(self._draw((self._seed, epoch, 1 + last // 2, 1), size))
        return mixtures

    def _draw(self, stream: tuple[int, ...], size: tuple[int, ...]) -> Mixture:
        config = self._config
        random = np.random.default_rng(stream)
        if random.random() >= config.probability:
            return Mixture()
        is_cutmix = config.cutmix_alpha > 0 and (config.mixup_alpha == 0 or random.random() < 0.5)
        if not is_cutmix:
            return Mixture(lam=random.beta(config.mixup_alpha, config.mixup_alpha))
        lam = random.beta(config.cutmix_alpha, config.cutmix_alpha)
        # Its sides are sqrt(1 - lam) of the image's, its centre is anywhere (eq. 2).
        top, bottom = _side(size[0], lam, random)
        left, right = _side(size[1], lam, random)
        return Mixture(1.0, top, bottom, left, right)


def _has_channels_last(shape: torch.Size) -> bool:
    """Tell by a map's shape whether it is `(B, H, W, C)`, as Swin's: maps are square."""
    _, first, middle, last = shape
    return first == middle != last


def _side(length: int, lam: float, random: np.random.Generator) -> tuple[int, int]:
    """Draw a side of CutMix's box, cut off where it leaves the image."""
    half = int(length * np.sqrt(1 - lam)) // 2
    centre = int(random.integers(length))
    return max(centre - half, 0), min(centre + half, length)


def _kept(mixtures: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return what each place keeps of itself, and what an image does on the average.

    Args:
        mixtures: `(B, 5)`, a `Mixture` each.
        inputs: `(B, C, H, W)`, or `(B, ...)` where no mixture has a box.

    Returns:
        Places, `(B, 1, H, W)` or `(B, 1, ...)` of length 1 each; images, `(B, 1)`. The latter is
        the area that was left, not the lam that was drawn.
    """
    lam, top, bottom, left, right = mixtures.T.view(5, -1, *[1] * (inputs.ndim - 1))
    if inputs.ndim != 4:
        return lam, mixtures[:, :1]
    height, width = inputs.shape[2:]
    rows = torch.arange(height, device=inputs.device).view(1, 1, -1, 1)
    columns = torch.arange(width, device=inputs.device)
    is_inside = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    box_share = (bottom - top) * (right - left) / (height * width)  # (B, 1, 1, 1)
    return torch.where(is_inside, 0.0, lam), (lam * (1 - box_share)).flatten(1)
