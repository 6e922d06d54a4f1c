"""`validate` by Kaggle's own rules, and what it remarks on."""

import gzip
import io
import zipfile

import numpy as np
import pytest

from pipeline.config.competition import Competition
from pipeline.errors import SubmissionError
from pipeline.stages import grade, submit, validate
from tests.stages.test_submit import NUM, demo, paths, save

__all__ = ["demo", "paths"]  # fixtures


def of_kaggle(demo: Competition, **form: object) -> Competition:
    """The demo as if it were Kaggle's: probabilities of both classes under a header."""
    changes = {"label": "probabilities", "has_header": True, **form}
    submission = demo.submission.model_copy(update=changes)
    return demo.model_copy(update={"submission": submission, "kaggle": "drawn-cats"})


ROWS = [["id", "cat", "dog"], *([str(i), f"0.{i % 8 + 1}", f"0.{9 - i % 8}"] for i in range(NUM))]


def as_text(rows: list[list[str]], end: str = "\n") -> bytes:
    return "".join(",".join(row) + end for row in rows).encode()


def zipped(content: bytes, *others: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in ("__MACOSX/._x.csv", *others):
            packed.writestr(name, "x")
        packed.writestr("deep/x.csv", content)
    return file.getvalue()


KAGGLE_TAKES = {
    "byte order mark": b"\xef\xbb\xbf" + as_text(ROWS),
    "needless quotes": as_text([[f'"{field}"' for field in row] for row in ROWS]),
    "order of columns": as_text([[row[2], row[0], row[1]] for row in ROWS]),
    "order: ": as_text([ROWS[0], *ROWS[:0:-1]]),
    "sums of probabilities": as_text([ROWS[0], *([row[0], row[1], row[1]] for row in ROWS[1:])]),
    "packed file": zipped(as_text(ROWS)),
    "packed file:": gzip.compress(as_text(ROWS)),
}


@pytest.mark.parametrize("name", KAGGLE_TAKES)
def test_what_kaggle_takes_is_told_and_valid_for_its_competitions_alone(
    paths, demo, tmp_path, capsys, name
):
    csv = tmp_path / "x.csv"
    csv.write_bytes(KAGGLE_TAKES[name])
    competition = of_kaggle(demo)
    validate.run(paths, competition, csv)
    told, last = capsys.readouterr().out.splitlines()
    assert told.startswith("Kaggle takes it all the same: ")
    assert name in told
    assert last == f"valid: {NUM + 1} lines"
    by_url = competition.model_copy(update={"kaggle": None, "url": "https://www.kaggle.com/c/x"})
    validate.run(paths, by_url, csv)
    another = competition.model_copy(update={"kaggle": None, "url": "https://notkaggle.com/c/x"})
    with pytest.raises(SubmissionError, match="has 1 kind of fault"):
        validate.run(paths, another, csv)


KAGGLE_REFUSES = {
    "rows of zeros": as_text([*ROWS[:3], ["2", "0", "0"], *ROWS[4:]]),
    "quoting": as_text(ROWS).replace(b"\n3,", b'\n"3,'),
    "missing ids": zipped(as_text(ROWS[:-1])),
    "header": as_text([["id", "cats", "dogs"], *ROWS[1:]]),
    "must hold one file, holds 2": zipped(as_text(ROWS), "y.csv"),
    "must be readable": zipped(as_text(ROWS))[:-30],
}


@pytest.mark.parametrize("name", KAGGLE_REFUSES)
def test_what_kaggle_refuses_is_refused(paths, demo, tmp_path, capsys, name):
    csv = tmp_path / "x.csv"
    csv.write_bytes(KAGGLE_REFUSES[name])
    with pytest.raises(SubmissionError, match="must be what the judge wants, has"):
        validate.run(paths, of_kaggle(demo), csv)
    assert name in capsys.readouterr().out


def test_columns_in_another_order_are_graded_by_their_names(paths, demo, tmp_path, capsys):
    csv, truth = tmp_path / "x.csv", tmp_path / "truth.csv"
    csv.write_bytes(as_text([[row[2], row[0], row[1]] for row in ROWS]))
    truth.write_text("".join(f"{i},{'cat' if i % 8 > 3 else 'dog'}\n" for i in range(NUM)))
    grade.run(paths, of_kaggle(demo), csv, truth)
    captured = capsys.readouterr()
    assert "1.00000" in captured.out
    assert captured.err == ""


CONSTANT = {
    "cat": ({"label": "name"}, ["cat"]),
    "dog": ({"label": "index"}, ["1"]),
    "0.5, 0.5": ({"label": "probabilities"}, ["0.5", "0.5"]),
    "0.3, 0.7": ({"label": "probability", "positive": "dog"}, ["0.7"]),
}


@pytest.mark.parametrize("what", CONSTANT)
def test_answers_that_are_all_the_same_are_remarked_on(paths, demo, tmp_path, capsys, what):
    form, answer = CONSTANT[what]
    competition = of_kaggle(demo, has_header=False, **form)
    csv = tmp_path / "x.csv"
    csv.write_bytes(as_text([[str(i), *answer] for i in range(NUM)]))
    validate.run(paths, competition, csv)
    remark, valid = capsys.readouterr().out.splitlines()
    assert remark == f"remark: all 12 answers are the same ({what}), as of a sample submission"
    assert valid == "valid: 12 lines"


def test_zeros_are_remarked_on_where_log_loss_judges(paths, demo, tmp_path, capsys):
    csv = tmp_path / "x.csv"
    csv.write_bytes(as_text([*ROWS[:-1], ["11", "0", "1"]]))
    for metric, num_lines in (("log_loss", 2), ("accuracy", 1)):
        validate.run(paths, of_kaggle(demo).model_copy(update={"metric": metric}), csv)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == num_lines
    many = tuple(f"c{number}" for number in range(40))
    probs = np.random.default_rng(0).dirichlet(np.full(40, 0.05), NUM).astype(np.float32)
    competition = of_kaggle(demo, float_digits=3).model_copy(
        update={"metric": "log_loss", "classes": many}
    )
    save(paths, competition, probs=probs)
    submit.run(paths, competition, "probe")
    assert "12 of 12 answers give a class the probability 0, of which" in capsys.readouterr().err
