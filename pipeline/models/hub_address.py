"""Ask a hub where a file lies, at which commit, and which digest it has.

It is asked once and with little patience, as where hubs are blocked no answer ever comes.
"""

import functools
import os
import re
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import requests
from huggingface_hub import constants, get_token

from pipeline.errors import ArtifactError
from pipeline.models.weights_source import PACKAGES
from pipeline.store.freshness import file_sha256

# The whole way to the first byte of an answer: name, connection, proxy, redirects.
ANSWER_SECONDS = 12.0

FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Repository:
    """A repository of the hub: which, at what revision, and the files to try in turn."""

    repo_id: str
    files: tuple[str, ...] = FILES
    revision: str = "main"


def endpoint() -> str:
    """Return the hub's address, or that of the mirror that `HF_ENDPOINT` names now."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"


@dataclass(frozen=True)
class Origin:
    """The place of a file, as the hub's first answer tells.

    Attributes:
        url: Its address at the hub, at that commit; it may lead to a storage elsewhere.
        commit: The revision's commit, 40 hexadecimal digits.
        sha256: The file's digest; empty where the hub doesn't tell.
    """

    url: str
    commit: str
    sha256: str

    def verify(self, path: Path) -> None:
        """Check a whole file.

        Raises:
            ArtifactError: It isn't what the hub announced.
        """
        found = file_sha256(path)
        if self.sha256 not in ("", found):
            raise ArtifactError(
                f"{self.url}: must have the sha256 {self.sha256}, has {found}; run the same "
                "command again, or set HF_ENDPOINT to another mirror"
            )


def find_origin(repository: Repository, file: str) -> Origin | None:
    """Ask the hub for a file; None where the repository hasn't got it.

    Raises:
        ArtifactError: It can't be reached, refuses, or isn't a hub.
    """
    refusal = functools.partial(missing_file, repository, file)
    if constants.is_offline_mode():
        raise refusal("HF_HUB_OFFLINE is set")
    base = f"{endpoint()}/{repository.repo_id}/resolve"
    try:
        with _ask(f"{base}/{quote(repository.revision, safe='')}/{file}") as answer:
            if answer.status_code == requests.codes.not_found:
                return None
            if not answer.ok:
                raise refusal(f"it answers {answer.status_code} {answer.reason}")
            commit = _header(answer, "X-Repo-Commit")
            etag = _header(answer, "X-Linked-Etag", "ETag").removeprefix("W/").strip('"')
    except TimeoutError as error:
        raise refusal(f"no answer within {ANSWER_SECONDS:g} s") from error
    except requests.RequestException as error:
        raise refusal(_reason(error)) from error
    if not re.fullmatch(r"[0-9a-f]{40}", commit):  # a login page, or no mirror of the hub
        raise refusal("its answer names no commit")
    sha256 = etag if re.fullmatch(r"[0-9a-f]{64}", etag) else ""
    return Origin(f"{base}/{commit}/{file}", commit, sha256)


def missing_file(repository: Repository, file: str, reason: str) -> ArtifactError:
    """Say that a file can't be had from the hub, and the ways around it."""
    return ArtifactError(
        f"{endpoint()}: the hub must give {file} of {repository.repo_id}, doesn't ({reason}); set "
        "HF_ENDPOINT to a mirror, download the file elsewhere and give it by model.weights=PATH, "
        f"or take a model with packaged weights, model.weights=package ({', '.join(PACKAGES)})"
    )


def _ask(url: str) -> requests.Response:
    """Ask once, in a thread: no timeout of a socket covers names, many addresses and redirects.

    Raises:
        TimeoutError: The answer didn't begin in time.
        requests.RequestException: The connection failed.
    """
    future: Future[requests.Response] = Future()
    seconds = ANSWER_SECONDS

    headers = authorization() | {"Accept-Encoding": "identity"}  # else its ETag isn't the file's

    def ask() -> None:
        try:
            future.set_result(requests.get(url, headers=headers, stream=True, timeout=seconds))
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        return future.result(seconds)
    except TimeoutError:
        future.add_done_callback(_close_late)
        raise


def authorization() -> dict[str, str]:
    """Return the header that shows the user's token, if there is one."""
    token = get_token()
    return {"Authorization": f"Bearer {token}"} if token else {}


def _close_late(late: "Future[requests.Response]") -> None:
    if not late.exception():
        late.result().close()


def _header(answer: requests.Response, *names: str) -> str:
    """Return a header of the hub itself; the last answer is that of a storage behind it."""
    headers = [one.headers for one in (*answer.history, answer)]
    return next((one[name] for one in headers for name in names if name in one), "")


def _reason(error: requests.RequestException) -> str:
    """Shorten requests' onion of errors to its core."""
    text = " ".join(str(error).split())
    if isinstance(error, requests.Timeout) or "Read timed out" in text:
        return f"no answer within {ANSWER_SECONDS:g} s"
    core = re.search(r"\[Errno -?\d+\] [^'\"()]+|IncompleteRead\([^()]*\)", text)
    return core.group() if core else text[:200]
