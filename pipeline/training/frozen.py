"""Run layers that don't learn: on a CPU through OpenVINO where it is installed, else through torch.

On two cores OpenVINO computes the features of a small network several times as fast as torch
(docs/performance.md). Each stream is one thread with images of its own, so the numbers depend
neither on how many cores there are nor on what else they do.
"""

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.config.experiment import ImageConfig
from pipeline.console import warn
from pipeline.machine import num_cpus
from pipeline.training.device import Precision, cpu_backend, to_inputs
from pipeline.training.memory import ChunkedForward

if TYPE_CHECKING:
    from openvino import CompiledModel

Forward = Callable[[Tensor], Tensor]

# Images that run through the network together: on a CPU, more of them fall out of its caches.
CPU_CHUNK = 16
# What converted layers may differ from torch in float32, by cosine over all outputs. bfloat16 has
# 8 bits of mantissa: noise of 0.004 a layer, which autocast has as well.
MIN_COSINE = {torch.float32: 0.99999, torch.bfloat16: 0.98}


def frozen_forward(
    network: nn.Module,
    device: torch.device,
    precision: Precision,
    images: ImageConfig | None = None,
    most: int | None = None,
) -> Forward:
    """Return layers, whose weights mustn't change any more, as they run fastest on a device.

    Args:
        network: Inputs `(N, ...)` float32 → `(N, ...)`; on the device, in evaluation mode.
        device: Where it runs.
        precision: What it is computed in.
        images: How pixels are normalised; None where inputs come normalised.
        most: How many inputs torch may take at once; None for CPU_CHUNK on a CPU, all elsewhere.

    Returns:
        `(N, H, W, 3)` uint8, or with `images` None inputs `(N, ...)` → `(N, ...)` float32, N > 0.
    """

    def run(given: Tensor) -> Tensor:
        inputs = given if images is None else to_inputs(given, images, device)
        with precision.autocast():
            return network(inputs).float()  # type: ignore[no-any-return]

    by_torch = ChunkedForward(run, most or (CPU_CHUNK if device.type == "cpu" else None))
    if device.type == "cpu" and cpu_backend() == "openvino":
        return _OpenVinoForward(network, precision, images, by_torch)
    return by_torch


class _OpenVinoForward:
    """Converts the layers when the first inputs of a shape come; goes back to torch if that fails.

    Args:
        network: The layers.
        precision: float32 or bfloat16.
        images: How pixels are normalised; None where inputs come normalised.
        by_torch: The same in torch.
    """

    def __init__(
        self,
        network: nn.Module,
        precision: Precision,
        images: ImageConfig | None,
        by_torch: Forward,
    ) -> None:
        self._network = network
        self._precision = precision
        self._images = images
        self._by_torch = by_torch
        self._queues: dict[tuple[int, ...], Any] = {}

    def __call__(self, given: Tensor) -> Tensor:
        shape = tuple(given.shape[1:])
        if shape not in self._queues:
            self._queues[shape] = self._prepare(given)
        queue = self._queues[shape]
        return self._by_torch(given) if queue is None else _infer(queue, given)

    def _prepare(self, given: Tensor) -> Any:
        """Return a queue of requests, or None where the layers can't be converted."""
        example = _padded(given[:CPU_CHUNK].cpu())
        try:
            compiled = _compile(self._wrapped(), example, self._precision.dtype)
            queue = _queue(compiled)
            cosine = self._cosine(queue, example)
        except Exception as error:  # a converter may raise anything
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            warn(f"openvino can't run {type(self._network).__name__} ({reason}); torch runs it")
            return None
        if not cosine >= MIN_COSINE.get(self._precision.dtype, 1.0):
            warn(
                f"openvino computes {type(self._network).__name__} otherwise than torch (cosine "
                f"{cosine:.5f}); torch runs it"
            )
            return None
        return queue

    def _wrapped(self) -> nn.Module:
        return self._network if self._images is None else _Normalised(self._network, self._images)

    def _cosine(self, queue: Any, example: Tensor) -> float:
        """Compare one example with torch in float32."""
        with torch.no_grad():
            expected = self._wrapped()(example[:1]).float().numpy().ravel().astype(np.float64)
        found = _infer(queue, example[:1]).numpy().ravel().astype(np.float64)
        norms = np.linalg.norm(expected) * np.linalg.norm(found)
        return float(expected @ found / norms) if norms else float(np.array_equal(expected, found))


class _Normalised(nn.Module):
    """Layers that read pixels `(N, H, W, 3)` uint8, as `to_inputs` makes inputs of them."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, images: ImageConfig) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(images.mean), persistent=False)
        self.register_buffer("std", torch.tensor(images.std), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        inputs = (pixels.float() / 255 - self.mean) / self.std
        return self.network(inputs.permute(0, 3, 1, 2))  # type: ignore[no-any-return]


def _compile(network: nn.Module, example: Tensor, dtype: torch.dtype) -> "CompiledModel":
    """Trace and compile layers for the shape of an example.

    `openvino.convert_model` would do the same, run the layers twice more, and report to its makers.
    """
    import openvino
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with torch.inference_mode(mode=False), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's, of branches that the shape decides
        part = example[:1].clone()  # no inference tensor
        traced = torch.jit.trace(network, part, check_trace=False)  # type: ignore[no-untyped-call]
        frontend = FrontEndManager().load_by_framework("pytorch")
        decoder = TorchScriptPythonDecoder(traced)  # kept: the frontend doesn't hold on to it
        model = frontend.convert(frontend.load(decoder))
    reads = model.inputs[0].get_node()
    reads.set_element_type(openvino.Type(example.numpy().dtype))
    reads.set_partial_shape(openvino.PartialShape(list(example.shape)))
    model.validate_nodes_and_infer_types()
    num = num_cpus()
    return openvino.Core().compile_model(
        model,
        "CPU",
        {
            "NUM_STREAMS": num,
            "INFERENCE_NUM_THREADS": num,
            "ENABLE_CPU_PINNING": False,  # the scheduler knows better what else is running
            "INFERENCE_PRECISION_HINT": "bf16" if dtype == torch.bfloat16 else "f32",
        },
    )


def _queue(compiled: "CompiledModel") -> Any:
    import openvino

    return openvino.AsyncInferQueue(compiled, num_cpus())


def _infer(queue: Any, given: Tensor) -> Tensor:
    """Run `(N, ...)` in parts of CPU_CHUNK, the last one padded."""
    parts: list[np.ndarray[Any, Any] | None] = [None] * -(-len(given) // CPU_CHUNK)

    def keep(request: Any, number: int) -> None:
        parts[number] = request.get_output_tensor(0).data.astype(np.float32)  # a copy

    queue.set_callback(keep)
    for number in range(len(parts)):
        part = _padded(given[number * CPU_CHUNK : (number + 1) * CPU_CHUNK])
        queue.start_async({0: part.contiguous().numpy()}, number)
    queue.wait_all()
    return torch.from_numpy(np.concatenate(parts)[: len(given)])  # type: ignore[arg-type]


def _padded(part: Tensor) -> Tensor:
    if len(part) == CPU_CHUNK:
        return part
    return torch.cat([part, part.new_zeros(CPU_CHUNK - len(part), *part.shape[1:])])
