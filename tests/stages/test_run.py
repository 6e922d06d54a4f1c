"""`run`: the stages in their order without a limit, a plan's rungs with one."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.competition import load_competition
from pipeline.errors import ConfigError, PipelineError, StoppedError
from pipeline.ladder.commands import Commands, Ending
from pipeline.ladder.costs import Answer, Cost
from pipeline.stages import run
from pipeline.store.locks import held_alone
from pipeline.store.paths import Paths
from tests import tiny
from tests.ladder.here import FAILED, STOPPED, Here

DONE = Ending(0, 1.0, was_stopped=False)


@pytest.fixture
def said(monkeypatch):
    """The commands that a run asks for; those of `endings` end otherwise than well."""
    calls: list[list[str]] = []
    endings: dict[str, Ending] = {}

    def note(_: Commands, command: str, *options: str, **__: Any) -> Ending:
        calls.append([command, *options])
        return endings.get(command, DONE)

    monkeypatch.setattr(Commands, "run", note)
    return calls, endings


def demo(root: Path) -> tuple[Paths, Any, str]:
    return Paths(root, "demo"), load_competition("demo"), "demo"


def test_without_a_limit_it_runs_the_main_path_then_status_and_report(said, tmp_path):
    calls, _ = said
    run.run(*demo(tmp_path), run.Options(source="there", tune="--trials 3"))
    names = "download prepare folds train tune ensemble submit status report"
    assert " ".join(call[0] for call in calls) == names
    assert calls[0] == ["download", "--from", "there"]
    assert calls[4] == ["tune", "--trials", "3"]


def test_what_jobs_run_on_is_handed_to_train_and_to_tune_unless_its_machines_share_no_study(
    said, tmp_path
):
    calls, _ = said
    run.run(*demo(tmp_path), run.Options(devices=("--gpus", "all")))
    assert calls[3:5] == [["train", "--gpus", "all"], ["tune", "--gpus", "all"]]
    run.run(*demo(tmp_path), run.Options(devices=("--ray", "auto")))
    assert calls[12:14] == [["train", "--ray", "auto"], ["tune"]]


def test_where_the_truth_is_known_the_submission_is_graded(said, tmp_path):
    calls, _ = said
    paths, competition, typed = demo(tmp_path)
    paths.truth_csv.parent.mkdir(parents=True)
    paths.truth_csv.touch()
    run.run(paths, competition, typed, run.Options())
    csv = str(paths.submission("ensemble"))
    assert ["grade", csv, "--truth", str(paths.truth_csv)] in calls


def test_a_command_that_fails_ends_the_run_and_is_named(said, tmp_path):
    calls, endings = said
    endings["folds"] = FAILED
    with pytest.raises(PipelineError, match="'pipeline folds demo' must succeed, ended with exit"):
        run.run(*demo(tmp_path), run.Options())
    assert [call[0] for call in calls] == ["download", "prepare", "folds"]


def test_tuning_can_be_left_out(said, tmp_path):
    calls, _ = said
    run.run(*demo(tmp_path), run.Options(tune="off"))
    assert "train" in [call[0] for call in calls]
    assert "tune" not in [call[0] for call in calls]


@pytest.mark.usefixtures("said")
def test_options_of_tune_with_a_quote_too_few_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="--tune '--trials: must be options as a shell takes"):
        run.run(*demo(tmp_path), run.Options(tune="'--trials"))


@pytest.mark.usefixtures("said")
def test_one_process_runs_it(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="run: must run in one process, which starts others"):
        run.run(*demo(tmp_path), run.Options())


class Stand:
    """Stands in for the rehearsal: everything takes a second, what is named is refused."""

    seconds = 0.0

    def __init__(self, *_: Any) -> None:
        self.asked: list[str] = []

    def machine(self, _: float) -> dict[str, Any]:
        return {"device": "cpu", "machine": "a machine"}

    def rehearse(self, job: Any, _: float) -> Answer:
        if job.name == "barred":
            return Answer(refused="its weights aren't installed")
        return Answer(Cost(0.2, 0.2, 0.2, 40, 2))

    def close(self) -> None:
        pass


@pytest.fixture
def limited(workspace, tmp_path, monkeypatch):
    """Run a plan of two rungs over the tiny site, in this process."""
    paths, competition = workspace
    tiny.write_toml(tmp_path / "one.toml")
    tiny.write_toml(tmp_path / "barred.toml", "[head]\nl2 = 0.1\n")
    plan = tmp_path / "mine.toml"
    rung = '[[rungs]]\nname = "{0}"\nexperiments = ["{1}.toml"]\nadds = "x"\n'
    plan.write_text(rung.format("a", "one") + rung.format("b", "barred"), encoding="utf-8")
    ready = {"download": DONE, "prepare": DONE, "folds": DONE}
    monkeypatch.setattr(
        run, "Commands", lambda typed, root, _: Here(typed, root, endings=dict(ready))
    )
    monkeypatch.setattr(run, "Rehearsal", Stand)

    def start(**options: Any) -> None:
        run.run(paths, competition, "demo", run.Options(plan=str(plan), **options))

    return paths, start


def test_with_a_limit_it_climbs_the_plan_and_leaves_the_best_submission(limited, capsys):
    paths, start = limited
    start(limit=600.0)
    out, err = capsys.readouterr()
    assert paths.submission("run").read_bytes() == paths.submission("run-a").read_bytes()
    assert paths.report_html.is_file()
    assert f"{paths.submission('run')}: rung a, OOF accuracy" in out
    assert "barred: skipped: its weights aren't installed" in err
    assert "can't run here" in out
    assert json.loads(paths.run_json.read_bytes())["limit_seconds"] == 600.0


def test_there_is_a_file_before_later_rungs_are_rehearsed(limited, monkeypatch):
    paths, start = limited
    had_file: dict[str, bool] = {}

    class Watched(Stand):
        def rehearse(self, job: Any, until: float) -> Answer:
            had_file.setdefault(job.name, paths.submission("run").is_file())
            return super().rehearse(job, until)

    monkeypatch.setattr(run, "Rehearsal", Watched)
    start(limit=600.0)
    assert had_file == {"one": False, "barred": True}


def test_what_is_rehearsed_after_a_slow_training_is_expected_to_take_what_the_rehearsal_says(
    limited, monkeypatch
):
    paths, start = limited

    class Slow(Here):
        def run(self, command: str, *options: str, **more: Any) -> Ending:
            ending = super().run(command, *options, **more)
            return replace(ending, seconds=20.0) if command == "train" else ending

    class Timed(Stand):
        def rehearse(self, *_: Any) -> Answer:
            self.seconds += 0.1
            return Answer(Cost(0.2, 0.2, 0.2, 40, 2))

    ready = {"download": DONE, "prepare": DONE, "folds": DONE}
    monkeypatch.setattr(run, "Commands", lambda *_: Slow("demo", paths.root, endings=ready))
    monkeypatch.setattr(run, "Rehearsal", Timed)
    start(limit=600.0)
    first, second = json.loads(paths.run_json.read_bytes())["attempts"]
    assert first["predicted_seconds"] == second["predicted_seconds"] < 2.0


def test_a_training_that_failed_is_not_begun_twice(limited, monkeypatch):
    ready = dict.fromkeys(("download", "prepare", "folds"), DONE) | {"train": FAILED}
    here = Here("demo", limited[0].root, endings=ready)
    monkeypatch.setattr(run, "Commands", lambda *_: here)
    with pytest.raises(PipelineError, match="a training of plan 'mine' must succeed, none did"):
        limited[1](limit=600.0)
    assert [call[0] for call in here.calls].count("train") == 1


def test_without_a_limit_no_file_is_not_put_down_to_time(limited, monkeypatch):
    ready = dict.fromkeys(("download", "prepare", "folds"), DONE) | {"submit": STOPPED}
    monkeypatch.setattr(run, "Commands", lambda *_: Here("demo", limited[0].root, endings=ready))
    with pytest.raises(PipelineError, match="a training of plan 'mine' must succeed, none did"):
        limited[1]()


def test_a_dry_run_prints_the_schedule_and_trains_nothing(limited, capsys):
    paths, start = limited
    start(limit=600.0, is_dry=True)
    assert "begins at" in capsys.readouterr().out
    assert not paths.submission("run").exists()
    assert not paths.experiment("one").experiment_dir.exists()


def test_a_dry_run_leaves_the_course_as_it_is(limited):
    paths, start = limited
    paths.run_json.parent.mkdir(parents=True, exist_ok=True)
    paths.run_json.write_text("of another version", encoding="utf-8")
    start(limit=600.0, is_dry=True)
    assert paths.run_json.read_text(encoding="utf-8") == "of another version"


def test_weights_that_are_not_there_cost_their_experiment_alone(limited, tmp_path, capsys):
    paths, start = limited
    toml = tmp_path / "barred.toml"
    toml.write_text(toml.read_text().replace('"none"', '"package"'), encoding="utf-8")
    start(limit=600.0)
    assert "barred: skipped: " in capsys.readouterr().err
    assert paths.submission("run").is_file()


def test_what_cannot_be_rehearsed_is_said_and_begun_nevertheless(limited, monkeypatch, capsys):
    class Faulty(Stand):
        def rehearse(self, *_: Any) -> Answer:
            return Answer(fault="ValueError: an odd one")

    monkeypatch.setattr(run, "Rehearsal", Faulty)
    limited[1](limit=600.0)
    assert "one: can't be rehearsed (ValueError: an odd one); begun" in capsys.readouterr().err
    assert limited[0].submission("run").is_file()


def test_a_faulty_plan_is_told_before_anything_is_done(said, tmp_path):
    calls, _ = said
    with pytest.raises(ConfigError, match="nowhere"):
        run.run(*demo(tmp_path), run.Options(limit=60.0, plan="nowhere.toml"))
    assert calls == []


def test_a_dry_run_without_anything_to_lay_out_is_refused(said, tmp_path):
    calls, _ = said
    with pytest.raises(ConfigError, match="--dry-run: must come with a limit or a plan"):
        run.run(*demo(tmp_path), run.Options(is_dry=True))
    assert calls == []


def test_ctrl_c_while_something_is_rehearsed_is_told_in_one_line(limited, monkeypatch):
    class Interrupted(Stand):
        def rehearse(self, *_: Any) -> Answer:
            raise KeyboardInterrupt

    monkeypatch.setattr(run, "Rehearsal", Interrupted)
    with pytest.raises(StoppedError, match="run demo: stopped by Ctrl-C, what was done is saved"):
        limited[1](limit=600.0)


def test_a_second_run_beside_the_first_is_refused(limited):
    paths, start = limited
    with (
        held_alone(paths.run_lock, "run demo"),
        pytest.raises(PipelineError, match=r"run demo: must be the only one, 'run demo \(process"),
    ):
        start(limit=600.0)


def test_a_limit_that_ends_before_the_images_are_there_is_said(said, tmp_path, monkeypatch):
    _, endings = said
    endings["prepare"] = STOPPED
    monkeypatch.setattr(run, "Rehearsal", Stand)
    with pytest.raises(StoppedError, match="'pipeline prepare demo' was not done when time was"):
        run.run(*demo(tmp_path), run.Options(limit=5.0))


def test_a_limit_too_short_for_a_file_is_said_with_what_it_would_take(limited, monkeypatch):
    ready = dict.fromkeys(("download", "prepare", "folds"), DONE) | {"train": STOPPED}
    monkeypatch.setattr(run, "Commands", lambda typed, root, _: Here(typed, root, endings=ready))
    with pytest.raises(StoppedError, match=r"0:20 is too short for a submission here \(some 0:01"):
        limited[1](limit=20.0)


def test_a_limit_too_short_even_for_a_rehearsal_is_said_with_how_long_there_was_no_file(
    limited, monkeypatch
):
    class Late(Stand):
        def rehearse(self, *_: Any) -> Answer:
            return Answer()

    ready = dict.fromkeys(("download", "prepare", "folds"), DONE) | {"train": STOPPED}
    monkeypatch.setattr(run, "Commands", lambda typed, root, _: Here(typed, root, endings=ready))
    monkeypatch.setattr(run, "Rehearsal", Late)
    with pytest.raises(StoppedError, match=r"is too short for a submission here \(there was none"):
        limited[1](limit=20.0)
