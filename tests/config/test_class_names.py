"""Classes are found in whatever way of writing, and only where one fits."""

import pytest

from pipeline.config.class_names import (
    ClassLookup,
    names_in,
    row_ids,
    sort_names,
    split_row_id,
)
from pipeline.config.submission_table import match_columns


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["b", "a", "", "b"], ("a", "b")),
        (["10", "9", "-1"], ("-1", "9", "10")),
        (["002", "010", "001"], ("001", "002", "010")),
        (["3.0", "10.0", "0.0"], ("0", "3", "10")),
        (["1", "1.0", "2"], ("1", "2")),
        (["1e1", "2.000000e+00"], ("2", "10")),
        (["0.5", "10", "2"], ("0.5", "2", "10")),
        (["²", "1"], ("1", "²")),
    ],
)
def test_classes_are_what_labels_name_numbers_in_their_order(labels, expected):
    assert names_in(labels) == expected


def test_numbers_of_any_length_are_sorted_and_told_apart():
    long = ["12345678901234567890", "12345678901234567891", "9"]
    assert sort_names(reversed(long)) == ("9", *long[:2])
    assert ClassLookup(long).find("12345678901234567891") == 1


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ("C", 0), ("c++", 1), ("Brown-Spot", 2), ("brownspot", 2), ("7.0", 3), ("07", 3),
        ("-7", None), ("C+", None), ("1-2", 4), ("12", None), ("", None),
    ],
)  # fmt: skip
def test_class_is_found_by_number_or_letters_or_not_at_all(written, place):
    assert ClassLookup(["c", "C++", "brown spot", "7", "1-2"]).find(written) == place


def test_class_that_could_be_several_is_none():
    lookup = ClassLookup(["Cat", "cat", "1", "01"])
    assert [lookup.find(name) for name in ("Cat", "CAT", "01", "1.0")] == [0, None, 3, None]
    assert lookup.alike == ["Cat", "cat", "1", "01"]


@pytest.mark.parametrize(
    ("columns", "classes", "expected"),
    [
        (["Rust", "Healthy", "BrownSpot"], ["brown spot", "healthy", "rust"], (2, 1, 0)),
        (["prob_dog", "prob_cow", "prob_cat"], ["cat", "cow", "dog"], (2, 1, 0)),
        (["dog (p)", "cat (p)"], ["cat", "dog"], (1, 0)),
        (["class10", "class9", "class1"], ["1", "9", "10"], (2, 1, 0)),
        (["2", "0", "1"], ["ash", "elm", "oak"], (2, 0, 1)),
        (["c_3", "c_2", "c_1"], ["ash", "elm", "oak"], (2, 1, 0)),
        (["x", "y", "z"], ["ash", "elm", "oak"], (0, 1, 2)),
        (["cat_big", "cat_small"], ["cat_small", "cat_big"], (1, 0)),
    ],
)
def test_columns_are_those_of_the_classes_that_they_are_called_after(columns, classes, expected):
    assert match_columns(columns, classes) == expected


@pytest.mark.parametrize(
    "columns", [["Cat", "fox"], ["Cat", "CAT"], ["cat"], ["cat", "dog", "fox"]]
)
def test_columns_of_which_some_are_classes_are_refused(columns):
    with pytest.raises(ValueError, match=r"must be one column per class \(2\)"):
        match_columns(columns, ["cat", "dog"])


def test_a_line_is_of_the_longest_class_that_its_id_ends_with():
    classes = ("pneumonia", "bacterial_pneumonia")
    for name in ("a", "a_b"):
        for number, row in enumerate(row_ids("{id}_{label}", name, classes)):
            assert split_row_id("{id}_{label}", row, classes) == (name, number)
    assert split_row_id("{id}_{label}", "a_fracture", classes) is None
