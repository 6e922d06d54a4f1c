"""Experiments that a test can afford: an untrained network on pictures of 32 pixels."""

from pathlib import Path
from typing import Any

from pipeline.config.experiment import Experiment

TOML = """
[model]
name = "timm/test_resnet"
weights = "none"

[images]
size_px = 32
"""


def write_toml(path: Path, extra: str = "") -> str:
    """Write the tiny experiment; its name is the file's stem. Returns the path as an argument."""
    path.write_text(extra + TOML, encoding="utf-8")
    return str(path)


def experiment(**changes: Any) -> Experiment:
    """Return the tiny experiment with some tables replaced."""
    values = {
        "name": "tiny",
        "model": {"name": "timm/test_resnet", "weights": "none"},
        "images": {"size_px": 32},
    }
    return Experiment.model_validate(values | changes)
