import codecs
import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.config.competition import Competition, load_competition
from pipeline.config.images_table import Groups
from pipeline.errors import DataError, SubmissionError
from pipeline.scoring.metrics import evaluate
from pipeline.stages import grade
from pipeline.store.paths import Paths
from pipeline.store.tables import TEST_COLUMNS, write_table
from pipeline.submission.writer import encode, submission_table

NUM = 20
TARGETS = [number % 3 % 2 for number in range(NUM)]  # of 0.jpg, 1.jpg, ...
NAMES = ["cat", "dog"]


@pytest.fixture
def demo() -> Competition:
    return load_competition("demo")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path, "demo")
    write_test(paths)
    return paths


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """The right labels, as a submission."""
    return write(tmp_path / "answers.csv", [f"{i},{label}" for i, label in enumerate(TARGETS)])


def write_test(paths: Paths) -> None:
    rows = [[f"test/{i}.jpg", f"test/{i}.jpg", "0", 32, 32, "JPEG", "0"] for i in range(NUM)]
    write_table(pd.DataFrame(rows, columns=TEST_COLUMNS), paths.test_csv)


def write(path: Path, lines: list[str]) -> Path:
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    return path


def run(
    paths: Paths, demo: Competition, csv: Path, truth: Path, capsys: pytest.CaptureFixture[str]
) -> dict[str, str]:
    """Grade and read the printed rows of measure and value."""
    grade.run(paths, demo, csv, truth)
    out = capsys.readouterr().out
    rows = [line.strip("│ ").split("│") for line in out.splitlines() if "│" in line]
    return {row[0].strip(): row[1].strip() for row in rows if len(row) == 2}


TRUTHS = {
    "submission": [f"{i},{label}" for i, label in enumerate(TARGETS)],
    "with header": ["id,label", *(f"{i},{label}" for i, label in enumerate(TARGETS))],
    "class names": [f"{i},{NAMES[label]}" for i, label in enumerate(TARGETS)],
    "image_ids": ["image_id,label", *(f"test/{i}.jpg,{NAMES[t]}" for i, t in enumerate(TARGETS))],
    "file names": ["image_id,label", *(f"{i}.jpg,{t}" for i, t in enumerate(TARGETS))],
    "backwards": [f"{i},{TARGETS[i]}" for i in reversed(range(NUM))],
    "blank lines": ["", *(f"{i},{label}\n" for i, label in enumerate(TARGETS))],
}


@pytest.mark.parametrize("name", TRUTHS)
def test_answers_as_a_submission_score_1_however_the_truth_is_written(
    paths, demo, answers, tmp_path, capsys, name
):
    measures = run(paths, demo, answers, write(tmp_path / "truth.csv", TRUTHS[name]), capsys)
    assert measures["images graded"] == "20 of 20"
    assert measures["accuracy (95 % interval)"].startswith("1.00000 [0.83887, 1.00000]")
    assert measures["macro F1"] == "1.00000"


def test_truth_may_have_a_bom_and_crlf(paths, demo, answers, tmp_path, capsys):
    truth = tmp_path / "truth.csv"
    truth.write_bytes(codecs.BOM_UTF8 + "\r\n".join(TRUTHS["image_ids"]).encode())
    assert run(paths, demo, answers, truth, capsys)["images graded"] == "20 of 20"


def test_score_of_a_subset_counts_only_its_images(paths, demo, answers, tmp_path, capsys):
    lines = [f"{i},{TARGETS[i]}" for i in (4, 9, 17)] + [f"2,{1 - TARGETS[2]}"]
    measures = run(paths, demo, answers, write(tmp_path / "truth.csv", lines), capsys)
    assert measures["images graded"] == "4 of 20"
    assert measures["accuracy (95 % interval)"].startswith("0.75000 [")


def test_interval_and_confusion_are_those_of_the_metrics(paths, demo, answers, tmp_path, capsys):
    lines = [f"{i},{label if i >= 5 else 1 - label}" for i, label in enumerate(TARGETS)]
    grade.run(paths, demo, answers, write(tmp_path / "truth.csv", lines))
    out = capsys.readouterr().out
    truth = np.array([int(line.split(",")[1]) for line in lines])
    probs = np.eye(2, dtype=np.float32)[TARGETS]
    assert grade._in_five_decimals(evaluate("accuracy", truth, probs)) in out
    matrix = [
        line.split()[2:] for line in out.splitlines() if line.strip()[:5] in ("0 cat", "1 dog")
    ]
    pairs = list(zip(truth.tolist(), TARGETS, strict=True))
    assert matrix == [[str(pairs.count((t, p))) for p in (0, 1)] for t in (0, 1)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["20,0", "0,0", "77,0"],
            r"ids must be of test images, found 2 otherwise, the first is '20'",
        ),
        (["0,cow", "1,2"], r"index below 2 or a class name, found 2 otherwise, the first is 'cow'"),
        (
            ["0,0", "1,1", "test/1.jpg,1"],
            r"stand once, found 1 otherwise, the first is 'test/1\.jpg'",
        ),
        (["0,0", "1"], r"lines must be <id>,<label>, found 1 otherwise, the first is '1'"),
        ([], r"must hold one line per image, holds none"),
        (["image_id,label"], r"must hold one line per image, holds none"),
    ],
)
def test_faulty_truth_is_refused(paths, demo, answers, tmp_path, lines, message):
    with pytest.raises(DataError, match=message):
        grade.run(paths, demo, answers, write(tmp_path / "truth.csv", lines))


def test_truth_that_is_missing_or_no_text_is_refused(paths, demo, answers, tmp_path):
    with pytest.raises(DataError, match=r"truth\.csv: must be a readable file \(No such file"):
        grade.run(paths, demo, answers, tmp_path / "truth.csv")
    (tmp_path / "truth.csv").write_bytes(b"\xff\xfe0,1")  # UTF-16 of one and a half letters
    with pytest.raises(DataError, match=r"truth\.csv: must be text, isn't"):
        grade.run(paths, demo, answers, tmp_path / "truth.csv")


def test_faulty_submission_is_refused_with_its_faults(paths, demo, answers, tmp_path):
    csv = write(tmp_path / "x.csv", ["id,label", *TRUTHS["submission"][:-1]])
    expected = r"x\.csv: must tell every answer, has 1 kind of fault.*missing ids: 1 of 20"
    with pytest.raises(SubmissionError, match=expected):
        grade.run(paths, demo, csv, answers)


def test_missing_submission_is_refused(paths, demo, answers, tmp_path):
    with pytest.raises(SubmissionError, match=r"there is none; run 'pipeline submit demo'"):
        grade.run(paths, demo, tmp_path / "x.csv", answers)


def test_labels_are_graded_by_accuracy_where_the_judge_takes_log_loss(paths, demo, answers, capsys):
    grade.run(paths, demo.model_copy(update={"metric": "log_loss"}), answers, answers)
    captured = capsys.readouterr()
    assert "labels can't be graded by log_loss" in captured.err
    assert "1.00000 [0.83887, 1.00000]" in captured.out


def competition_of(num_classes: int) -> Competition:
    cat_12 = load_competition("cat-12")
    names = tuple(f"class {index}" for index in range(num_classes))
    return cat_12.model_copy(update={"classes": names if num_classes > 12 else cat_12.classes})


@pytest.mark.parametrize("num_classes", [12, 30])
def test_confusion_of_many_classes_fits_a_terminal(tmp_path, capsys, num_classes):
    competition = competition_of(num_classes)
    paths = Paths(tmp_path, competition.name)
    write_test(paths)
    image_ids = [f"{i}.jpg" for i in range(NUM)]
    probs = np.eye(num_classes, dtype=np.float32)[[i % 3 for i in range(NUM)]]
    csv = tmp_path / "x.csv"
    csv.write_bytes(encode(competition, submission_table(competition, image_ids, probs)))
    truth = write(tmp_path / "truth.csv", [f"{i}.jpg,{min(i % 3, 1)}" for i in range(NUM)])
    grade.run(paths, competition, csv, truth)
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    first, second = competition.classes[1], competition.classes[2]
    expected = f"1 {first}" if num_classes == 12 else f"│ {first} │ {second}   │ 6      │"
    assert expected in out


def probability_of_dog(demo: Competition, metric: str) -> Competition:
    form = {"label": "probability", "positive": "dog"}
    submission = demo.submission.model_copy(update=form)
    return demo.model_copy(update={"submission": submission, "metric": metric})


@pytest.mark.parametrize("metric", ["log_loss", "roc_auc", "mean_column_auc", "macro_f1"])
def test_probabilities_are_graded_by_the_metric_of_the_judge(
    paths, demo, answers, tmp_path, capsys, metric
):
    competition = probability_of_dog(demo, metric)
    dogs = np.linspace(0.05, 0.95, NUM)
    csv = write(tmp_path / "x.csv", [f"{i},{dog}" for i, dog in enumerate(dogs)])
    measures = run(paths, competition, csv, answers, capsys)
    probs = np.column_stack([1 - dogs, dogs])
    expected = grade._in_five_decimals(evaluate(metric, np.array(TARGETS), probs))
    assert measures[f"{metric} (95 % interval)"] == expected
    assert "accuracy (95 % interval)" in measures


def test_answers_as_probabilities_are_perfect(paths, demo, answers, capsys):
    measures = run(paths, probability_of_dog(demo, "log_loss"), answers, answers, capsys)
    assert measures["log_loss (95 % interval)"] == "0.00000 [0.00000, 5.56507]"
    assert measures["macro F1"] == "1.00000"


def test_labels_suffice_for_kappa(paths, demo, answers, capsys):
    kappa = demo.model_copy(update={"metric": "quadratic_kappa"})
    assert run(paths, kappa, answers, answers, capsys)["quadratic_kappa (95 % interval)"] == (
        "1.00000 [0.65682, 1.00000]"
    )


def test_metric_that_is_not_defined_for_the_truth_is_told_as_nan(
    paths, demo, answers, tmp_path, capsys
):
    dogs = [f"{i},1" for i, label in enumerate(TARGETS) if label]
    competition = probability_of_dog(demo, "roc_auc")
    measures = run(paths, competition, answers, write(tmp_path / "dogs.csv", dogs), capsys)
    assert measures["roc_auc (95 % interval)"] == "nan [nan, nan]"


JUDGES_TRUTHS = {
    "Kaggle's solution": ["id,label,Usage"] + [f"{i},{t},{'Public' if i < 8 else 'Private'}"
        for i, t in enumerate(TARGETS)],
    "its use before the label": ["usage,id,label"] + [f"Private,{i},{t}"
        for i, t in enumerate(TARGETS)],
    "a column per class": ["id,dog,cat"] + [f"{i},{t},{1 - t}" for i, t in enumerate(TARGETS)],
    "a column of truth values per class": ["image_id,cat,dog,Usage"] + [
        f"{i}.jpg,{t == 0},{t == 1},Public" for i, t in enumerate(TARGETS)],
    "a column per class as floats": ["id;class_cat;class_dog"] + [
        f"{i};{1 - t}.000000e+00;{t}.0" for i, t in enumerate(TARGETS)],
    "numbers of rows first": [",id,label"] + [f"{19 - i},{i},{t}" for i, t in enumerate(TARGETS)],
    "other columns": ["file,width,label,fold"] + [f"{i}.jpg,640,{NAMES[t]},0"
        for i, t in enumerate(TARGETS)],
    "labels as floats": [f"{i},{t}.0" for i, t in enumerate(TARGETS)],
    "names in capitals": [f"{i},{NAMES[t].upper()}" for i, t in enumerate(TARGETS)],
    "ids with zeros": [f"test/{i:04}.JPG,{t}" for i, t in enumerate(TARGETS)],
    "tabs": [f"{i}.jpg\t{t}" for i, t in enumerate(TARGETS)],
}  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("name", JUDGES_TRUTHS)
def test_truth_as_judges_and_people_have_it_is_read(
    paths, demo, answers, tmp_path, capsys, name, encoding
):
    truth = tmp_path / "truth.csv"
    truth.write_text("\r\n".join([*JUDGES_TRUTHS[name], ""]), encoding)
    measures = run(paths, demo, answers, truth, capsys)
    assert measures["images graded"] == "20 of 20"
    assert measures["macro F1"] == "1.00000"


def test_parts_of_the_score_are_told_and_what_is_ignored_is_not_graded(
    paths, demo, answers, tmp_path, capsys
):
    usages = ["Public"] * 5 + ["Private"] * 10 + ["Ignored"] * 5
    wrong = {0, 7, 8, 16, 17, 18}
    rows = [(i, 1 - t if i in wrong else t, usages[i]) for i, t in enumerate(TARGETS)]
    lines = ["id,label,Usage", *(f"{i},{t},{usage}" for i, t, usage in rows)]
    measures = run(paths, demo, answers, write(tmp_path / "x.csv", lines), capsys)
    assert measures["images graded"] == "15 of 20"
    assert measures["accuracy, Public (5 images)"].startswith("0.80000 [")
    assert measures["accuracy, Private (10 images)"].startswith("0.80000 [")
    assert measures["accuracy (95 % interval)"].startswith("0.80000 [")


def test_intervals_count_the_subjects_that_the_truth_tells(paths, demo, answers, tmp_path, capsys):
    groups = Groups(column="Patient", file="patients.csv", id_column="id")
    train = demo.train.model_copy(update={"groups": groups})
    competition = demo.model_copy(update={"train": train})
    rows = [(i, 1 - t if i < 4 else t, f"p{i // 4}") for i, t in enumerate(TARGETS)]
    plain = write(tmp_path / "plain.csv", ["id,label", *(f"{i},{t}" for i, t, _ in rows)])
    told = write(tmp_path / "x.csv", ["id,Patient,label", *(f"{i},{p},{t}" for i, t, p in rows)])
    alone = run(paths, competition, answers, plain, capsys)
    found = run(paths, competition, answers, told, capsys)
    assert found["images graded"] == "20 of 20, of 5 subjects"
    ends = [
        [float(end) for end in one["accuracy (95 % interval)"].partition("[")[2][:-1].split(", ")]
        for one in (alone, found)
    ]
    assert ends[1][0] < ends[0][0]
    assert ends[0][1] < ends[1][1]


def test_names_that_could_be_two_images_are_none(paths, demo, tmp_path):
    rows = [[name, name, "0", 32, 32, "JPEG", "0"] for name in ("a/1.jpg", "b/1.jpg", "b/2.jpg")]
    write_table(pd.DataFrame(rows, columns=TEST_COLUMNS), paths.test_csv)
    form = {"id": "path", "order": "any"}
    competition = demo.model_copy(update={"submission": demo.submission.model_copy(update=form)})
    csv = write(tmp_path / "x.csv", ["a/1.jpg,0", "b/1.jpg,1", "b/2.jpg,1"])
    grade.run(paths, competition, csv, write(tmp_path / "truth.csv", ["2,1", "a/1.jpg,0"]))
    for name in ("1.jpg", "1", "c/1.jpg"):
        truth = write(tmp_path / "truth.csv", [f"{name},0", "b/2.jpg,1"])
        with pytest.raises(DataError, match=f"of test images, found 1 otherwise, .* '{name}'"):
            grade.run(paths, competition, csv, truth)
    unclear = write(tmp_path / "y.csv", ["a/1.jpg,0", "1.jpg,1", "b/2.jpg,1"])
    with pytest.raises(SubmissionError, match=r"must tell every answer, .*missing ids: 1 of 3"):
        grade.run(paths, competition, unclear, truth)


FAULTY_TRUTHS = {
    "two classes at once": (["id,cat,dog", "0,1,1"], "must have 1 in the column of one class"),
    "no class": (["id,cat,dog", "0,0,0"], "must have 1 in the column of one class"),
    "soft labels": (["id,cat,dog", "0,0.9,0.1"], "must have 1 in the column of one class"),
    "a longer line": (["id,label", "0,1,x"], "lines must be <id>,<label>, found 1 otherwise"),
    "two columns of labels": (["id,first,second", "0,1,0", "5,1,0"],
        "one column must hold labels, 2 of first, second do; name it 'label'"),
    "no label at all": (["id,label", "0,", "1,"], "must hold one line per image, holds none"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTY_TRUTHS)
def test_truth_that_could_mean_several_things_is_refused(paths, demo, answers, tmp_path, name):
    lines, message = FAULTY_TRUTHS[name]
    with pytest.raises(DataError, match=message):
        grade.run(paths, demo, answers, write(tmp_path / "truth.csv", lines))


def numbered(demo: Competition, label: str, *classes: str) -> Competition:
    submission = demo.submission.model_copy(update={"label": label})
    return demo.model_copy(update={"classes": classes, "submission": submission})


def test_numbers_are_all_names_or_all_places(paths, demo, tmp_path, capsys):
    competition = numbered(demo, "name", "1", "2", "3")
    csv = write(tmp_path / "x.csv", [f"{i},{i % 3 + 1}" for i in range(NUM)])
    measures = run(paths, competition, csv, csv, capsys)
    assert measures["accuracy (95 % interval)"].startswith("1.00000")
    for labels in (("0", "1", "2"), ("1", "3", "0")):
        lines = [f"{i},{labels[i % 3]}" for i in range(NUM)]
        truth = write(tmp_path / "truth.csv", lines)
        if labels == ("0", "1", "2"):  # places, as 0 is no name
            measures = run(paths, competition, csv, truth, capsys)
            assert measures["accuracy (95 % interval)"].startswith("1.00000")
            continue
        with pytest.raises(DataError, match="must be read in one way throughout, none of class n"):
            grade.run(paths, competition, csv, truth)


def test_numbers_that_could_be_names_or_places_are_told(paths, demo, tmp_path, capsys):
    competition = numbered(demo, "name", "1", "2", "3")
    csv = write(tmp_path / "x.csv", [f"{i},{i % 3 + 1}" for i in range(NUM)])
    truth = write(tmp_path / "truth.csv", ["0,1", "1,2", "3,1", "4,2"])
    grade.run(paths, competition, csv, truth)
    captured = capsys.readouterr()
    assert "labels are read as class names, but could be places, counted from 0;" in captured.err
    assert "1.00000" in captured.out


def test_1_is_the_class_whose_probability_is_asked_for(paths, demo, tmp_path, capsys):
    form = {"label": "probability", "positive": "cat", "columns": ("id", "is_cat")}
    submission = demo.submission.model_copy(update=form)
    competition = demo.model_copy(update={"submission": submission})
    csv = write(tmp_path / "x.csv", [f"{i},{0.9 - 0.8 * t}" for i, t in enumerate(TARGETS)])
    for marks in (("1", "0"), ("True", "False"), ("1.0", "0.0")):
        lines = ["id,is_cat", *(f"{i},{marks[t]}" for i, t in enumerate(TARGETS))]
        measures = run(paths, competition, csv, write(tmp_path / "t.csv", lines), capsys)
        assert measures["accuracy (95 % interval)"].startswith("1.00000")


LENIENT = {
    "a mark": lambda lines: codecs.BOM_UTF8 + "\n".join(lines).encode(),
    "CRLF": lambda lines: "\r\n".join(lines).encode(),
    "a header": lambda lines: "\n".join(["id,label", *lines]).encode(),
    "quotes": lambda lines: "\n".join(f'"{x}"'.replace(",", '","') for x in lines).encode(),
    "semicolons": lambda lines: "\n".join(lines).replace(",", ";").encode(),
    "backwards": lambda lines: "\n".join(lines[::-1]).encode(),
    "names of files": lambda lines: "\n".join(lines).replace(",", ".jpg,").encode(),
    "UTF-16": lambda lines: "\n".join(lines).encode("utf-16"),
    "gz": lambda lines: gzip.compress("\n".join(lines).encode()),
}


@pytest.mark.parametrize("name", LENIENT)
def test_submission_that_the_judge_would_refuse_is_graded_where_no_answer_is_in_doubt(
    paths, demo, answers, tmp_path, capsys, name
):
    csv = tmp_path / "x.csv"
    csv.write_bytes(LENIENT[name](answers.read_text().splitlines()))
    grade.run(paths, demo, csv, answers)
    captured = capsys.readouterr()
    assert "graded, but the judge would refuse it: " in captured.err
    assert "1.00000 [0.83887, 1.00000]" in captured.out


def test_probabilities_under_a_header_of_other_names_are_not_graded(paths, demo, tmp_path):
    form = {"label": "probabilities", "has_header": True}
    competition = demo.model_copy(update={"submission": demo.submission.model_copy(update=form)})
    lines = ["id,first,second", *(f"{i},0.5,0.5" for i in range(NUM))]
    with pytest.raises(SubmissionError, match=r"must tell every answer, has 1 kind of .*header"):
        grade.run(paths, competition, write(tmp_path / "x.csv", lines), tmp_path / "truth.csv")
