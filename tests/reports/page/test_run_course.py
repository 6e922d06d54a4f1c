"""The course of `run` on the page: the score over time, predicted and real seconds."""

from pipeline.ladder.course import Attempt
from pipeline.reports.page.blocks import Chart, Table
from pipeline.reports.page.sections import experiment_scores
from tests.ladder.test_course import course, reached
from tests.reports.page.test_sections import blocks


def test_the_course_of_a_run_is_drawn_and_its_predictions_stand_beside_the_truth(
    project, monkeypatch
):
    attempt = Attempt(
        rung="a", experiment="probe", outcome="trained", predicted_seconds=61.2, seconds=70.6
    )
    made = course("accuracy", reached("a", 0.9)).with_attempt(attempt)
    monkeypatch.setattr(experiment_scores, "load_course", lambda _: made)
    sections = experiment_scores.build(project.data)
    assert any("Score over time of" in one.caption for one in blocks(sections, Chart))
    [table] = [one for one in blocks(sections, Table) if "predicted and real" in one.caption]
    assert [cell.text for cell in table.rows[0]] == ["probe", "a", "trained", "61", "71"]


def test_without_a_run_the_page_says_nothing_of_one(project):
    captions = [one.caption for one in blocks(experiment_scores.build(project.data), Table)]
    assert not any("predicted and real" in caption for caption in captions)
