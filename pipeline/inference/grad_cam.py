"""Map the places of an image that speak for a class: Grad-CAM (Selvaraju et al. 2017)."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Maps = npt.NDArray[np.float32]


def has_map(network: nn.Module, image: Tensor) -> bool:
    """Check whether a network computes a feature map, as transformers don't; `(1, 3, H, H)` in."""
    return _ModuleOutputs(network).last_map(image) is not None


def grad_cam(network: nn.Module, images: Tensor, classes: Tensor) -> Maps:
    """Map what speaks for classes, on the last feature map that the network computes.

    Each channel of that map is weighed by the mean gradient of the class's logit to it, the
    weighted channels are added up, and what speaks against the class is cut off (eq. 1 and 2).

    Args:
        network: `(N, 3, H, H)` → logits `(N, K)`, in evaluation mode. Its parameters stop requiring
            gradients. One that has a map, see `has_map`.
        images: Its inputs, square.
        classes: Class indices, `(N, M)`.

    Returns:
        `(N, M, h, w)`, each map in [0, 1] with a largest value of 1, or 0 throughout where nothing
        speaks for the class.
    """
    network.requires_grad_(requires_grad=False)
    outputs = _ModuleOutputs(network)
    call = outputs.last_map(images[:1])
    assert call is not None, "the network has no map"
    logits, features = outputs.split_at(call, images)
    maps = []
    for column in classes.T:
        chosen = logits.gather(1, column[:, None]).sum()
        (gradient,) = torch.autograd.grad(chosen, features, retain_graph=True)
        weights = gradient.mean(dim=(2, 3), keepdim=True)  # (N, C, 1, 1)
        maps.append((weights * features).sum(dim=1).clamp(min=0).detach())  # (N, h, w)
    stacked = torch.stack(maps, dim=1).float()
    largest = stacked.amax(dim=(2, 3), keepdim=True)
    scaled = stacked / largest.clamp(min=torch.finfo(torch.float32).tiny)
    return np.asarray(scaled.cpu().numpy(), dtype=np.float32)


class _ModuleOutputs:
    """Observes the outputs of a network's modules, in the order of their calls.

    Calls are numbered, not modules: one ReLU may serve all layers.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network

    def last_map(self, image: Tensor) -> int | None:
        """Return the call that puts out the last map `(1, C, h, h)`, h > 1.

        None where what comes after it has places, too, but isn't such a map: tokens, say, whose
        order this code doesn't know.
        """
        last: int | None = None

        def note_map(call: int, output: Tensor) -> None:
            nonlocal last
            if output.ndim > 2 and output[0, 0].numel() > 1:
                is_map = output.ndim == 4 and output.shape[2] == output.shape[3]
                last = call if is_map else None

        with torch.no_grad():
            self._run(image, note_map)
        return last

    def split_at(self, call: int, images: Tensor) -> tuple[Tensor, Tensor]:
        """Run the network; return logits and the map of a call, which they are a function of."""
        features: Tensor | None = None

        def cut(number: int, output: Tensor) -> Tensor | None:
            nonlocal features
            if number != call:
                return None
            features = output.detach().requires_grad_()
            return features

        with torch.enable_grad():
            logits = self._run(images, cut)
        assert features is not None, f"call {call} didn't come"
        return logits, features

    def _run(self, images: Tensor, on_output: Any) -> Tensor:
        """Run the network; what `on_output(call, output)` returns replaces the output."""
        calls = 0

        def hook(_: nn.Module, __: object, output: object) -> Tensor | None:
            nonlocal calls
            calls += 1
            replaced: Tensor | None = None
            if isinstance(output, Tensor):
                replaced = on_output(calls, output)
            return replaced

        handles = [part.register_forward_hook(hook) for part in self._network.modules()]
        try:
            logits: Tensor = self._network(images)
        finally:
            for handle in handles:
                handle.remove()
        return logits
