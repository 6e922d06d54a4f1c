from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.config.competition import Competition, load_competition
from pipeline.errors import DataError
from pipeline.store.predictions import FloatArray
from pipeline.submission.answers import decode
from pipeline.submission.validation import find_faults
from pipeline.submission.writer import (
    encode,
    ordered_ids,
    submission_id,
    submission_ids,
    submission_table,
)


def competition_with(classes: tuple[str, ...] = ("cat", "dog"), **changes: Any) -> Competition:
    """The demo competition with other classes or another submission format."""
    demo = load_competition("demo")
    submission = demo.submission.model_copy(update=changes)
    return demo.model_copy(update={"classes": classes, "submission": submission})


def one_hot(targets: list[int], num_classes: int = 2) -> FloatArray:
    return np.eye(num_classes, dtype=np.float32)[targets]


@pytest.mark.parametrize(
    ("form", "image_id", "expected"),
    [
        ("file_name", "test/a/007.jpg", "007.jpg"),
        ("stem", "test/007.jpg", "007"),
        ("integer", "test/007.jpg", "7"),
        ("integer", "0.jpg", "0"),
        ("stem", "NA.png", "NA"),
        ("file_name", "test/猫 十二.jpg", "猫 十二.jpg"),
    ],
)
def test_id_is_formed_from_the_file_name(form, image_id, expected):
    assert submission_id(competition_with(id=form).submission, image_id) == expected


@pytest.mark.parametrize("name", ["cat", "-1", "1.5", "\uff11", "1_0", "+1", " 1"])
def test_name_that_is_no_integer_is_refused_where_ids_are_integers(name):
    submission = competition_with(id="integer").submission
    with pytest.raises(DataError, match="must be one, is"):
        submission_id(submission, f"test/{name}.jpg")


@pytest.mark.parametrize("name", ["a\nb.jpg", "a\rb.jpg", "a\0b.jpg", "a\udcffb.jpg"])
def test_name_that_no_line_of_text_can_hold_is_refused(name):
    with pytest.raises(DataError, match="must be printable UTF-8"):
        submission_id(competition_with(id="file_name").submission, name)


def test_two_images_with_one_id_are_refused():
    submission = competition_with(id="integer").submission
    with pytest.raises(DataError, match=r"'a/1\.jpg' and 'b/01\.jpg' are both '1'"):
        submission_ids(submission, ["a/1.jpg", "b/01.jpg"])


def test_integers_are_sorted_by_number_and_text_by_code_point():
    image_ids = ["10.jpg", "9.jpg", "100.jpg"]
    assert ordered_ids(competition_with(id="integer").submission, image_ids) == ["9", "10", "100"]
    assert ordered_ids(competition_with(id="stem").submission, image_ids) == ["10", "100", "9"]


def test_table_takes_the_most_probable_class_and_the_first_of_equals():
    probs = np.array([[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]], dtype=np.float32)
    table = submission_table(competition_with(), ["t/10.jpg", "t/9.jpg", "t/2.jpg"], probs)
    assert list(table.columns) == ["id", "label"]
    assert table.to_numpy().tolist() == [["2", "0"], ["9", "0"], ["10", "1"]]


def test_bytes_are_lf_without_header_or_bom():
    competition = competition_with()
    table = submission_table(competition, ["10.jpg", "9.jpg"], one_hot([1, 0]))
    assert encode(competition, table) == b"9,0\n10,1\n"


def test_header_separator_and_class_names_follow_the_format():
    competition = competition_with(
        ("猫", "dog"), label="name", columns=("Id", "Category"), has_header=True, separator=";"
    )
    table = submission_table(competition, ["2.jpg", "1.jpg"], one_hot([0, 1]))
    assert encode(competition, table).decode() == "Id;Category\n1;dog\n2;猫\n"


def test_sister_judge_that_wants_a_header_is_only_another_format():
    competition = competition_with(has_header=True)
    table = submission_table(competition, ["0.jpg"], one_hot([1]))
    assert encode(competition, table) == b"id,label\n0,1\n"


def test_ids_that_look_like_something_else_survive():
    competition = competition_with(id="stem")
    image_ids = ["007.jpg", "NA.jpg", "1e5.jpg", "True.jpg", "猫.jpg", "nan.jpg", "a,b.jpg"]
    content = encode(competition, submission_table(competition, image_ids, one_hot([1] * 7)))
    assert find_faults(competition, content, ordered_ids(competition.submission, image_ids)) == []
    names = {"007", "NA", "1e5", "True", "猫", "nan", "a,b"}
    answers = decode(competition, content)
    assert set(answers.ids) == names
    assert answers.probs.tolist() == [[0, 1]] * 7


NAMES = st.text(
    st.characters(exclude_categories=["C"], exclude_characters="/"), min_size=1, max_size=8
).filter(lambda name: name.strip(".") != "" and not name[0].isspace())


@given(
    names=st.lists(NAMES, min_size=1, max_size=20, unique=True),
    form=st.sampled_from(["file_name", "stem"]),
    separator=st.sampled_from([",", ";", "\t"]),
    has_header=st.booleans(),
    label=st.sampled_from(["index", "name"]),
    data=st.data(),
)
def test_what_is_written_is_valid_and_reads_back(names, form, separator, has_header, label, data):
    classes = ("cat", "big, bad; dog", '"quoted"')
    competition = competition_with(
        classes, id=form, separator=separator, has_header=has_header, label=label
    )
    image_ids = [f"test/{name}.jpg" for name in names]
    elements = st.floats(0, 1, width=32)
    probs = data.draw(hnp.arrays(np.float32, (len(names), 3), elements=elements))
    content = encode(competition, submission_table(competition, image_ids, probs))
    expected_ids = ordered_ids(competition.submission, image_ids)
    assert find_faults(competition, content, expected_ids) == []
    answers = decode(competition, content)
    assert answers.ids == expected_ids
    judge_ids = submission_ids(competition.submission, image_ids)
    assert answers.of(judge_ids).argmax(axis=1).tolist() == probs.argmax(axis=1).tolist()


@given(numbers=st.sets(st.integers(0, 10**12), min_size=1, max_size=30), data=st.data())
def test_order_of_the_images_changes_nothing(numbers, data):
    competition = competition_with()
    image_ids = data.draw(st.permutations([f"test/{number}.jpg" for number in numbers]))
    targets = [int(image_id[5:-4]) % 2 for image_id in image_ids]
    content = encode(competition, submission_table(competition, image_ids, one_hot(targets)))
    expected = "".join(f"{number},{number % 2}\n" for number in sorted(numbers))
    assert content == expected.encode()
    assert find_faults(competition, content, [str(number) for number in sorted(numbers)]) == []
