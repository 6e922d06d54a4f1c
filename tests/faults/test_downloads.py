"""Downloads from a real server that misbehaves; more in tests/data/archives/test_fetch.py."""

import gzip
import hashlib
import io
import socket
import struct
import time
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.config.archive_table import Archive
from pipeline.data.archives.fetch import _retry_after_seconds, fetch
from pipeline.data.archives.fetch_archive import fetch_archive
from pipeline.data.archives.sources import RetryPolicy, Source
from pipeline.errors import ArchiveError, DataError, DownloadError
from tests.data.archives.test_untar import tar_of
from tests.data.archives.website import Answer, Handler, Website, part_from, status

CONTENT = bytes(range(256)) * 1000
QUICK = RetryPolicy(attempts=4, first_wait_seconds=0.0, longest_wait_seconds=0.2, read_seconds=0.5)


@pytest.fixture
def site(site: Website) -> Website:
    site.files["/a.zip"] = CONTENT
    return site


def accept(_: Path) -> None:
    pass


def fetched(site: Website, folder: Path, name: str = "a.zip") -> bytes:
    fetch(f"{site.url}/{name}", folder / name, accept, QUICK)
    assert [path.name for path in folder.iterdir()] == [name]
    return (folder / name).read_bytes()


def begun(handler: Handler, content: bytes, num_bytes: int, **headers: str) -> None:
    """Send the head of an answer and the first bytes of the file."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    lengths = {"Content-Length": str(len(content))}
    handler.send_response(200)
    for name, value in (handler.site.validators | lengths | named).items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(content[:num_bytes])
    handler.wfile.flush()


def reset_after(num_bytes: int) -> Answer:
    """Answer as a machine does that is unplugged: the connection isn't closed but reset."""

    def answer(handler: Handler, content: bytes | None) -> None:
        assert content is not None
        begun(handler, content, num_bytes)
        time.sleep(0.05)  # else what was sent is lost on the way, too
        linger = struct.pack("ii", 1, 0)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        handler.connection.close()
        handler.close_connection = True
        handler.wfile = io.BytesIO()

    return answer


def silent_after(num_bytes: int) -> Answer:
    def answer(handler: Handler, content: bytes | None) -> None:
        assert content is not None
        begun(handler, content, num_bytes)
        time.sleep(3 * QUICK.read_seconds)

    return answer


RESETS = [0, 1, 1000, 65_536, 65_537, len(CONTENT) // 2, len(CONTENT) - 1]


@pytest.mark.parametrize("num_bytes", RESETS)
def test_reset_connection_costs_only_what_had_not_come(
    site: Website, tmp_path: Path, num_bytes: int
) -> None:
    site.answers = [reset_after(num_bytes)]
    assert fetched(site, tmp_path) == CONTENT
    first, second = site.ranges()
    assert first is None
    assert second is None or int(second.removeprefix("bytes=").removesuffix("-")) <= num_bytes


def test_several_resets_are_survived_one_after_the_other(site: Website, tmp_path: Path) -> None:
    def half_of_the_rest(handler: Handler, content: bytes | None) -> None:
        assert content is not None
        start = int(handler.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        end = (start + len(content)) // 2
        span = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        length = {"Content-Length": str(len(content) - start)}
        handler.reply(206, handler.site.validators | span | length, content[start:end])

    site.answers = [silent_after(len(CONTENT) // 2), half_of_the_rest, half_of_the_rest]
    assert fetched(site, tmp_path) == CONTENT
    starts = [int((one or "bytes=0-")[6:-1]) for one in site.ranges()]
    assert starts == sorted(starts)
    assert starts[1] > 0


@pytest.mark.parametrize("num_bytes", [1, len(CONTENT) // 2])
def test_server_that_falls_silent_in_the_middle_is_asked_for_the_rest(
    site: Website, tmp_path: Path, num_bytes: int
) -> None:
    site.answers = [silent_after(num_bytes)]
    assert fetched(site, tmp_path) == CONTENT
    assert len(site.requests) == 2


def test_length_that_promises_more_than_comes_is_never_taken_for_whole(
    site: Website, tmp_path: Path
) -> None:
    def short(handler: Handler, content: bytes | None) -> None:
        assert content is not None
        begun(handler, content, len(content), Content_Length=str(len(content) + 9))

    site.validators = {}
    site.answers = [short] * QUICK.attempts
    with pytest.raises(DownloadError, match=r"within 4 attempts, the last: .*IncompleteRead"):
        fetch(f"{site.url}/a.zip", tmp_path / "a.zip", accept, QUICK)
    assert not (tmp_path / "a.zip").exists()


def a_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("x.jpg", CONTENT)
    return buffer.getvalue()


def test_length_that_promises_less_than_comes_leads_to_the_next_mirror(
    site: Website, tmp_path: Path
) -> None:
    content = a_zip()
    site.files = {"/bad.zip": content, "/good.zip": content}

    def cut(handler: Handler, content: bytes | None) -> None:
        assert content is not None
        handler.reply(200, handler.site.validators | {"Content-Length": "1000"}, content)

    site.answers = [cut]
    sources = [Source(f"{site.url}/{name}.zip") for name in ("bad", "good")]
    assert fetch_archive(Archive(name="a.zip"), sources, tmp_path / "a.zip", QUICK) == sources[1]
    assert (tmp_path / "a.zip").read_bytes() == content


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "1e3", "", "²"])
def test_length_that_is_no_number_does_no_harm(site: Website, tmp_path: Path, length: str) -> None:
    def odd(handler: Handler, content: bytes | None) -> None:
        assert content is not None
        begun(handler, content, len(content), Content_Length=length)
        handler.close_connection = True

    site.answers = [odd] * QUICK.attempts
    try:
        assert fetched(site, tmp_path) == CONTENT
    except DownloadError as error:
        assert "must be fetched within" in str(error)  # noqa: PT017


def gzipped(handler: Handler, content: bytes | None) -> None:
    assert content is not None
    packed = gzip.compress(content)
    handler.reply(200, handler.site.validators | {"Content-Encoding": "gzip"}, packed)


def test_what_the_server_packs_on_the_way_is_refused_before_it_is_unpacked(
    site: Website, tmp_path: Path
) -> None:
    site.files["/a.zip"] = bytes(20_000_000)
    site.answers = [gzipped]
    with pytest.raises(DownloadError, match=r"must come as it is, .* packs it .*\('gzip'\)$"):
        fetch(f"{site.url}/a.zip", tmp_path / "a.zip", accept, QUICK)
    assert len(site.requests) == 1
    assert list(tmp_path.iterdir()) == []


def endless(status: int, **headers: str) -> Answer:
    """Send zeros without naming their number."""

    def answer(handler: Handler, _: bytes | None) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.close_connection = True
        with suppress(ConnectionError):
            handler.wfile.write(bytes(MOST_SENT))

    return answer


MOST_SENT = 100_000_000
LIMIT = 1_000_000


def test_body_without_end_is_left_at_the_limit(site: Website, tmp_path: Path) -> None:
    site.answers = [endless(200)]
    with pytest.raises(DownloadError, match=r"a\.zip: must end after 1,000,000 bytes, more came$"):
        fetch(f"{site.url}/a.zip", tmp_path / "a.zip", accept, QUICK, LIMIT)
    assert len(site.requests) == 1
    assert list(tmp_path.iterdir()) == []


def test_known_size_of_an_archive_is_the_limit(site: Website, tmp_path: Path) -> None:
    site.answers = [endless(200)]
    archive = Archive(name="a.zip", num_bytes=5_000)
    with pytest.raises(ArchiveError, match="must end after 5,000 bytes, more came"):
        fetch_archive(archive, [Source(f"{site.url}/a.zip")], tmp_path / "a.zip", QUICK)


def test_part_that_goes_on_beyond_its_whole_is_left(site: Website, tmp_path: Path) -> None:
    def beyond(handler: Handler, content: bytes | None) -> None:
        start = handler.headers["Range"].removeprefix("bytes=").removesuffix("-")
        span = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
        endless(206, **{"Content-Range": span})(handler, content)

    site.answers = [silent_after(len(CONTENT) // 2), beyond]
    with pytest.raises(DownloadError, match="must end after 256,000 bytes, more came"):
        fetch(f"{site.url}/a.zip", tmp_path / "a.zip", accept, QUICK)
    assert list(tmp_path.iterdir()) == []


def test_redirect_with_a_body_without_end_is_followed_unread(site: Website, tmp_path: Path) -> None:
    tracemalloc.start()
    site.answers = [endless(302, Location="/a.zip")]
    assert fetched(site, tmp_path) == CONTENT
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * MOST_SENT  # what the server here sends takes once as much


@pytest.mark.parametrize("more_than", ["the limit", "the disk"])
def test_length_for_which_there_is_no_room_is_refused_before_the_first_byte(
    site: Website, tmp_path: Path, more_than: str
) -> None:
    needed = 10**17
    site.answers = [lambda handler, _: begun(handler, b"", 0, Content_Length=str(needed))]
    most = LIMIT if more_than == "the limit" else needed
    found = {
        "the limit": f"must have at most 1,000,000 bytes, the server speaks of {needed:,}$",
        "the disk": rf"fetching must find {needed:,} bytes of disk, [\d,]+ are free; free some",
    }
    with pytest.raises(DataError, match=rf"/a\.zip: {found[more_than]}"):
        fetch(f"{site.url}/a.zip", tmp_path / "a.zip", accept, QUICK, most)
    assert len(site.requests) == 1
    assert not (tmp_path / "a.zip.part").exists()


def test_tar_gz_that_the_server_calls_gzip_encoded_keeps_its_hash(
    site: Website, tmp_path: Path
) -> None:
    content = gzip.compress(tar_of(("x.jpg", CONTENT)))

    def mislabelled(handler: Handler, content: bytes | None) -> None:
        assert content is not None
        handler.reply(200, handler.site.validators | {"Content-Encoding": "gzip"}, content)

    site.files["/a.tar.gz"] = content
    site.answers = [mislabelled]
    archive = Archive(name="a.tar.gz", sha256=hashlib.sha256(content).hexdigest())
    fetch_archive(archive, [Source(f"{site.url}/a.tar.gz")], tmp_path / "a.tar.gz", QUICK)
    assert (tmp_path / "a.tar.gz").read_bytes() == content


def test_part_that_nobody_asked_for_is_not_taken_for_whole(site: Website, tmp_path: Path) -> None:
    site.answers = [part_from(7)]
    assert fetched(site, tmp_path) == CONTENT


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://127.0.0.1/a.zip", "/a.zip\\..", ""])
def test_redirect_to_something_else_than_a_web_address_is_refused(
    site: Website, tmp_path: Path, place: str
) -> None:
    site.answers = [status(302, Location=place)] + [status(404)] * 9
    with pytest.raises(DownloadError, match=r"must (be a URL that leads to|give) a file"):
        fetch(f"{site.url}/a.zip", tmp_path / "a.zip", accept, QUICK)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wait", ["99999999999", "9" * 400, "-5", "soon", "", "٣"])
def test_any_wish_to_wait_is_bounded(site: Website, tmp_path: Path, wait: str) -> None:
    site.answers = [status(503, Retry_After=wait.encode("utf-8").decode("latin-1"))]
    assert fetched(site, tmp_path) == CONTENT


class Asked:
    """An answer with nothing but a header."""

    def __init__(self, value: str) -> None:
        self.headers = {"Retry-After": value}


@given(value=st.text(max_size=60) | st.datetimes().map(str) | st.integers().map(str))
@example("Mon, 01 Jan 99999 00:00:00 GMT")
@example("Mon, 32 Foo 2024 25:61:61 +9999")
@example("9" * 5000)
def test_any_retry_after_is_a_number_of_seconds_or_nothing(value: str) -> None:
    seconds = _retry_after_seconds(Asked(value))  # type: ignore[arg-type]
    wait = RetryPolicy(longest_wait_seconds=60.0).wait_seconds(1, seconds)
    assert 0 <= wait <= 60
