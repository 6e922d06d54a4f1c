"""Images that are answered together: found by paths or columns, of one fold and one label."""

import pytest

from pipeline.config.competition import Competition, load_competition
from pipeline.errors import DataError
from pipeline.stages import download, folds, prepare
from pipeline.store.paths import Paths
from pipeline.store.tables import ANSWER, answered_ids, load_folds, load_test, load_train
from tests.user_folder import save_list, save_pictures

TOML = """
title = "scans"
classes = ["well", "ill"]
metric = "roc_auc"
duplicates = "none"
answers = {{ pattern = '(?P<answer>p[0-9]+)/', labelled = "{labelled}" }}
[train]
folders = ["train"]
labels = {{ source = "csv", file = "labels.csv", id_column = "id", label_column = "state" }}
[test]
folders = ["test"]
[submission]
id = "answer"
label = "probability"
positive = "ill"
columns = ["id", "ill"]
has_header = true
{sample}
[experiments]
cpu = ["lite0-probe"]
cuda = ["lite0-probe"]
"""
PATIENTS = [f"p{number}" for number in range(8)]


@pytest.fixture
def write(tmp_path):
    """Write three slices of each of 8 patients, half of them ill, and a competition's file."""

    def written(
        rows: list[list[str]], labelled: str = "answers", asked: list[str] | None = None
    ) -> tuple[Paths, Competition]:
        folder = tmp_path / "scans"
        save_pictures(folder / "train", [f"{one}/{n}.png" for one in PATIENTS for n in range(3)])
        save_pictures(folder / "test", [f"p{n}/{at}.png" for n in (21, 20) for at in range(2)])
        save_list(folder, "labels.csv", "id,state", *map(",".join, rows))
        if asked is not None:
            save_list(folder, "sample.csv", "id,ill", *(f"{one},0.5" for one in asked))
        sample = 'sample = "sample.csv"' if asked is not None else ""
        path = tmp_path / "scans.toml"
        path.write_text(TOML.format(labelled=labelled, sample=sample), "utf-8")
        competition, paths = load_competition(str(path)), Paths(tmp_path / "root", "scans")
        download.run(paths, competition, str(folder))
        return paths, competition

    return written


def of_patients() -> list[list[str]]:
    return [[one, "ill" if number % 2 else "well"] for number, one in enumerate(PATIENTS)]


def test_a_list_of_answers_labels_all_their_images_which_share_a_fold(write):
    paths, competition = write(of_patients())
    prepare.run(paths, competition, workers=1)
    train = load_train(paths)
    assert len(train) == 24
    assert train[ANSWER].tolist() == train["image_id"].str.partition("/")[0].tolist()
    assert set(train["label"][train[ANSWER] == "p1"]) == {"ill"}
    folds.run(paths, competition, 2, seed=0)
    table = load_folds(paths)
    assert (table.groupby(ANSWER)["fold"].nunique() == 1).all()
    assert table["fold"].nunique() == 2


def test_test_images_stand_by_answers_in_the_order_that_the_sample_asks_for(write):
    paths, competition = write(of_patients(), asked=["p21", "p99", "p20"])
    prepare.run(paths, competition, workers=1)
    test = load_test(paths)
    assert answered_ids(test) == ["p21", "p99", "p20"]
    assert test["path"].tolist().count("") == 1
    assert (test[ANSWER] == "p21").sum() == 2


def test_without_a_sample_all_answers_are_wanted_and_ascend(write):
    paths, competition = write(of_patients())
    prepare.run(paths, competition, workers=1)
    assert answered_ids(load_test(paths)) == ["p20", "p21"]


def test_images_of_one_answer_with_two_labels_are_refused(write):
    rows = [[f"{one}/{n}.png", "ill" if n else "well"] for one in PATIENTS for n in range(3)]
    paths, competition = write(rows, labelled="images")
    with pytest.raises(DataError, match="must have one label, those of 'p0' have 'well' and 'ill'"):
        prepare.run(paths, competition, workers=1)


def test_a_pattern_that_fits_no_image_is_refused(write):
    rows = [[f"{one}/{n}.png", state] for one, state in of_patients() for n in range(3)]
    paths, competition = write(rows, labelled="images")
    answers = competition.answers
    assert answers is not None
    odd = answers.model_copy(update={"pattern": "(?P<answer>q[0-9]+)/"})
    with pytest.raises(DataError, match="answers must fit the test images, fits none of 4"):
        prepare.run(paths, competition.model_copy(update={"answers": odd}), workers=1)


def test_images_without_an_answer_are_answers_of_their_own(write):
    rows = [[f"{one}/{n}.png", state] for one, state in of_patients() for n in range(3)]
    paths, competition = write(rows, labelled="images")
    answers = competition.answers
    assert answers is not None
    some = answers.model_copy(update={"pattern": "(?P<answer>p[0-3]|p2[0-9])/"})
    prepare.run(paths, competition.model_copy(update={"answers": some}), workers=1)
    train = load_train(paths)
    is_own = train[ANSWER] == train["image_id"]
    assert is_own.sum() == 12
    assert train[ANSWER].nunique() == 16
