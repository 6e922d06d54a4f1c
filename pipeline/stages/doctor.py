"""Show what this machine can do for the pipeline."""

import platform
import shutil
import socket
import sys
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import torch
from rich.table import Table

from pipeline.config.strict import built_in_names
from pipeline.console import result
from pipeline.errors import ConfigError, PipelineError
from pipeline.machine import num_cpus
from pipeline.models.hub_address import endpoint
from pipeline.models.weights_source import PACKAGES, packaged_weights
from pipeline.store.paths import Paths
from pipeline.training.device import describe_device, lacking_kernels, pick_device, unseen_gpus

HUB_TIMEOUT_SECONDS = 3.0


def run(root: Path) -> None:
    """Tabulate software, hardware, weights and downloaded competitions.

    Reads the installation and the root; asks the hub whether it answers.

    Writes nothing.

    Fails never: what is missing is shown.
    """
    table = Table("what", "found", title="pipeline doctor")
    for what, found in (*_software(), *_hardware(root), *_weights()):
        table.add_row(what, found)
    result(table)
    for state, names in _competitions(root).items():  # below it, names stay whole
        result(f"data {state}: {', '.join(names) or 'none'}")


def _software() -> list[tuple[str, str]]:
    rows = [("python", f"{platform.python_version()} on {platform.platform()}, {sys.executable}")]
    names = (
        "torch",
        "torchvision",
        "timm",
        "albumentations",
        "opencv-python-headless",
        "optuna",
        "py7zr",
    )
    rows += [(name, _version(name)) for name in names]
    if _is_installed("opencv-python"):
        advice = "remove it: it overwrites the cv2 of opencv-python-headless"
        rows.append(("opencv-python", advice))
    return rows


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed; run 'make install'"


def _is_installed(name: str) -> bool:
    return any(found.metadata["Name"] == name for found in metadata.distributions())


def _hardware(root: Path) -> list[tuple[str, str]]:
    memory = psutil.virtual_memory()
    existing = next(path for path in (root.absolute(), *root.absolute().parents) if path.exists())
    disk = shutil.disk_usage(existing)
    return [
        ("device", _device()),
        ("cuda", _cuda()),
        ("cores", f"{num_cpus()}, torch uses {torch.get_num_threads()} threads"),
        ("memory", f"{memory.available / 1e9:.1f} GB free of {memory.total / 1e9:.1f} GB"),
        ("disk", f"{disk.free / 1e9:.1f} GB free of {disk.total / 1e9:.1f} GB at {existing}"),
    ]


def _cuda() -> str:
    if not torch.cuda.is_available():
        count = unseen_gpus()
        built = f"is built for CUDA {torch.version.cuda}" if torch.version.cuda else "is for CPUs"
        unseen = f": the driver sees {count} GPUs, torch doesn't, which {built}"
        return f"none{unseen if count else ''}"
    numbers = range(torch.cuda.device_count())
    names = [lacking_kernels(number) or torch.cuda.get_device_name(number) for number in numbers]
    return f"{torch.version.cuda}: {', '.join(names)}"


def _device() -> str:
    try:
        return describe_device(pick_device())
    except ConfigError as error:
        return str(error)


def _weights() -> list[tuple[str, str]]:
    rows = []
    for model_name in PACKAGES:
        try:
            found = f"installed, {packaged_weights(model_name)}"
        except PipelineError as error:
            found = str(error)
        rows.append((f"weights {model_name}", found))
    return [*rows, (f"hub {endpoint()}", _check_reachable(endpoint()))]


def _check_reachable(url: str) -> str:
    """Try to open a connection; what is blocked answers late or never."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), HUB_TIMEOUT_SECONDS).close()
    except (OSError, ValueError) as error:
        return f"not reachable ({error}); not needed for the installed weights"
    return "reachable"


def _competitions(root: Path) -> dict[str, list[str]]:
    names = built_in_names("competitions")
    here = [name for name in names if Paths(root, name).download_stamp.is_file()]
    return {"downloaded": here, "not downloaded": [name for name in names if name not in here]}
