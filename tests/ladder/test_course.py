"""The course of a run: what stands, what is worse, what begins anew."""

import json
from datetime import UTC, datetime

import pandas as pd
import pytest

from pipeline.config.competition import load_competition
from pipeline.errors import ConfigError
from pipeline.ladder.course import (
    Attempt,
    Course,
    Reached,
    begin_course,
    blend_to_take,
    load_course,
    open_course,
    save_course,
)
from pipeline.store.atomic import write_text
from pipeline.store.freshness import file_sha256
from pipeline.store.paths import Paths


def reached(rung: str, score: float, sha256: str = "ab") -> Reached:
    return Reached(
        rung=rung,
        time=datetime(2026, 11, 30, tzinfo=UTC),
        seconds=12.0,
        members=(rung,),
        score=score,
        interval=(score - 0.01, score + 0.01),
        log_loss=0.2,
        source=f"run-{rung}",
        sha256=sha256,
    )


def course(metric: str = "accuracy", *rungs: Reached) -> Course:
    return Course(plan="cpu", metric=metric, folds_sha256="", reached=rungs)


def test_the_best_is_the_last_whose_submission_was_written():
    assert course().best is None
    there = course("accuracy", reached("a", 0.9), reached("b", 0.8, ""))
    assert there.best == reached("a", 0.9)


def test_a_score_is_no_worse_where_it_is_equal_or_better_by_the_metric():
    by_accuracy = course("accuracy", reached("a", 0.9))
    assert [by_accuracy.is_no_worse(score) for score in (0.89, 0.9, 0.91)] == [False, True, True]
    by_loss = course("log_loss", reached("a", 0.2))
    assert [by_loss.is_no_worse(score) for score in (0.19, 0.2, 0.21)] == [True, True, False]
    assert course().is_no_worse(0.0)


def test_the_same_blend_is_noted_once():
    once = course("accuracy", reached("a", 0.9))
    assert once.with_reached(reached("a", 0.9)) == once
    assert len(once.with_reached(reached("b", 0.9)).reached) == 2


def test_a_blend_that_was_made_anew_and_scores_the_same_is_noted_with_its_other_file():
    once = course("accuracy", reached("a", 0.9))
    again = once.with_reached(reached("a", 0.9, "cd"))
    assert again.best == reached("a", 0.9, "cd")
    assert again.with_reached(reached("a", 0.9, "")) == again


def test_a_training_is_noted_in_the_place_of_its_earlier_attempt():
    late = Attempt(rung="a", experiment="one", outcome="did not fit")
    done = Attempt(rung="a", experiment="one", outcome="trained", seconds=3.0)
    assert course().with_attempt(late).with_attempt(done).attempts == (done,)


def written(paths: Paths, rung: str, score: float) -> Reached:
    """Return a rung whose submission lies there, as `run.csv`, too."""
    for name in (f"run-{rung}", "run"):
        write_text(paths.submission(name), rung)
    return reached(rung, score, file_sha256(paths.submission("run")))


def test_a_command_that_is_told_no_experiment_takes_the_one_blend_that_there_is(workspace):
    paths, _ = workspace
    assert blend_to_take(paths, None) == "ensemble"
    sha256 = file_sha256(paths.folds_csv)
    climbed = Course(
        plan="cpu", metric="accuracy", folds_sha256=sha256, reached=(reached("a", 0.9),)
    )
    save_course(paths, climbed)
    assert blend_to_take(paths, None) == "run-a"
    assert blend_to_take(paths, "ensemble") == "ensemble"
    write_text(paths.experiment("ensemble").stamp, "{}")
    assert blend_to_take(paths, "mine") == "mine"
    with pytest.raises(ConfigError, match="--experiment run-a or --experiment ensemble"):
        blend_to_take(paths, None)


def test_a_course_goes_on_over_the_same_folds_and_begins_anew_over_others(workspace, capsys):
    paths, competition = workspace
    begun = begin_course(paths, competition, "cpu", 60.0)
    assert begun.reached == ()
    there = written(paths, "a", 0.9)
    save_course(paths, begun.with_reached(there))
    assert begin_course(paths, competition, "cpu", 90.0).best == there
    assert begin_course(paths, competition, "cpu", 90.0).limit_seconds == 90.0
    assert capsys.readouterr().err == ""
    paths.folds_csv.write_text(paths.folds_csv.read_text() + "\n")
    assert begin_course(paths, competition, "cpu", 60.0).reached == ()
    assert "run.json: is of other folds, or can't be read; begins anew" in capsys.readouterr().err


def test_other_test_images_classes_or_forms_of_answers_begin_a_course_anew(workspace, capsys):
    """What stands would be refused by the judge, however well it scores."""
    paths, competition = workspace
    begun = begin_course(paths, competition, "cpu", None)
    save_course(paths, begun.with_reached(written(paths, "a", 0.9)))
    form = competition.submission.model_copy(update={"columns": ("photo", "answer")})
    others = [
        competition.model_copy(update={"submission": form}),
        competition.model_copy(update={"classes": competition.classes[::-1]}),
    ]
    for other in others:
        assert begin_course(paths, other, "cpu", None).reached == ()
        assert "another metric, other images or form of answers" in capsys.readouterr().err
    assert begin_course(paths, competition, "cpu", None).reached
    paths.test_csv.write_text(paths.test_csv.read_text() + "\n")
    assert begin_course(paths, competition, "cpu", None).reached == ()


def test_other_training_photos_of_the_same_names_begin_a_course_anew(workspace):
    """A score that a leak made would stand forever."""
    paths, competition = workspace
    begun = begin_course(paths, competition, "cpu", None)
    save_course(paths, begun.with_reached(written(paths, "a", 0.9)))
    train = pd.read_csv(paths.train_csv, keep_default_na=False)
    train["sha256"] = train["sha256"].str[::-1]
    train.to_csv(paths.train_csv, index=False)
    assert begin_course(paths, competition, "cpu", None).reached == ()


def test_a_course_of_an_older_version_goes_on(workspace, capsys):
    """It doesn't say what decides a submission, and its file may be better than what fits today."""
    paths, competition = workspace
    begun = begin_course(paths, competition, "cpu", None)
    there = written(paths, "a", 0.9)
    older = begun.with_reached(there).model_dump(mode="json", exclude={"answers_sha256"})
    write_text(paths.run_json, json.dumps(older))
    course = begin_course(paths, competition, "cpu", None)
    assert course.best == there
    assert course.answers_sha256 == begun.answers_sha256
    assert capsys.readouterr().err == ""


def test_what_a_file_is_called_changes_nothing_of_it(workspace):
    paths, competition = workspace
    save_course(
        paths,
        begin_course(paths, competition, "cpu", None).with_reached(written(paths, "a", 0.9)),
    )
    form = competition.submission.model_copy(update={"file_name": "another.csv"})
    other = competition.model_copy(update={"submission": form})
    assert begin_course(paths, other, "cpu", None).best is not None


def test_a_course_whose_submission_is_gone_for_good_keeps_its_trainings_alone(workspace, capsys):
    paths, competition = workspace
    begun = begin_course(paths, competition, "cpu", None)
    done = Attempt(rung="a", experiment="one", outcome="trained", seconds=3.0)
    save_course(paths, begun.with_attempt(done).with_reached(written(paths, "a", 0.9)))
    paths.submission("run").unlink()
    assert begin_course(paths, competition, "cpu", None).reached  # `run-a.csv` brings it back
    paths.submission("run-a").unlink()
    course = begin_course(paths, competition, "cpu", None)
    assert (course.reached, course.attempts) == ((), (done,))
    assert "run.csv: is gone, as is what it was made from; made again" in capsys.readouterr().err


def test_a_course_that_is_not_gone_on_with_is_kept_beside_the_new_one(workspace):
    paths, competition = workspace
    before = paths.run_json.with_name("run-before.json")
    write_text(paths.run_json, "of another version")
    open_course(paths, begin_course(paths, competition, "cpu", None))
    assert before.read_text() == "of another version"
    assert load_course(paths) is not None
    before.unlink()
    open_course(paths, begin_course(paths, competition, "cpu", None))
    assert not before.exists()


def test_a_course_that_cannot_be_read_is_none(workspace):
    paths, _ = workspace
    assert load_course(paths) is None
    paths.run_json.parent.mkdir(parents=True, exist_ok=True)
    for text in ("", "{}", '{"plan": 3}', "[" * 10000):
        paths.run_json.write_text(text, encoding="utf-8")
        assert load_course(paths) is None


def test_thresholds_that_a_file_asks_for_begin_a_course_anew(tmp_path):
    """The metric has the same name before, and other scores."""
    plain = load_competition("demo").model_copy(update={"metric": "quadratic_kappa"})
    ordered = plain.model_copy(update={"target": "ordered_classes"})
    paths = Paths(tmp_path, "demo")
    write_text(paths.folds_csv, "")
    for first, second, is_same in ((plain, plain, True), (plain, ordered, False)):
        begun = begin_course(paths, first, "cpu", None)
        save_course(paths, begun.with_reached(written(paths, "a", 0.9)))
        assert bool(begin_course(paths, second, "cpu", None).reached) is is_same
