"""How jobs are dealt, by a Ray that is played: slots answer at once what a test says."""

import os
import pickle
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

from pipeline.errors import ArtifactError, ConfigError, DataError, KilledError, StoppedError
from pipeline.training import fold_jobs, job_pool, ray_cluster
from pipeline.training.fold_jobs import train_in_pool
from pipeline.training.job_pool import JobPool
from pipeline.training.ray_cluster import Outcome, PoolOptions
from tests.training.played_jobs import fail, fork_and, print_process

ROOT = Path(__file__).parents[2]


Answer = Callable[[int, str], Outcome]  # fold and place → how the job ends

DONE = Outcome(0, "", {})
KILLED = Outcome(-9, "", {})
BROKEN = Outcome(1, "Traceback\ntorch.AcceleratorError: CUDA error: an illegal memory access\n", {})


@dataclass(frozen=True)
class Job:
    """Of a fold, whose files are said to be good or not."""

    fold: int
    log: Path
    max_attempts = 3
    brings = None

    @property
    def title(self):
        return f"train demo tiny fold {self.fold}"

    def run(self):
        raise NotImplementedError

    def take(self, outcome):
        if outcome.files:
            raise DataError("fold2: must be brought back whole, isn't")


class LostError(Exception):
    """As Ray's, of a worker or a machine that is gone."""


class Ray(ModuleType):
    """Plays the parts of Ray that are used; GPUs that are free are taken in order."""

    exceptions = SimpleNamespace(RayError=LostError)

    def __init__(self, answer: Answer, num_gpus: int) -> None:
        super().__init__("ray")
        self.answer = answer
        self.num_gpus = num_gpus
        self.free = [f"GPU {number}" for number in range(num_gpus)]
        self.ran: list[tuple[int, str]] = []
        self.stopped: list[str] = []
        self.options: dict[str, Any] = {}
        self.asked: list[Callable[[], Any]] = []

    def init(self, **options):
        self.options = options

    def shutdown(self):
        pass

    def cluster_resources(self):
        return {"CPU": 4.0, "GPU": float(self.num_gpus)}

    def remote(self, _):
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=self.make_slot))

    def make_slot(self, environment):
        place = self.free.pop(0)

        def run(content, log, _):
            job: Job = pickle.loads(content)
            assert log == job.log
            self.ran.append((job.fold, place))
            return self.make_ref(lambda: self.answer(job.fold, place))

        def stop():
            self.stopped.append(place)

        slot = SimpleNamespace(place=place, environment=environment)
        slot.where = SimpleNamespace(remote=lambda: self.make_ref(lambda: place))
        slot.run = SimpleNamespace(remote=run)
        slot.stop = SimpleNamespace(remote=stop)
        return Slot(slot)

    def make_ref(self, answer):
        self.asked.append(answer)
        return len(self.asked) - 1

    def wait(self, refs, **_):
        return [min(refs)], []  # what was asked first is answered first

    def get(self, ref):
        return self.asked[ref]()


class Slot:
    """Hashable, as Ray's handles are."""

    def __init__(self, parts: SimpleNamespace) -> None:
        vars(self).update(vars(parts))


def played() -> Any:
    return sys.modules["ray"]


@pytest.fixture
def deal(monkeypatch, tmp_path):
    """Deal folds to GPUs that answer as told; returns the Ray that was played."""
    monkeypatch.setattr(PoolOptions, "gpu_numbers", lambda _: [0, 1])

    def run(answer: Answer, num_folds: int = 5, num_gpus: int = 2) -> Ray:
        ray = Ray(answer, num_gpus)
        monkeypatch.setitem(sys.modules, "ray", ray)
        jobs = [Job(fold, tmp_path / f"tiny-fold{fold}.log") for fold in range(num_folds)]
        JobPool("train", PoolOptions("0,1")).run(lambda _: jobs)
        return ray

    return run


def test_every_fold_is_dealt_once_and_told(deal, capsys):
    ray = deal(lambda *_: DONE)
    assert sorted(fold for fold, _ in ray.ran) == [0, 1, 2, 3, 4]
    assert {place for _, place in ray.ran} == {"GPU 0", "GPU 1"}
    assert ray.options["num_gpus"] == 2
    said = capsys.readouterr().err
    assert "train demo tiny fold 4: done on" in said
    assert "5 of 5 jobs" in said


def test_a_job_whose_process_was_killed_is_tried_three_times(deal):
    deaths = iter([KILLED, KILLED])
    ray = deal(lambda fold, _: next(deaths, DONE) if fold == 1 else DONE)
    assert [fold for fold, _ in ray.ran].count(1) == 3
    line = r"^train demo tiny fold 1: was tried 3 times; at last its process was killed by signal 9"
    with pytest.raises(ArtifactError, match=line):
        deal(lambda fold, _: KILLED if fold == 1 else DONE)


def test_a_job_whose_readers_were_killed_is_tried_again(deal, capsys):
    deaths = iter([Outcome(ray_cluster.KILLED, "error: reading images: one was killed\n", {})])
    ray = deal(lambda fold, _: next(deaths, DONE) if fold == 1 else DONE)
    assert [fold for fold, _ in ray.ran].count(1) == 2
    assert "reading images: one was killed; trying again" in capsys.readouterr().err


@pytest.fixture
def do(monkeypatch, tmp_path):
    """Have a slot's process do jobs that are the work of a callable."""
    monkeypatch.chdir(ROOT)
    slot = ray_cluster.Slot({})

    def run(work: Callable[..., object], *words: object) -> Outcome:
        return slot.run(pickle.dumps(SimpleNamespace(run=partial(work, *words))), tmp_path / "log")

    yield run
    slot.close()


def said(outcome: Outcome) -> str:
    assert outcome.code == 0, outcome.said
    return outcome.said.strip()


def test_a_process_stays_for_the_next_job_and_each_has_a_log_of_its_own(do):
    first, second = (said(do(print_process)) for _ in range(2))
    assert first == second != str(os.getpid())


def test_after_a_job_that_failed_the_next_has_a_fresh_process(do):
    first = said(do(print_process))
    for error, code in (
        (KilledError("one was killed"), ray_cluster.KILLED),
        (StoppedError("stopped"), 130),
        (DataError("train.csv: must be there"), 1),
    ):
        assert do(fail, error) == Outcome(code, f"error: {error}\n", {})
    assert said(do(print_process)) != first


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (partial(os._exit, 0), 1),
        (partial(os._exit, 3), 3),
        (partial(signal.raise_signal, signal.SIGKILL), -9),
    ],
)
def test_a_process_that_ends_without_an_answer_fails_its_job_at_once(end, code, do):
    ended = do(fork_and, end)
    orphan = psutil.Process(int(ended.said))
    assert orphan.is_running()
    orphan.kill()
    assert ended.code == code
    assert said(do(print_process))


def test_a_worker_that_is_gone_is_replaced_and_its_job_tried_again(deal):
    deaths = iter([LostError("The actor died")])

    def answer(fold, place):
        if fold == 0 and (death := next(deaths, None)):
            played().free.append(place)  # its GPU is free again
            raise death
        return DONE

    ray = deal(answer)
    assert [fold for fold, _ in ray.ran].count(0) == 2
    assert {fold for fold, _ in ray.ran} == {0, 1, 2, 3, 4}


def test_a_gpu_that_fails_twice_gets_no_more_jobs(deal, capsys):
    ray = deal(lambda _, place: BROKEN if place == "GPU 0" else DONE, num_folds=8)
    assert [place for _, place in ray.ran].count("GPU 0") == 2
    assert {fold for fold, place in ray.ran if place == "GPU 1"} == set(range(8))
    assert "GPU 0: failed 2 times and gets no more jobs" in capsys.readouterr().err


def test_where_every_gpu_fails_that_is_said(deal):
    with pytest.raises(ArtifactError, match=r"^train: a GPU must be left that works, GPU 0, GPU 1"):
        deal(lambda *_: BROKEN, num_folds=8)


def test_an_error_that_trying_again_does_not_mend_ends_the_dealing(deal):
    said = Outcome(
        1, "a line\nerror: train.csv: must be there, isn't; run 'pipeline prepare'\n", {}
    )
    line = r"^train demo tiny fold 0: train\.csv: must be there, .+; its log is .+tiny-fold0\.log$"
    with pytest.raises(ArtifactError, match=line):
        deal(lambda fold, _: said if fold == 0 else DONE)
    assert len(played().ran) == 2  # what had begun


def test_ctrl_c_reaches_every_job_and_none_is_begun_after_it(deal, monkeypatch):
    asked: list[int] = []

    class Interrupt:
        def __enter__(self):
            return lambda: bool(asked)

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(job_pool, "deferred_interrupt", Interrupt)

    def answer(fold, _):
        if not asked:
            asked.append(fold)
            return DONE
        return Outcome(130, "error: fold 1: stopped by Ctrl-C, and saved\n", {})

    with pytest.raises(StoppedError, match="stopped by Ctrl-C, and saved; the same command goes"):
        deal(answer)
    assert set(played().stopped) == {"GPU 0", "GPU 1"}
    assert len(played().ran) == 3


def test_without_ray_one_line_says_how_to_get_it_and_folds_go_one_by_one(monkeypatch, capsys):
    trained = []
    monkeypatch.setattr(ray_cluster, "is_installed", lambda _: False)
    monkeypatch.setattr(fold_jobs, "train_all", lambda runs, folds: trained.append((runs, folds)))
    train_in_pool([], [1], PoolOptions("all"))
    assert trained == [([], [1])]
    assert "python -m pip install ray'" in capsys.readouterr().err
    train_in_pool([], [2], PoolOptions())
    assert (trained[1], capsys.readouterr().err) == (([], [2]), "")


def test_gpus_are_named_by_their_numbers(monkeypatch):
    monkeypatch.setattr("pipeline.training.device.pick_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert PoolOptions("all").gpu_numbers() == [0, 1, 2, 3]
    assert PoolOptions("3,0").gpu_numbers() == [3, 0]
    for text in ("4", "0,0", "a", "", "0,"):
        with pytest.raises(ConfigError, match=r"^--gpus .*: must be 'all' or numbers of this mach"):
            PoolOptions(text).gpu_numbers()


def test_what_is_brought_back_and_is_not_right_ends_the_dealing(deal):
    line = r"^train demo tiny fold 2: fold2: must be brought back whole, isn't; it came from GPU"
    with pytest.raises(ArtifactError, match=line):
        deal(lambda fold, _: Outcome(0, "", {"oof.npz": b"1"} if fold == 2 else {}))


def test_a_cluster_that_does_not_start_is_started_again_and_one_that_is_not_found_is_told(
    deal, monkeypatch, capsys
):
    starts = []

    def init(_, **options):
        starts.append(options)
        if len(starts) < 3:
            raise RuntimeError("The current node timed out during startup.\nmore")

    monkeypatch.setattr(Ray, "init", init)
    deal(lambda *_: DONE)
    assert len(starts) == 3
    assert "Ray: starting it failed (The current node timed out during" in capsys.readouterr().err
    starts.clear()
    with (
        pytest.raises(
            ArtifactError, match=r"^Ray: must start or be found at 10\.0\.0\.1:6379, isn"
        ),
        ray_cluster.connected(PoolOptions(address="10.0.0.1:6379")),
    ):
        pass


def test_machines_that_fetch_archives_are_those_of_a_cluster():
    with pytest.raises(ConfigError, match=r"^--from: must be given with --ray"):
        train_in_pool([], [], PoolOptions(gpus="all", source="https://example.org"))


@pytest.mark.parametrize(
    ("given", "gpus", "seen"), [(None, [2], "2"), ("4,5,6,7", [3, 0], "7,4"), ("4", [], "4")]
)
def test_ray_sees_the_gpus_that_were_chosen_and_others_see_what_they_saw(
    monkeypatch, given, gpus, seen
):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    with ray_cluster.only_these(gpus):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == seen
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == given


def test_one_process_of_several_deals_no_jobs(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"^--gpus and --ray: must be given to one process, are"):
        train_in_pool([], [], PoolOptions("all"))
