"""Choose the batches of an epoch, and mix their images in pairs: Mixup and CutMix.

Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", arXiv 1710.09412; Yun et al. 2019,
"CutMix", arXiv 1905.04899.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.config.train_table import MixingConfig, TrainConfig
from pipeline.errors import ConfigError
from pipeline.store.predictions import IntArray

# Batches.


def epoch_batches(targets: IntArray, config: TrainConfig, seed: int, epoch: int) -> list[IntArray]:
    """Cut an epoch's random order into batches; a last image alone joins the batch before.

    Batch norm has no variance to learn from a single image.

    Args:
        targets: Class indices of the N training images, `(N,)`.
        config: The batch size and the sampling.
        seed: Seed of the order, for all epochs.
        epoch: Counted from 0.

    Returns:
        Rows of `targets`, N in all. Under "uniform" sampling each image once; under "balanced"
        each class as often as any other, give or take one.
    """
    random = np.random.default_rng((seed, epoch))
    draw = _balanced_order if config.sampling == "balanced" else _uniform_order
    order = draw(targets, random)
    return [order[part] for part in part_slices(len(order), config.batch_size)]


def part_slices(count: int, size: int) -> list[slice]:
    """Cut `count` neighbours into parts of `size`; a last one alone joins the part before.

    Unless parts of one are what is asked for.
    """
    starts = list(range(0, count, size))
    if size > 1 and len(starts) > 1 and starts[-1] == count - 1:
        starts.pop()
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], count], strict=True)]


def _uniform_order(targets: IntArray, random: np.random.Generator) -> IntArray:
    return random.permutation(len(targets))


def _balanced_order(targets: IntArray, random: np.random.Generator) -> IntArray:
    """Draw as many images as there are, from all classes alike.

    A class is drawn from without replacement until it is exhausted, then again: large ones show
    other images in every epoch, small ones repeat theirs equally often.
    """
    classes = random.permutation(np.unique(targets))  # who gets one more, where it doesn't divide
    quotas = len(targets) // len(classes) + (np.arange(len(classes)) < len(targets) % len(classes))
    drawn = [
        _cycled(np.flatnonzero(targets == number), quota, random)
        for number, quota in zip(classes, quotas, strict=True)
    ]
    return random.permutation(np.concatenate(drawn))


def _cycled(rows: IntArray, count: int, random: np.random.Generator) -> IntArray:
    rounds = [random.permutation(rows) for _ in range(-(-count // len(rows)))]
    return np.concatenate([rows[:0], *rounds])[:count]


# Pairs.

# Pairs that are drawn together, each from its place in a stream of its own number.
PAIRS_AT_ONCE = 512

# What is drawn of an image: lam, its share outside the box; the box's sides and its centre, as
# shares of the image's sides; and where its partner is, counted from it.
LAM, SIDE, ROW, COLUMN, PARTNER = range(5)


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

    def draw(self, count: int, epoch: int, first: int) -> Tensor:
        """Draw how images are mixed: once for a batch, of which parts are applied.

        Args:
            count: Images of the batch, or of a share of it as `with_partners` has them.
            epoch: Counted from 0.
            first: Place of the first image in the epoch's order, an even one in its batch.

        Returns:
            `(count, 5)` float32 on the CPU, a row for each image; `(count, 0)` where mixing is off.
        """
        if not self.is_on:
            return torch.empty(count, 0)
        start = first // 2
        drawn = self._of_pairs(epoch, start, start + count // 2).repeat(2, axis=0)
        partners = np.resize([1.0, -1.0], len(drawn))
        if count % 2:
            # The next batch's first pair may have the same number, so its stream is another.
            last = (first + count - 1) // 2
            drawn = np.concatenate([drawn, self._of_pairs(epoch, last, last + 1, 1)])
            partners = np.append(partners, -1.0 if count > 1 else 0.0)  # alone, it is its own
        return torch.from_numpy(np.column_stack([drawn, partners]).astype(np.float32))

    def apply(self, inputs: Tensor, targets: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Mix a batch, or as much of it as `with_partners` says.

        Args:
            inputs: Images `(B, C, H, W)`, square maps of features, `(B, H, W, C)` too, or for mixup
                alone any features `(B, ...)`; float.
            targets: `(B, K)` float, rows sum to 1.
            drawn: Their rows of what `draw` returned, on the same device.

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
            mixed, targets = _mix(inputs.movedim(-1, 1), targets, drawn)
            return mixed.movedim(1, -1), targets
        return _mix(inputs, targets, drawn)

    def _of_pairs(self, epoch: int, start: int, stop: int, *stream: int) -> npt.NDArray[np.float64]:
        """Return what pairs draw, `(stop - start, 4)`, whichever others are asked for."""
        begin = start - start % PAIRS_AT_ONCE
        parts = [
            # Seeds are padded with zeros: without the 1, the first pairs would draw from the stream
            # that shuffled the epoch.
            self._draw((self._seed, epoch, 1 + number // PAIRS_AT_ONCE, *stream))
            for number in range(begin, stop, PAIRS_AT_ONCE)
        ]
        return np.concatenate([np.empty((0, 4)), *parts])[start - begin : stop - begin]

    def _draw(self, stream: tuple[int, ...]) -> npt.NDArray[np.float64]:
        config, count = self._config, PAIRS_AT_ONCE
        random = np.random.default_rng(stream)
        is_mixed = random.random(count) < config.probability
        is_either = (config.mixup_alpha == 0) | (random.random(count) < 0.5)
        is_cutmix = (config.cutmix_alpha > 0) & is_either
        mixup, cutmix = (
            random.beta(alpha, alpha, count) if alpha > 0 else np.ones(count)
            for alpha in (config.mixup_alpha, config.cutmix_alpha)
        )
        lam = np.where(is_mixed & np.logical_not(is_cutmix), mixup, 1.0)
        # Its sides are sqrt(1 - lam) of the image's, its centre is anywhere (eq. 2).
        side = np.where(is_mixed & is_cutmix, np.sqrt(1 - cutmix), 0.0)
        return np.column_stack([lam, side, random.random((count, 2))])


def _has_channels_last(shape: torch.Size) -> bool:
    """Tell by a map's shape whether it is `(B, H, W, C)`, as Swin's: maps are square."""
    _, first, middle, last = shape
    return first == middle != last


def _mix(inputs: Tensor, targets: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """See `Mixing.apply`; what has places has its channels before them."""
    places = torch.arange(len(inputs), device=inputs.device)
    partners = places + drawn[:, PARTNER].to(places.dtype)
    kept, shares = _kept(drawn, inputs)
    # lerp is exact at both ends: what isn't mixed keeps its bits.
    mixed = torch.lerp(inputs[partners], inputs, kept.to(inputs.dtype))
    return mixed, torch.lerp(targets[partners], targets, shares.to(targets.dtype))


def _kept(drawn: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return what each place keeps of itself, and what an image does on the average.

    Args:
        drawn: `(B, 5)`, see `Mixing.draw`.
        inputs: `(B, C, H, W)`, or `(B, ...)` where no image has a box.

    Returns:
        Places, `(B, 1, H, W)` or `(B, 1, ...)` of length 1 each; images, `(B, 1)`. The latter is
        the area that was left, not the lam that was drawn.
    """
    lam = drawn[:, LAM].view(-1, *[1] * (inputs.ndim - 1))
    if inputs.ndim != 4:
        return lam, drawn[:, :1]
    height, width = inputs.shape[2:]
    is_in_row, in_rows = _side_of_box(height, drawn[:, SIDE], drawn[:, ROW])
    is_in_column, in_columns = _side_of_box(width, drawn[:, SIDE], drawn[:, COLUMN])
    is_inside = is_in_row[:, None, :, None] & is_in_column[:, None, None, :]
    box_share = (in_rows * in_columns / (height * width))[:, None]
    return torch.where(is_inside, 0.0, lam), drawn[:, :1] * (1 - box_share)


def _side_of_box(length: int, side: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    """Tell which places of a side are in CutMix's boxes, cut off where these leave the image.

    Args:
        length: Of the images' side.
        side: Of the box, as a share of it, `(B,)`.
        centre: Of the box, as a share of it, `(B,)`.

    Returns:
        Whether they are, `(B, length)`; how many are, `(B,)` float.
    """
    half = (side * (length / 2)).floor()[:, None]
    middle = (centre * length).floor().clamp(max=length - 1)[:, None]
    places = torch.arange(length, device=side.device)
    is_inside = (places >= middle - half) & (places < middle + half)
    return is_inside, is_inside.sum(dim=1).to(side.dtype)
