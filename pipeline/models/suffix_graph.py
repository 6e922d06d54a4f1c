"""Record the rest of a network, from the output of one of its layers on, as a module of its own.

The network runs once, for real, up to that layer; there a stand-in takes the output's place, and
what is done with the stand-in is recorded (torch.fx). So only the little that the network's own
`forward` does after the layer must be recordable: modules are recorded as calls and never looked
into. They aren't copied either: the rest shares them with the network, under the same names.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves

from pipeline.models.network import Network


class EntangledError(ValueError):
    """The rest of a network needs more than that one output."""


def record_after_layer(module: nn.Module, layer: nn.Module, example: Tensor) -> fx.GraphModule:
    """Record what a network does with a layer's output: that output → the network's.

    Args:
        module: The network, in evaluation mode.
        layer: One of its submodules.
        example: Images `(N, 3, H, W)` to run on.

    Raises:
        EntangledError: The layer isn't used, or what comes before it is used after it, too.
        ValueError: The rest depends on numbers that are only known while it runs (a TraceError).
    """

    def run(recorder: _Recorder) -> object:
        handle = layer.register_forward_hook(lambda *_: recorder.begin())
        try:
            return module(example)
        finally:
            handle.remove()

    return _record(module, run)


def record_head(network: Network) -> fx.GraphModule:
    """Record a network's head: what its trunk puts out → logits; the network in evaluation mode.

    Raises:
        ValueError: It depends on numbers that are only known while it runs (a TraceError).
    """
    return _record(network.module, lambda recorder: network.head(recorder.begin()))


class _Recorder(fx.Tracer):
    """Records operations on the stand-in; all others are carried out."""

    def __init__(self, run: "Callable[[_Recorder], object]") -> None:
        super().__init__()
        self._run = run
        self._has_begun = False

    def begin(self) -> Any:  # stands in for a tensor
        """Return the stand-in."""
        if self._has_begun:
            raise EntangledError("the layer is used twice")
        self._has_begun = True
        return self.create_proxy("placeholder", "features", (), {})

    def create_args_for_root(self, *_: Any, **__: Any) -> tuple[Any, list[Any]]:
        """Let `trace` call our function in place of the network's `forward`."""
        return self._run, [self]

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Record a call with the stand-in, carry out any other."""
        if any(isinstance(leaf, fx.Proxy) for leaf in tree_leaves((args, kwargs))):
            return super().call_module(m, forward, args, kwargs)
        return forward(*args, **kwargs)

    def is_leaf_module(self, *_: Any) -> bool:
        """Look into no module."""
        return True

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Record the use of a parameter once there is anything to record."""
        if not self._has_begun:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def create_arg(self, a: Any) -> Any:
        """Refuse tensors that neither come of the stand-in nor belong to the network."""
        if isinstance(a, Tensor) and not isinstance(a, nn.Parameter):
            assert isinstance(self.root, nn.Module)
            if not any(a is buffer for buffer in self.root.buffers()):
                raise EntangledError("it needs what was computed before the layer")
        return super().create_arg(a)


def _record(module: nn.Module, run: Callable[[_Recorder], object]) -> fx.GraphModule:
    with torch.no_grad():
        graph = _Recorder(run).trace(module)
    rest = fx.GraphModule(module, graph)
    _name_dropouts(rest)
    return rest


def _name_dropouts(rest: fx.GraphModule) -> None:
    """Make modules of functional dropouts: those were recorded as switched off for ever."""
    dropouts = [node for node in rest.graph.nodes if node.target is F.dropout]
    for number, node in enumerate(dropouts):
        name = f"dropout_{number}"
        rest.add_submodule(name, nn.Dropout(node.kwargs["p"]).eval())
        with rest.graph.inserting_after(node):
            node.replace_all_uses_with(rest.graph.call_module(name, node.args))
        rest.graph.erase_node(node)
    rest.recompile()
