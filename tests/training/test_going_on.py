"""No work is thrown away unsaid: what an unfinished training goes on with, and a finished one."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import StoppedError
from pipeline.stages import train
from pipeline.store.predictions import load_predictions
from pipeline.training import engine, experiment_run
from pipeline.training.readback import StateWriter
from tests import tiny

TRAIN = """
method = "finetune"

[views]
flip = false

[train]
epochs = 3
batch_size = 8
save_minutes = 0.0
optimizer = { name = "adam", learning_rate = 0.001 }
"""


@pytest.fixture
def site(workspace):
    """Trains one fold with changes; `stop` breaks it off after so many epochs."""
    paths, competition = workspace
    path = tiny.write_toml(paths.root / "tiny.toml", TRAIN)

    def run(*changes, stop=None):
        with pytest.MonkeyPatch.context() as patch:
            if stop is not None:
                patch.setattr(engine.Engine, "_save", breaking_off(stop))
            try:
                train.run(paths, competition, [path], [0], list(changes))
            except StoppedError:
                assert stop is not None
            else:
                assert stop is None
        return paths.experiment("tiny").fold(0)

    return run


def breaking_off(epoch):
    save = engine.Engine._save

    def save_and_stop(self, progress):
        save(self, progress)
        if progress.epoch == epoch:
            raise StoppedError("as by Ctrl-C")

    return save_and_stop


def said(capsys, pattern):
    return re.findall(pattern, capsys.readouterr().err)


def probs(files):
    return load_predictions(files.oof, "").probs


def epochs(files):
    return len(pd.read_csv(files.history))


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        "train.stop_after=9",
        'train.keep="best"',
        "train.measure_train=true",
        "train.validate_every=2",
    ],
)
def test_what_decides_no_step_may_change_on_the_way(site, capsys, change):
    site(stop=1)
    files = site(change)
    assert said(capsys, "going on after step .*, 1 of 3 epochs are done")
    assert epochs(files) == 3


@pytest.mark.slow
def test_the_steps_are_those_of_a_straight_run(site):
    files = site()
    straight = probs(files)
    shutil.rmtree(files.fold_dir)
    site(stop=2)
    np.testing.assert_array_equal(probs(site("train.stop_after=8")), straight)


@pytest.mark.slow
def test_a_state_that_a_thread_wrote_goes_on_to_the_same(site, monkeypatch):
    expected = probs(site())
    shutil.rmtree(site().fold_dir)
    monkeypatch.setattr(engine, "StateWriter", lambda **_: StateWriter(in_background=True))
    site(stop=2)
    np.testing.assert_array_equal(probs(site()), expected)


def test_best_of_the_rest_is_kept_where_keep_is_changed(site, capsys):
    site(stop=2)
    site('train.keep="best"')
    assert said(capsys, "fold 0: its best epoch is looked for from epoch 3 on, as keep changed")


def test_more_epochs_go_on_and_a_cosine_says_what_differs(site, capsys):
    site(stop=2)
    files = site("train.epochs=5")
    assert said(capsys, "its rates so far were those of 3 epochs, as the schedule 'cosine' ends")
    assert epochs(files) == 5


def test_fewer_epochs_than_are_done_begin_anew_and_say_so(site, capsys):
    site(stop=2)
    assert epochs(site("train.epochs=1")) == 1
    assert said(capsys, "the 2 epochs of its state are more than 1; training from the start")


def test_the_state_of_other_settings_is_kept_and_comes_back(site, capsys):
    site(stop=2)
    files = site("train.optimizer.learning_rate=0.002")
    line = r"holds the unfinished training of other settings \(.*learning_rate 0\.001 -> 0\.002\)"
    assert said(capsys, line)
    assert [path.name for path in files.fold_dir.glob("training*")] != []
    site()
    assert said(capsys, "going on after step .*, 2 of 3 epochs are done")


def test_a_finished_training_is_lengthened_where_its_schedule_allows(site, capsys):
    constant = 'train.schedule.name="constant"'
    straight = probs(site(constant, "train.epochs=5"))
    other = site(constant, "train.epochs=2", "seed=0", 'train.keep="last"')
    assert epochs(other) == 2
    capsys.readouterr()
    files = site(constant, "train.epochs=5")
    assert said(capsys, "going on after step .*, 2 of 5 epochs are done")
    assert epochs(files) == 5
    np.testing.assert_array_equal(probs(files), straight)


@pytest.mark.slow
def test_a_finished_cosine_says_why_it_begins_anew(site, capsys):
    files = site()
    assert not files.training_state.is_file()
    assert epochs(site("train.epochs=4")) == 4
    line = "fold 0: is finished and can't go on with another train.epochs, as the schedule 'cosine'"
    assert said(capsys, line)
    site("train.epochs=4", 'train.keep="best"')
    assert said(capsys, "can't go on with another train.keep, as the schedule 'cosine' has ended")


@pytest.mark.slow
def test_replacing_a_finished_training_is_said(site, capsys):
    site()
    site("train.loss.label_smoothing=0.1")
    line = r"fold 0: replaces the training of other settings \(train\.loss\.label_smoothing\)"
    assert said(capsys, line)


def test_what_a_command_killed_right_after_the_stamp_left_is_removed_by_the_next(site):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment_run, "close_state", lambda *_, **__: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            site()
    files = site()
    assert not files.training_state.is_file()
    assert not files.training_history.is_file()
    assert not list(files.fold_dir.glob("training*"))


def test_an_unfinished_training_of_other_settings_outlives_a_finished_one_being_asked_for(site):
    probabilities = probs(site())
    site("seed=3", stop=1)
    files = site()
    np.testing.assert_array_equal(probs(files), probabilities)
    assert files.training_state.is_file()
    assert files.training_history.is_file()
