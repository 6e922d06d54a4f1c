"""A frozen trunk's forward pass with freed memory kept, against glibc's default of returning it.

The setting can't be undone within a process, so each side runs in one of its own.
"""

import subprocess
import sys

from benchmarks.ratio import compare

FORWARD = """
import torch
from pipeline.config import ModelConfig
from pipeline.models.registry import build_trunk
from pipeline.machine import keep_freed_memory
from pipeline.training.device import fast_dtype
if {keep}:
    keep_freed_memory()
network = build_trunk(ModelConfig(name="timm/tf_efficientnet_lite0", weights="none"), 0).module
network = network.eval().to(memory_format=torch.channels_last)
inputs = torch.rand(16, 3, 224, 224).contiguous(memory_format=torch.channels_last)
dtype = fast_dtype(torch.device("cpu"))
with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
    for _ in range(100):
        network(inputs)
"""


def forward_passes(*, keep: bool) -> None:
    """Run 100 forward passes of 16 images in a new process."""
    subprocess.run([sys.executable, "-c", FORWARD.format(keep=keep)], check=True)


def main() -> None:
    """Run the comparison."""
    compare(
        "forward pass on the CPU: freed memory kept, against glibc's default",
        lambda: forward_passes(keep=True),
        lambda: forward_passes(keep=False),
        rounds=3,
    )


if __name__ == "__main__":
    main()
