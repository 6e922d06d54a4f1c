"""What passes through a network while something else runs it."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from torch import Tensor, nn

from pipeline.models.network import Network
from pipeline.predictions import FloatArray


@contextmanager
def recorded_features(network: Network) -> Iterator[list[FloatArray]]:
    """Record what the network's head reads, pass by pass, `(N, D)` each; a map is averaged.

    Args:
        network: Run within this context, as a whole or from any layer below its head on.

    Yields:
        A list that grows with every pass.
    """
    recorded: list[FloatArray] = []

    def record(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        features = inputs[0].detach().float()
        pooled = features.flatten(2).mean(2) if features.ndim > 2 else features
        recorded.append(np.asarray(pooled.cpu()))

    head = network.module.get_submodule(network.head_names[0])
    handle = head.register_forward_pre_hook(record)
    try:
        yield recorded
    finally:
        handle.remove()
