"""The course of a run: what stands, what is worse, what begins anew."""

from datetime import UTC, datetime

from pipeline.config.competition import load_competition
from pipeline.ladder.course import (
    Attempt,
    Course,
    Reached,
    begin_course,
    load_course,
    save_course,
)
from pipeline.store.atomic import write_text
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


def test_a_training_is_noted_in_the_place_of_its_earlier_attempt():
    late = Attempt(rung="a", experiment="one", outcome="did not fit")
    done = Attempt(rung="a", experiment="one", outcome="trained", seconds=3.0)
    assert course().with_attempt(late).with_attempt(done).attempts == (done,)


def test_a_course_goes_on_over_the_same_folds_and_begins_anew_over_others(workspace):
    paths, competition = workspace
    begun = begin_course(paths, competition, "cpu", 60.0)
    assert begun.reached == ()
    save_course(paths, begun.with_reached(reached("a", 0.9)))
    assert begin_course(paths, competition, "cpu", 90.0).best == reached("a", 0.9)
    assert begin_course(paths, competition, "cpu", 90.0).limit_seconds == 90.0
    paths.folds_csv.write_text(paths.folds_csv.read_text() + "\n")
    assert begin_course(paths, competition, "cpu", 60.0).reached == ()


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
        save_course(paths, begun.with_reached(reached("a", 0.9)))
        assert bool(begin_course(paths, second, "cpu", None).reached) is is_same
