"""Probabilities as they are written and read back: decimals, sums, columns, encodings."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.config.competition import MOST_DENSE, Competition, load_competition
from pipeline.store.predictions import Likeliest
from pipeline.submission.answers import decode
from pipeline.submission.validation import find_faults
from pipeline.submission.writer import encode, ordered_ids, submission_table


def competition_with(*classes: str, **changes: Any) -> Competition:
    demo = load_competition("demo")
    submission = demo.submission.model_copy(update={"label": "probabilities"} | changes)
    return demo.model_copy(update={"classes": classes, "submission": submission})


def written(competition: Competition, probs: Any, *image_ids: str) -> str:
    names = list(image_ids) or [f"{number}.jpg" for number in range(len(probs))]
    table = submission_table(competition, names, np.array(probs))
    return encode(competition, table).decode(competition.submission.encoding)


def test_probability_is_that_of_the_class_that_is_asked_for():
    probs = [[0.75, 0.25], [0.0, 1.0]]
    dog = competition_with("cat", "dog", label="probability", positive="dog", float_digits=2)
    cat = competition_with("cat", "dog", label="probability", positive="cat", float_digits=2)
    assert written(dog, probs) == "0,0.25\n1,1.00\n"
    assert written(cat, probs) == "0,0.75\n1,0.00\n"
    for competition in (dog, cat):
        assert decode(competition, written(competition, probs).encode()).probs.tolist() == probs


def test_columns_stand_in_the_order_of_the_header_and_are_read_back_in_that_of_the_classes():
    columns = ("id", "cow", "ant", "bee")
    competition = competition_with(
        "ant", "bee", "cow", columns=columns, has_header=True, float_digits=1
    )
    content = written(competition, [[0.1, 0.2, 0.7]])
    assert content == "id,cow,ant,bee\n0,0.7,0.1,0.2\n"
    assert decode(competition, content.encode()).probs.tolist() == [[0.1, 0.2, 0.7]]


def test_columns_of_other_names_stand_in_the_order_of_the_classes():
    columns = ("id", "p0", "p1")
    competition = competition_with("b", "a", columns=columns, has_header=True, float_digits=1)
    assert written(competition, [[0.1, 0.9]]) == "id,p0,p1\n0,0.1,0.9\n"


def test_rounded_probabilities_sum_to_exactly_1_where_they_must():
    thirds = [[1 / 3, 1 / 3, 1 / 3]]
    assert written(competition_with(*"abc", float_digits=2), thirds) == "0,0.34,0.33,0.33\n"
    free = competition_with(*"abc", float_digits=2, rows_sum_to_1=False)
    assert written(free, thirds) == "0,0.33,0.33,0.33\n"
    many = competition_with(*map(str, range(120)), float_digits=2)
    numbers = written(many, np.full((1, 120), 1 / 120)).strip().split(",")[1:]
    assert sorted(numbers) == ["0.00"] * 20 + ["0.01"] * 100


def test_small_probabilities_keep_eight_decimals():
    competition = competition_with("cat", "dog", label="probability", positive="dog")
    probs = np.array([[1 - 3e-8, 3e-8], [6e-8, 1 - 6e-8]], dtype=np.float32)
    assert written(competition, probs) == "0,0.00000003\n1,0.99999994\n"


def test_where_log_loss_judges_nothing_is_certain():
    def by_log_loss(*classes: str, **changes: Any) -> Competition:
        return competition_with(*classes, **changes).model_copy(update={"metric": "log_loss"})

    one = by_log_loss("cat", "dog", label="probability", positive="dog")
    assert written(one, [[0, 1], [1, 0]]) == "0,0.99999999\n1,0.00000001\n"
    row = by_log_loss(*"abc", float_digits=4)
    assert written(row, [[0, 1, 0]]) == "0,0.0001,0.9998,0.0001\n"
    free = by_log_loss(*"abc", float_digits=4, rows_sum_to_1=False)
    assert written(free, [[0, 1, 0]]) == "0,0.0001,0.9999,0.0001\n"
    crowd = by_log_loss(*map(str, range(11)), float_digits=1)
    assert written(crowd, np.eye(11)[:1]) == f"0,1.0{',0.0' * 10}\n"


@pytest.mark.parametrize("sums_to_1", [True, False])
@pytest.mark.parametrize(
    ("num_classes", "digits"), [(2, 1), (3, 1), (5, 2), (40, 2), (200, 3), (600, 4), (90, 8)]
)
def test_few_decimals_move_no_class_and_no_number_far(num_classes, digits, sums_to_1):
    probs = np.random.default_rng(0).dirichlet(np.full(num_classes, 0.1), 500)
    classes = [f"c{number}" for number in range(num_classes)]
    competition = competition_with(*classes, float_digits=digits, rows_sum_to_1=sums_to_1)
    competition = competition.model_copy(update={"metric": "log_loss"})
    read = decode(competition, written(competition, probs).encode()).probs
    assert (read.argmax(axis=1) == probs.argmax(axis=1)).all()
    is_top = np.eye(num_classes, dtype=bool)[probs.argmax(axis=1)]
    errors = np.abs(read - probs)
    assert errors[~is_top].max() < 2 * 10.0**-digits
    assert errors[is_top].max() < max(2 * 10.0**-digits, 0.002)
    assert read.min() >= 0


def test_classes_that_decimals_make_equal_are_told_apart_where_they_stand():
    shares = [[0.331, 0.334, 0.335], [0.1, 0.3, 0.6]]
    assert (
        written(competition_with(*"abc", float_digits=1), shares)
        == "0,0.3,0.3,0.4\n1,0.1,0.3,0.6\n"
    )
    free = competition_with(*"abc", float_digits=1, rows_sum_to_1=False)
    assert written(free, shares) == "0,0.2,0.2,0.3\n1,0.1,0.3,0.6\n"
    one = competition_with("cat", "dog", label="probability", positive="dog", float_digits=1)
    halves = [[0.52, 0.48], [0.48, 0.52], [0.5, 0.5], [0.4, 0.6]]
    assert written(one, halves) == "0,0.4\n1,0.6\n2,0.5\n3,0.6\n"


@given(
    weights=hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.integers(2, 40)),
        elements=st.floats(2**-20, 1, width=32),
    ),
    digits=st.integers(1, 12),
)
def test_what_is_written_is_within_two_units_sums_to_1_and_stays_when_written_again(
    weights, digits
):
    probs = weights / weights.sum(axis=1, keepdims=True)
    competition = competition_with(*map(str, range(probs.shape[1])), float_digits=digits)
    content = written(competition, probs)
    ids = [str(number) for number in range(len(probs))]
    assert find_faults(competition, content.encode(), ids) == []
    read = decode(competition, content.encode()).probs
    exact = probs.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    assert np.abs(read - exact).max() < 2 * 10.0**-digits
    assert (read.argmax(axis=1) == exact.argmax(axis=1)).all()
    units = [sum(int(number.replace(".", "")) for number in line.split(",")[1:])
             for line in content.splitlines()]  # fmt: skip
    assert units == [10**digits] * len(probs)
    assert written(competition, read) == content


def test_names_of_two_words_are_read_back_where_classes_are_very_many():
    names = [f"Quercus {number}" for number in range(MOST_DENSE + 1)]
    competition = competition_with(*names, label="name", has_header=False)
    answers = decode(competition, b"0,Quercus 7\n1,Quercus 10000\n").probs
    assert isinstance(answers, Likeliest)
    assert answers.classes[:, 0].tolist() == [7, 10000]


def test_order_of_the_sample_is_that_of_the_images():
    competition = competition_with("a", "b", label="name", id="stem", sample="sample.csv")
    image_ids = ["z.jpg", "a.jpg", "m.jpg"]
    assert ordered_ids(competition.submission, image_ids) == ["z", "a", "m"]
    content = written(competition, [[1, 0], [0, 1], [1, 0]], *image_ids)
    assert content == "z,a\na,b\nm,a\n"


def test_paths_and_prefixes_form_ids():
    competition = competition_with("a", "b", label="index", id="path", id_prefix="test/")
    assert written(competition, [[0, 1]], "x/1.jpg") == "test/x/1.jpg,1\n"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"line_ending": "crlf"}, b"1,\xe7\x8c\xab\r\n"),
        ({"line_ending": "any"}, b"1,\xe7\x8c\xab\n"),
        ({"encoding": "utf-8-sig"}, b"\xef\xbb\xbf1,\xe7\x8c\xab\n"),
        ({"encoding": "gb18030", "separator": "\t"}, b"1\t\xc3\xa8\n"),
    ],
)
def test_bytes_follow_line_ending_encoding_and_separator(changes, expected):
    competition = competition_with("猫", "dog", label="name", **changes)
    table = submission_table(competition, ["1.jpg"], np.array([[1.0, 0.0]]))
    content = encode(competition, table)
    assert content == expected
    assert find_faults(competition, content, ["1"]) == []
    assert decode(competition, content).probs.tolist() == [[1, 0]]
