"""The stage `tune` on the drawn demo: what it finds, keeps, goes on with and says."""

import pickle
import signal
import threading
import time

import numpy as np
import optuna
import pandas as pd
import psutil
import pytest
import torch
from filelock import FileLock
from optuna.trial import TrialState

from pipeline.errors import ArtifactError, ConfigError, StoppedError
from pipeline.stages import ensemble, train, tune
from pipeline.stages.tune import Options
from pipeline.store.results import list_results
from pipeline.training import fold_jobs
from pipeline.training.probe import Probe
from pipeline.training.ray_cluster import PoolOptions
from pipeline.tuning import worker
from tests import tiny

SPACE = """
[tune]
head.l2 = { low = 0.001, high = 3.0, log = true }
views.num_augmented = { low = 0, high = 1 }
"""
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


@pytest.fixture
def site(workspace, tmp_path):
    """Paths, competition and the experiment's file."""
    return *workspace, tiny.write_toml(tmp_path / "tiny.toml", SPACE)


def run(site, num_trials=4, **options):
    paths, competition, path = site
    tune.run(paths, competition, path, [], Options(num_trials, **options))


def trials_of(site):
    """The trials of the one study."""
    (journal,) = site[0].studies_dir.glob("*.log")
    backend = optuna.storages.journal.JournalFileBackend(str(journal))
    storage = optuna.storages.JournalStorage(backend)
    return optuna.load_study(study_name=None, storage=storage).trials


def ended(site):
    return [trial for trial in trials_of(site) if trial.state in ENDED]


def test_the_best_values_are_trained_and_reproduce_their_score(site, capsys):
    run(site)
    paths, competition, _ = site
    (result,) = list_results(paths)
    best = max((one for one in ended(site) if one.state == ENDED[0]), key=lambda one: one.value)
    assert result.name == "tiny-tuned"
    assert result.metrics["oof_score"] == pytest.approx(best.value, abs=1e-6)
    assert result.config["head"]["l2"] == best.params["head.l2"]
    out = paths.experiment("tiny-tuned")
    written = {path.name for path in out.experiment_dir.iterdir()}
    names = ("history", "parallel_coordinate", "slice")
    assert {"best.toml", "trials.csv", *(f"tuning_{name}.png" for name in names)} <= written
    assert out.tuning_picture("history").read_bytes().startswith(b"\x89PNG")
    told = capsys.readouterr()
    assert "tune demo tiny: best of 4 trials" in told.out
    train.run(paths, competition, [str(out.best_toml)], [], [])
    assert "train demo tiny-tuned: up to date" in capsys.readouterr().err


def test_an_experiment_that_cannot_be_trained_is_refused_before_the_study_is_made(site):
    paths, competition, path = site
    faulty = ["method=finetune", "train.optimizer.name=timm/adamq"]
    with pytest.raises(ConfigError, match=r"^tiny: train\.optimizer\.name: must name an optimizer"):
        tune.run(paths, competition, path, faulty, Options(2))
    assert not paths.studies_dir.exists()


def test_workers_of_two_kinds_and_a_journal_of_several_machines_are_refused(site):
    with pytest.raises(ConfigError, match=r"^--workers: must be left out beside --gpus and --ray"):
        run(site, num_workers=2, pool=PoolOptions("all"))
    with pytest.raises(ConfigError, match=r"^--ray auto: must be given with --storage, as the mac"):
        run(site, pool=PoolOptions(address="auto"))


def test_workers_that_are_dealt_run_the_trials_of_one_study(site, monkeypatch):
    titles = []

    class Pool:
        """Runs the jobs that it is given here, as they arrive in other processes."""

        def __init__(self, *_):
            pass

        def run(self, jobs_for):
            for job in pickle.loads(pickle.dumps(jobs_for(2))):
                titles.append(job.title)
                assert job.log.is_absolute()
                job.run()

    monkeypatch.setattr(worker, "JobPool", Pool)
    monkeypatch.setattr(fold_jobs, "JobPool", Pool)
    monkeypatch.setattr("pipeline.training.ray_cluster.is_installed", lambda _: True)
    run(site, 3, pool=PoolOptions("all"))
    assert [one.state for one in trials_of(site)] == [TrialState.COMPLETE] * 3
    assert titles[:2] == ["tune demo tiny worker 0", "tune demo tiny worker 1"]
    assert titles[2:] == ["train demo tiny-tuned fold 0", "train demo tiny-tuned fold 1"]


def test_the_first_trial_is_the_experiment_as_it_stands(site):
    run(site, 2)
    paths, competition, path = site
    train.run(paths, competition, [path], [], [])
    plain = next(one for one in list_results(paths) if one.name == "tiny")
    assert trials_of(site)[0].value == pytest.approx(plain.metrics["oof_score"], abs=1e-6)
    assert trials_of(site)[0].params == {"head.l2": 0.03, "views.num_augmented": 1}


def test_a_second_run_goes_on_to_what_an_unbroken_one_tries(site, capsys):
    run(site, 2)
    first = [trial.params for trial in trials_of(site)]
    run(site, 4)
    both = [trial.params for trial in trials_of(site)]
    assert both[:2] == first
    assert len(both) == 4
    capsys.readouterr()
    run(site, 4)
    told = capsys.readouterr().err
    assert "tune demo tiny: up to date" in told
    assert ": trial " not in told
    for journal in site[0].studies_dir.glob("*.log"):
        journal.unlink()
    run(site, 4)
    assert [trial.params for trial in trials_of(site)] == both


def test_features_are_computed_once_for_all_trials(site, monkeypatch):
    made = []
    build = Probe.__init__

    def count(self, *arguments, **options):
        made.append(self)
        build(self, *arguments, **options)

    monkeypatch.setattr(Probe, "__init__", count)
    run(site, 6)
    assert len(made) <= 3  # two sets of views, and the training of the best


def test_ctrl_c_ends_after_the_fold_and_its_trial_is_tried_again(site, monkeypatch):
    fit, fitted = Probe.fit_fold, []

    def interrupted(self, task):
        fitted.append(task.fold)
        if len(fitted) == 3:  # the second trial's first fold
            signal.raise_signal(signal.SIGINT)
        return fit(self, task)

    monkeypatch.setattr(Probe, "fit_fold", interrupted)
    with pytest.raises(StoppedError, match=r"^tune demo tiny: stopped by Ctrl-C; the same command"):
        run(site, 3)
    assert fitted == [0, 1, 0]
    states = [trial.state for trial in trials_of(site)]
    assert states == [TrialState.COMPLETE, TrialState.FAIL, TrialState.WAITING]
    run(site, 3)
    trials = trials_of(site)
    assert [trial.state.name for trial in trials if trial.state not in ENDED] == ["FAIL"]
    assert trials[2].params == trials[1].params
    assert len(ended(site)) == 3


def test_no_trial_begins_after_the_time_is_over(site):
    with pytest.raises(ArtifactError, match=r"none was begun; .* a longer --timeout"):
        run(site, 50, timeout=-1.0)
    assert [trial.state for trial in trials_of(site)] == [TrialState.WAITING]


@pytest.mark.slow
def test_what_cannot_be_trained_is_a_trial_with_a_reason(workspace, tmp_path, capsys):
    text = """
method = "finetune"
train = { epochs = 1, batch_size = 16 }
views = { flip = false, recipe = "none" }
[tune]
train.optimizer.learning_rate = { choices = [0.001, 1e30] }
"""
    path = tiny.write_toml(tmp_path / "tiny.toml", text)
    site = (*workspace, path)
    run(site, 5)
    failed = [trial for trial in trials_of(site) if trial.state == TrialState.FAIL]
    assert failed
    assert all("finite" in trial.user_attrs["reason"] for trial in failed)
    assert "failed" not in capsys.readouterr().err
    table = pd.read_csv(workspace[0].experiment("tiny-tuned").trials)
    assert list(table["state"])[-1] == "fail"


def test_a_trial_that_runs_out_of_memory_has_that_for_its_reason(site, monkeypatch):
    fit = Probe.fit_fold

    def starve_gpu():
        raise RuntimeError("CUDA error: out of memory\nCompile with `TORCH_USE_CUDA_DSA`")

    too_much = {1: lambda: torch.empty(2**50), 2: lambda: np.empty(2**50), 3: starve_gpu}

    def starved(self, task):
        number = len(trials_of(site)) - 1
        if number in too_much:
            too_much[number]()
        return fit(self, task)

    monkeypatch.setattr(Probe, "fit_fold", starved)
    run(site, 5)
    reasons = {one.number: one.user_attrs["reason"] for one in trials_of(site) if one.value is None}
    assert all(reasons[number].startswith("out of memory: ") for number in too_much)
    table = pd.read_csv(site[0].experiment("tiny-tuned").trials)
    assert sum(table["reason"].fillna("").str.startswith("out of memory")) == 3


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("shapes don't match\nat"),
        *(pytest.param(one, marks=pytest.mark.slow) for one in (KeyError("fc"), OSError(5))),
    ],
)
def test_whatever_a_trial_raises_is_its_reason_and_the_study_goes_on(site, monkeypatch, error):
    fit = Probe.fit_fold

    def broken(self, task):
        if len(trials_of(site)) == 2:
            raise error
        return fit(self, task)

    monkeypatch.setattr(Probe, "fit_fold", broken)
    run(site, 3)
    told = {RuntimeError: "RuntimeError: shapes don't match", KeyError: "KeyError: 'fc'"}
    reason = trials_of(site)[1].user_attrs["reason"]
    assert reason == told.get(type(error), "OSError: 5")
    assert len(ended(site)) == 2


def test_a_finite_space_is_tried_once_point_by_point_and_then_ends(workspace, tmp_path, capsys):
    space = """
[tune]
head.kind = { choices = ["logistic", "lda"] }
head.max_steps = { low = 100, high = 200, step = 50, when = { head.kind = "logistic" } }
"""
    site = (*workspace, tiny.write_toml(tmp_path / "tiny.toml", space))
    run(site, 2)
    run(site, 30)
    points = [tuple(trial.params.items()) for trial in ended(site)]
    assert len(points) == len(set(points)) == 4
    assert "tune demo tiny: all 4 points of [tune] were tried" in capsys.readouterr().err


def test_a_study_s_name_that_leaves_its_folder_is_refused(site):
    for name in ("../out", "a/b", "..", "", ".x"):
        with pytest.raises(ConfigError, match=r"^--study .*: must be letters, digits"):
            run(site, study=name)
    assert not site[0].studies_dir.exists()


def test_what_no_trial_would_use_is_no_parameter(workspace, tmp_path):
    space = "[tune]\ntrain.epochs = { low = 1, high = 10 }\n"
    site = (*workspace, tiny.write_toml(tmp_path / "tiny.toml", space))
    with pytest.raises(
        ConfigError, match=r"'train\.epochs' doesn't where method = \"probe\"; remov"
    ):
        run(site)
    assert not site[0].studies_dir.exists()


def test_where_nothing_better_is_found_the_line_says_so(workspace, tmp_path, capsys):
    space = "[tune]\nhead.max_steps = { low = 199, high = 200 }\n"  # changes no prediction
    site = (*workspace, tiny.write_toml(tmp_path / "tiny.toml", space))
    run(site, 2)
    assert "tune demo tiny: nothing better found in 2 trials than the" in capsys.readouterr().out
    paths, competition, path = site
    train.run(paths, competition, [path], [], [])
    ensemble.run(paths, competition, [], "ensemble", "mean")
    assert "tiny-tuned: the same values and seed as tiny, counted once" in capsys.readouterr().err


def test_where_every_trial_fails_the_last_reason_is_told(workspace, tmp_path):
    text = """
method = "finetune"
train = { epochs = 1, batch_size = 16, optimizer = { learning_rate = 1e30 } }
views = { flip = false, recipe = "none" }
[tune]
train.optimizer.learning_rate = { low = 1e29, high = 1e30 }
"""
    path = tiny.write_toml(tmp_path / "tiny.toml", text)
    with pytest.raises(ArtifactError, match=r"none of 1 did; the last: .*finite"):
        run((*workspace, path), 1)


def test_an_experiment_without_a_space_is_refused(workspace, tmp_path):
    path = tiny.write_toml(tmp_path / "tiny.toml")
    with pytest.raises(ConfigError, match=r"^experiment 'tiny': must have a table \[tune\]"):
        run((*workspace, path))


def test_an_unknown_sampler_is_refused(site):
    with pytest.raises(ConfigError, match=r"^--sampler best: must be one of tpe, gp, random$"):
        run(site, sampler="best")


@pytest.mark.faults
def test_workers_share_a_study_and_one_that_is_killed_costs_its_trial_at_most(site):
    killed: list[int] = []

    def kill_one():
        while not killed:
            time.sleep(0.05)
            running = [one for one in _trials_or_none(site) if one.state == TrialState.RUNNING]
            pids = [one.user_attrs["worker"][1] for one in running if "worker" in one.user_attrs]
            if pids and len(ended(site)) >= 2:
                psutil.Process(pids[0]).kill()
                killed.append(pids[0])

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    run(site, 16, num_workers=2)
    killer.join(timeout=1)
    assert killed
    trials = ended(site)
    assert len(trials) == 16
    assert len({tuple(trial.params.items()) for trial in trials}) == 16
    assert not [one for one in trials_of(site) if one.state == TrialState.RUNNING]
    assert killed[0] not in {one.user_attrs["worker"][1] for one in trials_of(site)[-2:]}


def _trials_or_none(site):
    try:
        return trials_of(site)
    except (ValueError, KeyError):  # no study yet
        return []


@pytest.mark.slow
def test_a_trial_that_another_command_ends_meanwhile_is_selected_too(site):
    run(site, 2)
    (journal,) = site[0].studies_dir.glob("*.log")
    first = trials_of(site)[0]
    is_held = threading.Event()

    def end_a_better_trial() -> None:
        backend = optuna.storages.journal.JournalFileBackend(str(journal))
        storage = optuna.storages.JournalStorage(backend)
        with FileLock(site[0].tuned_lock("tiny")):
            is_held.set()
            time.sleep(1)  # by now the other has found that there are trials enough
            optuna.load_study(study_name=None, storage=storage).add_trial(
                optuna.trial.create_trial(
                    value=2.0,
                    params={**first.params, "head.l2": 0.5},
                    distributions=first.distributions,
                    user_attrs=first.user_attrs,
                )
            )

    another = threading.Thread(target=end_a_better_trial)
    another.start()
    is_held.wait()
    run(site, 2)
    another.join()
    best = site[0].experiment("tiny-tuned").best_toml.read_text(encoding="utf-8")
    assert "l2 = 0.5" in best


def test_what_train_would_refuse_is_a_trial_s_reason_in_the_words_of_train(workspace, tmp_path):
    text = """
method = "finetune"
train = { epochs = 1, batch_size = 16, micro_batch_size = 16 }
views = { flip = false, recipe = "none" }
[tune]
train.micro_batch_size = { choices = [1, 16] }
"""
    site = (*workspace, tiny.write_toml(tmp_path / "tiny.toml", text))
    run(site, 4)
    failed = [trial for trial in trials_of(site) if trial.state == TrialState.FAIL]
    (reason,) = (trial.user_attrs["reason"] for trial in failed)
    assert "train.batch_size and train.micro_batch_size: must be 2 at least" in reason
    assert reason.endswith("choose 2, or freeze_batch_norm")
