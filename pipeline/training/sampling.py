"""Choose which images an epoch shows, in which order and in which batches."""

import numpy as np

from pipeline.config.train_table import TrainConfig
from pipeline.store.predictions import IntArray


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
