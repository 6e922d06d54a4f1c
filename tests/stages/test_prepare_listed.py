"""Test images that a CSV or a sample submission lists, and classes read from the labels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.config.competition import Competition, load_competition
from pipeline.data.resolution import resolve
from pipeline.errors import ConfigError, DataError
from pipeline.stages import download, prepare
from pipeline.store.paths import Paths
from pipeline.store.tables import AUDIT_COLUMNS, load_test, load_train, read_table
from pipeline.submission.writer import ordered_ids

TOML = """
title = "Leaves"
classes = "from_labels"
[train]
folders = ["images"]
[train.labels]
source = "csv"
file = "train.csv"
id_column = "id"
label_column = "kind"
extension = ".png"
[test]
folders = ["images"]
csv = { file = "test.csv", id_column = "id", extension = ".png" }
[submission]
id = "stem"
label = "probabilities"
has_header = true
sample = "sample.csv"
[experiments]
cpu = ["lite0-probe"]
cuda = ["lite0-probe"]
"""
LISTS = {
    "train.csv": "id,kind\na,oak\nb,ash\nc,oak\nd,ash\n",
    "test.csv": "id\ny\nx\nz\n",
    "sample.csv": "id,oak,ash\nz,0.5,0.5\nx,0.5,0.5\ny,0.5,0.5\n",
}


@pytest.fixture
def leaves(tmp_path: Path) -> tuple[Path, Path]:
    """A competition's file and the folder of its images and lists."""
    folder = tmp_path / "folder"
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in "abcdxyz":
        pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"images/{name}.png")
    for name, content in LISTS.items():
        (folder / name).write_text(content, encoding="utf-8")
    path = tmp_path / "leaves.toml"
    path.write_text(TOML, encoding="utf-8")
    return path, folder


def prepared(leaves: tuple[Path, Path], **changes: Any) -> tuple[Paths, Competition]:
    path, folder = leaves
    competition = load_competition(str(path)).model_copy(update=changes)
    paths = Paths(path.parent / "root", competition.name)
    download.run(paths, competition, str(folder))
    prepare.run(paths, competition, workers=1)
    return paths, resolve(competition, paths)


def findings(paths: Paths) -> set[tuple[str, str, str]]:
    table = read_table(paths.audit_csv, AUDIT_COLUMNS, "pipeline prepare")
    return set(table[["finding", "split", "image_id"]].itertuples(index=False, name=None))


def test_splits_of_one_folder_are_told_apart_by_the_list(leaves):
    paths, competition = prepared(leaves)
    assert dict(load_train(paths)[["image_id", "label"]].to_numpy()) == {
        "a.png": "oak", "b.png": "ash", "c.png": "oak", "d.png": "ash",
    }  # fmt: skip
    assert load_test(paths)["image_id"].tolist() == ["z.png", "x.png", "y.png"]
    assert findings(paths) == set()
    assert competition.classes == ("ash", "oak")
    assert competition.columns == ("id", "oak", "ash")
    assert ordered_ids(competition.submission, ["z.png", "x.png"]) == ["z", "x"]


@pytest.mark.parametrize(
    ("keys", "content"),
    [
        ('file = "test.csv"', "images/y.png\nimages/x.png\nimages/z.png\n"),
        ('file = "test.csv", id_column = "id", separator = ";", extension = ".png"',
         "n;id\n0;y\n1;x\n2;z\n"),
    ],
)  # fmt: skip
def test_list_of_test_images_needs_no_header_and_no_commas(leaves, keys, content):
    path, folder = leaves
    (declared,) = [line for line in TOML.splitlines() if line.startswith("csv = ")]
    path.write_text(TOML.replace(declared, f"csv = {{ {keys} }}"), "utf-8")
    (folder / "test.csv").write_text(content, "utf-8")
    paths, _ = prepared(leaves)
    assert load_test(paths)["image_id"].tolist() == ["z.png", "x.png", "y.png"]
    assert findings(paths) == set()


def test_image_that_is_asked_for_and_not_there_gets_the_prior_and_is_told(leaves, capsys):
    (leaves[1] / "images/x.png").unlink()
    paths, _ = prepared(leaves)
    test = load_test(paths).set_index("image_id")
    assert test.index.tolist() == ["z.png", "x.png", "y.png"]
    assert test.loc[["x.png"], ["path", "group", "width"]].to_numpy().tolist() == [["", "x.png", 0]]
    assert findings(paths) == {
        ("listed-without-file", "test", "x.png"), ("unreadable", "test", "x.png"),
    }  # fmt: skip
    told = capsys.readouterr().err
    assert "test image 'x.png' is unreadable and will be given the class prior: there is no" in told


def test_list_that_is_mended_without_another_size_is_read_again(leaves):
    paths, _ = prepared(leaves)
    before = load_train(paths).set_index("image_id")["label"]
    listing = leaves[1] / "train.csv"
    listing.write_text(LISTS["train.csv"].replace("c,oak\nd,ash", "c,ash\nd,oak"), encoding="utf-8")
    prepared(leaves)
    after = load_train(paths).set_index("image_id")["label"]
    assert (before["c.png"], after["c.png"], after["a.png"]) == ("oak", "ash", "oak")


def test_image_that_nobody_lists_is_told(leaves):
    (leaves[1] / "images/a.png").rename(leaves[1] / "images/stranger.png")
    (leaves[1] / "images/Thumbs.db").write_bytes(b"no image and no list")
    paths, _ = prepared(leaves)
    assert findings(paths) == {
        ("litter", "", "leaves/images/Thumbs.db"),
        ("unlisted", "train", "stranger.png"), ("listed-without-file", "train", "a.png"),
    }  # fmt: skip


def test_test_folder_of_its_own_may_hold_more_than_the_sample_asks_for(leaves):
    path, folder = leaves
    (folder / "test").mkdir()
    for name in "xyz":
        (folder / f"images/{name}.png").rename(folder / f"test/{name}.png")
    Image.new("RGB", (16, 16), "red").save(folder / "test/more.png")
    path.write_text(TOML.replace('folders = ["images"]\ncsv', 'folders = ["test"]\ncsv'), "utf-8")
    paths, _ = prepared(leaves)
    assert findings(paths) == {("unlisted", "test", "more.png")}
    assert len(load_test(paths)) == 3


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("test.csv", "x\n", "", r"must ask for the images that test\.csv lists, 1 stand in one of"),
        (
            "test.csv",
            "id\n",
            "name\n",
            r"test\.csv: must have the columns \['id'\], has \['name'\]",
        ),
        ("test.csv", "y\n", "x\n", r"each must stand once, 1 stand several times.*'x\.png'"),
        ("sample.csv", "x,0.5,0.5", "x,0.5", r"sample\.csv: line 3 must have 3 columns, has 2"),
        ("train.csv", "a,oak", ",oak", r"train\.csv: line 2 must hold an id and a label"),
    ],
)
def test_lists_that_contradict_each_other_are_refused(leaves, name, old, new, message):
    file = leaves[1] / name
    file.write_text(file.read_text("utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        prepared(leaves)


def test_sample_without_a_column_for_a_class_is_refused(leaves):
    sample = leaves[1] / "sample.csv"
    sample.write_text(sample.read_text("utf-8").replace("oak", "elm"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"must be one column per class \(2\).* is 'elm'"):
        prepared(leaves)


def test_command_line_takes_what_prepare_has_read(leaves):
    path, folder = leaves
    root = path.parent / "root"

    def stage(*arguments: object) -> str:
        result = CliRunner().invoke(app, [*map(str, arguments), "--root", str(root)])
        assert result.exit_code == 0, result.output
        return result.output

    stage("status", path)
    stage("download", path, "--from", folder)
    stage("prepare", path, "--workers", 1)
    assert "prepare leaves: up to date" in stage("prepare", path)
    stage("folds", path, "--num-folds", 2)
    csv = folder / "sample.csv"
    assert stage("validate", path, csv).endswith("\nvalid: 4 lines\n")
    Paths(root, "leaves").resolution_json.unlink()
    result = CliRunner().invoke(app, ["validate", str(path), str(csv), "--root", str(root)])
    assert result.stderr.endswith(f"run 'pipeline prepare {path} --root {root}'\n")
    assert "up to date" not in stage("prepare", path)
    stage("validate", path, csv)
