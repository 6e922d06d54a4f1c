"""Layer-wise learning rates: the lower a block, the more general what it learned before.

Clark et al. 2020, "ELECTRA", arXiv 2003.10555; after Howard and Ruder 2018, "Universal Language
Model Fine-tuning for Text Classification", section 3.2.
"""

from collections.abc import Callable

from torch import nn

from pipeline.train_config import OptimizerConfig


def rate_factors(
    module: nn.Module, is_head: Callable[[str], bool], config: OptimizerConfig
) -> dict[str, float]:
    """Return the factor on the learning rate of every parameter, frozen ones included, by name.

    The head learns at `head_factor`, the block below it at `layer_decay`, the next one at
    `layer_decay²`, and so on.
    """
    numbers = number_blocks(module, is_head)
    num_blocks = max(numbers.values(), default=0)
    return {
        name: config.layer_decay ** (num_blocks + 1 - numbers[name])
        if name in numbers
        else config.head_factor
        for name, _ in module.named_parameters()
    }


def number_blocks(module: nn.Module, is_head: Callable[[str], bool]) -> dict[str, int]:
    """Number the blocks below the head from 1 at the image; parameter's name → number.

    What a block is, is read off the names, which come in the order of registration:

    - `layer1.0.conv2.weight`, `blocks.3.1.bn1.bias`, `stages.2.blocks.5.gamma`: up to the last
      index that numbers modules with modules in them, so `layer1.0.downsample.0.weight` belongs to
      `layer1.0`.
    - Other names have their first part as the block: `conv1`, `stem`. So networks that number
      nothing, as DenseNet, are cut more coarsely.
    - What holds no matrix is no block: a norm goes with what is before it, and tokens and position
      embeddings, parameters of the network itself, go with the first block.
    """
    parameters = dict(module.named_parameters())
    trunk = [name for name in parameters if not is_head(name)]
    indexed = {prefix for name in trunk for prefix in _indexed_prefixes(name)}
    blocks: dict[str, list[str]] = {}
    for name in trunk:
        blocks.setdefault(_block(name, indexed), []).append(name)
    numbers: dict[str, int] = {}
    number = 0
    for block, names in blocks.items():
        number += block != "" and any(parameters[name].ndim > 1 for name in names)
        numbers |= dict.fromkeys(names, max(number, 1))
    return numbers


def _indexed_prefixes(name: str) -> list[str]:
    """List what ends in an index and has a module below: `a.0` and `a.0.b.1` of `a.0.b.1.c.w`."""
    parts = name.split(".")
    ends = [end for end in range(1, len(parts) - 1) if parts[end - 1].isdigit()]
    return [".".join(parts[:end]) for end in ends]


def _block(name: str, indexed: set[str]) -> str:
    """Return the longest indexed prefix, else the first part; nothing for a root's parameter."""
    parts = name.split(".")
    prefixes = (".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1))
    first = parts[0] if len(parts) > 1 else ""
    return next((prefix for prefix in prefixes if prefix in indexed), first)
