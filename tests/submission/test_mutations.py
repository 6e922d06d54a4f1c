"""For every shipped competition: what is written is valid, and what is done to it is noticed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.config.competition import Competition
from pipeline.config.strict import built_in_names
from pipeline.store.predictions import FloatArray
from pipeline.submission.answers import decode
from pipeline.submission.faults import FaultKind
from pipeline.submission.judge_ids import ordered_ids
from pipeline.submission.validation import find_faults
from pipeline.submission.writer import encode, submission_table
from tests.editions import shipped, with_classes
from tests.submission.mutations import MUTATIONS, Case

SHIPPED = built_in_names("competitions")
# Names as competitions have them, and names that invite mistakes.
PLAIN_NAMES = st.text("abcdefghijklmnopqrstuvwxyz", min_size=3, max_size=8)
ODD_NAMES = st.text(
    st.characters(exclude_categories=["C", "Z"], exclude_characters="/"), min_size=1, max_size=8
).filter(lambda name: name.strip(".") != "")
NUMBERS = st.integers(10, 10**6).map(str)


def competition_of(name: str) -> Competition:
    return with_classes(shipped(name))


@st.composite
def predictions(
    draw: st.DrawFn, competition: Competition, names: st.SearchStrategy[str], sharpest: int = 1
) -> tuple[list[str], FloatArray]:
    """Draw ids of test images and their probabilities, down to 0 and up to 1 if sharp enough."""
    is_integer = competition.submission.id == "integer"
    stems = draw(st.lists(NUMBERS if is_integer else names, min_size=5, max_size=9, unique=True))
    shape = (len(stems), competition.num_classes)
    weights = draw(hnp.arrays(np.float32, shape, elements=st.floats(0.0625, 1, width=32)))
    weights = (weights / weights.max(axis=1, keepdims=True)) ** draw(st.integers(1, sharpest))
    return [f"{stem}.jpg" for stem in stems], weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("name", SHIPPED)
@settings(max_examples=25)
@given(data=st.data())
def test_any_valid_table_is_valid_and_round_trips_byte_for_byte(name, data):
    competition = competition_of(name)
    image_ids, probs = data.draw(predictions(competition, ODD_NAMES, sharpest=64))
    content = encode(competition, submission_table(competition, image_ids, probs))
    expected_ids = ordered_ids(competition.submission, image_ids)
    assert find_faults(competition, content, expected_ids) == []
    answers = decode(competition, content)
    assert answers.ids == expected_ids
    by_image = dict(zip(image_ids, answers.of(_judge_ids(competition, image_ids)), strict=True))
    read = np.array([by_image[image_id] for image_id in image_ids])
    assert encode(competition, submission_table(competition, image_ids, read)) == content
    answered = probs[np.arange(len(probs)), read.argmax(axis=1)]
    assert (answered >= probs.max(axis=1) - _most_moved(competition)).all()
    if competition.metric == "log_loss":
        assert read.min() >= 1e-8
        assert read.max() <= 1 - 1e-8


def _judge_ids(competition: Competition, image_ids: list[str]) -> list[str]:
    is_named = competition.submission.id == "file_name"
    return [image_id if is_named else image_id.removesuffix(".jpg") for image_id in image_ids]


def _most_moved(competition: Competition) -> float:
    """How much less probable the first class may become: what lifts the others off 0 is its own."""
    if competition.submission.label in {"name", "index"}:
        return 0
    return float(competition.num_classes / 10**competition.submission.float_digits)


@pytest.mark.parametrize("mutation", MUTATIONS)
@pytest.mark.parametrize("name", SHIPPED)
@settings(max_examples=3)
@given(data=st.data())
def test_each_mutation_is_told_as_what_it_is_or_allowed_by_the_contract(name, mutation, data):
    competition = competition_of(name)
    image_ids, probs = data.draw(predictions(competition, PLAIN_NAMES))
    at = data.draw(st.integers(0, len(image_ids) - 3))
    case = Case.of(competition, image_ids, probs, at)
    outcome = MUTATIONS[mutation](case)
    if outcome is None:  # there is no such mutation of this form
        return
    faults = find_faults(competition, outcome.content, case.expected_ids)
    kinds = frozenset(fault.kind for fault in faults)
    told = "\n".join(map(str, faults))
    assert kinds >= outcome.kinds if outcome.others_may_follow else kinds == outcome.kinds, told
    assert all(str(fault).isprintable() and fault.count > 0 for fault in faults)


def test_mutations_are_many_and_provoke_every_kind_of_fault():
    assert len(MUTATIONS) >= 40
    kinds = set()
    for name in SHIPPED:
        competition = competition_of(name)
        probs = np.full((6, competition.num_classes), 1 / competition.num_classes, np.float32)
        case = Case.of(competition, [f"{number}.jpg" for number in range(10, 16)], probs, at=1)
        outcomes = [mutate(case) for mutate in MUTATIONS.values()]
        kinds |= {kind for outcome in outcomes if outcome for kind in outcome.kinds}
    assert kinds == set(FaultKind)
