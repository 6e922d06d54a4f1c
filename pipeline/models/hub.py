"""Download weights from the Hugging Face hub or a mirror of it into the hub's own cache.

huggingface_hub knows that cache and the user's token, and is asked for both. Its download isn't
used: where a firewall swallows packets, it waits for 10 seconds, then for 60, and tries that five
times; and it turns to a second server (Xet) that mirrors don't have.
"""

import json
import re
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

import timm
import torch
from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from timm.models import get_deprecated_models
from timm.models._hub import load_model_config_from_path

from pipeline import console
from pipeline.data.archives.fetch import MAX_BYTES
from pipeline.data.archives.fetch import fetch as fetch_file
from pipeline.data.archives.sources import DEFAULT_RETRY_POLICY
from pipeline.errors import ArtifactError, ConfigError, DownloadError
from pipeline.models.hub_address import (
    Repository,
    authorization,
    endpoint,
    find_origin,
    missing_file,
)
from pipeline.models.timm_backbone import HUB as HUB_PREFIX
from pipeline.store.atomic import write_text
from pipeline.store.freshness import file_sha256
from pipeline.store.locks import held

# With a connection that breaks off; whether there is a hub at all is known within seconds.
RETRY_POLICY = DEFAULT_RETRY_POLICY
LOCK = ".pipeline.lock"

# It becomes part of a path in the cache, so it mustn't lead out.
REVISION = r"(?!.*\.\.)\w[\w./-]*"

TIMM = "timm/"
# timm's networks with the tensors of ours; its repositories hold torchvision's first weights.
TWINS = {
    "resnet18": "resnet18.tv_in1k",
    "resnet34": "resnet34.tv_in1k",
    "resnet50": "resnet50.tv_in1k",
    "resnet101": "resnet101.tv_in1k",
    "resnet152": "resnet152.tv_in1k",
    "resnext50_32x4d": "resnext50_32x4d.tv_in1k",
    "resnext101_32x8d": "resnext101_32x8d.tv_in1k",
    "se_resnet50": "seresnet50.a1_in1k",
    "resnet50_attention": "resnet50.tv_in1k",  # its trunk
}


def hub_repository(model_name: str) -> Repository:
    """Find the repository that holds the weights of a network.

    Raises:
        ConfigError: The hub has none for it, or the revision can't be one.
    """
    timm_name = model_name.removeprefix(TIMM)
    if timm_name.startswith(HUB_PREFIX):
        repo_id, _, revision = timm_name.removeprefix(HUB_PREFIX).partition("@")
        if revision and not re.fullmatch(REVISION, revision):
            raise ConfigError(
                f"model.name: a revision must be a branch, tag or commit, is '{revision}'; correct "
                "it"
            )
        return Repository(repo_id, revision=revision or "main")
    config = timm.get_pretrained_cfg(TWINS.get(model_name) or current_name(timm_name))
    if config is None or not config.hf_hub_id:
        raise ConfigError(
            f"model.weights: the hub must have weights for '{model_name}', timm knows of none; "
            "use a file by model.weights=PATH, or model.weights=none"
        )
    named = config.hf_hub_filename
    if not named:
        return Repository(config.hf_hub_id)
    safe = str(PurePosixPath(named).with_suffix(".safetensors"))
    return Repository(config.hf_hub_id, tuple(dict.fromkeys((safe, named))))


def fetch(repository: Repository) -> Path:
    """Find a repository's file in the cache, or download it; a cached one needs no network.

    Raises:
        ConfigError: The repository's name is impossible.
        ArtifactError: The hub can't be reached, or hasn't got the file.
    """
    if cached := find_cached(repository):
        return cached
    for file in repository.files:
        if path := _download(repository, file):
            return path
    raise ArtifactError(
        f"{endpoint()}/{repository.repo_id}: must hold {' or '.join(repository.files)} in "
        f"'{repository.revision}', answers 404; correct model.name or HF_ENDPOINT, or use a file "
        "by model.weights=PATH"
    )


def find_cached(repository: Repository) -> Path | None:
    """Find what `fetch` would return without asking the network.

    Raises:
        ConfigError: The repository's name is impossible.
    """
    files = (_cached(repository, file) for file in repository.files)
    return next(filter(None, files), None)


def find_torch_hub(model_name: str) -> Path | None:
    """Find a network's published file in torch hub's cache, where older versions left it.

    Its name ends in the beginning of its sha256.
    """
    config = network_config(model_name) or {}
    name = PurePosixPath(str(config.get("url") or "")).name
    digest = re.search(r"-([0-9a-f]{8,})\.\w+$", name)
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not digest or not path.is_file() or not file_sha256(path).startswith(digest[1]):
        return None
    return path


def current_name(timm_name: str) -> str:
    """Return the name and tag that timm has now for a network; old ones are mapped by timm."""
    return get_deprecated_models().get(timm_name) or timm_name


def network_config(model_name: str) -> dict[str, Any] | None:
    """Return timm's `pretrained_cfg` of a network; None where it has none.

    That of a `timm/hf-hub:` network is brought into the cache; timm would fetch it itself, with the
    patience described above.

    Raises:
        ConfigError: The repository's name is impossible.
        ArtifactError: The hub can't be reached, or hasn't got the file, or it is none of timm's.
    """
    if model_name.startswith(TIMM + HUB_PREFIX):
        repository = hub_repository(model_name)
        return read_config(
            fetch(Repository(repository.repo_id, ("config.json",), repository.revision))
        )
    if not model_name.startswith(TIMM) and model_name not in TWINS:
        return None
    name = TWINS.get(model_name) or current_name(model_name.removeprefix(TIMM))
    found = timm.get_pretrained_cfg(name)
    return asdict(found) if found else None


def read_config(path: Path) -> dict[str, Any]:
    """Read the `pretrained_cfg` of a network that timm has described in a file `config.json`.

    Raises:
        ArtifactError: It is damaged, describes a network of another library, or one that this timm
            doesn't have.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
        if not isinstance(found, dict) or "architecture" not in found:
            others = found.get("architectures") if isinstance(found, dict) else None
            raise ValueError(f"is of transformers, {others[0]}" if others else "names no network")
        architecture = found["architecture"]
        if not isinstance(architecture, str) or not timm.is_model(architecture):
            raise ValueError(f"names '{architecture}', which timm {timm.__version__} doesn't have")
        config: dict[str, Any] = load_model_config_from_path(path.parent)[0]
    except (OSError, LookupError, AttributeError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ArtifactError(
            f"{path}: must describe a network of timm, doesn't ({reason}); choose a repository "
            "that timm has written, or timm's own network of that kind, model.name=timm/NAME"
        ) from error
    return config


def _cached(repository: Repository, file: str) -> Path | None:
    try:
        found = try_to_load_from_cache(repository.repo_id, file, revision=repository.revision)
    except HFValidationError as error:
        raise ConfigError(
            f"model.name: 'hf-hub:' must be followed by a repository as 'owner/name', is followed "
            f"by '{repository.repo_id}'; correct it"
        ) from error
    return Path(found) if isinstance(found, str) else None


def _download(repository: Repository, file: str) -> Path | None:
    """Download into the cache; None where the repository hasn't got the file.

    Of several processes one downloads and the others wait. What came before a connection broke, or
    the process was killed, isn't fetched again.
    """
    origin = find_origin(repository, file)
    if origin is None:
        return None
    home = Path(constants.HF_HUB_CACHE) / f"models--{repository.repo_id.replace('/', '--')}"
    path = home / "snapshots" / origin.commit / file
    _make_folder(path.parent)
    with held(home / LOCK, f"download {repository.repo_id}"):
        if not path.exists():
            console.say(f"downloading {file} of {repository.repo_id} from {endpoint()}")
            try:
                fetch_file(
                    origin.url, path, origin.verify, RETRY_POLICY, MAX_BYTES, authorization()
                )
            except DownloadError as error:
                raise missing_file(repository, file, str(error)) from error
        if repository.revision != origin.commit:
            write_text(home / "refs" / repository.revision, origin.commit)
    return path


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(
            f"{folder}: must be writable for downloads, isn't ({error.strerror}); set HF_HOME to a "
            "folder that is"
        ) from error
