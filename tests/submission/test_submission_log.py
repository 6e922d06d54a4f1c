"""The log of submissions: nothing in it is ever lost."""

from datetime import datetime
from multiprocessing import get_context
from pathlib import Path

import pytest

from pipeline.errors import DataError
from pipeline.store.paths import Paths
from pipeline.submission.submission_log import COLUMNS, Entry, load_log, now, open_log


def entry(sha256: str, experiment: str = "probe", oof_score: float | None = 0.987) -> Entry:
    return Entry(
        time=now(),
        experiment=experiment,
        metric="accuracy",
        oof_score=oof_score,
        sha256=sha256 * 64,
        commit="abc+",
        file=f"{experiment}.csv",
    )


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path, "demo")


def add(paths: Paths, *entries: Entry) -> None:
    for one in entries:
        with open_log(paths, "test") as log:
            log.add(one)


def test_entries_are_read_as_they_were_written(paths):
    entries = [entry("a"), entry("b", 'odd, "name"', None), entry("c")]
    add(paths, *entries)
    assert load_log(paths.submission_log) == entries


def test_same_file_written_twice_in_a_row_is_one_entry(paths):
    add(paths, entry("a"), entry("a"), entry("b", "other"), entry("a"), entry("b"), entry("a"))
    noted = [(one.experiment, one.sha256[0]) for one in load_log(paths.submission_log)]
    assert noted == [("probe", "a"), ("other", "b"), ("probe", "b"), ("probe", "a")]


def test_what_becomes_known_is_noted_at_every_entry_of_the_content_and_nowhere_else(paths):
    add(paths, entry("a"), entry("b"), entry("a", "other"))
    with open_log(paths, "test") as log:
        log.change("a" * 64, public_score=0.5, private_score=None)
        log.change("a" * 64, public_score=None, private_score=0.25, sent=now())
    found = load_log(paths.submission_log)
    assert [(one.public_score, one.private_score) for one in found] == [
        (0.5, 0.25), (None, None), (0.5, 0.25),
    ]  # fmt: skip
    assert [one.sent is not None for one in found] == [True, False, True]


DAMAGES = {
    "cut short": (lambda text: text[:-9], "must end with a line end"),
    "another header": (lambda text: "id" + text, "must begin with the line time,experiment"),
    "emptied": (lambda _: "", "must end with a line end"),
    "a field too few": (lambda text: text.replace(",probe,", ","), "line 2 must have 10 fields"),
    "no time": (lambda text: text.replace("20", "xx"), "line 2, time: Input should be"),
    "another score": (lambda text: text.replace("0.987", "good"), "line 2, oof_score: .*'good'"),
    "a score of another size": (lambda text: text.replace("0.987", "987"), "must be at most 1, is"),
    "two days in one": (
        lambda text: text.replace("\n2", "\n3/4/2", 1),
        "line 2, time: Input should be",
    ),
    "one row longer": (
        lambda text: text + text[text.index("\n") + 1 :].replace("\n", ",x\n"),
        "line 3 must have 10 fields as the header has, has 11",
    ),
    "another hash": (lambda text: text.replace("aaa", "-"), "line 2, sha256: .*must|should match"),
    "open quotes": (lambda text: text.replace("probe.csv", '"probe.csv'), "damaged: "),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_log_is_refused_in_one_line_and_left_alone(paths, damage):
    add(paths, entry("a"))
    change, expected = DAMAGES[damage]
    damaged = change(paths.submission_log.read_text("utf-8"))
    paths.submission_log.write_text(damaged, "utf-8")
    with pytest.raises(DataError, match=expected) as caught:
        add(paths, entry("b"))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{paths.submission_log}: damaged: ")
    assert paths.submission_log.read_text("utf-8") == damaged


def test_log_with_a_line_of_broken_bytes_is_refused(paths):
    add(paths, entry("a"))
    paths.submission_log.write_bytes(paths.submission_log.read_bytes() + b"\xff\n")
    with pytest.raises(DataError, match="damaged: line 3 must have 10 fields, has 1"):
        load_log(paths.submission_log)


def test_score_that_is_no_number_is_none_and_leaves_the_log_readable(paths):
    add(paths, entry("a"), entry("b", oof_score=float("nan")))
    with open_log(paths, "test") as log:
        log.change("a" * 64, public_score=0.5, private_score=float("inf"))
        log.change("a" * 64, public_score=float("nan"))
    first, second = load_log(paths.submission_log)
    assert (first.public_score, first.private_score, second.oof_score) == (0.5, None, None)
    text = paths.submission_log.read_text("utf-8").replace(",0.5,", ",NaN,")
    paths.submission_log.write_text(text, "utf-8")  # as an earlier version wrote it
    assert load_log(paths.submission_log)[0].public_score is None


def as_saved(content: bytes, separator: str, encoding: str, time: str) -> bytes:
    """Write a log as a spreadsheet does: another separator, moments and decimals of its own."""
    rows = [line.split(",") for line in content.decode().splitlines()]
    for row in rows[1:]:
        moment = datetime.fromisoformat(row[0])
        row[0] = moment.strftime(time)
        row[3] = row[3] if separator == "," else row[3].replace(".", ",")
    return "".join(separator.join(row) + "\r\n" for row in rows).encode(encoding)


@pytest.mark.parametrize(
    ("separator", "encoding", "time"),
    [
        (",", "gb18030", "%Y/%m/%d %H:%M:%S"),
        (";", "utf-8-sig", "%d.%m.%Y %H:%M:%S"),
        (";", "cp1252", "%Y-%m-%d %H:%M:%S"),
        ("\t", "utf-16", "%Y-%m-%dT%H:%M:%SZ"),
    ],
)
def test_log_that_a_spreadsheet_has_saved_is_read_and_goes_on(paths, separator, encoding, time):
    entries = [entry("a"), entry("b", "other", 0.5)]
    add(paths, *entries)
    saved = as_saved(paths.submission_log.read_bytes(), separator, encoding, time)
    paths.submission_log.write_bytes(saved)
    assert load_log(paths.submission_log) == entries
    later = entry("c")
    add(paths, later)
    assert load_log(paths.submission_log) == [*entries, later]
    assert b"\r" not in paths.submission_log.read_bytes()


def test_columns_that_somebody_added_or_moved_stay(paths):
    add(paths, entry("a"), entry("b"))
    header, first, second = paths.submission_log.read_text("utf-8").splitlines()
    text = f"笔记,{header},\n最好的,{first},\n,{second},\n"
    paths.submission_log.write_bytes(text.encode("gb18030"))
    with open_log(paths, "test") as log:
        log.change("b" * 64, public_score=0.25)
        log.add(entry("c"))
    first, second, third = load_log(paths.submission_log)
    assert (first.others, second.others, third.others) == (
        {"笔记": "最好的"},
        {"笔记": ""},
        {"笔记": ""},
    )
    assert (first.public_score, second.public_score, third.experiment) == (None, 0.25, "probe")


def test_log_without_entries_is_none_at_all(paths):
    assert load_log(paths.submission_log) == []


def add_some(root: Path, experiment: str) -> None:
    for number in range(8):
        add(Paths(root, "demo"), entry(f"{number}", experiment))


def test_processes_that_write_at_once_lose_nothing(paths):
    context = get_context("spawn")
    processes = [context.Process(target=add_some, args=(paths.root, name)) for name in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    found = load_log(paths.submission_log)
    for name in "ab":
        ours = [one.sha256[0] for one in found if one.experiment == name]
        assert ours == [str(number) for number in range(8)]


def test_columns_are_those_that_the_documentation_names():
    assert COLUMNS == (
        "time", "experiment", "metric", "oof_score", "sha256", "commit", "file", "sent",
        "public_score", "private_score",
    )  # fmt: skip
