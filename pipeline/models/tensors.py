"""Read files of named tensors without running code, and unwrap what training scripts wrap."""

import pickle
import re
import struct
import sys
import warnings
from collections import OrderedDict
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pipeline.errors import ArtifactError

Tensors: TypeAlias = dict[str, Tensor]

# Where training scripts put a state dict beside their optimizer's; an average is the better model.
CONTAINERS = (
    "state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "params_ema", "ema",
    "swa_state_dict", "swa_model", "averaged_model", "teacher",
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights",
    "params", "module", "student",
)  # fmt: skip
# What DistributedDataParallel, Lightning and torch.compile put before each name.
PREFIXES = ("module.", "model.", "_orig_mod.", "net.", "backbone.", "network.")
# Counts of averages, beside the averaged tensors.
_COUNTERS = ("n_averaged",)

# What the readers raise on spoiled bytes, and torch on a pickle that holds more than tensors.
DAMAGE = (
    OSError,
    EOFError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
    SafetensorError,
)
# Of Python's own library, only what holds values; a stand-in runs nothing, but a file that asks for
# os.system isn't to be trusted with anything.
_HARMLESS = {"argparse", "collections", "datetime", "decimal", "enum", "pathlib", "types", "uuid"}
_MOST_STAND_INS = 100


def read_tensors(path: Path, remedy: str) -> Tensors:
    """Read a file of named tensors; nothing that a pickle holds besides them is ever run.

    Args:
        path: Safetensors where its name says so, else what `torch.save` wrote.
        remedy: What to do about a file that can't be used; ends the error.

    Raises:
        ArtifactError: The file is damaged, would run code, or holds something else.
    """
    try:
        is_safe = path.suffix.lower() == ".safetensors"
        stored = load_file(path) if is_safe else read_pickle(path)
    except DAMAGE as error:
        raise ArtifactError(
            f"{path}: must hold tensors and nothing else, cannot be read "
            f"({_kind(path) or _reason(error)}); {remedy}"
        ) from error
    found = _unwrap(stored)
    if found is None:
        raise ArtifactError(f"{path}: must hold named tensors, holds {_named(stored)}; {remedy}")
    return found


def read_pickle(path: Path) -> Any:
    """Read what `torch.save` wrote: tensors and plain values; no code of the file is ever run.

    Objects of other libraries, as the arguments of a training script, are left out: an empty
    object stands in for each.

    Raises:
        UnpicklingError: The file asks for more than that, or is damaged; one of many types.
    """
    stand_ins: dict[str, Any] = {}
    while True:
        known: list[Any] = [(kind, name) for name, kind in stand_ins.items()]
        try:
            with torch.serialization.safe_globals(known), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what is no state dict is refused below
                return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            if len(stand_ins) > _MOST_STAND_INS or not _stand_in(str(error), stand_ins):
                raise


class StandIn:
    """Stands where a file has an object of a class that isn't loaded; takes everything."""

    def __new__(cls, *_: object, **__: object) -> "StandIn":
        """Ignore what the class would be called with."""
        return super().__new__(cls)

    def __setstate__(self, _: object) -> None:
        """Ignore what the object would be filled with."""


def _stand_in(message: str, stand_ins: dict[str, Any]) -> bool:
    """Add what torch misses, by its message; false where that isn't to be had, or no class."""
    container = re.search(r"Can only (\w+).*but got <class '([^']+)'>", message)
    if container and isinstance(stand_ins.get(container[2]), type(StandIn)):
        is_list = container[1] == "append"
        stand_ins[container[2]] = type("List", (list,), {}) if is_list else OrderedDict
        return True
    missing = re.search(r"Unsupported global: GLOBAL (\S+) was not", message)
    name = missing[1] if missing else ""
    room, dot, short = name.partition(".")
    is_foreign = room not in sys.stdlib_module_names or room in _HARMLESS
    if not dot or not is_foreign or name in stand_ins:
        return False
    *_, short = name.split(".")
    module = name.removesuffix(f".{short}")
    stand_ins[name] = type(short, (StandIn,), {"__module__": module})
    return True


def _reason(error: Exception) -> str:
    """Shorten torch's advice, which is to switch the check off, to what was found."""
    text = str(error)
    if found := re.search(r"GLOBAL (\S+)", text):
        return f"it would call {found[1]}"
    if "TorchScript" in text or "torch.jit" in text:
        return "it is a TorchScript program"
    if found := re.search(r"WeightsUnpickler error:\s*(\S.*)", text):
        text = f"no pickle of tensors: {found[1].strip()}"
    return re.split(r"\n|\. (?=[A-Z])", text)[0] or type(error).__name__


# What is often saved instead of weights, by its first bytes.
_MISTAKEN = {
    b"version https://git-lfs": "it is a pointer of Git LFS, which 'git lfs pull' replaces",
    b"<!": "it is a web page",
    b"<html": "it is a web page",
    b'{"': "it is a text, perhaps an error of the server",
    b"\x89HDF": "it is a file of Keras or MATLAB",
}


def _kind(path: Path) -> str:
    """Name what else a file is, where its first bytes tell; else nothing."""
    try:
        with path.open("rb") as file:
            begin = file.read(64)
    except OSError:
        return ""
    return next((kind for mark, kind in _MISTAKEN.items() if begin.startswith(mark)), "")


def _named(stored: Any) -> str:
    """Describe what a file holds instead of tensors."""
    values = [stored, *(stored.values() if isinstance(stored, dict) else ())]
    for value in values:
        if isinstance(value, StandIn):
            kind = type(value)
            if kind.__name__ == "_reconstruct":
                return "arrays of numpy, not tensors of torch"
            return (
                f"a whole {kind.__module__}.{kind.__name__}, which only its own code can read "
                "where it was pickled"
            )
    if isinstance(stored, list | tuple) and any(_unwrap(one) for one in stored):
        return f"a list of {len(stored)} state dicts"
    is_empty = isinstance(stored, dict | list) and not stored
    return "none" if is_empty else f"a {type(stored).__name__} of other things"


def strip_prefixes(tensors: Tensors, own_names: Collection[str]) -> tuple[Tensors, list[str]]:
    """Take what wrappers put before every name off again.

    Where the network is one part of a larger module, as in Lightning's, only that part is taken;
    its head may stand beside it, as mmpretrain's.

    Args:
        tensors: Any file's.
        own_names: The network's, which may begin so themselves.

    Returns:
        The tensors, and the names of those that belong to other parts.
    """
    tensors = {name: tensor for name, tensor in tensors.items() if name not in _COUNTERS}
    found = _prefix(tensors, list(own_names))
    if found is None:
        return _strip_usual_prefixes(tensors, own_names), []
    own = {name.removeprefix(found): one for name, one in tensors.items() if name.startswith(found)}
    others = [name for name in tensors if not name.startswith(found)]
    for name in set(own_names) - own.keys():  # the head, in a part of its own
        ends = [other for other in others if other.endswith(f".{name}")]
        if len(ends) == 1:
            own[name] = tensors[ends[0]]
            others.remove(ends[0])
    return own, others


def _prefix(tensors: Tensors, own_names: list[str]) -> str | None:
    """Find what stands before most of the network's names; None where nothing does."""
    anchor = next((name for name in own_names if not name.endswith("num_batches_tracked")), "")
    ends = [name.removesuffix(anchor) for name in tensors if anchor and name.endswith(anchor)]
    candidates = [prefix for prefix in ends if not prefix or prefix.endswith(".")]
    counts = {prefix: sum(prefix + name in tensors for name in own_names) for prefix in candidates}
    # Of two copies the average, as "ema_model." beside "model.".
    averages = ("ema", "teacher", "averaged", "swa")
    best = min(
        candidates,
        key=lambda one: (-counts[one], not any(word in one for word in averages), len(one)),
        default="",
    )
    return best if counts.get(best, 0) > len(own_names) / 2 else None


def _strip_usual_prefixes(tensors: Tensors, own_names: Collection[str]) -> Tensors:
    """Take the usual words off names that are to be translated."""
    for prefix in PREFIXES * 2:  # they nest: `module._orig_mod.`
        is_wrapped = tensors and all(name.startswith(prefix) for name in tensors)
        if is_wrapped and not any(name.startswith(prefix) for name in own_names):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _unwrap(stored: Any) -> Tensors | None:
    """Find the named tensors in what a script has saved; None where there are none."""
    if not isinstance(stored, dict):
        return None
    named = {key: one for key, one in stored.items() if isinstance(key, str)}
    if named and all(map(torch.is_tensor, named.values())):
        return named
    inner = (_unwrap(named[key]) for key in CONTAINERS if key in named)
    if found := next((one for one in inner if one), None):
        return found
    tensors = {key: one for key, one in named.items() if torch.is_tensor(one) and "." in key}
    return tensors if len(tensors) > len(named) / 2 else None
