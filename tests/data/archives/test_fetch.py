import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from pipeline.data.archives.fetch import fetch
from pipeline.data.archives.sources import RetryPolicy
from pipeline.errors import DataError, DownloadError
from tests.data.archives.website import (
    Website,
    broken_off,
    part_from,
    serve,
    status,
    whole,
    without_range,
)

CONTENT = bytes(range(256)) * 2000
OTHER_CONTENT = CONTENT[::-1]
HALF = len(CONTENT) // 2
QUICK = RetryPolicy(attempts=3, first_wait_seconds=0.0, read_seconds=5.0)
ONCE = RetryPolicy(attempts=1)


@pytest.fixture
def site(site: Website) -> Website:
    site.files["/a.zip"] = CONTENT
    return site


def accept(_: Path) -> None:
    pass


def fetched(site: Website, target: Path, policy: RetryPolicy = QUICK) -> bytes:
    fetch(f"{site.url}/a.zip", target, accept, policy)
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    return target.read_bytes()


def break_a_run_off(site: Website, target: Path) -> int:
    site.answers = [broken_off(HALF)]
    with pytest.raises(DownloadError, match="broke off"):
        fetch(f"{site.url}/a.zip", target, accept, ONCE)
    assert not target.exists()
    num_bytes = target.with_name("a.zip.part").stat().st_size
    assert 0 < num_bytes <= HALF
    return num_bytes


def test_whole_file_arrives_and_leaves_nothing_beside_it(site: Website, tmp_path: Path) -> None:
    assert fetched(site, tmp_path / "a.zip") == CONTENT
    assert site.requests[0][1]["Accept-Encoding"] == "identity"


def test_broken_download_goes_on_where_it_stopped(site: Website, tmp_path: Path) -> None:
    site.answers = [broken_off(HALF)]
    assert fetched(site, tmp_path / "a.zip") == CONTENT
    first, second = site.ranges()
    assert first is None
    assert second is not None
    assert 0 < int(second.removeprefix("bytes=").removesuffix("-")) <= HALF
    assert site.requests[1][1]["If-Range"] == '"first"'


def test_next_run_goes_on_where_a_failed_one_stopped(site: Website, tmp_path: Path) -> None:
    num_bytes = break_a_run_off(site, tmp_path / "a.zip")
    assert fetched(site, tmp_path / "a.zip") == CONTENT
    assert site.ranges()[-1] == f"bytes={num_bytes}-"


def test_last_modified_serves_where_the_etag_is_weak(site: Website, tmp_path: Path) -> None:
    date = "Mon, 01 Jan 2024 00:00:00 GMT"
    site.validators = {"ETag": 'W/"first"', "Last-Modified": date}
    site.answers = [broken_off(HALF)]
    assert fetched(site, tmp_path / "a.zip") == CONTENT
    assert site.requests[1][1]["If-Range"] == date


def test_file_without_any_validator_is_fetched_from_the_start(
    site: Website, tmp_path: Path
) -> None:
    site.validators = {}
    site.answers = [broken_off(HALF)]
    assert fetched(site, tmp_path / "a.zip") == CONTENT
    assert site.ranges() == [None, None]


def test_file_changed_meanwhile_is_fetched_from_the_start(site: Website, tmp_path: Path) -> None:
    break_a_run_off(site, tmp_path / "a.zip")
    site.files["/a.zip"], site.validators = OTHER_CONTENT, {"ETag": '"second"'}
    assert fetched(site, tmp_path / "a.zip") == OTHER_CONTENT


def test_changed_file_is_not_glued_on_though_the_server_ignores_if_range(
    site: Website, tmp_path: Path
) -> None:
    num_bytes = break_a_run_off(site, tmp_path / "a.zip")
    site.files["/a.zip"], site.validators = OTHER_CONTENT, {"ETag": '"second"'}
    site.answers = [part_from(num_bytes)]
    assert fetched(site, tmp_path / "a.zip") == OTHER_CONTENT


def test_part_of_another_url_is_not_resumed(site: Website, tmp_path: Path) -> None:
    break_a_run_off(site, tmp_path / "a.zip")
    site.files["/b.zip"] = OTHER_CONTENT
    fetch(f"{site.url}/b.zip", tmp_path / "a.zip", accept, QUICK)
    assert (tmp_path / "a.zip").read_bytes() == OTHER_CONTENT


def test_server_without_range_starts_over(site: Website, tmp_path: Path) -> None:
    site.answers = [broken_off(HALF), without_range]
    assert fetched(site, tmp_path / "a.zip") == CONTENT


def test_range_from_the_wrong_place_starts_over(site: Website, tmp_path: Path) -> None:
    site.answers = [broken_off(HALF), part_from(7)]
    assert fetched(site, tmp_path / "a.zip") == CONTENT
    assert site.ranges()[-1] is None


def test_unsatisfiable_range_starts_over(site: Website, tmp_path: Path) -> None:
    site.answers = [broken_off(HALF), status(416)]
    assert fetched(site, tmp_path / "a.zip") == CONTENT
    assert site.ranges()[-1] is None


def leave_a_complete_part(site: Website, target: Path, content: bytes = CONTENT) -> None:
    """Leave what a run leaves that is killed just before the last rename."""
    break_a_run_off(site, target)
    target.with_name("a.zip.part").write_bytes(content)


def test_part_that_is_complete_is_not_fetched_again(site: Website, tmp_path: Path) -> None:
    leave_a_complete_part(site, tmp_path / "a.zip")
    site.requests.clear()
    assert fetched(site, tmp_path / "a.zip") == CONTENT
    assert site.ranges() == [f"bytes={len(CONTENT)}-"]


def test_complete_part_of_a_file_that_changed_is_fetched_anew(
    site: Website, tmp_path: Path
) -> None:
    leave_a_complete_part(site, tmp_path / "a.zip")
    site.files["/a.zip"], site.validators = OTHER_CONTENT, {"ETag": '"second"'}
    assert fetched(site, tmp_path / "a.zip") == OTHER_CONTENT


def test_complete_part_that_is_not_what_was_wanted_is_dropped(
    site: Website, tmp_path: Path
) -> None:
    leave_a_complete_part(site, tmp_path / "a.zip", OTHER_CONTENT)

    def refuse(_: Path) -> None:
        raise DownloadError("another hash")

    with pytest.raises(DownloadError, match="another hash"):
        fetch(f"{site.url}/a.zip", tmp_path / "a.zip", refuse, QUICK)
    assert list(tmp_path.iterdir()) == []


def test_part_that_is_longer_than_the_file_starts_over(site: Website, tmp_path: Path) -> None:
    leave_a_complete_part(site, tmp_path / "a.zip", CONTENT + b"more")
    assert fetched(site, tmp_path / "a.zip") == CONTENT
    assert site.ranges()[-1] is None


def test_busy_server_is_asked_again(site: Website, tmp_path: Path) -> None:
    site.answers = [status(503, Retry_After="0"), status(429, Retry_After="0")]
    policy = RetryPolicy(attempts=3, first_wait_seconds=60.0)
    assert fetched(site, tmp_path / "a.zip", policy) == CONTENT


def test_date_in_retry_after_is_honoured(site: Website, tmp_path: Path) -> None:
    site.answers = [status(503, Retry_After=format_datetime(datetime.now(UTC)))]
    policy = RetryPolicy(attempts=2, first_wait_seconds=60.0)
    assert fetched(site, tmp_path / "a.zip", policy) == CONTENT


def test_far_date_in_retry_after_is_bounded(site: Website, tmp_path: Path) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    site.answers = [status(503, Retry_After=format_datetime(tomorrow))]
    begin = time.monotonic()
    policy = RetryPolicy(attempts=2, longest_wait_seconds=0.1)
    assert fetched(site, tmp_path / "a.zip", policy) == CONTENT
    assert 0.1 <= time.monotonic() - begin < 5


def test_waits_double_up_to_the_longest() -> None:
    policy = RetryPolicy(first_wait_seconds=1.0, longest_wait_seconds=5.0)
    waits = [policy.wait_seconds(attempt, None) for attempt in (1, 2, 3, 4)]
    assert waits == [1.0, 2.0, 4.0, 5.0]


def test_attempts_are_bounded(site: Website, tmp_path: Path) -> None:
    site.answers = [status(503)] * 9
    with pytest.raises(DownloadError, match="within 3 attempts, the last: the server answered 503"):
        fetch(f"{site.url}/a.zip", tmp_path / "a.zip", accept, QUICK)
    assert len(site.requests) == 3


def test_missing_file_is_asked_for_once(site: Website, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"/none\.zip: must give a file, .* 404 Not Found"):
        fetch(f"{site.url}/none.zip", tmp_path / "a.zip", accept, QUICK)
    assert len(site.requests) == 1
    assert list(tmp_path.iterdir()) == []


def test_endless_redirects_are_refused(site: Website, tmp_path: Path) -> None:
    site.answers = [status(302, Location="/a.zip")] * 20
    with pytest.raises(DownloadError, match="must be a URL that leads to a file"):
        fetch(f"{site.url}/a.zip", tmp_path / "a.zip", accept, QUICK)
    assert len(site.requests) == 6


def test_redirect_is_followed(site: Website, tmp_path: Path) -> None:
    site.answers = [status(302, Location="/b.zip"), whole]
    site.files["/b.zip"] = OTHER_CONTENT
    assert fetched(site, tmp_path / "a.zip") == OTHER_CONTENT


def test_refused_connection_is_one_short_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve() as site:
        url = site.url
    with pytest.raises(DownloadError, match=r"the connection failed \(.*refused\)$") as raised:
        fetch(f"{url}/a.zip", tmp_path / "a.zip", accept, QUICK)
    assert "HTTPConnectionPool" not in str(raised.value)


def test_silent_server_is_given_up(site: Website, tmp_path: Path) -> None:
    site.answers = [lambda *_: time.sleep(0.3)]
    with pytest.raises(DownloadError, match="nothing came in time"):
        fetch(f"{site.url}/a.zip", tmp_path / "a.zip", accept, RetryPolicy(1, read_seconds=0.05))


def test_refused_content_leaves_nothing(site: Website, tmp_path: Path) -> None:
    def refuse(_: Path) -> None:
        raise DataError("not this one")

    with pytest.raises(DataError, match="not this one"):
        fetch(f"{site.url}/a.zip", tmp_path / "a.zip", refuse, QUICK)
    assert list(tmp_path.iterdir()) == []


def test_older_file_survives_a_failed_fetch(site: Website, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"older")
    site.answers = [status(500)]
    with pytest.raises(DownloadError, match="500"):
        fetch(f"{site.url}/a.zip", tmp_path / "a.zip", accept, ONCE)
    assert (tmp_path / "a.zip").read_bytes() == b"older"
