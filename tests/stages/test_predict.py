"""The stage `predict` on folders of drawn pictures, with tiny experiments."""

import csv
import json
import shutil
import sys

import numpy as np
import pytest
from pyarrow import parquet

from pipeline.errors import ArtifactError, ConfigError, DataError
from pipeline.inference import fold_models
from pipeline.inference.tta_policies import POLICIES
from pipeline.scoring.decisions import OrderedDecisions
from pipeline.scoring.oof import best_decisions
from pipeline.stages import ensemble, predict, train, tta
from pipeline.store.paths import Paths
from pipeline.store.predictions import load_predictions
from pipeline.store.tables import load_test
from tests import tiny

FINETUNE = """
method = "finetune"
train = { epochs = 2, batch_size = 16 }
"""


@pytest.fixture(scope="module")
def trained(drawn, tmp_path_factory):
    """Paths and competition with probes and fine-tuned networks; never change them."""
    root, competition = tmp_path_factory.mktemp("predict") / "root", drawn[1]
    shutil.copytree(drawn[0], root)
    paths = Paths(root, competition.name)
    for name, text in (("probe", ""), ("finetune", FINETUNE)):
        file = tiny.write_toml(root / f"{name}.toml", text)
        train.run(paths, competition, [file], [], [])
        transformer = [f"name={name}-vit", "model.name=timm/test_vit"]  # built for 160 px
        train.run(paths, competition, [file], [], transformer)
    return paths, competition


@pytest.fixture
def folder(trained, tmp_path):
    """The competition's readable test images, in a folder and one below it."""
    paths, _ = trained
    test = load_test(paths).query("width > 0")
    for number, row in enumerate(test.itertuples()):
        place = tmp_path / "photos" / ("more" if number % 2 else ".") / str(row.image_id)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(paths.images_dir / str(row.path), place)
    return tmp_path / "photos"


def run(trained, name, folder, policy, out):
    paths, competition = trained
    predict.run(paths, competition, name, folder, policy, out)


def rows_of(trained, folder, name="probe", policy=None, suffix=".csv"):
    out = folder.parent / f"out{suffix}"
    run(trained, name, folder, policy, out)
    with out.open(encoding="utf-8", newline="") as file:
        return {row["image"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("name", ["probe", "probe-vit", "finetune", "finetune-vit"])
def test_the_test_images_are_predicted_as_in_training(trained, folder, name):
    rows = rows_of(trained, folder, name)
    predictions = load_predictions(trained[0].experiment(name).test, "")
    by_id = dict(zip(predictions.image_ids, predictions.probs, strict=True))
    assert len(rows) >= 6
    for path, row in rows.items():
        own = np.array([float(row["prob_cat"]), float(row["prob_dog"])])
        np.testing.assert_allclose(own, by_id[path.rpartition("/")[2]], atol=2e-3)
        assert row["label"] == ("cat", "dog")[int(own.argmax())]
        assert row["error"] == ""


def test_files_that_cannot_be_read_are_listed_with_the_reason(trained, folder, capsys):
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "empty.png").write_bytes(b"")
    (folder / "notes.txt").write_text("hello", encoding="utf-8")
    plain = rows_of(trained, folder)
    assert plain["broken.jpg"]["label"] == plain["broken.jpg"]["prob_cat"] == ""
    assert plain["broken.jpg"]["error"]
    assert plain["empty.png"]["error"]
    assert "notes.txt" not in plain
    told = " ".join(capsys.readouterr().err.split())
    assert f"2 of {len(plain)} images can't be read" in told
    assert "1 files are no images by their names: notes.txt" in told


def in_order(competition):
    return competition.model_copy(update={"target": "ordered_classes", "metric": "quadratic_kappa"})


def test_ordered_classes_are_named_by_the_thresholds_that_submit_answers_by(
    trained, folder, monkeypatch
):
    paths, competition = trained
    plain = {row["label"] for row in rows_of(trained, folder).values()}
    assert plain == set(competition.classes)
    ordered = in_order(competition)
    found = rows_of((paths, ordered), folder).values()
    decisions = best_decisions(paths, ordered, "probe")
    probs = [[float(row[f"prob_{name}"]) for name in ordered.classes] for row in found]
    places = decisions.apply(np.array(probs)).argmax(axis=1)
    assert [row["label"] for row in found] == [ordered.classes[place] for place in places]
    last_only = OrderedDecisions((-1.0,) * (len(ordered.classes) - 1))
    monkeypatch.setattr(predict, "best_decisions", lambda *_: last_only)
    found = rows_of((paths, ordered), folder).values()
    assert {row["label"] for row in found} == {ordered.classes[-1]}


def test_without_the_fold_table_ordered_classes_are_the_likeliest_and_that_is_said(
    trained, folder, tmp_path, capsys
):
    paths, competition = trained
    copy = Paths(tmp_path / "root", competition.name)
    shutil.copytree(paths.root, copy.root, ignore=shutil.ignore_patterns("folds"))
    plain, found = (rows_of((copy, one), folder) for one in (competition, in_order(competition)))
    assert [row["label"] for row in found.values()] == [row["label"] for row in plain.values()]
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("the likeliest classes are named, not what scores best") == 1


def test_a_folder_of_broken_files_is_a_table_of_errors(trained, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.jpg").write_bytes(b"")
    (row,) = rows_of(trained, tmp_path / "broken").values()
    assert row["error"]


def test_every_kind_of_output_says_the_same(trained, folder):
    (folder / "broken.jpg").write_bytes(b"")
    rows = list(rows_of(trained, folder).values())
    run(trained, "probe", folder, None, folder.parent / "out.json")
    listed = json.loads((folder.parent / "out.json").read_text(encoding="utf-8"))
    run(trained, "probe", folder, None, folder.parent / "out.parquet")
    table = parquet.read_table(folder.parent / "out.parquet").to_pylist()
    assert [row["image"] for row in rows] == [one["image"] for one in listed]
    assert [row["label"] or None for row in rows] == [one["label"] for one in table]
    for row, one, other in zip(rows, listed, table, strict=True):
        assert list(row) == list(one) == list(other)
        assert float(row["prob_dog"] or -1) == (-1 if one["prob_dog"] is None else one["prob_dog"])
        assert one["prob_dog"] == pytest.approx(other["prob_dog"])


def test_more_views_change_the_probabilities_a_little(trained, folder):
    usual = rows_of(trained, folder)
    flipped = rows_of(trained, folder, policy="flip")
    crops = rows_of(trained, folder, policy="five-crops")
    assert flipped == usual
    differences = [
        abs(float(crops[one]["prob_cat"]) - float(usual[one]["prob_cat"])) for one in usual
    ]
    assert 0 < max(differences) < 0.9


def test_parquet_without_its_library_is_refused_in_one_line(trained, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        ConfigError, match=r"^--out: must be .csv or .json where pyarrow isn't installed"
    ):
        run(trained, "probe", folder, None, folder.parent / "out.parquet")
    assert not (folder.parent / "out.parquet").exists()


@pytest.mark.parametrize(
    ("name", "policy", "out", "error", "message"),
    [
        (
            "none",
            None,
            "o.csv",
            ArtifactError,
            "^experiment 'none': must be trained over all folds",
        ),
        ("probe", "flop", "o.csv", ConfigError, "^--tta flop: must be one of .* mean 'flip'"),
        ("probe", None, "o.xls", ConfigError, r"^--out .*o\.xls: must end in \.csv, "),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    trained, folder, tmp_path, name, policy, out, error, message
):
    with pytest.raises(error, match=message):
        run(trained, name, folder, policy, tmp_path / out)


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_without_images_is_refused(trained, tmp_path, exists):
    folder = tmp_path / "empty"
    if exists:
        folder.mkdir()
    state = "holds none" if exists else "doesn't exist"
    with pytest.raises(DataError, match=rf"must be a folder with images, {state}"):
        run(trained, "probe", folder, None, tmp_path / "out.csv")


def test_an_ensemble_has_no_checkpoints_to_predict_with(trained, folder):
    paths, competition = trained
    ensemble.run(paths, competition, ["probe", "finetune"], "both")
    with pytest.raises(ArtifactError, match=r"is an ensemble; name a member: "):
        run(trained, "both", folder, None, folder.parent / "out.csv")


def test_folds_of_an_earlier_split_into_more_predict_no_more(trained, folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(trained[0].root, copy)
    paths = Paths(copy, trained[1].name)
    files = paths.experiment("probe")
    shutil.copytree(files.fold(0).fold_dir, files.fold(2).fold_dir)
    files.fold(2).checkpoint.write_bytes(b"of another network")
    predict.run(paths, trained[1], "probe", folder, None, tmp_path / "a.csv")
    predict.run(trained[0], trained[1], "probe", folder, None, tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_heads_of_another_trunk_than_todays_are_refused(trained, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(fold_models, "weights_digest", lambda _: "another file's")
    with pytest.raises(ArtifactError, match="weights must be as they were when it was trained"):
        run(trained, "probe", folder, None, tmp_path / "out.csv")
    run(trained, "finetune", folder, None, tmp_path / "out.csv")  # which keeps all of its own


def test_models_for_another_target_are_refused(trained, folder, tmp_path):
    paths, competition = trained
    other = competition.model_copy(update={"target": "several_labels"})
    with pytest.raises(ArtifactError, match="'several_labels', was trained for another; run 'pip"):
        predict.run(paths, other, "probe", folder, None, tmp_path / "out.csv")


def test_a_changed_checkpoint_is_refused(trained, folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(trained[0].root, copy)
    paths = Paths(copy, trained[1].name)
    checkpoint = paths.experiment("probe").fold(0).checkpoint
    checkpoint.write_bytes(checkpoint.read_bytes() + b"x")
    with pytest.raises(ArtifactError, match=r"as it was trained, was changed since; run"):
        predict.run(paths, trained[1], "probe", folder, None, tmp_path / "out.csv")


def test_the_views_that_are_worth_their_time_are_recommended_and_used(trained, folder, capsys):
    paths, competition = trained
    with pytest.raises(ArtifactError, match=r"run 'pipeline tta demo --experiment finetune'$"):
        rows_of(trained, folder, "finetune", policy="auto")
    for name in ("probe", "finetune"):
        tta.run(paths, competition, name)
        told = json.loads(paths.experiment(name).tta.read_text(encoding="utf-8"))
        metrics = json.loads(paths.experiment(name).metrics.read_text(encoding="utf-8"))
        assert list(told["policies"]) == list(POLICIES)
        flip = told["policies"]["flip"]["oof_score"]
        assert flip == pytest.approx(metrics["oof_score"], abs=0.04)  # one image of 31
        used = rows_of(trained, folder, name, policy="auto")
        assert used == rows_of(trained, folder, name, policy=told["recommended"])
    assert "recommends" in capsys.readouterr().err


def test_names_that_begin_as_formulas_do_are_text_in_a_csv(tmp_path):
    row = {"image": "=1+1.jpg", "label": "-1", "prob_-1": 0.25, "prob_x": -0.0, "error": None}
    for name, expected in (("x.csv", "'=1+1.jpg,-1,0.25,-0.0,"), ("x.json", '"=1+1.jpg"')):
        with predict.prediction_file(tmp_path / name, ["-1", "x"]) as write:
            write([row])
        assert expected in (tmp_path / name).read_text("utf-8")
