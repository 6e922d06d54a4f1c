"""Weights from the Hugging Face hub or a mirror of it, kept in the hub's own cache.

huggingface_hub knows that cache and the user's token, and is asked for both. Its download isn't
used: where a firewall swallows packets, it waits for 10 seconds, then for 60, and tries that five
times; and it turns to a second server (Xet) that mirrors don't have.
"""

import hashlib
import os
import re
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote

import requests
import timm
from huggingface_hub import constants, get_token, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from pipeline.console import progress
from pipeline.errors import ArtifactError, ConfigError
from pipeline.files.atomic import atomic_path, write_text
from pipeline.models.packages import PACKAGES
from pipeline.models.timm_backbone import HUB as HUB_PREFIX

# The whole way to the first byte of an answer: name, connection, proxy, redirects. Then, the
# longest silence.
ANSWER_SECONDS = 12.0
CHUNK_BYTES = 1 << 20

# It becomes part of a path in the cache, so it mustn't lead out.
REVISION = r"(?!.*\.\.)\w[\w./-]*"

TIMM = "timm/"
FILES = ("model.safetensors", "pytorch_model.bin")
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


@dataclass(frozen=True)
class Repository:
    """A repository of the hub: which, at what revision, and the files to try in turn."""

    repo_id: str
    files: tuple[str, ...] = FILES
    revision: str = "main"


def endpoint() -> str:
    """Return the hub's address, or that of the mirror that `HF_ENDPOINT` names now."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"


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
    config = timm.get_pretrained_cfg(TWINS.get(model_name) or timm_name)
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


def fetch_hub_config(model_name: str) -> None:
    """Bring the description of a `timm/hf-hub:` network into the cache; others have none.

    timm would fetch it itself, with the patience described above.

    Raises:
        ConfigError: The repository's name is impossible.
        ArtifactError: The hub can't be reached, or hasn't got the file.
    """
    if model_name.startswith(TIMM + HUB_PREFIX):
        repository = hub_repository(model_name)
        fetch(Repository(repository.repo_id, ("config.json",), repository.revision))


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
    """Download into the cache; None where the repository hasn't got the file."""
    revision = quote(repository.revision, safe="")
    url = f"{endpoint()}/{repository.repo_id}/resolve/{revision}/{file}"
    if constants.is_offline_mode():
        raise _no_hub(repository, file, "HF_HUB_OFFLINE is set")
    try:
        with _ask(url) as answer:
            if answer.status_code == requests.codes.not_found:
                return None
            if not answer.ok:
                raise _no_hub(repository, file, f"it answers {answer.status_code} {answer.reason}")
            return _save(answer, repository, file)
    except TimeoutError as error:
        raise _no_hub(repository, file, f"no answer within {ANSWER_SECONDS:g} s") from error
    except requests.RequestException as error:
        raise _no_hub(repository, file, _reason(error)) from error


def _ask(url: str) -> requests.Response:
    """Ask once, in a thread: no timeout of a socket covers names, many addresses and redirects.

    Raises:
        TimeoutError: The answer didn't begin in time.
        requests.RequestException: The connection failed.
    """
    future: Future[requests.Response] = Future()
    seconds = ANSWER_SECONDS

    headers = {"Accept-Encoding": "identity"}  # else its length isn't the file's
    if token := get_token():
        headers["Authorization"] = f"Bearer {token}"

    def ask() -> None:
        try:
            future.set_result(requests.get(url, headers=headers, stream=True, timeout=seconds))
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        return future.result(seconds)
    except TimeoutError:
        future.add_done_callback(_hang_up)
        raise


def _hang_up(late: "Future[requests.Response]") -> None:
    if not late.exception():
        late.result().close()


def _save(answer: requests.Response, repository: Repository, file: str) -> Path:
    """Write an answer where huggingface_hub will find it, and remember which commit it is."""
    commit = _header(answer, "X-Repo-Commit")
    if not re.fullmatch(r"[0-9a-f]{40}", commit):  # a login page, or no mirror of the hub
        raise _no_hub(repository, file, "its answer names no commit")
    home = Path(constants.HF_HUB_CACHE) / f"models--{repository.repo_id.replace('/', '--')}"
    path = home / "snapshots" / commit / file
    _make_folder(path.parent)
    length = answer.headers.get("Content-Length", "")
    total = int(length) if re.fullmatch("[0-9]{1,18}", length) else None
    sha256 = hashlib.sha256()
    with (
        atomic_path(path) as partial,
        partial.open("wb") as output,
        progress(f"download {repository.repo_id}", total, "B") as advance,
    ):
        for chunk in answer.iter_content(CHUNK_BYTES):
            output.write(chunk)
            sha256.update(chunk)
            advance(len(chunk))
        expected = _header(answer, "X-Linked-Etag", "ETag").removeprefix("W/").strip('"')
        if len(expected) == sha256.digest_size * 2 and expected != sha256.hexdigest():
            raise ArtifactError(
                f"{answer.url}: must have the sha256 {expected}, has {sha256.hexdigest()}; run the "
                "same command again, or set HF_ENDPOINT to another mirror"
            )
    if repository.revision != commit:
        write_text(home / "refs" / repository.revision, commit)
    return path


def _header(answer: requests.Response, *names: str) -> str:
    """Return a header of the hub itself; the last answer is that of a storage behind it."""
    headers = [one.headers for one in (*answer.history, answer)]
    return next((one[name] for one in headers for name in names if name in one), "")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(
            f"{folder}: must be writable for downloads, isn't ({error.strerror}); set HF_HOME to a "
            "folder that is"
        ) from error


def _no_hub(repository: Repository, file: str, reason: str) -> ArtifactError:
    return ArtifactError(
        f"{endpoint()}: the hub must give {file} of {repository.repo_id}, doesn't ({reason}); set "
        "HF_ENDPOINT to a mirror, download the file elsewhere and give it by model.weights=PATH, "
        f"or take a model with packaged weights, model.weights=package ({', '.join(PACKAGES)})"
    )


def _reason(error: requests.RequestException) -> str:
    """Shorten requests' onion of errors to its core."""
    text = " ".join(str(error).split())
    if isinstance(error, requests.Timeout) or "Read timed out" in text:
        return f"no answer within {ANSWER_SECONDS:g} s"
    core = re.search(r"\[Errno -?\d+\] [^'\"()]+|IncompleteRead\([^()]*\)", text)
    return core.group() if core else text[:200]
