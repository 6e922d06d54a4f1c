"""Labels that are numbers: `init` tells those to be predicted from those of classes, or asks."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.config.competition import Competition, load_competition
from pipeline.data.init.file_roles import GivenPaths
from pipeline.stages import init

NUM_TRAIN, NUM_TEST = 50, 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    for split, count in (("train", NUM_TRAIN), ("test", NUM_TEST)):
        (folder / split).mkdir(parents=True)
        for one in range(count):
            (folder / split / f"{split}{one}.jpg").touch()
    return folder


def written(
    folder: Path, labels: Sequence[str], answers: Sequence[str] = (), column: str = "y"
) -> Competition:
    """Run `init` on a list of labels, repeated for all images, and a sample of answers."""
    rows = "".join(f"train{one},{labels[one % len(labels)]}\n" for one in range(NUM_TRAIN))
    (folder / "train.csv").write_text(f"id,{column}\n{rows}", "utf-8")
    if answers:
        rows = "".join(f"test{one},{answers[one % len(answers)]}\n" for one in range(NUM_TEST))
        (folder / "sample.csv").write_text(f"id,{column}\n{rows}", "utf-8")
    out = folder.parent / "mine.toml"
    init.run("mine", GivenPaths(), folder, out, force=True)
    return load_competition(str(out))


TENTHS = [f"{one / 10 + 0.05:.2f}" for one in range(40)]
WHOLE = [str(one) for one in range(1, 41)]
NUMBERS = {
    "fractions, and other ones in the sample": (TENTHS, ["0.5", "7.25"], ""),
    "fractions, and whole numbers in the sample": (TENTHS, ["0"], "guess: "),
    "fractions without a sample": (TENTHS, [], "guess: "),
    "fractions, and gaps as programs write them": ([*TENTHS, "nan"], ["0.5", "7.25"], ""),
    "whole numbers, and fractions in the sample": (WHOLE, ["65.51", "43.8"], ""),
    "a few whole numbers, and a fraction in the sample": (["1", "2", "5"], ["2.5"], "guess: "),
}


@pytest.mark.parametrize("form", NUMBERS)
def test_numbers_to_be_predicted_are_told_or_guessed(folder, form, capsys):
    labels, answers, certainty = NUMBERS[form]
    found = written(folder, labels, answers)
    assert (found.is_number, found.metric, found.submission.label) == (True, "rmse", "number")
    count = len(set(labels) - {"nan"})
    told = capsys.readouterr().err
    assert f'target = "number"  <- {certainty}{count} different numbers in y' in told
    assert ('if they name classes, "one_class"' in told) == bool(certainty)


def test_numbers_in_a_list_without_a_header_are_told(folder):
    rows = "".join(f"train{one}.jpg {TENTHS[one % 40]}\n" for one in range(NUM_TRAIN))
    (folder / "known.txt").write_text(rows, "utf-8")
    init.run("mine", GivenPaths(), folder, folder.parent / "mine.toml", force=False)
    found = load_competition(str(folder.parent / "mine.toml"))
    assert (found.is_number, found.train.labels.source) == (True, "list_file")


CLASSES = {
    "class numbers": (["0", "1", "2", "3"], ["0"], "index"),
    "class numbers with gaps": (["3", "7", "11"], ["3"], "name"),
    "two classes and a probability": (["0", "1"], ["0.5"], "probability"),
    "names with a point, one of them answered": (["1.1", "1.2", "2.0", "2.1", "3.0"], ["1.1"], ""),
    "names": (["oak", "elm", "fir"], ["0.5"], "name"),
}


@pytest.mark.parametrize("form", CLASSES)
def test_numbers_that_are_classes_stay_classes(folder, form):
    labels, answers, label = CLASSES[form]
    found = written(folder, labels, answers, "label")
    assert (found.target, len(found.classes)) == ("one_class", len(labels))
    assert found.submission.label == (label or "name")


def test_numbers_with_commas_are_classes_that_may_be_measures(folder, capsys):
    labels = [f'"{one.replace(".", ",")}"' for one in TENTHS]
    assert not written(folder, labels).is_number
    told = capsys.readouterr().err
    assert 'numbers with commas may be measures: write points, and target = "number"' in told


def test_a_column_of_fractions_per_class_in_the_sample_asks_for_classes(folder):
    rows = "".join(f"test{one},0.2,0.3,0.5\n" for one in range(NUM_TEST))
    (folder / "sample.csv").write_text(f"id,1,2,5\n{rows}", "utf-8")
    assert written(folder, ["1", "2", "5"]).classes == ("1", "2", "5")


def test_whole_numbers_called_as_amounts_or_many_of_them_are_asked_for(folder, capsys):
    asked = 'if they are amounts, target = "number" without classes'
    for column, labels, is_asked in (
        ("age", ["3", "4", "9"], True),
        ("value", [str(3 * one) for one in range(25)], True),
        ("category_id", [str(3 * one) for one in range(25)], False),
        ("value", [str(one) for one in range(25)], False),
    ):
        assert len(written(folder, labels, column=column).classes) == len(labels)
        told = capsys.readouterr().err
        assert (asked in told) == is_asked, column


def test_order_of_class_numbers_is_asked_for(folder, capsys):
    asked = 'target = "ordered_classes"  <- not known: does the order'
    for labels, column, is_asked in (
        (["0", "1", "2"], "grade", True),
        (["0", "1"], "grade", False),
        (["0", "1", "2"], "species_id", False),
        (["a", "b", "c"], "grade", False),
    ):
        written(folder, labels, column=column)
        assert (asked in capsys.readouterr().err) == is_asked
