"""The stage `train` with a tiny untrained network on the drawn demo of two folds."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.config.competition import Competition
from pipeline.config.experiment import Experiment
from pipeline.config.experiment_files import load_experiment
from pipeline.data.training_table import load_tables
from pipeline.errors import ArtifactError, ConfigError, DataError, StoppedError
from pipeline.scoring.metrics import score
from pipeline.scoring.targets import class_indices
from pipeline.stages import ensemble, folds, status, submit, train
from pipeline.store.freshness import file_sha256
from pipeline.store.locks import try_hold
from pipeline.store.paths import Paths
from pipeline.store.predictions import load_predictions
from pipeline.store.results import list_results
from pipeline.store.tables import SUSPECT_COLUMNS, load_folds, load_test, load_train, write_table
from pipeline.training import experiment_run, prepare_network
from pipeline.training.fold_stamps import FoldStamps
from pipeline.training.head import LinearHead
from tests import tiny

FINETUNE_TOML = """
method = "finetune"
train = {{ epochs = 1, batch_size = 16, keep = "{keep}" }}
"""
FOLD_FILES = {"checkpoint.safetensors", "history.csv", "oof.npz", "test.npz", "stamp.json"}
FILES = {"config.json", "environment.json", "metrics.json", "oof.npz", "test.npz", "stamp.json"}
Site = tuple[Paths, Competition, str, Path]  # the experiment's file, and the folder it fills


@pytest.fixture
def site(workspace, tmp_path):
    """Paths, competition, path of the experiment and the folder that it fills."""
    paths, competition = workspace
    path = tiny.write_toml(tmp_path / "tiny.toml")
    return paths, competition, path, paths.experiment("tiny").experiment_dir


@pytest.fixture(scope="module")
def straight(drawn, tmp_path_factory):
    """What an unbroken run predicts and learns; see `predicted`."""
    root, competition = tmp_path_factory.mktemp("straight") / "root", drawn[1]
    shutil.copytree(drawn[0], root)
    paths = Paths(root, competition.name)
    path = tiny.write_toml(root / "tiny.toml")
    site = paths, competition, path, paths.experiment("tiny").experiment_dir
    run(site)
    return predicted(site)


def run(site: Site, *, only: Sequence[int] = (), overrides: Sequence[str] = ()) -> None:
    paths, competition, path, _ = site
    train.run(paths, competition, [path], list(only), list(overrides))


def files(site: Site) -> dict[str, tuple[bytes, int]]:
    """All that the experiment wrote, by name: content and time of change."""
    found = sorted(path for path in site[3].rglob("[!.]*") if path.is_file())
    return {
        path.relative_to(site[3]).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in found
    }


def predicted(site: Site) -> dict[str, bytes]:
    """The bytes of everything predicted and learned; the rest holds seconds."""
    return {
        name: content
        for name, (content, _) in files(site).items()
        if name.endswith((".npz", ".safetensors"))
    }


def test_all_files_are_written_and_belong_together(site, capsys):
    run(site)
    paths, competition, _, out = site
    expected = FILES | {f"fold{fold}/{name}" for fold in (0, 1) for name in FOLD_FILES}
    assert set(files(site)) == expected
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert config == tiny.experiment().model_dump(mode="json")
    environment = json.loads((out / "environment.json").read_text(encoding="utf-8"))
    recorded = {"commit", "python", "machine", "packages", "device", "processes"}
    assert set(environment) == recorded | {"variables", "variables_not_used"}
    assert environment["variables"]["OMP_NUM_THREADS"] == "1"
    oof, test = (load_predictions(out / f"{name}.npz", "x") for name in ("oof", "test"))
    assert oof.image_ids == load_train(paths)["image_id"].tolist()
    assert test.image_ids == load_test(paths)["image_id"].tolist()
    assert oof.class_names == test.class_names == ["cat", "dog"]
    assert oof.folds_sha256 == test.folds_sha256 == file_sha256(paths.folds_csv)
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    targets = class_indices(competition, load_train(paths))
    assert metrics["oof_score"] == pytest.approx(score("accuracy", targets, oof.probs), abs=1e-6)
    assert len(metrics["fold_scores"]) == 2
    assert metrics["seconds"] > 0
    assert f"OOF accuracy {metrics['oof_score']:.4f} [" in capsys.readouterr().err
    assert [result.name for result in list_results(paths)] == ["tiny"]


def test_every_row_is_predicted_by_the_model_that_did_not_see_it(site):
    paths, _, _, out = site
    rng = np.random.default_rng(0)
    table = load_train(paths)
    shuffled = table.assign(label=rng.permutation(table["label"]))
    write_table(shuffled, paths.train_csv)
    write_table(load_folds(paths).assign(label=shuffled["label"]), paths.folds_csv)
    run(site, overrides=["head.l2=0.0001"])
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    for fold in (0, 1):
        history = pd.read_csv(out / f"fold{fold}" / "history.csv")
        assert history["train_accuracy"].iloc[-1] > 0.9
        assert history["val_accuracy"].iloc[-1] == pytest.approx(metrics["fold_scores"][fold])
    assert metrics["oof_score"] < 0.8


def test_pooled_predictions_are_the_folds_own(site):
    run(site)
    paths, _, _, out = site
    oof, table = load_predictions(out / "oof.npz", "x"), load_folds(paths)
    test_probs = []
    for fold in (0, 1):
        held_out = table.loc[table["fold"] == fold, "image_id"].tolist()
        part = load_predictions(out / f"fold{fold}" / "oof.npz", "x")
        assert part.image_ids == held_out
        rows = [oof.image_ids.index(image_id) for image_id in held_out]
        np.testing.assert_array_equal(oof.probs[rows], part.probs)
        test_probs.append(load_predictions(out / f"fold{fold}" / "test.npz", "x").probs)
        assert LinearHead.load(out / f"fold{fold}" / "checkpoint.safetensors").bias.shape == (2,)
    pooled = load_predictions(out / "test.npz", "x").probs
    np.testing.assert_allclose(pooled, (test_probs[0] + test_probs[1]) / 2, atol=1e-7)


def test_a_second_run_changes_nothing(site, capsys):
    run(site)
    before = files(site)
    capsys.readouterr()
    run(site)
    assert files(site) == before
    assert "train demo tiny: up to date" in capsys.readouterr().err


def test_fold_after_fold_equals_a_straight_run(site, straight, capsys):
    run(site, only=[1])
    assert "train demo tiny: folds 0 are still to be trained" in capsys.readouterr().err
    assert set(files(site)) == {
        "config.json", "environment.json", *(f"fold1/{name}" for name in FOLD_FILES),
    }  # fmt: skip
    assert list_results(site[0]) == []
    run(site)
    assert predicted(site) == straight


# Every write ends in an fsync: 2 of the config, 5 of features, 5 a fold, 4 of the results.
SOME_WRITES, OTHER_WRITES = (1, 8, 20), (4, 11, 13, 18)


@pytest.mark.parametrize(
    "num_writes",
    [*SOME_WRITES, *(pytest.param(num, marks=pytest.mark.slow) for num in OTHER_WRITES)],
)
def test_a_run_that_breaks_off_anywhere_goes_on_to_the_same_bytes(
    site, straight, monkeypatch, num_writes
):
    run(site, overrides=["seed=1"])  # something older to be replaced
    fsync, left = os.fsync, iter(range(num_writes))

    def break_off(descriptor):
        if next(left, None) is None:
            raise KeyboardInterrupt("broken off")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", break_off)
        with pytest.raises(KeyboardInterrupt, match="broken off"):
            run(site)
    assert list_results(site[0]) == []
    run(site)
    assert predicted(site) == straight


KILLED = """
import os, signal, sys
fsync, left = os.fsync, iter(range(14))

def die(descriptor):
    if next(left, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    fsync(descriptor)

os.fsync = die
from pipeline.cli import main
main()
"""


@pytest.mark.faults
def test_a_killed_process_leaves_nothing_in_the_way(site, straight):
    paths, competition, path, out = site
    command = ["train", competition.name, "--root", str(paths.root), "--experiment", path]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *command],
        capture_output=True,
        check=False,
    )
    assert done.returncode == -9, done.stderr.decode()
    assert (out / "fold0" / "stamp.json").is_file()
    assert not (out / "fold1" / "stamp.json").exists()
    assert list(out.rglob("*.partial"))  # what was being written
    survived = files(site)["fold0/oof.npz"]
    run(site)
    assert files(site)["fold0/oof.npz"] == survived
    assert predicted(site) == straight


def test_a_changed_override_trains_again(site):
    run(site)
    before = predicted(site)
    run(site, overrides=["head.l2=3"])
    changed = predicted(site)
    assert all(before[name] != changed[name] for name in before)
    config = json.loads((site[3] / "config.json").read_text(encoding="utf-8"))
    assert config["head"]["l2"] == 3


def test_a_changed_description_trains_nothing(site, capsys):
    run(site)
    before = files(site)
    run(site, overrides=["description=new words"])
    assert files(site) == before
    assert capsys.readouterr().err.count("up to date") == 1


def test_results_of_another_config_never_pass_for_the_new_ones(site):
    paths, competition, _, _ = site
    run(site)
    run(site, only=[0], overrides=["head.l2=3"])
    assert list_results(paths) == []
    with pytest.raises(ArtifactError, match="experiment 'tiny': must be one of the complete ones"):
        submit.run(paths, competition, "tiny")


def test_settings_of_a_command_that_was_stopped_are_not_those_of_the_results(site, monkeypatch):
    run(site)
    before = (site[3] / "config.json").read_bytes()

    def stopped(*_: object) -> None:
        raise StoppedError("stopped by Ctrl-C")

    with monkeypatch.context() as patch:
        patch.setattr(experiment_run.ExperimentRun, "_train_fold", stopped)
        with pytest.raises(StoppedError):
            run(site, overrides=["head.l2=3"])
    assert (site[3] / "config.json").read_bytes() != before
    run(site)
    assert (site[3] / "config.json").read_bytes() == before


@pytest.mark.parametrize("split", ["train", "test"])
def test_predictions_of_images_that_were_replaced_since_are_refused_and_stale(site, split, capsys):
    paths, competition, path, _ = site
    run(site)
    train.run(paths, competition, [path], [], ["name=two", "seed=1"])
    ensemble.run(paths, competition, [], "both", "mean")
    submit.run(paths, competition, "both")
    table = getattr(paths, f"{split}_csv")
    rows = {"train": load_train, "test": load_test}[split](paths)
    write_table(rows.assign(sha256="0" * 64), table)
    line = (
        rf"must be of the images of .*{split}\.csv, which changed since; run 'pipeline train demo"
    )
    for name in ("tiny", "both"):
        with pytest.raises(ArtifactError, match=line):
            submit.run(paths, competition, name)
    capsys.readouterr()
    status.run(paths, competition)
    table = [line.split("│") for line in capsys.readouterr().out.splitlines()]
    states = {row[1].strip().rpartition(" ")[2]: row[2].strip() for row in table if len(row) == 5}
    assert [states[name] for name in ("tiny", "two", "both")] == ["stale"] * 3


def test_a_damaged_fold_alone_is_trained_again(site):
    run(site)
    before = files(site)
    (site[3] / "fold1" / "test.npz").write_bytes(b"spoiled")
    run(site)
    after = files(site)
    assert after["fold0/test.npz"] == before["fold0/test.npz"]
    assert after["fold1/test.npz"][0] == before["fold1/test.npz"][0]
    assert after["fold1/test.npz"][1] > before["fold1/test.npz"][1]


def test_a_new_fold_table_trains_again(site):
    paths, competition, _, _ = site
    run(site)
    before = predicted(site)
    paths.folds_csv.unlink()
    folds.run(paths, competition, 3, seed=1)
    run(site)
    after = predicted(site)
    assert "fold2/oof.npz" in after
    assert after["oof.npz"] != before["oof.npz"]


def test_an_unknown_fold_is_refused(site):
    line = rf"^--fold 2: must be a fold of {re.escape(str(site[0].folds_csv))}, 0 to 1$"
    with pytest.raises(ConfigError, match=line):
        run(site, only=[0, 2])
    assert files(site) == {}


def test_a_fault_in_the_last_experiment_stops_before_the_first(site):
    paths, competition, path, _ = site
    with pytest.raises(ConfigError, match=r"^nonesuch: must be one of .*lite0-probe"):
        train.run(paths, competition, [path, "nonesuch"], [], [])
    assert files(site) == {}


FINETUNE = ["method=finetune", "train.epochs=2", "train.batch_size=16"]
LATE_FAULTS = {
    "model.name=timm/nonesuch": "model.name: timm must know the network, knows no 'nonesuch'",
    "train.optimizer.name=timm/adamq": "train.optimizer.name: must name an optimizer of timm, is",
    "train.freeze=layer9": "train.freeze: must be 'none', 'trunk' or the name of a layer, is",
}


@pytest.mark.parametrize("override", LATE_FAULTS)
def test_what_the_last_experiment_cannot_do_stops_before_the_first(site, tmp_path, override):
    paths, competition, path, _ = site
    key, _, value = override.partition("=")
    table, _, name = key.rpartition(".")
    faulty = f'[variants.well]\n[variants.ill.{table}]\n{name} = "{value}"\n'
    both = tmp_path / "both.toml"
    both.write_text(tiny.TOML + faulty, encoding="utf-8")
    with pytest.raises(ConfigError, match=f"^both-ill: {re.escape(LATE_FAULTS[override])}"):
        train.run(paths, competition, [path, str(both)], [], FINETUNE)
    assert not paths.experiment("tiny").experiment_dir.exists()
    assert not paths.experiment("both-well").experiment_dir.exists()


def test_what_is_up_to_date_is_not_checked_again(site, monkeypatch):

    run(site)
    monkeypatch.setattr(prepare_network, "check_trainable", None)
    run(site)


def test_an_unreadable_test_image_gets_the_class_shares_and_is_named(site, capsys):
    paths, competition, _, out = site
    test = load_test(paths)
    readable = test.index[test["width"] > 0]
    test.loc[readable[1], ["width", "height"]] = 0
    write_table(test, paths.test_csv)
    run(site)
    name = test.loc[readable[1], "image_id"]
    err = capsys.readouterr().err
    assert re.search(rf"warning: \d of 8 test images are unreadable and get .*: .*{name}", err)
    predictions = load_predictions(out / "test.npz", "x")
    shares = np.bincount(class_indices(competition, load_train(paths))) / len(load_train(paths))
    row = predictions.probs[predictions.image_ids.index(name)]
    np.testing.assert_allclose(row, shares, atol=1e-6)
    others = predictions.probs[predictions.image_ids.index(test.loc[readable[0], "image_id"])]
    assert np.abs(others - shares).max() > 1e-4


def test_folds_of_other_images_are_refused(site):
    paths = site[0]
    write_table(load_folds(paths).iloc[::-1], paths.folds_csv)
    line = r"must hold the \d+ images of train.csv in its order, holds \d+ others; run 'pipeline"
    with pytest.raises(DataError, match=line):
        run(site)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_without_a_name_the_devices_defaults_are_trained(site, monkeypatch, tmp_path, device):
    paths, competition, path, _ = site
    defaults = {"cpu": (path,), "cuda": (tiny.write_toml(tmp_path / "big.toml"),)}
    experiments = competition.experiments.model_copy(update=defaults)
    trained = []

    class Training:
        def __init__(self, *arguments):
            experiment = arguments[2]
            trained.append(experiment.name)

        def check(self, _):
            pass

    monkeypatch.setattr(train, "pick_device", lambda: torch.device(device))
    monkeypatch.setattr(train, "ExperimentRun", Training)
    monkeypatch.setattr(train, "train_in_pool", lambda *_: None)
    train.run(paths, competition.model_copy(update={"experiments": experiments}), [], [], [])
    assert trained == [Path(defaults[device][0]).stem]


def test_a_fold_that_another_command_is_at_comes_last_and_is_waited_for(
    site, straight, capsys, monkeypatch
):
    out = site[3]
    lock = site[0].experiment("tiny").fold(0).lock
    claimed = try_hold(lock)
    assert claimed
    free = claimed
    there = []

    def sleep(_):
        there.append({stamp.parent.name for stamp in out.glob("fold*/stamp.json")})
        free()

    monkeypatch.setattr("pipeline.store.locks.time", SimpleNamespace(sleep=sleep))
    run(site)
    assert there == [{"fold1"}]
    assert f"fold 0: waiting for another 'pipeline' command, which holds {lock}" in (
        capsys.readouterr().err
    )
    assert predicted(site) == straight


def test_folds_that_another_command_trained_meanwhile_are_only_gathered(
    site, straight, capsys, monkeypatch
):
    claimed = try_hold(site[0].experiment("tiny").fold(1).lock)
    assert claimed
    free = claimed

    def sleep(_):
        free()
        run(site)  # the other command

    monkeypatch.setattr("pipeline.store.locks.time", SimpleNamespace(sleep=sleep))
    run(site)
    assert capsys.readouterr().err.count("val accuracy") == 2  # each fold once
    assert predicted(site) == straight


def test_the_tiny_experiment_is_what_its_file_says():
    assert Experiment(name="tiny", **tomllib.loads(tiny.TOML)) == tiny.experiment()


def test_experiments_of_one_name_are_refused_before_any_is_trained(workspace):
    paths, competition = workspace
    with pytest.raises(ConfigError, match="experiment 'x': every experiment must have a name"):
        train.run(paths, competition, ["lite0-probe", "lite1-probe"], [], ["name=x"])
    assert not paths.experiment("x").experiment_dir.exists()


def test_corrected_labels_reach_training_and_scores(site):
    paths, competition, _, out = site
    train_table = load_train(paths)
    dropped, relabelled = train_table.iloc[0], train_table.iloc[1]
    other = {"cat": "dog", "dog": "cat"}
    rows = [
        [row["image_id"], row["label"], other[row["label"]], "0.1", "0.9", action]
        for row, action in ((dropped, "drop"), (relabelled, "relabel"))
    ]
    corrections = paths.root / "mine.csv"
    write_table(pd.DataFrame(rows, columns=SUSPECT_COLUMNS), corrections)
    folds.run(paths, competition, None, None, str(corrections))
    run(site)
    oof, table = load_predictions(out / "oof.npz", "x"), load_folds(paths)
    assert oof.image_ids == table["image_id"].tolist()
    assert dropped["image_id"] not in oof.image_ids
    label_by_id = dict(zip(table["image_id"], table["label"], strict=True))
    assert label_by_id[relabelled["image_id"]] == other[relabelled["label"]]
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    expected = score("accuracy", class_indices(competition, table), oof.probs)
    assert metrics["oof_score"] == pytest.approx(expected, abs=1e-6)
    for fold in (0, 1):
        history = pd.read_csv(out / f"fold{fold}" / "history.csv")
        assert history["val_accuracy"].iloc[-1] == pytest.approx(metrics["fold_scores"][fold])


def test_a_table_that_decides_nothing_is_told_once_and_only_before_work(site, capsys):
    told = 'tiny: [train] decides nothing where method = "probe"; remove it, or change the method'
    run(site, overrides=["train.epochs=50"])
    assert " ".join(capsys.readouterr().err.split()).count(told) == 1
    run(site, overrides=["train.epochs=50"])
    assert told not in capsys.readouterr().err


def test_a_value_that_decides_nothing_is_told_before_work(site, capsys):
    told = (
        'tiny: model.drop_path decides nothing where method = "probe"; remove it, or change method'
    )
    run(site, overrides=["model.drop_path=0.2"])
    assert " ".join(capsys.readouterr().err.split()).count(told) == 1


def test_another_metric_scores_what_is_trained_anew_and_trains_nothing(site, capsys):
    paths, competition, path, folder = site
    run(site)
    before = files(site)
    ordered = competition.model_copy(
        update={"target": "ordered_classes", "metric": "quadratic_kappa"}
    )
    capsys.readouterr()
    for changed, name in (
        (competition.model_copy(update={"metric": "log_loss"}), "log_loss"),
        (ordered.model_copy(update={"target": "one_class"}), "quadratic_kappa"),
        (ordered, "quadratic_kappa, by thresholds"),
    ):
        for said in ("OOF", "up to date"):
            train.run(paths, changed, [path], [], [])
            assert said in capsys.readouterr().err
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        assert metrics["metric"] == changed.metric
        assert metrics.get("scored_by", changed.metric) == name
    after = files(site)
    again = {"metrics.json", "oof.npz", "test.npz", "stamp.json"}
    assert {name for name in after if after[name][1] != before[name][1]} <= again
    assert predicted(site) == {name: before[name][0] for name in predicted(site)}


def test_an_epoch_that_a_metric_chose_is_chosen_anew_by_another(site):
    paths, competition, *_ = site
    by_loss = competition.model_copy(update={"metric": "log_loss"})
    for keep, is_same in (("last", True), ("best", False)):
        text = FINETUNE_TOML.format(keep=keep)
        experiment = load_experiment(tiny.write_toml(paths.root / f"{keep}.toml", text), [])
        tables = load_tables(paths)
        out = paths.experiment(keep)
        first, other = (
            FoldStamps(paths, one, experiment, tables, out).fold(0).inputs
            for one in (competition, by_loss)
        )
        assert (first == other) is is_same
