"""Test images in another folder, on drawn images."""

import shutil

import pandas as pd
import pytest
from PIL import Image

from pipeline.data.duplicates import write_overlap
from pipeline.errors import DataError
from pipeline.store.tables import load_test


@pytest.fixture
def images(workspace):
    """The readable test images: (image_id, file)."""
    paths, _ = workspace
    test = load_test(paths).query("width > 0")
    rows = zip(test["image_id"], test["path"], strict=True)
    return [(image_id, paths.images_dir / path) for image_id, path in rows]


def found(paths):
    table = pd.read_csv(paths.overlap_csv, dtype=str, keep_default_na=False)
    assert list(table.columns) == ["image_id", "kind", "other", "correlation"]
    return table.to_numpy().tolist()


def test_copies_and_saved_again_pictures_are_found_whatever_they_are_called(
    workspace, images, tmp_path, capsys
):
    paths, _ = workspace
    other = tmp_path / "other"
    (other / "deep").mkdir(parents=True)
    (first, first_file), (second, second_file) = images[:2]
    shutil.copy(first_file, other / "deep/x.png")
    with Image.open(second_file) as picture:
        smaller = picture.convert("RGB").resize((40, 40))
        smaller.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(other / "y.png")
    Image.effect_noise((64, 64), 90).save(other / "noise.png")
    (other / "labels.csv").write_text("x,cat\n")
    write_overlap(paths, other, workers=1)
    rows = {(row[0], row[1], row[2]) for row in found(paths)}
    assert (first, "exact", str(other / "deep/x.png")) in rows
    assert (second, "near", str(other / "y.png")) in rows
    assert not any("noise" in row[2] for row in rows)
    captured = capsys.readouterr()
    assert f"{first}  exact 1.000  {other / 'deep/x.png'}" in captured.out
    assert "of 8 test images are among 3 others" in captured.out
    assert "warning: " in captured.err
    assert "mustn't be used" in captured.err


def test_without_overlap_there_is_no_warning_and_an_empty_table(workspace, tmp_path, capsys):
    paths, _ = workspace
    other = tmp_path / "other"
    other.mkdir()
    Image.effect_noise((64, 64), 90).save(other / "noise.png")
    write_overlap(paths, other, workers=1)
    captured = capsys.readouterr()
    assert captured.out.startswith("0 of 8 test images are among 1 others")
    assert "warning" not in captured.err
    assert found(paths) == []


def test_broken_copies_are_found_by_their_bytes(workspace, images, tmp_path):
    paths, _ = workspace
    other = tmp_path / "other"
    other.mkdir()
    image_id, file = images[0]
    broken = file.read_bytes()[:100]
    (other / "cut.png").write_bytes(broken)
    file.chmod(0o644)
    file.write_bytes(broken)
    write_overlap(paths, other, workers=1)
    assert found(paths) == [[image_id, "exact", str(other / "cut.png"), "1.000"]]


def test_images_are_not_compared_with_themselves(workspace, images):
    paths, _ = workspace
    own = images[0][1].parent
    expected = r"holds other images, has \d, all of them the competition's own files$"
    with pytest.raises(DataError, match=expected):
        write_overlap(paths, own, workers=1)


@pytest.mark.parametrize("name", ["none", "."])
def test_folder_without_images_is_refused(workspace, tmp_path, name):
    paths, _ = workspace
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"must be a folder that holds other images, has none$"):
        write_overlap(paths, tmp_path / "empty" / name, workers=1)
