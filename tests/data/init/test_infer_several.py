"""Several labels an image are read off columns of 0 and 1, or off one column of several names."""

import pytest

from pipeline.store.tables import load_train
from tests.user_folder import bring, infer, save_list, save_pictures

NUM = 12


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "folder"
    save_pictures(folder, [f"train/{n}.png" for n in range(NUM)])
    save_pictures(folder, [f"test/{n}.png" for n in range(20, 24)])
    return folder


def save_sample(folder, header, answer):
    save_list(folder, "sample_submission.csv", header, *[f"{n},{answer}" for n in range(20, 24)])


def save_marks(folder, columns="tube,line,clip"):
    rows = [f"{n},{n % 2},{n // 2 % 2},{n // 3 % 2}" for n in range(NUM)]
    save_list(folder, "train.csv", f"id,{columns}", *rows)


def test_columns_that_the_sample_asks_for_are_labels_of_which_any_number_is_true(folder):
    save_marks(folder)
    save_sample(folder, "id,line,tube,clip", "0,0,0")
    found = infer(folder)
    assert (found.competition.target, found.is_guess("target")) == ("several_labels", False)
    assert (found.competition.submission.label, found.is_guess("label")) == ("probabilities", False)
    assert not found.competition.submission.rows_sum_to_1
    paths, _ = bring(found, folder)
    assert load_train(paths)["label"].tolist()[:4] == [
        "|",
        "|tube|",
        "|clip|line|",
        "|clip|line|tube|",
    ]


def test_columns_whose_names_the_sample_lists_are_labels(folder):
    save_marks(folder)
    save_sample(folder, "id,found", "clip tube")
    found = infer(folder)
    assert (found.competition.target, found.is_guess("target")) == ("several_labels", False)
    assert (found.competition.submission.label, found.is_guess("label")) == ("labels", False)


def test_columns_without_a_sample_are_asked_about(folder):
    save_marks(folder)
    found = infer(folder)
    assert (found.competition.target, found.is_guess("target")) == ("several_labels", True)
    assert found.is_guess("label")


def test_one_of_several_columns_is_the_label_where_the_sample_asks_for_it(folder):
    save_marks(folder)
    save_sample(folder, "id,line", "0.5")
    found = infer(folder)
    assert found.competition.target == "one_class"
    assert found.competition.train.labels.model_dump()["label_column"] == "line"


def test_columns_that_mark_one_of_the_classes_or_none_are_asked_about(folder):
    rows = [f"{n},{int(n % 3 == 0)},{int(n % 3 == 1)}" for n in range(NUM)]
    save_list(folder, "train.csv", "id,tube,line", *rows)
    save_sample(folder, "id,tube,line", "0,0")
    found = infer(folder)
    assert (found.competition.target, found.is_guess("target")) == ("several_labels", True)
    assert "4 none" in found.text


def save_texts(folder, texts, column="tags"):
    rows = [f'{n},"{texts[n % len(texts)]}"' for n in range(NUM)]
    save_list(folder, "train.csv", f"id,{column}", *rows)


@pytest.mark.parametrize("between", [";", "|", ", ", "+", " "])
def test_names_that_stand_together_in_a_column_are_labels(folder, between):
    save_texts(folder, ["ash", f"ash{between}elm", f"fir{between}elm", "fir"])
    found = infer(folder)
    assert (found.competition.target, found.is_guess("target")) == ("several_labels", False)
    assert found.competition.classes == ("ash", "elm", "fir")
    paths, _ = bring(found, folder)
    assert load_train(paths)["label"].tolist()[:4] == ["|ash|", "|ash|elm|", "|elm|fir|", "|fir|"]


def test_numbers_that_stand_together_are_labels(folder):
    save_texts(folder, ["5 17", "17", "3 5 17", "3 17", "5"], "attribute")
    save_sample(folder, "id,attribute", "3 5")
    found = infer(folder)
    assert (found.competition.target, found.is_guess("target")) == ("several_labels", False)
    assert (found.competition.submission.label, found.is_guess("label")) == ("labels", False)
    assert found.competition.classes == ("3", "5", "17")


def test_names_with_spaces_that_may_be_several_are_asked_about(folder):
    save_texts(folder, ["ash", "ash elm", "fir elm", "fir", "elm"], "tree")
    found = infer(folder)
    assert (found.competition.target, found.is_guess("target")) == ("several_labels", True)
    assert "if an image has one class" in found.text


def test_answers_between_which_something_else_stands_are_asked_about(folder):
    save_texts(folder, ["ash", "ash;elm", "fir;elm", "fir"])
    save_sample(folder, "id,tags", "ash;fir")
    found = infer(folder)
    assert (found.competition.submission.label, found.is_guess("label")) == ("labels", True)


ONE_CLASS = {
    "two words each": ["red ash", "red elm", "blue ash", "blue elm", "grey ash", "grey elm"],
    "species of a genus": ["Quercus alba", "Quercus robur", "Acer rubrum", "Betula"],
    "places": ["Paris, France", "Lyon, France", "Rome, Italy", "Bern"],
    "fractions": ["0,5", "1", "1,5", "5", "0", "5,1", "0,1"],
    "a mark twice": ["ash-ash", "ash", "elm"],
}


@pytest.mark.parametrize("form", ONE_CLASS)
def test_names_of_several_words_are_of_one_class(folder, form):
    save_texts(folder, ONE_CLASS[form], "kind")
    assert infer(folder).competition.target == "one_class"


def test_texts_that_the_sample_asks_for_are_classes(folder):
    save_texts(folder, ["ash", "ash;elm", "fir;elm", "fir"])
    save_sample(folder, "id,ash,ash;elm,fir;elm,fir", "0.25,0.25,0.25,0.25")
    found = infer(folder).competition
    assert (found.target, found.num_classes) == ("one_class", 4)


def save_rows(folder, *kinds):
    rows = [f"{n},{kinds[n % 3]}" for n in range(NUM)]
    rows += [f"{n},{kinds[(n + 1) % 3]}" for n in range(0, NUM, 2)]
    save_list(folder, "train.csv", "id,tree", *rows)


def test_labels_of_a_row_each_add_up(folder):
    save_rows(folder, "ash", "elm", "fir")
    save_sample(folder, "id,trees", "elm fir")
    found = infer(folder)
    assert (found.competition.target, found.is_guess("target")) == ("several_labels", False)
    assert (found.competition.submission.label, found.is_guess("label")) == ("labels", False)
    paths, _ = bring(found, folder)
    assert load_train(paths)["label"].tolist()[:4] == [
        "|ash|elm|",
        "|elm|",
        "|elm|fir|",
        "|fir|",
    ]


def test_labels_of_a_row_each_may_hold_spaces(folder):
    save_rows(folder, "black ash", "elm", "fir")
    found = infer(folder)
    assert (found.competition.target, found.is_guess("target")) == ("several_labels", True)
    assert found.competition.classes == ("black ash", "elm", "fir")
    paths, _ = bring(found, folder)
    assert load_train(paths)["label"].tolist()[0] == "|black ash|elm|"


def test_few_images_of_two_labels_are_mistakes(folder):
    rows = [f"{n},{('ash', 'elm')[n % 2]}" for n in range(NUM)]
    save_list(folder, "train.csv", "id,tree", *rows, "0,elm")
    assert infer(folder).competition.target == "one_class"
