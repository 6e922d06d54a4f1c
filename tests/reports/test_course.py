"""The course of a run, as figure and as table."""

import io

from rich.console import Console

from pipeline.ladder.course import save_course
from pipeline.reports.ensemble_results import course_table, draw_course
from pipeline.reports.style import drawing, to_svg
from pipeline.stages import status
from pipeline.store.freshness import digest
from tests.ladder.test_course import course, reached

THREE = course("accuracy", reached("a", 0.9), reached("b", 0.88, ""), reached("c", 0.95))


def test_the_figure_shows_every_rung_and_its_equal_is_the_same_to_the_byte():
    pictures = []
    for _ in range(2):
        with drawing() as figure:
            draw_course(figure, THREE)
            pictures.append(to_svg(figure))
    assert pictures[0] == pictures[1]
    text = pictures[0].decode()
    assert all(f">{word}<" in text for word in ("a", "b", "c", "minutes", "run.csv"))


def test_the_table_marks_the_submission_that_stands_and_draws_the_scores():
    text = io.StringIO()
    Console(file=text, width=120).print(course_table(THREE))
    rows = [line for line in text.getvalue().splitlines() if "●" in line]
    places = [row.index("●") for row in rows]
    assert places[1] < places[0] < places[2]
    assert ["c *" in row for row in rows] == [False, False, True]


def test_a_course_of_one_rung_can_be_drawn():
    one = course("log_loss", reached("a", 0.2))
    with drawing() as figure:
        draw_course(figure, one)
    assert "0.2000" in str(list(course_table(one).columns[2].cells))


def test_a_score_beside_its_interval_can_be_drawn():
    """As of labels so rare that many resamples lack them."""
    beside = reached("a", 0.9).model_copy(update={"interval": (0.7, 0.89)})
    with drawing() as figure:
        draw_course(figure, course("macro_f1", beside))
        to_svg(figure)


def test_status_shows_the_course(workspace, capsys):
    paths, competition = workspace
    folds = digest(paths.folds_csv)
    save_course(paths, THREE.model_copy(update={"folds_sha256": folds}))
    status.run(paths, competition)
    assert "run: score over time" in capsys.readouterr().out
