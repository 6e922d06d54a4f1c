"""The stages `ensemble` and `status` on made-up predictions: nothing is trained."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.config.competition import load_competition
from pipeline.errors import ArtifactError, ConfigError
from pipeline.scoring import measures
from pipeline.scoring.ensembling.ensemble_methods import METHODS
from pipeline.scoring.ensembling.selection import AUTO
from pipeline.scoring.metrics import score
from pipeline.scoring.oof import describe_oof
from pipeline.stages import ensemble
from pipeline.store.atomic import write_text
from pipeline.store.freshness import Stamp, file_sha256
from pipeline.store.paths import Paths
from pipeline.store.predictions import FloatArray, Predictions, load_predictions
from pipeline.store.results import list_results, load_probs
from pipeline.store.tables import FOLD_COLUMNS, TEST_COLUMNS, load_folds, load_test, write_table

NUM, NUM_TEST = 60, 10
TARGETS = np.arange(NUM) % 3 % 2
OOF_IDS = [f"{number:03}.jpg" for number in range(NUM)]
TEST_IDS = [f"{number}.jpg" for number in range(NUM_TEST)]


@pytest.fixture
def demo():
    return load_competition("demo")


@pytest.fixture(autouse=True)
def _quick(request, monkeypatch):
    """Draw few resamples, and no figure but where all files are looked at."""
    monkeypatch.setattr(measures, "NUM_RESAMPLES", 200)
    if request.function is not test_a_blend_of_all_experiments_is_written_and_told:

        def save(_: object, title: str, path: Path) -> list[Path]:
            write_text(path, title)
            return [path]

        monkeypatch.setattr(ensemble, "_save_diagram", save)


@pytest.fixture
def paths(tmp_path):
    return make_root(tmp_path)


def make_root(root: Path) -> Paths:
    """Write the fold table and the test table of the demo."""
    paths = Paths(root, "demo")
    labels = ["cat", "dog"]
    rows = [[name, labels[TARGETS[i]], name, i % 4] for i, name in enumerate(OOF_IDS)]
    write_table(pd.DataFrame(rows, columns=FOLD_COLUMNS), paths.folds_csv)
    rows = [[name, name, name, 32, 32, "JPEG", "0"] for name in TEST_IDS]
    write_table(pd.DataFrame(rows, columns=TEST_COLUMNS), paths.test_csv)
    return paths


def noisy(sharpness: float, seed: int) -> list[FloatArray]:
    """Probabilities of OOF and test images, better the larger `sharpness` is."""
    rng = np.random.default_rng(seed)
    probs = []
    for targets in (TARGETS, np.arange(NUM_TEST) % 2):
        logit = sharpness * (2 * targets - 1) + rng.normal(size=len(targets))
        dog = 1 / (1 + np.exp(-logit))
        probs.append(np.stack([1 - dog, dog], axis=1).astype(np.float32))
    return probs


def save(
    paths: Paths, name: str, member: list[FloatArray], model: str | None = None, **changes: Any
) -> None:
    """Save a member as `train` does; `changes` replace fields of its OOF predictions.

    Members of one `model` differ in nothing but the seed.
    """
    seed = changes.pop("seed", 0)
    files = paths.experiment(name)
    fields: dict[str, Any] = {
        "image_ids": OOF_IDS,
        "probs": member[0],
        "class_names": ["cat", "dog"],
        "folds_sha256": file_sha256(paths.folds_csv),
    }
    Predictions(**(fields | changes)).save(files.oof)
    test: dict[str, Any] = {"image_ids": TEST_IDS, "probs": member[1]}
    Predictions(**(fields | test)).save(files.test)
    metrics = describe_oof(load_competition("demo"), load_folds(paths), member[0])
    config = {"name": name, "seed": seed, "model": {"name": model or name}}
    for path, content in ((files.config, config), (files.metrics, metrics), (files.stamp, {})):
        write_text(path, json.dumps(content))


def blended(
    paths: Paths, name: str = "ensemble"
) -> tuple[Predictions, Predictions, dict[str, float]]:
    files = paths.experiment(name)
    config = json.loads(files.config.read_text(encoding="utf-8"))
    return load_predictions(files.oof, "x"), load_predictions(files.test, "x"), config["members"]


def metrics_of(paths: Paths, name: str = "ensemble") -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads(paths.experiment(name).metrics.read_text("utf-8"))
    return metrics


def test_a_blend_of_all_experiments_is_written_and_told(paths, demo, capsys):
    save(paths, "a", noisy(2, 0))
    save(paths, "b", noisy(2, 1))
    ensemble.run(paths, demo, [], "ensemble", "weighted")
    oof, test, members = blended(paths)
    assert (oof.image_ids, test.image_ids) == (OOF_IDS, TEST_IDS)
    assert list(members) == ["a", "b"]
    assert sum(members.values()) == pytest.approx(1)
    names = sorted(path.name for path in paths.experiment("ensemble").experiment_dir.iterdir())
    assert names == [
        "config.json", "metrics.json", "oof.npz", "reliability.png", "stamp.json", "test.npz",
    ]  # fmt: skip
    by_hand = sum(
        members[name] * load_predictions(paths.experiment(name).test, "x").probs for name in "ab"
    )
    np.testing.assert_allclose(test.probs, by_hand, atol=1e-5)
    assert re.search(
        r"OOF accuracy [01]\.\d+ .*, weighted of 0\.\d\d a \+ 0\.\d\d b -> ",
        capsys.readouterr().err,
    )


def test_a_member_joined_with_itself_is_the_member(paths, demo):
    save(paths, "a", noisy(1, 0))
    save(paths, "b", noisy(1, 0))
    ensemble.run(paths, demo, [], "ensemble", "weighted")
    oof, test, _ = blended(paths)
    np.testing.assert_allclose(oof.probs, noisy(1, 0)[0], atol=1e-6)
    np.testing.assert_allclose(test.probs, noisy(1, 0)[1], atol=1e-6)


def test_members_are_joined_by_id_not_by_row(paths, demo):
    probs = noisy(3, 0)
    save(paths, "a", probs)
    save(paths, "b", probs, image_ids=OOF_IDS[::-1], probs=probs[0][::-1])
    ensemble.run(paths, demo, [], "ensemble", "weighted")
    np.testing.assert_allclose(blended(paths)[0].probs, probs[0], atol=1e-6)


def test_the_better_member_weighs_more(paths, demo):
    save(paths, "bad", noisy(0.2, 0))
    save(paths, "good", noisy(2, 1))
    ensemble.run(paths, demo, [], "ensemble", "weighted")
    members = blended(paths)[2]
    assert members["good"] > 0.8 > 0.2 > members["bad"]


def test_only_named_experiments_take_part(paths, demo):
    for seed, name in enumerate("abc"):
        save(paths, name, noisy(1, seed))
    ensemble.run(paths, demo, ["c", "a", "c"], "ensemble", "mean")
    assert list(blended(paths)[2]) == ["a", "c"]


def test_ensembles_are_members_only_when_named(paths, demo):
    save(paths, "a", noisy(1, 0))
    save(paths, "b", noisy(1, 1))
    for name, members in (("first", ["a"]), ("second", []), ("third", ["first", "b"])):
        ensemble.run(paths, demo, members, name, "weighted")
    assert list(blended(paths, "second")[2]) == ["a", "b"]
    assert list(blended(paths, "third")[2]) == ["b", "first"]
    np.testing.assert_allclose(
        blended(paths, "third")[1].probs, blended(paths, "second")[1].probs, atol=1e-4
    )
    assert [one.name for one in list_results(paths) if one.is_ensemble] == [
        "first", "second", "third",
    ]  # fmt: skip


def test_a_chosen_blend_is_made_anew_where_another_version_chose_by_another_baseline(
    paths, demo, capsys, monkeypatch
):
    save(paths, "a", noisy(1, 0))
    save(paths, "b", noisy(1, 1))
    ensemble.run(paths, demo, [], "ensemble")
    capsys.readouterr()
    ensemble.run(paths, demo, [], "ensemble")
    assert "up to date" in capsys.readouterr().err
    monkeypatch.setattr("pipeline.stages.ensemble.FALLBACK", "calibrated")
    ensemble.run(paths, demo, [], "ensemble")
    assert "up to date" not in capsys.readouterr().err


def test_a_second_run_changes_nothing_until_a_member_does(paths, demo, capsys):
    save(paths, "a", noisy(1, 0))
    save(paths, "b", noisy(1, 1))
    ensemble.run(paths, demo, [], "ensemble", "mean")
    folder = paths.experiment("ensemble").experiment_dir
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    ensemble.run(paths, demo, [], "ensemble", "mean")
    assert "ensemble demo ensemble: up to date" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    save(paths, "b", noisy(3, 2))
    ensemble.run(paths, demo, [], "ensemble", "mean")
    assert "up to date" not in capsys.readouterr().err
    assert before != {path: path.stat().st_mtime_ns for path in folder.iterdir()}


@pytest.mark.parametrize("method", [AUTO, *METHODS])
def test_every_method_makes_predictions(paths, demo, method):
    save(paths, "a", noisy(1, 0))
    save(paths, "b", noisy(1.5, 1))
    ensemble.run(paths, demo, [], "ensemble", method)
    oof, test, members = blended(paths)
    for predictions in (oof, test):
        np.testing.assert_allclose(predictions.probs.sum(axis=1), 1, atol=1e-5)
    assert list(members) == ["a", "b"]
    assert metrics_of(paths)["method"] in (METHODS if method == AUTO else [method])


def test_metrics_hold_what_was_compared(paths, demo, capsys):
    save(paths, "a", noisy(2, 0))
    save(paths, "b", noisy(2, 1))
    save(paths, "noise", noisy(0, 2))
    ensemble.run(paths, demo, [], "ensemble")
    metrics, oof = metrics_of(paths), blended(paths)[0]
    assert [one["method"] for one in metrics["methods"]] == [*METHODS, AUTO]
    by_method = {one["method"]: one for one in metrics["methods"]}
    assert by_method[AUTO]["oof_score"] == metrics["oof_score"]
    assert metrics["log_loss"] == pytest.approx(score("log_loss", TARGETS, oof.probs), abs=1e-6)
    for one in metrics["methods"]:
        low, high = one["log_loss_interval_95"]
        assert low < one["log_loss"] < high
    assert by_method["stack"]["against_fallback"] is None
    assert by_method["calibrated"]["against_fallback"]["confidence"] == pytest.approx(0.99)
    helps = {member["name"]: member["helps"] for member in metrics["members"]}
    assert helps["a"]
    assert not helps["noise"]
    assert {"temperature", "ece_before", "ece_after"} <= metrics["calibration"].keys()
    printed = capsys.readouterr()
    assert all(word in printed.out for word in (*METHODS, "auto", "no help beyond"))
    assert re.search(r"no help beyond noise: (b, )?noise; --prune drops", printed.err)


def test_a_member_that_is_not_missed_is_pruned(paths, demo, capsys):
    save(paths, "a", noisy(2, 0))
    save(paths, "noise", noisy(0, 2))
    ensemble.run(paths, demo, [], "ensemble", prune=True)
    assert list(blended(paths)[2]) == ["a"]
    assert metrics_of(paths)["pruned"] == ["noise"]
    assert "dropped, as it isn't worse without: noise" in capsys.readouterr().err


def test_seeds_of_one_experiment_are_averaged_before_they_are_weighed(paths, demo, capsys):
    save(paths, "a", noisy(1, 0), model="one")
    save(paths, "a-again", noisy(1, 1), model="one", seed=1)
    save(paths, "b", noisy(1, 2))
    ensemble.run(paths, demo, [], "ensemble", "weighted")
    members = blended(paths)[2]
    assert list(members) == ["a", "a-again", "b"]
    assert members["a"] == members["a-again"] > 0
    assert sum(members.values()) == pytest.approx(1)
    assert "a, a-again differ in nothing but the seed" in capsys.readouterr().err
    names = [member["name"] for member in metrics_of(paths)["members"]]
    assert names == ["a (2 seeds)", "b"]


def test_a_copy_of_a_member_counts_once(paths, demo, capsys):
    save(paths, "a", noisy(1, 0), model="one")
    save(paths, "b", noisy(1, 2))
    ensemble.run(paths, demo, [], "without", "mean")
    save(paths, "a-tuned", noisy(1, 0), model="one")
    ensemble.run(paths, demo, [], "with", "mean")
    (without, _, shares), (with_copy, _, shares_with) = (
        blended(paths, name) for name in ("without", "with")
    )
    np.testing.assert_array_equal(without.probs, with_copy.probs)
    assert shares == shares_with == {"a": 0.5, "b": 0.5}
    assert metrics_of(paths, "with")["members"][0]["copies"] == ["a-tuned"]
    told = capsys.readouterr().err
    assert "a-tuned: the same values and seed as a, counted once" in told
    assert "differ in nothing but the seed" not in told


def test_another_method_or_pruning_makes_it_anew(paths, demo, capsys):
    save(paths, "a", noisy(1, 0))
    save(paths, "b", noisy(1, 1))
    for options in ({}, {"method": "mean"}, {"method": "mean", "prune": True}):
        ensemble.run(paths, demo, [], "ensemble", **options)
        assert "up to date" not in capsys.readouterr().err
    ensemble.run(paths, demo, [], "ensemble", "mean", prune=True)
    assert "up to date" in capsys.readouterr().err


def test_where_log_loss_judges_predictions_are_calibrated(paths, demo, capsys):
    sure = noisy(4, 0)  # and nearly always right
    save(paths, "a", [((probs + 1) / 3).astype(np.float32) for probs in sure])
    by_log_loss = demo.model_copy(update={"metric": "log_loss"})
    ensemble.run(paths, demo, [], "by-accuracy", "mean")
    assert "not applied, accuracy doesn't depend on it" in capsys.readouterr().err
    ensemble.run(paths, by_log_loss, [], "by-log-loss", "mean")
    assert capsys.readouterr().err.count("; applied\n") == 1
    plain, calibrated = blended(paths, "by-accuracy"), blended(paths, "by-log-loss")
    for before, after in zip(plain[:2], calibrated[:2], strict=True):
        assert after.probs.max() > 0.9 > 0.7 > before.probs.max()
        assert before.probs.argmax(axis=1).tolist() == after.probs.argmax(axis=1).tolist()
    losses = [metrics_of(paths, name)["log_loss"] for name in ("by-accuracy", "by-log-loss")]
    assert losses[1] < 0.5 * losses[0]


def test_an_unreadable_test_image_keeps_the_class_shares(paths, demo):
    test = load_test(paths)
    test.loc[3, ["width", "height"]] = 0
    write_table(test, paths.test_csv)
    save(paths, "a", [probs[:, ::-1] for probs in noisy(1, 0)])
    ensemble.run(paths, demo, [], "ensemble", "stack")
    shares = np.bincount(TARGETS) / NUM
    np.testing.assert_allclose(blended(paths)[1].probs[3], shares, atol=1e-6)


def test_equal_inputs_give_equal_bytes(paths, demo, tmp_path):
    other = make_root(tmp_path / "other")
    for one in (paths, other):
        save(one, "a", noisy(1, 0))
        save(one, "b", noisy(1, 1))
        ensemble.run(one, demo, [], "ensemble", "mean")
    for name in ("oof.npz", "test.npz", "metrics.json", "config.json", "reliability.png"):
        files = [one.experiment("ensemble").experiment_dir / name for one in (paths, other)]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_an_unknown_method_is_refused(paths, demo):
    line = r"^--method stak: must be one of auto, mean, .*stack; did you mean 'stack'\?$"
    with pytest.raises(ConfigError, match=line):
        ensemble.run(paths, demo, [], "ensemble", "stak")


def test_without_experiments_there_is_nothing_to_blend(paths, demo):
    line = "must hold trained experiments, holds none; run 'pipeline train demo'$"
    with pytest.raises(ArtifactError, match=line):
        ensemble.run(paths, demo, [], "ensemble", "mean")


def test_a_name_that_is_not_there_is_refused(paths, demo):
    save(paths, "a", noisy(1, 0))
    line = r"^experiment 'b': must be one of the complete ones \(a\); run 'pipeline train demo'$"
    with pytest.raises(ArtifactError, match=line):
        ensemble.run(paths, demo, ["a", "b"], "ensemble", "mean")


@pytest.mark.parametrize("members", [[], ["a"], ["b"]])
def test_the_name_of_an_experiment_is_refused(paths, demo, members):
    save(paths, "a", noisy(1, 0))
    save(paths, "b", noisy(1, 1))
    with pytest.raises(
        ConfigError, match=r"^--name a: must differ from every experiment's name, one"
    ):
        ensemble.run(paths, demo, members, "a", "mean")


def test_an_ensemble_cannot_be_its_own_member(paths, demo):
    save(paths, "a", noisy(1, 0))
    ensemble.run(paths, demo, [], "first", "mean")
    with pytest.raises(ConfigError, match=r"^--name first: must differ from every experiment's"):
        ensemble.run(paths, demo, ["a", "first"], "first", "mean")


def test_an_ensemble_cannot_be_part_of_its_own_members(paths, demo):
    save(paths, "a", noisy(1, 0))
    ensemble.run(paths, demo, ["a"], "first", "mean")
    ensemble.run(paths, demo, ["first"], "second", "mean")
    ensemble.run(paths, demo, ["second", "a"], "third", "mean")
    line = r"^--name first: must not be part of its own members, 'third' is made of it; choose"
    with pytest.raises(ConfigError, match=line):
        ensemble.run(paths, demo, ["third"], "first", "mean")


def test_a_change_at_the_bottom_makes_every_ensemble_above_stale(paths, demo):
    save(paths, "a", noisy(1, 0))
    save(paths, "b", noisy(1, 1))
    ensemble.run(paths, demo, ["a", "b"], "first", "weighted")
    ensemble.run(paths, demo, ["first"], "second", "mean")
    save(paths, "a", noisy(2, 2))
    for name, again in (
        ("first", "--name first --experiment a --experiment b --method weighted"),
        ("second", "--name second --experiment first --method mean"),
    ):
        line = rf"a/oof\.npz changed since; run 'pipeline ensemble demo {again}'$"
        with pytest.raises(ArtifactError, match=line):
            load_probs(paths, demo, name, "test", TEST_IDS)
    ensemble.run(paths, demo, ["a", "b"], "first", "weighted")
    with pytest.raises(ArtifactError, match=r"first/oof\.npz changed since; run 'pipeline ens"):
        load_probs(paths, demo, "second", "test", TEST_IDS)
    ensemble.run(paths, demo, ["first"], "second", "mean")
    load_probs(paths, demo, "second", "test", TEST_IDS)


@pytest.mark.parametrize("name", ["", "../up", ".hidden", "a/b"])
def test_a_name_that_is_no_folder_is_refused(paths, demo, name):
    save(paths, "a", noisy(1, 0))
    with pytest.raises(ConfigError, match=f"^--name {re.escape(name)}: must match"):
        ensemble.run(paths, demo, [], name, "mean")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"folds_sha256": "0" * 64}, "must be made over the folds of .*, which changed since"),
        (
            {"class_names": ["dog", "cat"]},
            r"classes must be \['cat', 'dog'\], are \['dog', 'cat'\]",
        ),
        ({"image_ids": [*OOF_IDS[1:], "x"]}, r"misses 1, the first missing is '000\.jpg'"),
    ],
)
def test_a_member_from_elsewhere_is_refused(paths, demo, changes, line):
    save(paths, "a", noisy(1, 0))
    save(paths, "b", noisy(1, 1), **changes)
    with pytest.raises(ArtifactError, match=rf"b.oof\.npz: .*{line}"):
        ensemble.run(paths, demo, [], "ensemble", "mean")
    assert not paths.experiment("ensemble").experiment_dir.exists()


def test_a_stale_member_is_refused_even_when_the_ensemble_stands(paths, demo):
    save(paths, "a", noisy(1, 0))
    ensemble.run(paths, demo, [], "ensemble", "mean")
    write_table(load_folds(paths).assign(fold=0), paths.folds_csv)
    line = "which changed since; run 'pipeline train demo --experiment a'"
    with pytest.raises(ArtifactError, match=line):
        ensemble.run(paths, demo, [], "ensemble", "mean")


def test_ensemble_older_than_its_members_is_not_submitted(paths, demo):
    save(paths, "one", noisy(1.0, 0))
    ensemble.run(paths, demo, [], "ensemble", "mean")
    save(paths, "one", noisy(2.0, 1))
    with pytest.raises(ArtifactError, match=r"one/oof\.npz changed since; run 'pipeline ensemble"):
        load_probs(paths, demo, "ensemble", "test", TEST_IDS)


def test_predictions_changed_after_their_stamp_are_refused(paths, demo):
    save(paths, "one", noisy(1.0, 0))
    files = paths.experiment("one")
    Stamp(files.stamp, {}).write([files.oof, files.test])
    files.test.write_bytes(files.oof.read_bytes())
    with pytest.raises(ArtifactError, match=r"test\.npz changed since; run 'pipeline train demo"):
        load_probs(paths, demo, "one", "oof", OOF_IDS)


def test_ensemble_that_broke_off_is_not_complete(paths, demo, monkeypatch):
    save(paths, "one", noisy(1.0, 0))
    ensemble.run(paths, demo, [], "ensemble", "mean")
    save(paths, "one", noisy(2.0, 1))
    monkeypatch.setattr(ensemble, "build", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError, match="division"):
        ensemble.run(paths, demo, [], "ensemble", "mean")
    assert [result.name for result in list_results(paths)] == ["one"]


def test_answers_by_thresholds_make_another_ensemble_of_the_same_metric(paths, demo, capsys):
    save(paths, "a", noisy(1, 1))
    save(paths, "b", noisy(1, 2))
    plain = demo.model_copy(update={"metric": "quadratic_kappa"})
    ordered = plain.model_copy(update={"target": "ordered_classes"})
    told = []
    for one in (plain, plain, ordered, ordered):
        ensemble.run(paths, one, ["a", "b"], "ensemble")
        told.append(capsys.readouterr().err)
    assert ["up to date" in one for one in told] == [False, True, False, True]
    assert "quadratic_kappa doesn't depend on it" in told[0]
    assert "not applied, thresholds are found without it" in told[2]
    assert metrics_of(paths)["members"][0]["without"]["metric"] == "quadratic_kappa"


def test_predictions_of_one_class_are_refused_where_the_file_says_several_labels_now(paths, demo):
    save(paths, "a", noisy(1, 1))
    several = demo.model_copy(update={"target": "several_labels"})
    assert load_probs(paths, demo, "a", "oof", OOF_IDS).shape == (NUM, 2)
    with pytest.raises(ArtifactError, match="must be of several labels an image, are of one class"):
        load_probs(paths, several, "a", "oof", OOF_IDS)
