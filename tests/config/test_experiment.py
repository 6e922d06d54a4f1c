import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.experiment import Experiment
from pipeline.config.experiment_files import load_experiment, load_experiments
from pipeline.config.strict import built_in_names, known_keys
from pipeline.errors import ConfigError
from tests import tiny

KEYS = known_keys(Experiment)


@pytest.mark.parametrize("name", built_in_names("experiments"))
def test_every_shipped_experiment_loads_under_its_own_name(name):
    experiments = load_experiments(name, [])
    assert all(experiment.name.startswith(name) for experiment in experiments)
    assert all(experiment.description for experiment in experiments)


VARIANTS = """
seed = 1

[train]
epochs = 3

[variants]
short = { train = { epochs = 1 } }
long-and-slow = { train = { epochs = 9, batch_size = 4 }, seed = 2 }
"""


def test_a_file_of_variants_is_as_many_experiments(tmp_path):
    tiny.write_toml(tmp_path / "many.toml", VARIANTS)
    found = load_experiments(str(tmp_path / "many.toml"), ["train.optimizer.learning_rate=0.5"])
    told = [(e.name, e.seed, e.train.epochs, e.train.batch_size) for e in found]
    assert told == [("many-short", 1, 1, 32), ("many-long-and-slow", 2, 9, 4)]
    assert {e.train.optimizer.learning_rate for e in found} == {0.5}


def test_one_variant_of_a_shipped_file_is_named_after_both():
    assert load_experiment("large-probe-lite1", []).model.name == "timm/tf_efficientnet_lite1"
    with pytest.raises(ConfigError, match="expected one experiment, 'large-probe' has 3 variants"):
        load_experiment("large-probe", [])
    with pytest.raises(ConfigError, match="large-probe-lite5: must be one of"):
        load_experiment("large-probe-lite5", [])


def test_what_a_file_leaves_out_is_default(tmp_path):
    path = tiny.write_toml(tmp_path / "mine.toml")
    assert load_experiment(path, []) == tiny.experiment(name="mine")


def test_a_file_may_name_itself(tmp_path):
    path = tiny.write_toml(tmp_path / "mine.toml", 'name = "other"\n')
    assert load_experiment(path, []).name == "other"


@pytest.mark.parametrize("name", ["../up", ".hidden", "", "a/b", "a b"])
def test_a_name_that_cannot_be_a_folder_is_refused(tmp_path, name):
    path = tiny.write_toml(tmp_path / "mine.toml", f'name = "{name}"\n')
    with pytest.raises(ConfigError, match=r"^mine\.toml: 'name': string should match pattern"):
        load_experiment(path, [])


@pytest.mark.parametrize(
    ("override", "table", "key", "value"),
    [
        ("head.l2=0.5", "head", "l2", 0.5),
        ("head.l2=1", "head", "l2", 1.0),
        ("views.flip=false", "views", "flip", False),
        ("views.recipe=heavy", "views", "recipe", "heavy"),
        ('views.recipe="heavy"', "views", "recipe", "heavy"),
        ("images.mean=[0.1, 0.2, 0.3]", "images", "mean", (0.1, 0.2, 0.3)),
    ],
)
def test_an_override_changes_its_value_alone(override, table, key, value):
    plain, changed = load_experiment("lite0-probe", []), load_experiment("lite0-probe", [override])
    assert getattr(getattr(changed, table), key) == value
    part = getattr(changed, table).model_copy(update={key: getattr(getattr(plain, table), key)})
    assert changed.model_copy(update={table: part}) == plain


def test_the_last_override_wins():
    assert load_experiment("lite0-probe", ["seed=1", "seed=2"]).seed == 2


def test_text_may_hold_an_equals_sign():
    assert load_experiment("lite0-probe", ["description=a=b"]).description == "a=b"


FAULTS = {
    "head.l2": "--set head.l2: must be KEY=VALUE, has no '='",
    "head.l3=1": "--set head.l3=1: unknown key 'head.l3'; did you mean 'head.l2'?",
    "=1": "--set =1: unknown key ''",
    "head.l2=no": "lite0-probe.toml: 'head.l2': input should be a valid number, got 'no'",
    "head.shrinkage=0": "lite0-probe.toml: 'head.shrinkage': input should be greater than or equal "
    "to 0.001, got 0",
    "head.l2=0": "lite0-probe.toml: 'head.l2': input should be greater than 0, got 0",
    "head.l2=nan": "lite0-probe.toml: 'head.l2': input should be a finite number, got nan",
    "head=3": "lite0-probe.toml: 'head': input should be an object, got 3",
    "images.std=[1, 1, 0]": (
        "lite0-probe.toml: 'images.std.2': input should be greater than 0, got 0"
    ),
    "images.size_px=224.5": (
        "lite0-probe.toml: 'images.size_px': input should be a valid integer, got 224.5"
    ),
    "seed=-1": "lite0-probe.toml: 'seed': input should be greater than or equal to 0, got -1",
    "seed=4294967296": (
        "lite0-probe.toml: 'seed': input should be less than 4294967296, got 4294967296"
    ),
    "model.weights=hbu": (
        "lite0-probe.toml: 'model.weights': must be one of package, hub, auto, none, or the path "
        "of a file or ./folder, got 'hbu'"
    ),
}


@pytest.mark.parametrize("override", FAULTS)
def test_a_faulty_override_gives_its_one_line(override):
    with pytest.raises(ConfigError, match=r"toml|--set") as caught:
        load_experiment("lite0-probe", [override])
    assert str(caught.value) == FAULTS[override]


def test_a_key_below_a_value_is_refused():
    with pytest.raises(ConfigError, match=r"^--set head\.l2=1: 'head' must be a table, is 3$"):
        load_experiment("lite0-probe", ["head=3", "head.l2=1"])


@given(key=st.text(max_size=30).filter(lambda key: "=" not in key and key not in KEYS))
def test_any_unknown_key_is_refused(key):
    with pytest.raises(ConfigError, match="unknown key"):
        load_experiment("lite0-probe", [f"{key}=1"])


@given(
    key=st.sampled_from(KEYS),
    value=st.one_of(st.text(), st.integers(), st.floats(), st.booleans()),
)
def test_any_value_is_taken_or_refused_in_one_line(key, value):
    message = ""
    try:
        load_experiment("lite0-probe", [f"{key}={value}"])
    except ConfigError as error:
        message = str(error)
    assert "\n" not in message


@given(
    seed=st.integers(0, 2**32 - 1),
    l2=st.floats(1e-9, 1e9).filter(math.isfinite),
    size_px=st.integers(16, 2048),
    flip=st.booleans(),
    description=st.text("abcdefgh ÄÖ猫", min_size=1).filter(lambda text: text == text.strip()),
)
def test_valid_overrides_round_trip(seed, l2, size_px, flip, description):
    experiment = load_experiment(
        "lite0-probe",
        [
            f"seed={seed}",
            f"head.l2={l2!r}",
            f"images.size_px={size_px}",
            f"views.flip={str(flip).lower()}",
            f"description={description}",
        ],
    )
    read = (experiment.seed, experiment.head.l2, experiment.images.size_px, experiment.views.flip)
    assert read == (seed, l2, size_px, flip)
    assert experiment.description == description


CONTRADICTIONS = {
    "epochs = 3\nschedule = { warmup_epochs = 3.5 }": "warmup_epochs must be at most train.epochs",
    "epochs = 3\nschedule = { name = 'step', warmup_epochs = 9 }": "is 9.0: the rate would never",
    "sampling = 'balanced'\nloss = { class_weights = 'balanced' }": "would be weighed twice",
}


@pytest.mark.parametrize("text", CONTRADICTIONS)
def test_settings_that_contradict_each_other_are_refused(text, tmp_path):
    path = tiny.write_toml(tmp_path / "mine.toml", f"[train]\n{text}\n")
    with pytest.raises(ConfigError, match=CONTRADICTIONS[text]):
        load_experiment(path, [])


def test_a_warm_up_may_last_all_the_training_and_one_cycle_has_none(tmp_path):
    for text in (
        "schedule = { warmup_epochs = 3 }",
        "schedule = { name='one_cycle', warmup_epochs=9 }",
    ):
        path = tiny.write_toml(tmp_path / "mine.toml", f"[train]\nepochs = 3\n{text}\n")
        load_experiment(path, [])


@pytest.mark.parametrize(
    ("key", "text", "other", "used"),
    [
        ("model.drop_path", "0.2", "method", "finetune"),
        ("views.cycle", "4", "method", "finetune"),
        ("head.shrinkage", "0.2", "head.kind", "lda"),
        ("train.schedule.peak_at", "0.5", "train.schedule.name", "one_cycle"),
        ("train.schedule.gamma", "0.5", "train.schedule.name", "step"),
    ],
)
def test_a_value_that_counts_only_beside_another_one_is_known_as_unused(key, text, other, used):
    name = "lite0-finetune" if key.startswith("train.") else "lite0-probe"
    assert load_experiment(name, [f"{key}={text}"]).unused_keys == {key: other}
    changes = [f"{key}={text}", f"{other}={used}"]
    assert key not in load_experiment(name, changes).unused_keys


def test_a_value_of_a_table_that_is_unused_as_a_whole_is_not_named_again():
    assert load_experiment("lite0-probe", ["train.schedule.gamma=0.5"]).unused_keys == {}


@pytest.mark.parametrize("name", built_in_names("experiments"))
def test_no_shipped_experiment_sets_what_decides_nothing(name):
    for experiment in load_experiments(name, []):
        assert experiment.unused_keys == {}


def test_a_training_that_is_validated_always_is_stamped_as_before_there_was_the_key():
    assert "validate_every" not in tiny.experiment().as_given()["train"]
    given = tiny.experiment(train={"validate_every": 3})
    assert given.as_given()["train"]["validate_every"] == 3
