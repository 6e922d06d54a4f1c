"""Workers that share a study in a real PostgreSQL."""

import threading
import time
from typing import Any

import pytest
from optuna.trial import TrialState

from pipeline.tuning import study as studies
from pipeline.tuning.study import BASELINE, open_study
from pipeline.tuning.trials import WORKER
from pipeline.tuning.worker import Limits, run_worker, run_workers
from tests import postgres
from tests.needs import needs
from tests.tuning.conftest import make

PROGRAMS = postgres.find_programs()
pytestmark = needs("postgresql", is_there=PROGRAMS is not None)


@pytest.fixture(scope="module")
def url():
    assert PROGRAMS is not None
    with postgres.running_server(PROGRAMS) as url:
        yield url


@pytest.fixture
def search(workspace, tmp_path, url):
    return make(workspace, tmp_path, url=url, asked_name=tmp_path.name)


def test_a_study_goes_on_from_another_command(search):
    run_worker(search, Limits(2))
    run_worker(search, Limits(4))
    trials = open_study(search).trials
    assert len(trials) == 4
    assert trials[0].user_attrs[BASELINE]
    assert not list(search.paths.studies_dir.glob("*.log"))


@pytest.mark.slow
def test_a_silent_worker_of_another_machine_loses_its_trial_to_the_next(search, monkeypatch):
    monkeypatch.setattr(studies, "HEARTBEAT_SECONDS", 1)
    monkeypatch.setattr(studies, "SILENCE_SECONDS", 2)
    study = open_study(search)
    with pytest.warns(UserWarning, match="supposed to be used with Study.optimize"):
        lost = study.ask()  # as another machine's worker would
    lost.set_user_attr(WORKER, ["another-machine", 1, 1.0])
    lost.suggest_float("head.l2", 0.001, 3.0, log=True)
    record: Any = study._storage
    record.record_heartbeat(lost._trial_id)
    time.sleep(3)
    run_worker(search, Limits(2))
    trials = open_study(search).trials
    assert trials[0].state == TrialState.FAIL
    complete = [trial for trial in trials if trial.user_attrs.get(BASELINE)][-1]
    assert complete.state == TrialState.COMPLETE
    assert complete.params["head.l2"] == lost.params["head.l2"]


@pytest.mark.faults
def test_two_workers_share_a_study_without_a_duplicate_or_lost_trial(search):
    run_workers(search, Limits(12), 2)
    trials = open_study(search).trials
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert len(trials) == 12
    assert len({tuple(trial.params.items()) for trial in trials}) == 12
    assert len({trial.user_attrs[WORKER][1] for trial in trials}) == 2


# Threads share one list of filters, and put back what they found of it.
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_two_commands_that_begin_at_once_make_one_study(search):
    opened, threads = [], []
    for _ in range(2):
        thread = threading.Thread(target=lambda: opened.append(open_study(search)))
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join()
    assert len(opened) == 2
    assert [trial.user_attrs for trial in opened[0].trials] == [{BASELINE: True}]
