"""Numbers are written for classes only as the organiser writes them; the rest is a guess."""

import pytest

from tests.user_folder import infer, save_files, save_list


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "folder"
    save_files(folder, [f"train/{n}.jpg" for n in range(100, 112)])
    save_files(folder, [f"test/{n}.jpg" for n in range(200, 205)])
    return folder


def labelled(folder, labels, answers):
    """Give labels in turn to the training images, answers in turn to the test images."""
    rows = [f"{100 + n},{labels[n % len(labels)]}" for n in range(12)]
    save_list(folder, "train.csv", "id,kind", *rows)
    rows = [f"{200 + n},{answers[n % len(answers)]}" for n in range(5)]
    save_list(folder, "sample_submission.csv", "id,kind", *rows)
    return infer(folder)


CERTAIN = {
    "names that are numbers from 1": (["1", "2", "3"], ["1", "2", "3"], "name", "1 2 3"),
    "numbers with a gap": (["0", "2", "5"], ["0", "5"], "name", "0 2 5"),
    "minus one and one": (["-1", "1"], ["-1"], "name", "-1 1"),
    "numbers from 0": (["0", "1", "2"], ["0"], "index", "0 1 2"),
    "floats from 0": (["0.0", "1.0", "2.0"], ["1"], "index", "0 1 2"),
    "floats in the sample": (["1", "2", "3"], ["1.0", "2.0", "3.0"], "name", "1.0 2.0 3.0"),
    "years": (["1999", "2000", "2010"], ["2010"], "name", "1999 2000 2010"),
    "padded": (["001", "002", "010"], ["001"], "name", "001 002 010"),
    "names": (["elm", "oak"], ["oak"], "name", "elm oak"),
    "all names in capitals": (["elm", "oak"], ["OAK", "ELM"], "name", "ELM OAK"),
    "probabilities": (["0", "1"], ["0.5"], "probability", "0 1"),
}


@pytest.mark.parametrize("form", CERTAIN)
def test_answers_that_mean_one_thing_are_certain(folder, form):
    labels, answers, label, classes = CERTAIN[form]
    found = labelled(folder, labels, answers)
    assert (found.competition.submission.label, found.is_guess("label")) == (label, False)
    assert " ".join(found.competition.classes) == classes


GUESSES = {
    "a number that is a place and another class": (["1", "2", "3"], ["1"], "name", "1 2 3"),
    "a gap that the sample doesn't show": (["0", "1", "3"], ["1"], "name", "0 1 3"),
    "0 where no class is": (["1", "2", "3"], ["0"], "name", "1 2 3"),
    "places of numbers": (["4", "5", "6"], ["0", "1", "2"], "index", "4 5 6"),
    "places of names": (["elm", "fir", "oak"], ["0", "1"], "index", "elm fir oak"),
    "0 of two": (["0", "1"], ["0"], "index", "0 1"),
    "0.0 of two": (["0", "1"], ["0.0"], "probability", "0 1"),
    "one name in capitals": (["elm", "oak"], ["OAK"], "name", "ELM OAK"),
    "one float": (["1", "2", "3"], ["2.0"], "name", "1.0 2.0 3.0"),
    "something else": (["elm", "oak"], ["?"], "name", "elm oak"),
    "nothing": (["elm", "oak"], [""], "name", "elm oak"),
    "the number after the last": (["elm", "oak"], ["1", "2"], "name", "elm oak"),
}


@pytest.mark.parametrize("form", GUESSES)
def test_answers_that_may_mean_another_thing_are_guesses(folder, form):
    labels, answers, label, classes = GUESSES[form]
    found = labelled(folder, labels, answers)
    assert (found.competition.submission.label, found.is_guess("label")) == (label, True)
    assert " ".join(found.competition.classes) == classes


DOUBTFUL = {
    "two ways of writing": ["Elm", "elm", "oak"],
    "no label": ["elm", "oak", "NaN"],
    "measures": ["0.25", "1.5", "3.75"],
    "a label for nearly each": [*"abcdefghijkl"],
}


@pytest.mark.parametrize("form", DOUBTFUL)
def test_classes_that_may_be_none_are_guesses(folder, form):
    found = labelled(folder, DOUBTFUL[form], ["x"])
    assert found.is_guess("classes")


def test_class_names_beside_the_numbers_serve_whichever_the_sample_answers(folder):
    rows = [f"{100 + n},{['oak', 'ash', 'elm'][n % 3]},{n % 3}" for n in range(12)]
    save_list(folder, "train.csv", "id,species,species_no", *rows)
    for answer, label in (("ash", "name"), ("2", "index")):
        save_list(folder, "sample.csv", "id,species", *[f"{200 + n},{answer}" for n in range(5)])
        found = infer(folder).competition
        assert (found.classes, found.submission.label) == (("oak", "ash", "elm"), label)
        assert found.train.labels.model_dump()["label_column"] == "species_no"


def test_numbers_from_1_beside_names_are_answered_if_the_sample_has_them(folder):
    rows = [f"{100 + n},{['oak', 'ash', 'elm'][n % 3]},{n % 3 + 1}" for n in range(12)]
    save_list(folder, "train.csv", "id,species,species_no", *rows)
    for answer, classes in (("ash", ("ash", "elm", "oak")), ("3", ("1", "2", "3"))):
        save_list(folder, "sample.csv", "id,species", *[f"{200 + n},{answer}" for n in range(5)])
        found = infer(folder).competition
        assert (found.classes, found.submission.label) == (classes, "name")


def test_names_of_numbers_from_1_are_taken_where_the_sample_has_them(folder):
    save_list(folder, "classes.txt", "oak 2", "ash 1")
    for answers, classes in ((["ash", "oak"], ("ash", "oak")), (["1", "2"], ("1", "2"))):
        found = labelled(folder, ["1", "2"], answers).competition
        assert (found.classes, found.submission.label) == (classes, "name")


def test_columns_are_certain_where_they_are_called_as_the_classes_in_some_way(folder):
    rows = [f"{100 + n},{['brown rust', 'healthy'][n % 2]}" for n in range(12)]
    save_list(folder, "train.csv", "id,kind", *rows)
    for header, is_guess in (("Healthy,BrownRust", False), ("x,y", True), ("p_1,p_0", True)):
        rows = [f"{200 + n},0.5,0.5" for n in range(5)]
        save_list(folder, "sample.csv", f"id,{header}", *rows)
        found = infer(folder)
        assert (found.competition.submission.label, found.is_guess("label")) == (
            "probabilities",
            is_guess,
        )


ONE_HOT = {
    "True and False": ("id,elm,oak", "{n},{yes},{no}", ("elm", "oak")),
    "exponents": ("id,elm,oak", "{n},1.000000e+00,0.000000e+00", ("elm", "oak")),
    "spaces": ("id, elm, oak", "{n}, 1, 0", ("elm", "oak")),
    "a column more": ("id,patient,elm,oak", "{n},p{n},1,0", ("elm", "oak")),
}


@pytest.mark.parametrize("form", ONE_HOT)
def test_one_hot_columns_are_read_however_they_are_written(folder, form):
    header, line, classes = ONE_HOT[form]
    rows = [line.format(n=100 + n, yes=n % 2 == 0, no=n % 2 == 1) for n in range(12)]
    save_list(folder, "train.csv", header, *rows, f"{112}{',' * header.count(',')}")
    found = infer(folder).competition
    assert (found.train.labels.source, found.classes) == ("one_hot", classes)


def test_rows_without_a_label_are_told_and_are_no_class(folder):
    rows = [f"{100 + n},{['elm', 'oak', ''][n % 3]}" for n in range(12)]
    save_list(folder, "train.csv", "id,label", *rows)
    found = infer(folder)
    assert found.competition.classes == ("elm", "oak")
    assert "; 4 rows have none" in found.text
