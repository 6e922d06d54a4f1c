"""The stages `submit` and `validate`, on a demo competition of a few images."""

import hashlib
import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.config.competition import Competition, load_competition
from pipeline.config.strict import locate_toml
from pipeline.errors import ArtifactError, ConfigError, DataError, SubmissionError
from pipeline.stages import submit, validate
from pipeline.store.atomic import write_text
from pipeline.store.freshness import file_sha256
from pipeline.store.paths import Paths
from pipeline.store.predictions import FloatArray, Predictions
from pipeline.store.tables import FOLD_COLUMNS, TEST_COLUMNS, write_table

NUM = 12
IMAGE_IDS = [f"test/{number}.jpg" for number in range(NUM)]
EXPECTED = "".join(f"{number},{number % 2}\n" for number in range(NUM)).encode()


@pytest.fixture
def demo() -> Competition:
    return load_competition("demo")


@pytest.fixture
def paths(tmp_path: Path, demo: Competition) -> Paths:
    """A root with a test table, a fold table and the predictions of `probe`."""
    paths = Paths(tmp_path, demo.name)
    write_test(paths)
    folds = pd.DataFrame([["a.jpg", "cat", "0", 0]], columns=FOLD_COLUMNS)
    write_table(folds, paths.folds_csv)
    save(paths, demo)
    return paths


def write_test(paths: Paths, unreadable: tuple[str, ...] = ()) -> None:
    rows = [
        [image_id, image_id, "0", *([0, 0] if image_id in unreadable else [32, 32]), "JPEG", "0"]
        for image_id in sorted(IMAGE_IDS)
    ]
    write_table(pd.DataFrame(rows, columns=TEST_COLUMNS), paths.test_csv)


def default_probs() -> FloatArray:
    return np.eye(2, dtype=np.float32)[np.arange(NUM) % 2]


def save(
    paths: Paths,
    competition: Competition,
    experiment: str = "probe",
    image_ids: list[str] | None = None,
    probs: FloatArray | None = None,
) -> None:
    """Save predictions that belong to the competition and its fold table, as `train` ends."""
    ids = IMAGE_IDS if image_ids is None else image_ids
    rows = default_probs() if probs is None else probs
    folds_sha256 = file_sha256(paths.folds_csv)
    predictions = Predictions(ids, rows, list(competition.classes), folds_sha256)
    files = paths.experiment(experiment)
    predictions.save(files.test)
    for path in (files.config, files.metrics, files.stamp):
        write_text(path, json.dumps({}))


def test_submission_is_written_and_told(paths, demo, capsys):
    submit.run(paths, demo, "probe")
    target = paths.submission("probe")
    assert target.read_bytes() == EXPECTED
    sha256 = hashlib.sha256(EXPECTED).hexdigest()
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{target}: 12 lines, valid, sha256 {sha256}", "classes: cat 50.0%, dog 50.0%"]


def test_rows_are_joined_by_id_and_never_by_position(paths, demo):
    save(paths, demo, image_ids=IMAGE_IDS[::-1], probs=default_probs()[::-1])
    submit.run(paths, demo, "probe")
    assert paths.submission("probe").read_bytes() == EXPECTED


def test_submission_that_is_there_already_is_not_touched(paths, demo, capsys):
    submit.run(paths, demo, "probe")
    before = paths.submission("probe").stat()
    first_out = capsys.readouterr().out
    submit.run(paths, demo, "probe")
    after = paths.submission("probe").stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)
    captured = capsys.readouterr()
    assert captured.err.startswith(f"submit demo: up to date, {paths.submission('probe')}")
    assert captured.out == first_out


def test_submission_edited_by_hand_is_written_again(paths, demo):
    target = paths.submission("probe")
    target.parent.mkdir(parents=True)
    target.write_bytes(EXPECTED.replace(b"0,0", b"0,1"))
    submit.run(paths, demo, "probe")
    assert target.read_bytes() == EXPECTED


INVALID = b"id,label\n" + EXPECTED.removesuffix(b"11,1\n")


@pytest.mark.parametrize("older", [b"older", INVALID])
def test_invalid_result_leaves_the_older_submission_untouched(paths, demo, monkeypatch, older):
    target = paths.submission("probe")
    target.parent.mkdir(parents=True)
    target.write_bytes(older)
    monkeypatch.setattr(submit, "encode", lambda *_: INVALID)
    expected = r"would have 2 kinds of fault, 2 in all: line 1: header: .*; missing ids: 1 of 12"
    with pytest.raises(SubmissionError, match=expected) as caught:
        submit.run(paths, demo, "probe")
    assert "\n" not in str(caught.value)
    assert [file.name for file in target.parent.iterdir()] == ["probe.csv"]
    assert target.read_bytes() == older


def test_disk_that_alters_what_is_written_is_noticed(paths, demo, monkeypatch):
    write_bytes = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", lambda path, data: write_bytes(path, data[:-1]))
    with pytest.raises(SubmissionError, match=r"must read back as written \(50 bytes\)"):
        submit.run(paths, demo, "probe")
    assert list(paths.submission("probe").parent.iterdir()) == []


def test_all_images_in_one_class_are_seen_at_a_glance(paths, demo, capsys):
    save(paths, demo, probs=np.eye(2, dtype=np.float32)[[1] * NUM])
    submit.run(paths, demo, "probe")
    assert capsys.readouterr().out.endswith("classes: dog 100.0%\n")


def test_of_many_classes_the_most_frequent_are_told(paths, demo, capsys, monkeypatch):
    monkeypatch.setattr(submit, "MOST_CLASSES", 1)
    submit.run(paths, demo, "probe")
    assert capsys.readouterr().out.endswith("classes: cat 50.0%, and 1 more classes\n")


def test_a_score_by_another_metric_than_the_competitions_is_not_logged(paths, demo):
    save(paths, demo)
    metrics = paths.experiment("probe").metrics
    for metric, logged in (("accuracy", 0.75), ("log_loss", None)):
        write_text(metrics, json.dumps({"metric": metric, "oof_score": 0.75}))
        entry = submit._entry(paths, demo, "probe", b"")
        assert entry.oof_score == logged


def test_unreadable_images_are_named(paths, demo, capsys):
    write_test(paths, unreadable=("test/3.jpg", "test/5.jpg"))
    submit.run(paths, demo, "probe")
    assert "2 of 12 test images are unreadable" in (err := capsys.readouterr().err)
    assert "test/3.jpg, test/5.jpg" in err


def test_many_unreadable_images_are_named_in_part(paths, demo, capsys):
    write_test(paths, unreadable=tuple(IMAGE_IDS))
    submit.run(paths, demo, "probe")
    assert re.search(
        r"test/7\.jpg and 2 more, all named in audit\.csv$", capsys.readouterr().err, re.MULTILINE
    )


@pytest.mark.parametrize("experiment", ["resnet", "../demo/probe", "", "."])
def test_unknown_experiment_is_refused_with_those_there_are(paths, demo, experiment):
    save(paths, demo, "another")
    expected = r"the complete ones \(another, probe\); run 'pipeline train demo'"
    with pytest.raises(ArtifactError, match=expected):
        submit.run(paths, demo, experiment)


def test_ensemble_that_is_missing_leads_to_the_ensemble_command(paths, demo):
    with pytest.raises(ArtifactError, match=r"\(probe\); run 'pipeline ensemble demo'"):
        submit.run(paths, demo, "ensemble")


def test_nothing_trained_leads_to_train(paths, demo):
    paths.experiment("probe").stamp.unlink()
    with pytest.raises(ArtifactError, match=r"\(none yet\); run 'pipeline train demo'"):
        submit.run(paths, demo, "ensemble")


def test_predictions_of_another_fold_table_are_refused(paths, demo):
    folds = pd.DataFrame([["b.jpg", "cat", "0", 0]], columns=FOLD_COLUMNS)
    write_table(folds, paths.folds_csv)
    with pytest.raises(ArtifactError, match=r"run 'pipeline train demo --experiment probe'"):
        submit.run(paths, demo, "probe")


def test_predictions_without_a_fold_table_are_refused(paths, demo):
    paths.folds_csv.unlink()
    with pytest.raises(ArtifactError, match=r"over the folds of .*demo\.csv"):
        submit.run(paths, demo, "probe")


def test_predictions_of_other_classes_are_refused(paths, demo):
    other = demo.model_copy(update={"classes": ("dog", "cat")})
    with pytest.raises(ArtifactError, match=r"must be \['dog', 'cat'\], are \['cat', 'dog'\]"):
        submit.run(paths, other, "probe")


def test_predictions_that_lack_an_image_are_refused(paths, demo):
    save(paths, demo, image_ids=IMAGE_IDS[1:], probs=default_probs()[1:])
    with pytest.raises(ArtifactError, match=r"misses 1, the first missing is 'test/0\.jpg'"):
        submit.run(paths, demo, "probe")


def test_missing_test_table_leads_to_prepare(paths, demo):
    paths.test_csv.unlink()
    with pytest.raises(DataError, match="run 'pipeline prepare demo'"):
        submit.run(paths, demo, "probe")


def test_validate_accepts_what_submit_wrote(paths, demo, capsys):
    submit.run(paths, demo, "probe")
    capsys.readouterr()
    validate.run(paths, demo, paths.submission("probe"))
    assert capsys.readouterr().out == "valid: 12 lines\n"


def test_validate_prints_a_line_per_kind_of_fault_and_sums_up(paths, demo, tmp_path, capsys):
    csv = tmp_path / "x.csv"
    csv.write_bytes(b"id,label\n" + EXPECTED.replace(b"0,0\n1,1\n", b"0,7\n1,nan\n")[:-10])
    expected = r"x\.csv: must be what the judge wants, has 4 kinds of fault, 5 in all; compare"
    with pytest.raises(SubmissionError, match=expected):
        validate.run(paths, demo, csv)
    assert capsys.readouterr().out.splitlines() == [
        "line 1: header: the judge wants none, found 'id,label'",
        "missing ids: 2 of 12, the first is '10'",
        "line 3: NaN labels: must be an integer from 0 to 1, found 'nan'",
        "line 2: labels out of range: must be an integer from 0 to 1, found '7'",
    ]


def test_validate_says_that_there_is_no_file(paths, demo, tmp_path):
    with pytest.raises(SubmissionError, match=r"x\.csv: must be a file, there is none"):
        validate.run(paths, demo, tmp_path / "x.csv")
    (tmp_path / "x.csv").mkdir()
    with pytest.raises(
        SubmissionError, match=r"x\.csv: must be a file, is a folder; run 'pipeline"
    ):
        validate.run(paths, demo, tmp_path / "x.csv")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_validate_says_that_a_file_may_not_be_read(paths, demo, tmp_path):
    (tmp_path / "x.csv").write_bytes(EXPECTED)
    (tmp_path / "x.csv").chmod(0)
    with pytest.raises(SubmissionError, match=r"x\.csv: must be readable \(Permission denied\)"):
        validate.run(paths, demo, tmp_path / "x.csv")


def test_folder_in_the_place_of_the_submission_is_one_line(paths, demo):
    paths.submission("probe").mkdir(parents=True)
    with pytest.raises(DataError, match=r"probe\.csv: must be a file, is a folder; move it away"):
        submit.run(paths, demo, "probe")


def test_file_stands_under_the_name_that_the_judge_wants_too(paths, demo, capsys):
    submission = demo.submission.model_copy(update={"file_name": "result.csv"})
    named = demo.model_copy(update={"submission": submission})
    result = paths.submissions_dir / "result.csv"
    submit.run(paths, named, "probe")
    assert f"{result}: the same file, under the name that the judge w" in capsys.readouterr().out
    assert result.read_bytes() == paths.submission("probe").read_bytes() == EXPECTED
    before = result.stat().st_mtime_ns
    submit.run(paths, named, "probe")
    assert result.stat().st_mtime_ns == before
    save(paths, named, "other", probs=default_probs()[::-1])
    submit.run(paths, named, "other")
    assert result.read_bytes() == paths.submission("other").read_bytes() != EXPECTED
    save(paths, named, "result")
    submit.run(paths, named, "result")
    assert result.read_bytes() == EXPECTED


@pytest.mark.parametrize("name", ["log.csv", "..", "deep/result.csv", "\\result.csv", ""])
def test_name_that_the_judge_wants_is_a_files(tmp_path, name):
    toml = tmp_path / "mine.toml"
    text = locate_toml("cat-12", "competitions").read_text("utf-8")
    toml.write_text(text.replace('"result.csv"', json.dumps(name)), "utf-8")
    with pytest.raises(ConfigError, match="file_name"):
        load_competition(str(toml))


def test_shares_of_probabilities_are_those_of_the_most_probable_classes(paths, demo, capsys):
    form = {"label": "probability", "positive": "dog"}
    submission = demo.submission.model_copy(update=form)
    save(paths, demo, probs=np.array([[0.6, 0.4]] * 9 + [[0.4, 0.6]] * 3, dtype=np.float32))
    submit.run(paths, demo.model_copy(update={"submission": submission}), "probe")
    assert capsys.readouterr().out.endswith("classes: cat 75.0%, dog 25.0%\n")
