"""Fetch a file over HTTP so that a broken connection costs only what hadn't come yet."""

import email.utils
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.exceptions import (
    ChunkedEncodingError,
    InvalidSchema,
    InvalidURL,
    RequestException,
    Timeout,
    TooManyRedirects,
)

from pipeline import console
from pipeline.data.archives.sources import (
    DEFAULT_RETRY_POLICY,
    InterruptionError,
    RetryPolicy,
    with_retries,
)
from pipeline.errors import DownloadError, PipelineError
from pipeline.store.atomic import write_text
from pipeline.store.disk_errors import check_room, explained_os_errors

CHUNK_BYTES = 1 << 16
MAX_BYTES = 50 * 10**9  # more is a mistake, or an attack
MAX_REDIRECTS = 5
NUMBER = "[0-9]{1,18}"  # of bytes; a header may hold thousands of digits
TRANSIENT_STATUS = {408, 416, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Part:
    """The part of a file that came so far, kept so that the next attempt goes on from it.

    `<name>.part`, and beside it a JSON file with the version and URL that it is from.
    """

    path: Path

    @property
    def origin_path(self) -> Path:
        """The file that says which version of which URL the part is from."""
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def num_bytes(self) -> int:
        """Number of bytes that have come."""
        return self.path.stat().st_size if self.path.exists() else 0

    def validator(self, url: str) -> str | None:
        """The ETag or date by which the server knows this version; None if it can't resume."""
        try:
            origin = json.loads(self.origin_path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        is_same = isinstance(origin, dict) and origin.get("url") == url and self.num_bytes > 0
        return origin.get("validator") if is_same else None

    def start_over(self, url: str, validator: str | None) -> None:
        """Drop what has come and note what comes next."""
        self.discard()
        write_text(self.origin_path, json.dumps({"url": url, "validator": validator}))

    def discard(self) -> None:
        """Drop what has come."""
        self.path.unlink(missing_ok=True)
        self.origin_path.unlink(missing_ok=True)

    def move(self, target: Path) -> None:
        """Give the whole file its name, once it is safely on the disk."""
        with self.path.open("r+b") as file:
            os.fsync(file.fileno())
        self.path.replace(target)
        self.discard()


class _TooLargeError(DownloadError):
    """The server sends more than the file can have."""


def fetch(
    url: str,
    target: Path,
    verify: Callable[[Path], None],
    policy: RetryPolicy = DEFAULT_RETRY_POLICY,
    max_bytes: int = MAX_BYTES,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Fetch a URL into a file, resuming what an earlier call left unfinished.

    What has come stays beside the target as `<name>.part` until it is whole and verified.

    Args:
        url: An http or https URL.
        target: Appears only when whole and verified.
        verify: Called with the whole file; raises a PipelineError if it isn't what was wanted, and
            then nothing of it is kept.
        policy: Attempts, waits and timeouts.
        max_bytes: What the file may have, whatever the server says or sends.
        headers: To send along, e.g. who asks; a redirect to another host loses `Authorization`.

    Raises:
        DownloadError: Every attempt failed, the server refuses the file, or it is too large.
        DiskError: The disk is full or hasn't the room.
        PipelineError: `verify` refused what came.
    """
    part = Part(target.with_name(f"{target.name}.part"))
    with explained_os_errors(target), requests.Session() as session:
        target.parent.mkdir(parents=True, exist_ok=True)
        session.max_redirects = MAX_REDIRECTS
        session.headers.update(headers or {})
        session.hooks["response"].append(_drop_body_of_redirect)
        with_retries(partial(_receive, session, url, part, policy, max_bytes), url, policy)
        try:
            verify(part.path)
        except PipelineError:
            part.discard()
            raise
        part.move(target)


def _drop_body_of_redirect(answer: requests.Response, **_: object) -> None:
    """Keep requests from reading it into memory, however long it is."""
    if answer.is_redirect:
        answer.close()


def _receive(
    session: requests.Session, url: str, part: Part, policy: RetryPolicy, max_bytes: int
) -> None:
    """Make one attempt: ask for what is missing, append it, check that all came."""
    timeout = (policy.connect_seconds, policy.read_seconds)
    try:
        with session.get(url, stream=True, timeout=timeout, headers=_headers(url, part)) as answer:
            if _says_complete(answer, part):
                return
            _check_status(url, answer, part)
            _check_packing(url, answer)
            start, total = _begin(url, answer, part)
            if total is not None:
                _check_size(url, part, start, total, max_bytes)
            _append(answer, part, start, total, max_bytes)
    except _TooLargeError:
        part.discard()  # no beginning of what was wanted
        raise
    except (TooManyRedirects, InvalidURL, InvalidSchema) as error:
        raise DownloadError(f"{url}: must be a URL that leads to a file ({error})") from error
    except RequestException as error:
        raise InterruptionError(_reason(error)) from error
    if total is not None and part.num_bytes != total:
        raise InterruptionError(f"{part.num_bytes:,} of {total:,} bytes came")


def _headers(url: str, part: Part) -> Mapping[str, str]:
    headers = {"Accept-Encoding": "identity"}  # lengths and ranges then count the file's bytes
    validator = part.validator(url)
    if validator is not None:
        headers |= {"Range": f"bytes={part.num_bytes}-", "If-Range": validator}
    return headers


def _says_complete(answer: requests.Response, part: Part) -> bool:
    """Whether the server has nothing to add, as when a run was killed before its last rename.

    It was asked to resume this very version (If-Range); of another it would have sent the whole.
    """
    is_beyond_end = answer.status_code == requests.codes.requested_range_not_satisfiable
    length = re.fullmatch(rf"bytes \*/({NUMBER})", answer.headers.get("Content-Range", ""))
    return is_beyond_end and length is not None and int(length[1]) == part.num_bytes > 0


def _check_packing(url: str, answer: requests.Response) -> None:
    """Refuse what is packed on the way: nobody asked for it, and it may unpack to anything.

    But a `.tar.gz` is taken as it lies there, though the server calls its compression one of the
    way. Undone, it would be another file, of another hash.
    """
    if urlsplit(url).path.endswith((".gz", ".tgz")):
        answer.headers.pop("Content-Encoding", None)
        answer.raw.headers.pop("Content-Encoding", None)
    packing = answer.headers.get("Content-Encoding", "identity").lower()
    if packing != "identity":
        raise DownloadError(
            f"{url}: must come as it is, the server packs it on the way ({packing[:40]!r})"
        )


def _check_status(url: str, answer: requests.Response, part: Part) -> None:
    status = f"the server answered {answer.status_code} {answer.reason}"
    if answer.status_code == requests.codes.requested_range_not_satisfiable:
        part.discard()
    if answer.status_code in TRANSIENT_STATUS:
        raise InterruptionError(status, _retry_after_seconds(answer))
    if answer.status_code not in (requests.codes.ok, requests.codes.partial_content):
        raise DownloadError(f"{url}: must give a file, {status}")


def _retry_after_seconds(answer: requests.Response) -> float | None:
    """Read Retry-After, which is a number of seconds or a date."""
    value = answer.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        until = email.utils.parsedate_to_datetime(value)
    except (ValueError, TypeError, LookupError, OverflowError):
        return None
    return (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds()


def _begin(url: str, answer: requests.Response, part: Part) -> tuple[int, int | None]:
    """Find where the answer's bytes belong and how long the file will be, if that is known.

    A server may ignore Range (200: the whole file, from the start) or If-Range (206 of a file
    that was replaced meanwhile); gluing two versions together must never happen.
    """
    validator = _strong_validator(answer)
    if answer.status_code == requests.codes.ok:
        part.start_over(url, validator)
        length = re.fullmatch(NUMBER, answer.headers.get("Content-Length", ""))
        return 0, int(length[0]) if length else None
    content_range = re.match(
        rf"bytes ({NUMBER})-{NUMBER}/({NUMBER}|\*)$", answer.headers.get("Content-Range", "")
    )
    is_same_file = validator is None or validator == part.validator(url)
    if content_range is None or int(content_range[1]) != part.num_bytes or not is_same_file:
        part.discard()
        raise InterruptionError("the server resumed with other bytes than asked for, starting over")
    return part.num_bytes, None if content_range[2] == "*" else int(content_range[2])


def _strong_validator(answer: requests.Response) -> str | None:
    """Name this version of the file byte for byte, as If-Range demands; weak ETags don't."""
    etag = answer.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified")


def _check_size(url: str, part: Part, start: int, total: int, max_bytes: int) -> None:
    if total > max_bytes:
        most = f"must have at most {max_bytes:,} bytes"
        raise _TooLargeError(f"{url}: {most}, the server speaks of {total:,}")
    check_room(f"{url}: fetching", total - start, part.path.parent)


def _append(
    answer: requests.Response, part: Part, start: int, total: int | None, max_bytes: int
) -> None:
    most = max_bytes if total is None else total
    num_bytes = start
    description = f"fetch {part.path.stem}"
    with (
        explained_os_errors(part.path, None if total is None else total - start),
        part.path.open("ab" if start else "wb") as file,
        console.progress(description, total, "B") as advance,
    ):
        advance(start)
        for chunk in answer.iter_content(CHUNK_BYTES):
            num_bytes += len(chunk)
            if num_bytes > most:
                raise _TooLargeError(f"{answer.url}: must end after {most:,} bytes, more came")
            file.write(chunk)
            advance(len(chunk))


def _reason(error: RequestException) -> str:
    """Say in a few words what broke; requests' own text nests three errors and the URL."""
    root: Any = error
    while root.__context__ is not None:
        root = root.__context__
    if isinstance(error, Timeout):
        return "nothing came in time"
    what = "broke off" if isinstance(error, ChunkedEncodingError) else "failed"
    return f"the connection {what} ({root})"
