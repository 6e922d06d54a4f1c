import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.experiment import Experiment
from pipeline.config.experiment_files import load_experiment, load_experiments
from pipeline.config.strict import built_in_names, toml_text

SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**62), 2**62),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
)
LISTS = st.lists(st.one_of(SCALARS, st.dictionaries(st.text(), SCALARS, max_size=2)), max_size=3)
VALUES = st.one_of(SCALARS, LISTS, st.dictionaries(st.text(), SCALARS, max_size=3))


@given(values=st.dictionaries(st.text(), VALUES, max_size=3))
def test_what_is_written_is_read_again(values):
    assert tomllib.loads(toml_text(values)) == values


def test_what_is_none_is_left_out():
    assert toml_text({"a": None, "b": {"c": None, "d": 1}}) == "\n[b]\nd = 1\n"


@pytest.mark.parametrize("file", built_in_names("experiments"))
def test_every_shipped_experiment_comes_back_whole(file, tmp_path):
    for experiment in load_experiments(file, []):
        path = tmp_path / "again.toml"
        path.write_text(toml_text(experiment.model_dump(mode="json")), encoding="utf-8")
        assert load_experiment(str(path), []) == experiment


def test_a_custom_recipe_comes_back_whole(tmp_path):
    transforms = [
        {"name": "Resize", "height": 32, "width": 32},
        {"name": "HorizontalFlip", "p": 0.5},
    ]
    made = Experiment.model_validate_json(
        '{"name": "x", "model": {"name": "lenet"}, "views": {"recipe": "custom", "transforms": '
        + str(transforms).replace("'", '"')
        + "}}"
    )
    path = tmp_path / "x.toml"
    path.write_text(toml_text(made.model_dump(mode="json")), encoding="utf-8")
    assert load_experiment(str(path), []) == made
