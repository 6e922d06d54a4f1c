import re

import numpy as np
import pytest

from pipeline.config.competition import load_competition
from pipeline.errors import ArtifactError
from pipeline.store.atomic import write_text
from pipeline.store.freshness import file_sha256
from pipeline.store.paths import Paths
from pipeline.store.predictions import Predictions
from pipeline.store.results import list_results, load_probs, load_result, making_command

PROBS = np.array([[0.25, 0.75], [1, 0]], dtype=np.float32)


@pytest.fixture
def demo():
    return load_competition("demo")


@pytest.fixture
def paths(tmp_path):
    """A root with the experiment `probe`."""
    paths = Paths(tmp_path, "demo")
    write_text(paths.folds_csv, "folds")
    save(paths, "probe")
    return paths


def save(paths: Paths, name: str, config: str = "{}") -> None:
    files = paths.experiment(name)
    predictions = Predictions(["a", "b"], PROBS, ["cat", "dog"], file_sha256(paths.folds_csv))
    predictions.save(files.oof)
    predictions.save(files.test)
    for path, content in ((files.config, config), (files.metrics, "{}"), (files.stamp, "{}")):
        write_text(path, content)


def test_complete_results_are_listed_by_name(paths):
    save(paths, "blend", '{"members": {"probe": 1.0}}')
    save(paths, "broken-off")
    paths.experiment("broken-off").stamp.unlink()
    save(paths, ".features")
    found = list_results(paths)
    assert [(result.name, result.is_ensemble) for result in found] == [
        ("blend", True), ("probe", False),
    ]  # fmt: skip


def test_nothing_trained_is_an_empty_list(tmp_path):
    assert list_results(Paths(tmp_path, "demo")) == []


@pytest.mark.parametrize("which", ["oof", "test"])
def test_rows_come_in_the_order_asked_for(paths, demo, which):
    np.testing.assert_array_equal(load_probs(paths, demo, "probe", which, ["b", "a"]), PROBS[::-1])


@pytest.mark.parametrize("file", ["config", "metrics"])
@pytest.mark.parametrize("content", [None, "{", ""])
def test_a_damaged_record_is_named(paths, file, content):
    path = getattr(paths.experiment("probe"), file)
    path.unlink()
    if content is not None:
        path.write_text(content, encoding="utf-8")
    line = rf"^{re.escape(str(path))}: must be JSON, cannot be read \(.+\); delete .* train again$"
    with pytest.raises(ArtifactError, match=line):
        load_result(paths.experiment("probe"))


@pytest.mark.parametrize(
    ("name", "command"), [("ensemble", "ensemble demo"), ("other", "train demo")]
)
def test_an_unknown_name_says_which_there_are_and_what_to_run(paths, demo, name, command):
    line = (
        rf"^experiment '{name}': must be one of the complete ones \(probe\); "
        rf"run 'pipeline {command}'$"
    )
    with pytest.raises(ArtifactError, match=line):
        load_probs(paths, demo, name, "oof", ["a", "b"])


def test_where_nothing_is_trained_training_comes_first(tmp_path, demo):
    line = r"^experiment 'ensemble': .* \(none yet\); run 'pipeline train demo'$"
    with pytest.raises(ArtifactError, match=line):
        load_probs(Paths(tmp_path, "demo"), demo, "ensemble", "oof", [])


@pytest.mark.parametrize(
    ("config", "command"),
    [
        ("{}", "train demo --experiment probe"),
        ('{"members": {}}', "ensemble demo --name probe"),
    ],
)
def test_a_stale_result_says_what_makes_it_anew(paths, demo, config, command):
    save(paths, "probe", config)
    write_text(paths.folds_csv, "other folds")
    with pytest.raises(ArtifactError, match=f"which changed since; run 'pipeline {command}'$"):
        load_probs(paths, demo, "probe", "test", ["a", "b"])


def test_a_tuned_experiment_is_made_anew_from_its_best_values(paths):
    save(paths, "probe-tuned")
    best = paths.experiment("probe-tuned").best_toml
    write_text(best, "")
    command = making_command(paths, "in.toml", "probe-tuned")
    assert command == f"pipeline train in.toml --experiment {best}"


def test_other_classes_are_refused(paths, demo):
    turned = demo.model_copy(update={"classes": ("dog", "cat")})
    line = r"classes must be \['dog', 'cat'\], are \['cat', 'dog'\]; run 'pipeline train demo"
    with pytest.raises(ArtifactError, match=line):
        load_probs(paths, turned, "probe", "test", ["a", "b"])


def test_other_images_are_refused(paths, demo):
    with pytest.raises(ArtifactError, match=r"test\.npz: must predict the 2 images .* is 'c'"):
        load_probs(paths, demo, "probe", "test", ["a", "c"])
