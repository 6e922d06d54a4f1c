"""Studies on the disk: begun once, gone on with, and rid of dead workers."""

import os
import platform
import subprocess

import optuna
import psutil
import pytest
from optuna.trial import TrialState

from pipeline.errors import ArtifactError, ConfigError
from pipeline.tuning.study import BASELINE, _storage, open_study
from pipeline.tuning.trials import (
    ATTEMPT,
    COMMAND,
    MAX_ATTEMPTS,
    STREAM,
    WORKER,
    count_taken,
    enqueue_orphans,
    failure_reason,
    record_worker,
    stream_number,
)
from tests.tuning.conftest import SPACE, make


def dead_worker():
    """Who ran a trial and is no more."""
    process = subprocess.Popen(["true"])
    process.wait()
    return [platform.node(), process.pid, 1.0]


def test_the_experiment_as_it_stands_is_the_first_trial_and_only_once(search):
    open_study(search)
    study = open_study(search)
    assert [(trial.state, trial.user_attrs) for trial in study.trials] == [
        (TrialState.WAITING, {BASELINE: True})
    ]
    first = study.ask()
    assert (first.suggest_float("head.l2", 0.001, 3.0, log=True)) == 0.03
    assert first.suggest_int("views.num_augmented", 0, 1) == 1


def test_other_data_or_another_space_is_another_study(search, tmp_path):
    wider = make((search.paths, search.competition), tmp_path, SPACE.replace("3.0", "4.0"))
    assert wider.study_name != search.study_name
    again = make((search.paths, search.competition), tmp_path, "description = 'new'\n" + SPACE)
    assert again.study_name == search.study_name


def test_a_study_of_another_search_is_refused(search, tmp_path):
    named = make((search.paths, search.competition), tmp_path, asked_name="mine")
    open_study(named)
    space = SPACE.replace("3.0", "4.0")
    other = make((search.paths, search.competition), tmp_path, space, asked_name="mine")
    with pytest.raises(ConfigError, match=r"^study 'mine': must be of this .* --study$"):
        open_study(other)


def test_a_dead_worker_s_trial_is_tried_again_and_counts_once(search):
    study = open_study(search)
    trial = study.ask()
    trial.suggest_float("head.l2", 0.001, 3.0, log=True)
    trial.set_user_attr(WORKER, dead_worker())
    assert count_taken(study) == 1
    assert enqueue_orphans(study, is_alone=True) == 1
    assert count_taken(study) == 0
    retried = study.ask()
    assert retried.suggest_float("head.l2", 0.001, 3.0, log=True) == trial.params["head.l2"]
    assert retried.user_attrs == {BASELINE: True, ATTEMPT: 1, STREAM: 0}


def test_a_living_worker_keeps_its_trial(search):
    study = open_study(search)
    record_worker(study.ask())
    assert enqueue_orphans(study, is_alone=True) == 0
    assert study.trials[0].state == TrialState.RUNNING


def test_a_number_that_another_process_has_now_is_a_dead_worker_s(search):
    study = open_study(search)
    study.ask().set_user_attr(WORKER, [platform.node(), os.getppid(), 1.0])
    assert enqueue_orphans(study, is_alone=True) == 1


def test_a_clock_that_was_set_kills_no_worker(search, monkeypatch):
    study = open_study(search)
    record_worker(study.ask())
    create_time, boot_time = psutil.Process.create_time, psutil.boot_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: create_time(self) + 3600)
    monkeypatch.setattr(psutil, "boot_time", lambda: boot_time() + 3600)
    assert enqueue_orphans(study, is_alone=True) == 0


def test_a_command_with_the_number_of_a_killed_one_is_not_taken_for_it(search):
    study = open_study(search)
    study.ask().set_user_attr(WORKER, [platform.node(), os.getpid(), 1.0, 1.0])
    assert enqueue_orphans(study, is_alone=True) == 1


def test_another_machine_s_worker_is_not_judged_from_here(search):
    study = open_study(search)
    study.ask().set_user_attr(WORKER, ["another-machine", 1, 1.0])
    assert enqueue_orphans(study, is_alone=True) == 0


def test_a_worker_killed_before_it_said_who_it_is_is_dead_if_all_are_here(search):
    study = open_study(search)
    study.ask()
    assert enqueue_orphans(study, is_alone=False) == 0
    assert enqueue_orphans(study, is_alone=True) == 1


def test_a_trial_that_kills_every_worker_is_given_up(search):
    study = open_study(search)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        trial = study.ask()
        record_worker(trial)  # by a worker of this very command, which lives
        trial.set_user_attr(WORKER, dead_worker())
        assert enqueue_orphans(study, is_alone=True) == (attempt < MAX_ATTEMPTS)
    assert count_taken(study) == 1
    assert failure_reason(study.trials[0]) == "its worker was killed or stopped; tried again"
    assert failure_reason(study.trials[-1]).startswith("its worker was killed 3 times")
    assert [trial.state for trial in study.trials] == [TrialState.FAIL] * MAX_ATTEMPTS


def test_a_trial_whose_command_is_killed_again_and_again_is_never_given_up(search):
    study = open_study(search)
    for _ in range(2 * MAX_ATTEMPTS):
        trial = study.ask()
        trial.set_user_attr(COMMAND, dead_worker()[1:])
        trial.set_user_attr(WORKER, dead_worker())
        assert enqueue_orphans(study, is_alone=True) == 1
    assert count_taken(study) == 0


def test_a_trial_tried_again_takes_no_stream_from_later_ones(search):
    study = open_study(search)
    study.tell(study.ask(), 0.5)
    trial = study.ask()
    trial.set_user_attr(WORKER, dead_worker())
    enqueue_orphans(study, is_alone=True)
    again, later = study.ask(), study.ask()
    assert (again.number, later.number) == (2, 3)
    frozen = study.get_trials(deepcopy=False)
    assert [stream_number(study, frozen[place]) for place in (0, 2, 3)] == [0, 1, 2]


def test_a_trial_whose_worker_was_killed_before_it_was_queued_again_is_queued(search):
    study = open_study(search)
    study.tell(study.ask(), state=TrialState.FAIL)
    assert enqueue_orphans(study, is_alone=True) == 1
    assert enqueue_orphans(study, is_alone=True) == 0
    assert study.trials[-1].state == TrialState.WAITING


def test_a_study_whose_maker_was_killed_gets_its_first_trial(search):
    storage = _storage(search)
    name = f"{search.competition.name}/{search.study_name}"
    optuna.create_study(storage=storage, study_name=name, direction="maximize")
    for _ in range(2):
        study = open_study(search)
        assert [trial.user_attrs for trial in study.trials] == [{BASELINE: True}]


@pytest.mark.parametrize("half", [b"{", b'{"op_code": 9', b"x" * 200_000])
def test_half_a_line_that_a_full_disk_left_is_cut_off(search, half):
    open_study(search)
    path = search.paths.study_journal(search.study_name)
    whole = path.read_bytes()
    path.write_bytes(whole + half)
    study = open_study(search)
    study.tell(study.ask(), 0.5)
    assert path.read_bytes().startswith(whole + b"{")
    assert [trial.value for trial in open_study(search).trials] == [0.5]


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("sqlite:///x.db", ConfigError, r"^--storage: must be a database .*SQLite locks"),
        ("nonsense", ConfigError, r"^--storage: must be like postgresql\+psycopg://"),
        ("postgresql+none://x/y", ConfigError, r"^--storage: "),
        (
            "postgresql+psycopg://x@127.0.0.1:1/y",
            ArtifactError,
            r"^--storage: the database must answer, .*refused",
        ),
    ],
)
def test_a_storage_that_cannot_be_used_gives_its_line(search, tmp_path, url, error, message):
    with pytest.raises(error, match=message):
        open_study(make((search.paths, search.competition), tmp_path, url=url))
