"""The way up: what is trained, blended and kept, and what happens when time is up."""

import time
from dataclasses import replace

import pytest

from pipeline.data.training_table import load_tables
from pipeline.errors import PipelineError, StoppedError
from pipeline.ladder.commands import Ending
from pipeline.ladder.conductor import Climb
from pipeline.ladder.costs import Cost, Rates
from pipeline.ladder.course import (
    Course,
    Reached,
    begin_course,
    load_course,
    restore_submission,
    save_course,
)
from pipeline.ladder.plan import list_jobs, load_plan
from pipeline.ladder.schedule import Deadline, Forecast
from pipeline.store.freshness import digest, file_sha256
from pipeline.store.paths import Paths
from tests import tiny
from tests.ladder.here import FAILED, STOPPED, Here

LIMIT = 36000.0
COST = Cost(0.5, 0.5, 0.5, 40, 2)
PLAN = """
[[rungs]]
name = "a"
experiments = ["one.toml"]
adds = "the first"

[[rungs]]
name = "b"
experiments = ["two.toml", "three.toml"]
adds = "two more"
"""


@pytest.fixture
def site(workspace, tmp_path):
    """Paths, competition and a function that makes a climb of three tiny experiments."""
    paths, competition = workspace
    for seed, name in enumerate(("one", "two", "three")):
        tiny.write_toml(tmp_path / f"{name}.toml", f"seed = {seed}\n")
    plan = tmp_path / "rungs.toml"
    plan.write_text(PLAN, encoding="utf-8")
    jobs = list_jobs(load_plan(str(plan)), competition)
    here = Here("demo", paths.root)

    def climb(seconds: float = 2.0) -> tuple[Climb, list[Forecast]]:
        made = Climb(
            paths,
            competition,
            load_tables(paths),
            here,
            Deadline(time.monotonic(), LIMIT),
            Rates(paths, "a machine"),
            begin_course(paths, competition, "rungs", LIMIT),
        )
        return made, [Forecast(job, COST, seconds=seconds) for job in jobs]

    return paths, here, climb


def course_of(paths: Paths) -> Course:
    course = load_course(paths)
    assert course is not None
    return course


def best_of(paths: Paths) -> Reached:
    best = course_of(paths).best
    assert best is not None
    return best


def trained(here: Here) -> list[str]:
    return [call[2].rpartition("/")[2] for call in here.calls if call[0] == "train"]


def test_every_rung_is_trained_blended_with_those_before_and_submitted(site):
    paths, here, climb = site
    made, forecasts = climb()
    made.climb(forecasts)
    assert trained(here) == ["one.toml", "two.toml", "three.toml"]
    blends = [call[1:] for call in here.calls if call[0] == "ensemble"]
    assert blends == [
        ["--name", "run-a", "--experiment", "one"],
        [
            "--name",
            "run-b",
            *(["--experiment", "one", "--experiment", "two", "--experiment", "three"]),
        ],
    ]
    course = course_of(paths)
    assert [one.rung for one in course.reached] == ["a", "b"]
    assert [one.outcome for one in course.attempts] == ["trained"] * 3
    assert digest(paths.submission("run")) == best_of(paths).sha256
    assert digest(paths.submission(best_of(paths).source)) == best_of(paths).sha256


def test_a_second_run_finds_nothing_to_do(site):
    paths, here, climb = site
    made, forecasts = climb()
    made.climb(forecasts)
    before = paths.submission("run").stat().st_mtime_ns, len(here.calls)
    again, forecasts = climb()
    again.climb(forecasts)
    assert (paths.submission("run").stat().st_mtime_ns, len(here.calls)) == before
    assert len(again.course.reached) == 2


def test_what_does_not_fit_is_not_begun_and_the_same_command_with_more_time_goes_on(site):
    paths, here, climb = site
    made, forecasts = climb()
    made.climb([forecasts[0], *(replace(one, seconds=1e6) for one in forecasts[1:])])
    assert trained(here) == ["one.toml"]
    outcomes = [one.outcome for one in course_of(paths).attempts]
    assert outcomes == ["trained", "did not fit", "did not fit"]
    made, forecasts = climb()
    made.climb(forecasts)
    assert trained(here) == ["one.toml", "two.toml", "three.toml"]
    assert [one.outcome for one in course_of(paths).attempts] == ["trained"] * 3


def test_what_ctrl_c_stopped_is_noted_with_its_time(site, monkeypatch):
    paths, here, climb = site
    made, forecasts = climb()

    def interrupted(*_: object, **__: object) -> Ending:
        raise StoppedError("stopped by Ctrl-C")

    monkeypatch.setattr(type(here), "run", interrupted)
    with pytest.raises(StoppedError):
        made.climb(forecasts)
    (attempt,) = course_of(paths).attempts
    assert (attempt.outcome, attempt.why, attempt.predicted_seconds) == ("stopped", "Ctrl-C", 2.0)
    assert attempt.seconds is not None


def test_a_blend_of_the_same_score_by_other_bytes_is_the_one_that_is_told(site):
    paths, _, climb = site
    made, forecasts = climb()
    made.climb(forecasts)
    course = course_of(paths)
    # As if the trainings of before had been others that scored the same.
    other = best_of(paths).model_copy(update={"sha256": "0" * 64})
    save_course(paths, course.model_copy(update={"reached": (*course.reached[:-1], other)}))
    paths.submission("run").write_text("others", encoding="utf-8")
    again, forecasts = climb()
    again.course = course_of(paths)
    paths.experiment(other.source).stamp.unlink()
    again.climb(forecasts)
    assert digest(paths.submission("run")) == best_of(paths).sha256 != other.sha256


def test_what_another_metric_scored_counts_as_untrained(site):
    _, _, climb = site
    made, forecasts = climb()
    made.climb(forecasts)
    assert all(made.is_trained(one.job) for one in forecasts)
    again, forecasts = climb()
    again.competition = again.competition.model_copy(update={"metric": "log_loss"})
    assert not any(again.is_trained(one.job) for one in forecasts)
    assert not any(again.folds_left(one.job) for one in forecasts)


def test_the_first_rung_is_begun_whatever_it_costs(site):
    _, here, climb = site
    made, forecasts = climb(seconds=1e6)
    made.climb(forecasts)
    assert trained(here) == ["one.toml"]
    assert made.has_file


@pytest.mark.slow
def test_what_was_not_rehearsed_is_begun_where_twice_the_longest_so_far_would_fit(site):
    paths, here, climb = site
    made, forecasts = climb()
    made.climb([forecasts[0], *(replace(one, seconds=None) for one in forecasts[1:])])
    assert trained(here) == ["one.toml", "two.toml", "three.toml"]
    assert [one.predicted_seconds for one in course_of(paths).attempts] == [2.0, None, None]


def test_what_was_not_rehearsed_is_expected_to_take_no_less_than_what_did_not_fit_before(
    site, capsys
):
    paths, here, climb = site
    made, forecasts = climb()
    rung = forecasts[2].job.rung.model_copy(update={"name": "c"})
    last = replace(forecasts[2], job=replace(forecasts[2].job, rung=rung), seconds=None)
    made.climb([forecasts[0], replace(forecasts[1], seconds=1e6), last])
    assert trained(here) == ["one.toml"]
    outcomes = [one.outcome for one in course_of(paths).attempts]
    assert outcomes == ["trained", "did not fit", "did not fit"]
    lines = [line for line in capsys.readouterr().err.splitlines() if "not begun" in line]
    assert "two: not begun, it takes 16666.7 min" in lines[0]
    assert "three: not begun, it wasn't rehearsed, and may take 16666.7 min" in lines[1]


@pytest.mark.parametrize(
    ("slow", "begun"),
    [
        pytest.param(0, ["one.toml"], marks=pytest.mark.slow),
        (1, ["one.toml", "two.toml", "three.toml"]),
    ],
)
def test_what_was_not_rehearsed_is_expected_to_take_what_its_own_rung_took(site, slow, begun):
    """1.25 times 0.75 of the time would fit, twice it wouldn't: no margin is added to these."""
    _, here, climb = site
    made, forecasts = climb()
    here.endings[forecasts[slow].job.words[1]] = Ending(0, 0.75 * LIMIT, was_stopped=False)
    made.climb([forecasts[0], *(replace(one, seconds=None) for one in forecasts[1:])])
    assert trained(here) == begun


def test_a_training_that_was_stopped_is_left_out_of_the_blend(site):
    paths, here, climb = site
    made, forecasts = climb()
    here.endings[forecasts[2].job.words[1]] = STOPPED
    made.climb(forecasts)
    assert best_of(paths).members == ("one", "two")
    assert [one.outcome for one in course_of(paths).attempts] == ["trained", "trained", "stopped"]


def test_a_training_that_fails_costs_its_experiment_alone(site, capsys):
    paths, here, climb = site
    made, forecasts = climb()
    here.endings[forecasts[1].job.words[1]] = FAILED
    made.climb(forecasts)
    assert best_of(paths).members == ("one", "three")
    assert "two: failed, as its error says; going on without it" in capsys.readouterr().err


def test_what_cannot_run_here_is_skipped_and_noted(site):
    paths, here, climb = site
    made, forecasts = climb()
    made.climb([forecasts[0], *(replace(one, refused="no weights") for one in forecasts[1:])])
    assert trained(here) == ["one.toml"]
    assert [(one.outcome, one.why) for one in course_of(paths).attempts[1:]] == [
        ("skipped", "no weights")
    ] * 2


def test_a_rung_that_scores_worse_leaves_the_submission_as_it_was(site, monkeypatch, capsys):
    paths, _, climb = site
    made, forecasts = climb()
    made.climb(forecasts[:1])
    before = paths.submission("run").read_bytes()
    monkeypatch.setattr("pipeline.ladder.course.Course.is_no_worse", lambda *_: False)
    again, forecasts = climb()
    again.climb(forecasts)
    assert paths.submission("run").read_bytes() == before
    assert [bool(one.sha256) for one in again.course.reached] == [True, False]
    assert ", worse than " in capsys.readouterr().err


def test_without_time_to_blend_the_first_training_is_submitted_alone(site):
    paths, here, climb = site
    here.endings["ensemble"] = STOPPED
    made, forecasts = climb()
    made.climb(forecasts[:1])
    best = best_of(paths)
    assert (best.source, best.members) == ("one", ("one",))
    assert digest(paths.submission("run")) == best.sha256


@pytest.mark.slow
def test_without_time_to_blend_a_later_rung_changes_nothing(site):
    paths, here, climb = site
    made, forecasts = climb()
    made.climb(forecasts[:1])
    before = best_of(paths)
    here.endings["ensemble"] = STOPPED
    again, forecasts = climb()
    again.climb(forecasts)
    assert best_of(paths) == before


@pytest.mark.slow
def test_a_submission_that_is_gone_or_another_one_is_put_back(site):
    paths, _, climb = site
    made, forecasts = climb()
    made.climb(forecasts)
    expected = file_sha256(paths.submission("run"))
    for change in (lambda path: path.unlink(), lambda path: path.write_text("mine")):
        change(paths.submission("run"))
        restore_submission(paths, made.course)
        assert file_sha256(paths.submission("run")) == expected


def test_a_rung_that_all_fails_hands_on_that_it_is_begun_whatever_it_costs(site):
    """Hours may be left: what wasn't rehearsed is better than no file."""
    _, here, climb = site
    made, forecasts = climb(seconds=1e6)
    here.endings[forecasts[0].job.words[1]] = FAILED
    made.climb([replace(one, seconds=None) for one in forecasts])
    assert trained(here) == ["one.toml", "two.toml", "three.toml"]
    assert made.has_file


def test_where_the_first_rung_fails_what_fits_goes_before_what_does_not(site):
    """A dear training must not take the time in which a cheap one makes a file."""
    _, here, climb = site
    made, forecasts = climb()
    here.endings[forecasts[0].job.words[1]] = FAILED
    made.climb([forecasts[0], replace(forecasts[1], seconds=1e6), forecasts[2]])
    assert trained(here) == ["one.toml", "three.toml"]
    assert made.has_file


def test_a_submission_that_fails_by_itself_ends_the_run_and_is_not_put_down_to_time(site):
    _, here, climb = site
    here.endings["submit"] = FAILED
    made, forecasts = climb()
    with pytest.raises(PipelineError, match=r"'pipeline submit demo --experiment run-a' must succ"):
        made.climb(forecasts)
    assert trained(here) == ["one.toml"]


def test_what_cannot_be_blended_is_left_out_of_later_blends(site, capsys):
    paths, here, climb = site
    made, forecasts = climb()
    rung = forecasts[2].job.rung.model_copy(update={"name": "c"})
    last = replace(forecasts[2], job=replace(forecasts[2].job, rung=rung))
    here.endings["run-b"] = FAILED
    made.climb([*forecasts[:2], last])
    assert "b: not blended, as its error says" in capsys.readouterr().err
    assert best_of(paths).members == ("one", "three")


def test_a_blend_that_was_killed_is_tried_again_with_the_next_rung(site):
    paths, here, climb = site
    made, forecasts = climb()
    rung = forecasts[2].job.rung.model_copy(update={"name": "c"})
    last = replace(forecasts[2], job=replace(forecasts[2].job, rung=rung))
    here.endings["run-b"] = Ending(-9, 5.0, was_stopped=False)
    made.climb([*forecasts[:2], last])
    assert best_of(paths).members == ("one", "two", "three")


def test_a_first_submission_that_was_not_written_is_not_said_to_stand(site, capsys):
    _, here, climb = site
    made, forecasts = climb()
    here.endings["submit"] = STOPPED
    made.climb(forecasts[:1])
    assert "a: its submission was not written; there is none yet" in capsys.readouterr().err


def test_a_training_alone_is_noted_alone(site):
    """With two in the first rung and no time to blend, one of them is submitted."""
    paths, here, climb = site
    made, forecasts = climb()
    rung = forecasts[1].job.rung
    here.endings["ensemble"] = STOPPED
    made.climb([replace(one, job=replace(one.job, rung=rung)) for one in forecasts])
    assert (best_of(paths).source, best_of(paths).members) == ("three", ("three",))


def test_a_training_whose_features_were_there_says_nothing_of_the_others(site):
    _, here, climb = site
    made, forecasts = climb(seconds=1000.0)
    here.endings[forecasts[0].job.words[1]] = Ending(0, 60.0, was_stopped=False)
    made.climb(forecasts[:1])
    assert made.pace == 1.0
    assert made.rates.get(forecasts[0].job.experiment) is None


def test_a_remembered_rate_that_is_far_too_slow_is_forgotten(site):
    """It was measured on a machine that was busy; the next run rehearses."""
    _, here, climb = site
    made, forecasts = climb(seconds=1000.0)
    job = forecasts[0].job
    made.rates.put(job.experiment, COST)
    here.endings[job.words[1]] = Ending(0, 60.0, was_stopped=False)
    made.climb(forecasts[:1])
    assert made.rates.get(job.experiment) is None


def test_the_time_of_a_training_that_was_stopped_counts_when_it_has_gone_on(site):
    paths, here, climb = site
    made, forecasts = climb()
    here.endings[forecasts[1].job.words[1]] = STOPPED
    made.climb(forecasts)
    here.endings.clear()
    short, forecasts = climb()
    short.climb([replace(one, seconds=1e6) for one in forecasts])  # doesn't fit
    again, forecasts = climb()
    again.climb(forecasts)
    took = {one.experiment: one.seconds for one in course_of(paths).attempts}
    assert took["two"] == STOPPED.seconds + 2.0
    assert took["one"] == 2.0


@pytest.mark.slow
def test_what_trainings_took_is_remembered_for_this_machine_alone(site):
    paths, _, climb = site
    made, forecasts = climb()
    whole = COST.predict(39, 2, 2)
    made.climb([replace(one, seconds=whole) for one in forecasts])
    learned = Rates(paths, "a machine").get(forecasts[0].job.experiment)
    num_images = len(made.tables.train) + len(made.tables.test)
    assert learned is not None
    assert learned.predict(num_images, 2, 2) == pytest.approx(2.0, rel=0.05)
    assert Rates(paths, "another").get(forecasts[0].job.experiment) is None
    paths.rates_json.write_text("[]", encoding="utf-8")
    assert Rates(paths, "a machine").get(forecasts[0].job.experiment) is None
