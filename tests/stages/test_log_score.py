"""The stage `log-score`, and what `status` then shows."""

import json
import shutil

import pytest

from pipeline.errors import ConfigError, DataError, SubmissionError
from pipeline.stages import log_score, status, submit
from pipeline.store.atomic import write_text
from pipeline.store.paths import Paths
from pipeline.submission.submission_log import load_log
from tests.stages.test_submit import default_probs, demo, paths, save

__all__ = ["demo", "paths"]  # fixtures


@pytest.fixture
def submitted(paths, demo):
    """Submit `probe` with a known out-of-fold score."""
    write_text(paths.experiment("probe").metrics, json.dumps({"oof_score": 0.987}))
    submit.run(paths, demo, "probe")
    return paths


def test_submit_notes_what_it_wrote(submitted, demo):
    submit.run(submitted, demo, "probe")
    (entry,) = load_log(submitted.submission_log)
    assert (entry.experiment, entry.metric, entry.oof_score) == ("probe", "accuracy", 0.987)
    assert (entry.file, entry.sent, entry.public_score) == ("probe.csv", None, None)


def test_scores_are_known_by_content_whatever_the_file_is_called(submitted, tmp_path, capsys):
    handed_in = tmp_path / "result.csv"
    shutil.copy(submitted.submission("probe"), handed_in)
    log_score.run(submitted.root, handed_in, 0.93, None)
    log_score.run(submitted.root, handed_in, None, 0.92)
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "probe, accuracy: OOF 0.987, public 0.93",
        "probe, accuracy: OOF 0.987, public 0.93, private 0.92",
    ]
    (entry,) = load_log(submitted.submission_log)
    assert (entry.public_score, entry.private_score) == (0.93, 0.92)


def test_file_changed_since_is_refused(submitted):
    csv = submitted.submission("probe")
    csv.write_bytes(csv.read_bytes().replace(b"0,0", b"0,1"))
    expected = r"probe\.csv: must be as 'pipeline submit' wrote it .* was changed since"
    with pytest.raises(SubmissionError, match=expected):
        log_score.run(submitted.root, csv, 0.93, None)


def test_file_of_unknown_origin_is_refused(submitted, tmp_path):
    (tmp_path / "mine.csv").write_bytes(b"0,1\n")
    with pytest.raises(SubmissionError, match=r"mine\.csv: must be a file that 'pipeline submit'"):
        log_score.run(submitted.root, tmp_path / "mine.csv", 0.93, None)


def test_of_equal_files_of_two_competitions_the_folder_tells(submitted, tmp_path):
    other = Paths(submitted.root, "other")
    shutil.copytree(submitted.submission_log.parent, other.submission_log.parent)
    shutil.copy(other.submission("probe"), tmp_path / "result.csv")
    with pytest.raises(SubmissionError, match="must be of one competition, demo and other have su"):
        log_score.run(submitted.root, tmp_path / "result.csv", 0.93, None)
    log_score.run(submitted.root, other.submission("probe"), 0.93, None)
    scores = [load_log(paths.submission_log)[0].public_score for paths in (submitted, other)]
    assert scores == [None, 0.93]


@pytest.mark.parametrize(("public", "found"), [(None, "none"), (float("nan"), "nan")])
def test_score_must_be_a_number(submitted, public, found):
    with pytest.raises(ConfigError, match=f"must be given a number .* is given {found}$"):
        log_score.run(submitted.root, submitted.submission("probe"), public, None)


def test_damaged_log_stops_score_and_submit_before_anything_is_written(submitted, demo):
    log, csv = submitted.submission_log, submitted.submission("probe")
    log.write_text("x" + log.read_text("utf-8"), "utf-8")
    before = csv.read_bytes()
    save(submitted, demo, probs=default_probs()[::-1])
    for command in (
        lambda: submit.run(submitted, demo, "probe"),
        lambda: log_score.run(submitted.root, csv, 0.93, None),
    ):
        with pytest.raises(DataError, match=r"log\.csv: damaged: .*; mend it with a text editor"):
            command()
    assert csv.read_bytes() == before


@pytest.mark.parametrize("name", ["log", "run"])
def test_an_experiment_named_as_the_log_or_the_file_of_a_run_is_refused(paths, demo, name):
    save(paths, demo, name)
    with pytest.raises(ConfigError, match=rf"{name}\.csv: must not be .* give the experiment an"):
        submit.run(paths, demo, name)


def test_status_shows_the_judges_scores_beside_ours_and_which_file_is_there(
    submitted, demo, capsys
):
    log_score.run(submitted.root, submitted.submission("probe"), 0.93, None)
    save(submitted, demo, probs=default_probs()[::-1])
    write_text(submitted.experiment("probe").metrics, json.dumps({"oof_score": 0.991}))
    submit.run(submitted, demo, "probe")
    capsys.readouterr()
    shutil.rmtree(submitted.artifacts_dir)
    status.run(submitted, demo)
    out = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("│")[2:-1]] for line in out.splitlines()]
    assert [row for row in rows if "accuracy" in row] == [
        ["probe *", "accuracy", "0.99100", "", "", ""],
        ["probe", "accuracy", "0.98700", "0.93000", "", ""],
    ]
    assert "log.csv" not in out
