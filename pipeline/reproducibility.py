"""Random streams that depend on what is drawn, never on who draws it; and a record of the run."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

_RECORDED = (
    "torch",
    "torchvision",
    "timm",
    "albumentations",
    "opencv-python-headless",
    "numpy",
    "pandas",
    "pillow",
    "scikit-learn",
)


def sample_seed(seed: int, epoch: int, image_key: int) -> int:
    """Derive the seed of one image's augmentation.

    Libraries seed per process, so that all DataLoader workers replay one stream; this one depends
    only on the experiment's seed, the epoch (or view) and the image: the same for any number of
    workers, and after a resume.

    Args:
        seed: The experiment's seed.
        epoch: Epoch, or number of the view, counted from 0.
        image_key: A number that names the image, below 2⁶⁴.

    Returns:
        A seed below 2³².
    """
    return int(np.random.SeedSequence((seed, epoch, image_key)).generate_state(1)[0])


def environment() -> dict[str, Any]:
    """Record what a result depends on besides its config: commit, versions, machine."""
    return {
        "commit": commit(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "packages": {name: metadata.version(name) for name in _RECORDED},
    }


def commit() -> str | None:
    """Name the commit of the code, with "+" if it was changed since; None outside a checkout."""
    folder = Path(__file__).parent
    describe = ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--abbrev=40"]
    try:
        done = subprocess.run(describe, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
