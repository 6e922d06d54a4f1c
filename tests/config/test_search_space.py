import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.experiment_files import load_experiment, load_experiments, load_search
from pipeline.config.search_space import Parameter
from pipeline.config.strict import built_in_names
from pipeline.errors import ConfigError
from tests import tiny

SPACE = """
[tune]
head.l2 = { low = 0.001, high = 3.0, log = true }
views.recipe = { choices = ["none", "light", "medium"] }
views.num_augmented = { low = 1, high = 3, when = { views.recipe = ["light", "medium"] } }
"""


def load(tmp_path, space, overrides=()):
    return load_search(tiny.write_toml(tmp_path / "mine.toml", f"{space}\n"), list(overrides))


@pytest.mark.parametrize("name", built_in_names("experiments"))
def test_a_shipped_space_holds_the_experiment_as_it_stands(name):
    for experiment in load_experiments(name, []):
        one, space = load_search(experiment.name, [])
        assert space.baseline(one).keys() <= space.parameters.keys()


def test_a_table_may_be_nested_or_its_keys_quoted(tmp_path):
    quoted = SPACE.replace("head.l2", '"head.l2"').replace("views.recipe =", '"views.recipe" =')
    spaces = [load(tmp_path, text)[1].parameters for text in (SPACE, quoted)]
    assert spaces[0] == spaces[1]
    assert list(spaces[0]) == ["head.l2", "views.recipe", "views.num_augmented"]


def test_the_space_is_no_part_of_the_experiment(tmp_path):
    path = tiny.write_toml(tmp_path / "mine.toml", SPACE)
    assert load_experiment(path, []) == tiny.experiment(name="mine")


def test_a_condition_decides_who_takes_part(tmp_path):
    experiment, space = load(tmp_path, SPACE)
    assert space.baseline(experiment) == {
        "head.l2": 0.03, "views.recipe": "light", "views.num_augmented": 1,
    }  # fmt: skip
    plain = experiment.changed({"views.recipe": "none"}, "x")
    assert list(space.baseline(plain)) == ["head.l2", "views.recipe"]


def test_a_condition_may_name_a_value_that_is_fixed(tmp_path):
    text = "[tune]\nviews.cycle = { low = 1, high = 3, when = { method = 'finetune' } }"
    experiment, space = load(tmp_path, text)
    assert space.baseline(experiment) == {}


def test_an_override_may_leave_the_space_and_only_a_search_minds(tmp_path):
    experiment, space = load(tmp_path, SPACE, ["head.l2=50"])
    with pytest.raises(ConfigError, match=r"^mine: \[tune\] 'head\.l2' must hold .* is 50\.0; wid"):
        space.baseline(experiment)


FAULTS = {
    "head.l3 = { low = 1, high = 2 }": "[tune] unknown key 'head.l3'; did you mean 'head.l2'?",
    "head.l2 = 3": "[tune] head.l2: must be { low, high } or { choices }, is 3",
    "head.l2 = { low = 1 }": "[tune] head.l2: must have 'low' and 'high', or 'choices'",
    "head.l2 = { low = 2, high = 1 }": (
        "[tune] head.l2: low must be less than high, they are 2 and 1"
    ),
    "head.l2 = { low = 0.0, high = 1.0, log = true }": (
        "[tune] head.l2: where 'log' is true, low must be greater than 0, and 'step' left out"
    ),
    "head.l2 = { low = 0.0, high = 1.0 }": (
        "[tune]: 'head.l2': input should be greater than 0, got 0.0"
    ),
    "head.max_steps = { low = 10, high = 20, step = 3 }": (
        "[tune] head.max_steps: step must divide 10 to 20 evenly, 3 doesn't"
    ),
    "head.max_steps = { low = 10, high = 13, step = 1.5 }": (
        "[tune] head.max_steps: step must be a whole number, as its values are, is 1.5"
    ),
    "name = { choices = ['a', 'b'] }": (
        "[tune] name: must be the same in all trials, whose scores are compared; remove it"
    ),
    "data.limit = { low = 20, high = 300 }": (
        "[tune] data.limit: must be the same in all trials, whose scores are compared; remove it"
    ),
    "head.max_steps = { low = 1.5, high = 20 }": (
        "[tune]: 'head.max_steps': input should be a valid integer, got 1.5"
    ),
    "head.l2 = { chioces = [1.0, 2.0] }": (
        "[tune] head.l2: unknown key 'chioces'; did you mean 'choices'?"
    ),
    "head.l2 = { choices = [1.0, 1.0] }": "[tune] head.l2: choices must be two at least",
    "head.l2 = { choices = [1.0, 2.0], low = 1.0 }": (
        "[tune] head.l2: must be a range or 'choices', not both"
    ),
    "views.recipe = { choices = ['light', 'lihgt'] }": (
        "[tune]: 'views.recipe': input should be 'none', 'light', 'trivial', 'medium', "
        "'heavy', 'source-cifar', 'source-catdog' or 'custom', got 'lihgt'"
    ),
    "seed = { low = 0, high = 9, when = { views.flop = true } }": (
        "[tune] unknown key 'views.flop'; did you mean 'views.flip'?"
    ),
    "seed = { low = 0, high = 9, when = { head.l2 = 1.0 } }\nhead.l2 = { low = 1.0, high = 2.0 }": (
        "[tune] seed: 'when' must name keys that stand above, not 'head.l2'"
    ),
}


@pytest.mark.parametrize("text", FAULTS)
def test_a_faulty_space_is_refused_when_it_is_loaded(text, tmp_path):
    with pytest.raises(ConfigError, match=r"tune") as caught:
        load(tmp_path, f"[tune]\n{text}")
    assert str(caught.value) == f"mine.toml: {FAULTS[text]}"


@given(low=st.integers(-50, 50), num_steps=st.integers(1, 20), step=st.integers(1, 9))
def test_a_range_holds_its_steps_and_nothing_between(low, num_steps, step):
    parameter = Parameter(low=low, high=low + num_steps * step, step=step)
    held = [value for value in range(low - 2, low + num_steps * step + 3) if parameter.holds(value)]
    assert held == [low + number * step for number in range(num_steps + 1)]


def test_choices_hold_what_they_name():
    parameter = Parameter(choices=("none", "light"))
    assert parameter.holds("light")
    assert not parameter.holds("heavy")
    assert not parameter.holds(None)


OPTIONAL = {"train.clip_norm": 1.5, "train.ema_decay": 0.9, "train.stop_after": 3, "views.cycle": 4}


@pytest.mark.parametrize("key", OPTIONAL)
def test_what_may_be_left_out_can_be_off_in_a_file_an_override_and_a_search(key, tmp_path):
    value = OPTIONAL[key]
    text = f"{key} = {value}\n[tune]\n{key} = {{ choices = ['off', {value}] }}"
    experiment, space = load(tmp_path, text)
    assert space.baseline(experiment) == {key: value}
    assert experiment.changed({key: "off"}, "x").at(key) is None
    off, space = load(tmp_path, text, [f"{key}=off"])
    assert off.at(key) is None
    assert space.baseline(off) == {key: "off"}


def test_off_meets_a_condition(tmp_path):
    text = "[tune]\nhead.l2 = { low = 0.01, high = 1.0, when = { train.clip_norm = 'off' } }"
    experiment, space = load(tmp_path, text)
    assert list(space.baseline(experiment)) == ["head.l2"]
    clipped = experiment.changed({"train.clip_norm": 1.0}, "x")
    assert space.baseline(clipped) == {}
