import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.errors import ConfigError, DataError
from pipeline.stages import preview
from pipeline.stages.preview import CELL_PX, _sample_images
from pipeline.store.tables import load_train, write_table
from tests import tiny


@pytest.fixture
def toml(tmp_path):
    return tiny.write_toml(tmp_path / "tiny.toml")


def shape(path):
    """Return how many cells fit on a sheet: rows and columns."""
    with Image.open(io.BytesIO(path.read_bytes()), formats=["PNG"]) as image:
        return image.height // CELL_PX, image.width // CELL_PX


def test_a_sheet_is_written_and_its_path_is_printed(workspace, toml, capsys):
    paths, competition = workspace
    preview.run(paths, competition, toml, [], (3, 2), None)
    path = paths.experiment("tiny").preview
    assert shape(path) == (3, 3)
    assert capsys.readouterr().out == f"{path}\n"


def test_a_sheet_goes_where_it_is_wanted(workspace, toml, tmp_path):
    paths, competition = workspace
    out = tmp_path / "new" / "sheet.png"
    preview.run(paths, competition, toml, ["views.recipe=heavy"], (1, 4), out)
    assert shape(out) == (1, 5)
    assert not paths.experiment("tiny").experiment_dir.exists()


@pytest.mark.parametrize(
    ("change", "columns"),
    [("views.recipe=none", 1), ("views.recipe=source-catdog", 2), ("views.cycle=3", 4)],
)
def test_views_that_repeat_are_shown_once(workspace, toml, change, columns):
    paths, competition = workspace
    preview.run(paths, competition, toml, [change], (2, 5), None)
    assert shape(paths.experiment("tiny").preview) == (2, columns)


def test_two_previews_are_the_same_bytes(workspace, toml):
    paths, competition = workspace
    sheets = []
    for _ in range(2):
        preview.run(paths, competition, toml, [], (4, 2), None)
        sheets.append(paths.experiment("tiny").preview.read_bytes())
    assert sheets[0] == sheets[1]


def test_another_seed_shows_other_images_and_views(workspace, toml):
    paths, competition = workspace
    sheets = []
    for seed in (0, 1):
        preview.run(paths, competition, toml, [f"seed={seed}"], (4, 2), None)
        sheets.append(paths.experiment("tiny").preview.read_bytes())
    assert sheets[0] != sheets[1]


def test_images_are_level_over_the_classes():
    labels = ["a"] * 50 + ["b"] * 5 + ["c"] * 5
    train = pd.DataFrame({"image_id": np.arange(60), "label": labels})
    assert _sample_images(train, 7, 0)["label"].value_counts().to_dict() in (
        {"a": 3, "b": 2, "c": 2},
        {"b": 3, "a": 2, "c": 2},
        {"c": 3, "a": 2, "b": 2},
    )
    assert len(_sample_images(train, 100, 0)) == 60
    assert not _sample_images(train, 7, 0).equals(_sample_images(train, 7, 1))


def test_class_names_of_any_script_can_be_shown(workspace, toml):
    paths, competition = workspace
    train = load_train(paths)
    write_table(
        train.assign(label=train["label"].map({"cat": "猫", "dog": "狗 🐕"})), paths.train_csv
    )
    preview.run(paths, competition, toml, [], (2, 1), None)
    assert shape(paths.experiment("tiny").preview) == (2, 2)


def test_an_impossible_recipe_is_refused_before_any_image_is_read(workspace, tmp_path):
    paths, competition = workspace
    text = '[views]\nrecipe = "custom"\n[[views.transforms]]\nname = "Blurr"\n'
    toml = tiny.write_toml(tmp_path / "bad.toml", text)
    paths.train_csv.unlink()
    with pytest.raises(ConfigError, match=r"'Blurr': must be an image transform .* 'Blur'\?$"):
        preview.run(paths, competition, toml, [], (2, 1), None)


def test_an_image_that_is_gone_is_named(workspace, toml):
    paths, competition = workspace
    for image in load_train(paths)["path"]:
        (paths.images_dir / image).unlink()
    with pytest.raises(DataError, match="must be as it was prepared, found: "):
        preview.run(paths, competition, toml, [], (2, 1), None)
