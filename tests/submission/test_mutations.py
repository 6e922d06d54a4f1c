"""For every shipped competition: what is written is valid, and what is done to it is noticed."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.config.competition import Competition
from pipeline.config.strict import built_in_names
from pipeline.store.predictions import FloatArray
from pipeline.submission.answers import decode
from pipeline.submission.faults import FaultKind
from pipeline.submission.validation import find_faults
from pipeline.submission.writer import encode, line_ids, ordered_ids, submission_table
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


def _form(name: str) -> str:
    """What tells one competition's submissions from another's; file names don't."""
    competition = competition_of(name)
    submission = competition.submission.model_dump_json(exclude={"sample", "file_name"})
    return f"{submission} {competition.metric} {competition.num_classes}"


ONE_PER_FORM = list({_form(name): name for name in SHIPPED}.values())


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
    return _named(competition, stems), weights / weights.sum(axis=1, keepdims=True)


def _named(competition: Competition, stems: Sequence[str | int]) -> list[str]:
    """Name images; where a list says the judge's ids, these are their names."""
    suffix = "" if competition.submission.id in ("listed", "answer") else ".jpg"
    return [f"{stem}{suffix}" for stem in stems]


@pytest.mark.parametrize("name", ONE_PER_FORM)
@given(data=st.data())
def test_any_valid_table_is_valid_and_round_trips_byte_for_byte(name, data):
    competition = competition_of(name)
    image_ids, probs = data.draw(predictions(competition, ODD_NAMES, sharpest=64))
    content = encode(competition, submission_table(competition, image_ids, probs))
    expected_ids = ordered_ids(competition.submission, image_ids)
    assert find_faults(competition, content, line_ids(competition, image_ids)) == []
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
    is_named = competition.submission.id in ("file_name", "listed", "answer")
    return [image_id if is_named else image_id.removesuffix(".jpg") for image_id in image_ids]


def _most_moved(competition: Competition) -> float:
    """How much less probable the first class may become: what lifts the others off 0 is its own."""
    if competition.submission.label in {"name", "names", "index"}:
        return 0
    if competition.submission.label == "labels":  # which are in no order
        return 1
    return float(competition.num_classes / 10**competition.submission.float_digits)


def told_wrongly(case: Case, mutation: str) -> str | None:
    """Say what a mutated file is taken for, unless that is right or there is no such file."""
    outcome = MUTATIONS[mutation](case)
    if outcome is None:
        return None
    faults = find_faults(case.competition, outcome.content, case.expected_ids)
    kinds = frozenset(fault.kind for fault in faults)
    assert all(str(fault).isprintable() and fault.count > 0 for fault in faults)
    is_right = kinds >= outcome.kinds if outcome.others_may_follow else kinds == outcome.kinds
    return None if is_right else f"{mutation}: {faults}"


@pytest.mark.parametrize("name", ONE_PER_FORM)
def test_each_mutation_is_told_as_what_it_is_or_allowed_by_the_contract(name):
    competition = competition_of(name)
    weights = np.random.default_rng(0).uniform(0.0625, 1, (6, competition.num_classes))
    probs = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    is_integer = competition.submission.id == "integer"
    stems = [17, 2, 306, 45, 8, 91] if is_integer else "hdeabc"
    image_ids = _named(competition, stems)
    case = Case.of(competition, image_ids, probs, at=1)
    assert [wrong for mutation in MUTATIONS if (wrong := told_wrongly(case, mutation))] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
@given(data=st.data(), mutation=st.sampled_from(list(MUTATIONS)))
def test_each_mutation_of_any_submission_is_told_as_what_it_is(name, data, mutation):
    competition = competition_of(name)
    image_ids, probs = data.draw(predictions(competition, PLAIN_NAMES))
    at = data.draw(st.integers(0, len(image_ids) - 3))
    assert told_wrongly(Case.of(competition, image_ids, probs, at), mutation) is None


def test_mutations_are_many_and_provoke_every_kind_of_fault():
    assert len(MUTATIONS) >= 40
    kinds = set()
    for name in ONE_PER_FORM:
        competition = competition_of(name)
        probs = np.full((6, competition.num_classes), 1 / competition.num_classes, np.float32)
        case = Case.of(competition, _named(competition, range(10, 16)), probs, at=1)
        outcomes = [mutate(case) for mutate in MUTATIONS.values()]
        kinds |= {kind for outcome in outcomes if outcome for kind in outcome.kinds}
    assert kinds == set(FaultKind)
