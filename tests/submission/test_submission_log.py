"""The log of submissions: nothing in it is ever lost."""

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
    "cut short": (lambda text: text[:-9], "must begin with the line time,.* and end with a line"),
    "another header": (lambda text: "id" + text, "must begin with the line time,experiment"),
    "emptied": (lambda _: "", "must begin with the line time"),
    "a field too few": (lambda text: text.replace(",probe,", ","), "line 2 must have 10 fields"),
    "no time": (lambda text: text.replace("20", "xx"), "line 2, time: Input should be"),
    "another score": (lambda text: text.replace("0.987", "good"), "line 2, oof_score: .*'good'"),
    "a score that is none": (lambda text: text.replace("0.987", "nan"), "line 2, oof_score: "),
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


def test_log_that_is_no_utf_8_is_refused(paths):
    add(paths, entry("a"))
    paths.submission_log.write_bytes(paths.submission_log.read_bytes() + b"\xff\n")
    with pytest.raises(DataError, match=r"damaged: .*can't decode"):
        load_log(paths.submission_log)


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
