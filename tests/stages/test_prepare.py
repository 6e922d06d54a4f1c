"""Every image is looked at once, and what is odd about it is told, never dropped in silence."""

import hashlib
import io
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from pipeline.config.competition import Competition
from pipeline.config.labels_table import FolderLabels
from pipeline.errors import DataError
from pipeline.stages import download, prepare
from pipeline.store.paths import Paths
from pipeline.store.tables import AUDIT_COLUMNS, load_test, load_train, read_table
from tests.conftest import tiny_demo

OUTPUTS = ("train_csv", "test_csv", "audit_json", "audit_csv", "prepare_stamp")
Prepared = tuple[Paths, Competition]


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A prepared `demo-12`, whose labels stand in a list; never change anything in it."""
    competition = tiny_demo("demo-12", num_train=48, num_test=24)
    paths = Paths(tmp_path_factory.mktemp("listed"), competition.name)
    download.run(paths, competition, None)
    prepare.run(paths, competition, workers=1)
    return paths, competition


@pytest.fixture
def demo(drawn: tuple[Path, Competition]) -> Prepared:
    root, competition = drawn
    return Paths(root, competition.name), competition


@pytest.fixture(params=["demo", "listed"])
def prepared(request: pytest.FixtureRequest) -> Prepared:
    found: Prepared = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def copied(listed: Prepared, tmp_path: Path) -> Prepared:
    """A writable copy of `listed`."""
    paths, competition = listed
    shutil.copytree(paths.root, tmp_path / "root")
    return Paths(tmp_path / "root", competition.name), competition


def audit_of(paths: Paths) -> pd.DataFrame:
    return read_table(paths.audit_csv, AUDIT_COLUMNS, "pipeline prepare")


def found(paths: Paths, finding: str, split: str = "train") -> pd.DataFrame:
    table = audit_of(paths)
    return table[(table["finding"] == finding) & (table["split"] == split)]


def mtimes(paths: Paths) -> list[int]:
    return [getattr(paths, name).stat().st_mtime_ns for name in OUTPUTS]


def image_paths(paths: Paths, folder: str) -> list[Path]:
    return sorted(file for file in paths.images_dir.rglob("*.jpg") if folder in file.parts)


def overwrite(path: Path, content: bytes) -> None:
    path.unlink()  # read-only
    path.write_bytes(content)


def test_every_file_is_a_row_or_a_finding(prepared):
    paths, competition = prepared
    left_out = sum(
        len(found(paths, finding))
        for finding in ("unreadable", "unlisted", "listed-with-two-labels")
    )
    train_folder, test_folder = competition.train.folders[0], competition.test.folders[0]
    assert left_out > 0
    assert len(load_train(paths)) + left_out == len(image_paths(paths, train_folder))
    assert len(load_test(paths)) == len(image_paths(paths, test_folder))


def test_rows_say_what_stands_on_the_disk(prepared):
    paths, _ = prepared
    tables = pd.concat([load_train(paths), load_test(paths)])
    for row in tables[tables["width"] > 0].itertuples():
        content = (paths.images_dir / str(row.path)).read_bytes()
        assert hashlib.sha256(content).hexdigest() == row.sha256
        with Image.open(io.BytesIO(content)) as image:
            assert (image.width, image.height, image.format) == (row.width, row.height, row.format)


def test_tables_are_sorted_by_id(prepared):
    paths, _ = prepared
    for table in (load_train(paths), load_test(paths)):
        assert table["image_id"].tolist() == sorted(table["image_id"])


def test_labels_are_those_of_the_file_names(demo):
    train = load_train(demo[0])
    assert (train["label"] == train["image_id"].str[:3]).all()


def test_labels_are_those_of_the_list(listed):
    paths, competition = listed
    lines = (paths.archives_dir / "train_list.txt").read_text(encoding="utf-8").splitlines()
    names = dict(line.rsplit("/", 1)[1].split("\t") for line in lines)
    train = load_train(paths)
    assert len(train) > 40
    for row in train.itertuples():
        assert competition.classes[int(names[str(row.image_id)])] == row.label


def test_odd_encodings_are_told(prepared):
    paths, _ = prepared
    assert sorted(found(paths, "not-rgb")["detail"]) == ["CMYK", "L", "P", "RGBA"]
    assert sorted(found(paths, "type-differs-from-name")["detail"]) == ["GIF", "PNG"]
    assert found(paths, "rotated-by-exif")["detail"].tolist() == ["6"]


def test_truncated_train_image_is_left_out_and_counted(prepared):
    paths, _ = prepared
    unreadable = found(paths, "unreadable")
    assert len(unreadable) == 1
    assert "truncated" in unreadable["detail"].iloc[0]
    assert unreadable["image_id"].iloc[0] not in set(load_train(paths)["image_id"])


def test_truncated_test_image_is_kept_without_a_size(listed):
    paths, _ = listed
    [image_id] = found(paths, "unreadable", "test")["image_id"]
    test = load_test(paths)
    assert test.loc[test["width"] == 0, "image_id"].tolist() == [image_id]
    [row] = test[test["image_id"] == image_id].itertuples()
    assert (row.width, row.height, row.format) == (0, 0, "")
    assert row.group == row.path


def test_unlisted_image_and_listed_ghost_are_told(listed):
    paths, _ = listed
    [unlisted], [ghost] = (
        found(paths, "unlisted")["image_id"],
        found(paths, "listed-without-file")["image_id"],
    )
    assert next(paths.images_dir.rglob(unlisted)).is_file()
    assert unlisted not in set(load_train(paths)["image_id"])
    assert not list(paths.images_dir.rglob(Path(ghost).name))


def test_copies_share_a_group_and_others_do_not(prepared):
    paths, _ = prepared
    train = load_train(paths).set_index("image_id")
    everything = pd.concat([load_train(paths), load_test(paths)])
    first_paths = everything.groupby("group")["path"].min()
    assert (first_paths == first_paths.index).all()
    assert train.groupby("sha256")["group"].agg(set).map(len).max() == 1
    near = found(paths, "near-duplicate")
    assert len(near) == 4
    copies = {*near["image_id"], *found(paths, "exact-duplicate")["image_id"]}
    alone = train[~train.index.isin(copies)]
    assert (alone["group"] == alone["path"]).all()
    groups = train["group"].to_dict()
    for row in near.itertuples():
        other, correlation = str(row.detail).rsplit(" ", 1)
        assert groups[str(row.image_id)] == groups[Path(other).name]
        assert 0.88 <= float(correlation) <= 1


def test_conflicting_labels_are_told_of_both_images(prepared):
    paths, _ = prepared
    conflicting = found(paths, "conflicting-labels")
    assert len(conflicting) == 2
    train = load_train(paths).set_index("image_id").loc[conflicting["image_id"]]
    assert train["label"].nunique() == 2
    assert train["sha256"].nunique() == train["group"].nunique() == 1


def test_test_image_with_a_labelled_twin_is_told_and_shares_its_group(prepared):
    paths, _ = prepared
    [twin] = found(paths, "train-test-twin", "test").itertuples()
    test, train = load_test(paths).set_index("image_id"), load_train(paths)
    group = test["group"].to_dict()[str(twin.image_id)]
    [label] = train.loc[train["group"] == group, "label"]
    assert twin.detail == f"{label} in {group}"


def test_summary_counts_what_the_tables_hold(prepared):
    paths, competition = prepared
    summary = json.loads(paths.audit_json.read_text(encoding="utf-8"))
    train, test = load_train(paths), load_test(paths)
    counts = train["label"].value_counts().to_dict()
    assert summary["class_counts"] == counts
    assert list(summary["class_counts"]) == list(competition.classes)
    sizes = counts.values()
    assert summary["smallest_to_largest_class"] == round(min(sizes) / max(sizes), 4)
    assert summary["train"]["num_images"] == len(train)
    assert summary["test"]["num_images"] == len(test)
    assert sum(summary["test"]["formats"].values()) == (test["width"] > 0).sum()
    assert summary["train"]["width_px"]["max"] == train["width"].max()
    assert summary["test"]["height_px"]["min"] == test.loc[test["width"] > 0, "height"].min()
    assert summary["findings"] == audit_of(paths)["finding"].value_counts().to_dict()
    groups = pd.concat([train, test])["group"].value_counts()
    assert summary["clusters"] == (groups > 1).sum() == 6


def test_what_was_found_is_told(copied, capsys):
    paths, competition = copied
    paths.prepare_stamp.unlink()
    prepare.run(paths, competition, workers=1)
    told = capsys.readouterr().err
    assert "is unreadable and left out: cannot be decoded" in told
    assert "is unreadable and will be given the class prior: not a whole image" in told
    assert "prepare demo-12: 46 train and 24 test images, 12 classes, 6 duplicate clusters" in told


def test_second_run_is_up_to_date_and_touches_nothing(workspace, capsys):
    paths, competition = workspace
    before = mtimes(paths)
    prepare.run(paths, competition, workers=1)
    assert capsys.readouterr().err == "prepare demo: up to date\n"
    assert mtimes(paths) == before


def test_second_run_from_scratch_gives_the_same_bytes(workspace):
    paths, competition = workspace
    before = [getattr(paths, name).read_bytes() for name in OUTPUTS]
    paths.prepare_stamp.unlink()
    prepare.run(paths, competition, workers=2)
    assert [getattr(paths, name).read_bytes() for name in OUTPUTS] == before


@pytest.mark.parametrize("name", OUTPUTS[:-1])
def test_output_that_was_changed_is_made_again(workspace, name):
    paths, competition = workspace
    path = getattr(paths, name)
    content = path.read_bytes()
    path.write_bytes(content[:-20])
    prepare.run(paths, competition, workers=1)
    assert path.read_bytes() == content


def test_deleted_image_is_noticed(workspace):
    paths, competition = workspace
    before = load_train(paths)
    (paths.images_dir / before["path"].iloc[3]).unlink()
    prepare.run(paths, competition, workers=1)
    gone = set(before["image_id"]) - set(load_train(paths)["image_id"])
    assert gone == {before["image_id"].iloc[3]}


def test_added_image_is_taken_in(workspace):
    paths, competition = workspace
    folder = image_paths(paths, "train")[0].parent
    Image.linear_gradient("L").save(folder / "cat_999.png")
    prepare.run(paths, competition, workers=1)
    [row] = load_train(paths).query("image_id == 'cat_999.png'").itertuples()
    assert (row.label, row.width, row.height, row.format) == ("cat", 256, 256, "PNG")


def test_list_of_the_same_size_that_was_downloaded_anew_is_noticed(copied, tmp_path):
    paths, competition = copied
    archives = shutil.copytree(paths.archives_dir, tmp_path / "archives")
    lines = (archives / "train_list.txt").read_text(encoding="utf-8").splitlines()
    image_id, before = load_train(paths)[["image_id", "label"]].iloc[0]
    name, label = next(line for line in lines if image_id in line).split("\t")
    other = (int(label) + 1) % 10 if len(label) == 1 else 21 - int(label)
    text = "".join(f"{line}\n" for line in lines).replace(f"{name}\t{label}", f"{name}\t{other}")
    assert competition.classes[other] != before
    overwrite(archives / "train_list.txt", text.encode())
    download.run(paths, competition, str(archives))
    prepare.run(paths, competition, workers=1)
    assert (
        load_train(paths).set_index("image_id").loc[image_id, "label"]
        == (competition.classes[other])
    )


def test_other_competition_file_is_noticed(workspace):
    paths, competition = workspace
    other = competition.model_copy(update={"classes": ("dog", "cat")})
    prepare.run(paths, other, workers=1)
    summary = json.loads(paths.audit_json.read_text(encoding="utf-8"))
    assert list(summary["class_counts"]) == ["dog", "cat"]


def test_other_files_are_told(workspace):
    paths, competition = workspace
    (paths.images_dir / "train" / "notes.txt").write_text("hello", encoding="utf-8")
    prepare.run(paths, competition, workers=1)
    assert found(paths, "not-an-image", "")["image_id"].tolist() == ["train/notes.txt"]


def test_image_listed_with_two_labels_is_left_out(copied):
    paths, competition = copied
    path = paths.archives_dir / "train_list.txt"
    image_id, label = load_train(paths)[["image_id", "label"]].iloc[0]
    other = (competition.classes.index(label) + 1) % 12
    overwrite(path, path.read_bytes() + f"{image_id}\t{other}\n".encode())
    prepare.run(paths, competition, workers=1)
    assert found(paths, "listed-with-two-labels")["image_id"].tolist() == [image_id]
    assert image_id not in set(load_train(paths)["image_id"])


def test_missing_download_leads_to_download(tmp_path):
    competition = tiny_demo()
    expected = r"must hold the unpacked archives, .*; run 'pipeline download demo'"
    with pytest.raises(DataError, match=expected):
        prepare.run(Paths(tmp_path, "demo"), competition, workers=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stamp", ["", "{}", "null"])
def test_download_that_is_not_complete_leads_to_download(workspace, stamp):
    paths, competition = workspace
    paths.download_stamp.write_text(stamp, encoding="utf-8")
    with pytest.raises(DataError, match="run 'pipeline download demo'"):
        prepare.run(paths, competition, workers=1)


@pytest.mark.parametrize("split", ["train", "test"])
def test_split_without_images_is_refused_with_what_is_there(workspace, split):
    paths, competition = workspace
    for path in image_paths(paths, split):
        path.rename(path.with_suffix(".txt"))
    before = mtimes(paths)
    expected = rf"must hold {split} images below a folder named {split}, holds dogs_cats_test/test"
    with pytest.raises(DataError, match=expected):
        prepare.run(paths, competition, workers=1)
    assert mtimes(paths) == before


def test_folder_without_any_file_is_refused(workspace):
    paths, competition = workspace
    shutil.rmtree(paths.images_dir)
    with pytest.raises(DataError, match="holds nothing; check the archives"):
        prepare.run(paths, competition, workers=1)


EMPTY_CLASS = (
    r"every class must have readable train images, 1 of 2 have none, the first is 'dog'; check "
    r"its images and labels and run 'pipeline download demo'"
)


def test_class_without_images_is_refused(workspace):
    paths, competition = workspace
    for path in image_paths(paths, "train"):
        if path.name.startswith("dog"):
            path.unlink()
    before = mtimes(paths)
    with pytest.raises(DataError, match=EMPTY_CLASS):
        prepare.run(paths, competition, workers=1)
    assert mtimes(paths) == before


def test_class_of_unreadable_images_is_refused(workspace):
    paths, competition = workspace
    for path in image_paths(paths, "train"):
        if path.name.startswith("dog"):
            overwrite(path, b"<html>")
    with pytest.raises(DataError, match=EMPTY_CLASS):
        prepare.run(paths, competition, workers=1)


def test_download_of_nothing_but_web_pages_is_refused(workspace):
    paths, competition = workspace
    for path in paths.images_dir.rglob("*.jpg"):
        overwrite(path, b"<html>")
    with pytest.raises(DataError, match="2 of 2 have none, the first is 'cat'"):
        prepare.run(paths, competition, workers=1)


def test_two_test_images_of_one_id_are_refused(workspace):
    paths, competition = workspace
    first = image_paths(paths, "test")[0]
    shutil.copy(first, first.with_name(f"0{first.name}"))
    expected = r"1 ids stand for several, the first is '0'; .*run 'pipeline download demo'"
    with pytest.raises(DataError, match=expected):
        prepare.run(paths, competition, workers=1)


def test_folders_may_name_the_classes(tmp_path):
    competition = tiny_demo(num_train=8, num_test=2)
    labels = competition.train.model_copy(update={"labels": FolderLabels(source="folder")})
    competition = competition.model_copy(update={"train": labels})
    paths = Paths(tmp_path, competition.name)
    download.run(paths, competition, None)
    prepare.run(paths, competition, workers=1)
    train = load_train(paths)
    assert set(train["label"]) == {"cat", "dog"}
    assert (train["image_id"].str.split("/").str[0] == train["label"]).all()


def test_project_that_was_moved_is_still_up_to_date(workspace, tmp_path, capsys):
    paths, competition = workspace
    paths.root.rename(tmp_path / "moved")
    prepare.run(Paths(tmp_path / "moved", competition.name), competition, workers=1)
    assert capsys.readouterr().err == "prepare demo: up to date\n"


def test_exact_copies_without_any_pixels_to_compare_share_a_group(workspace):
    paths, competition = workspace
    folder = image_paths(paths, competition.train.folders[0])[0].parent
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(buffer, "JPEG")
    for name in ("cat_900.jpg", "cat_901.jpg"):
        (folder / name).write_bytes(buffer.getvalue())
    prepare.run(paths, competition, 1)
    groups = load_train(paths).set_index("image_id")["group"]
    assert groups["cat_900.jpg"] == groups["cat_901.jpg"]


def test_test_set_without_a_readable_image_is_refused(workspace):
    paths, competition = workspace
    for path in image_paths(paths, competition.test.folders[0]):
        overwrite(path, b"nothing")
    with pytest.raises(DataError, match="some test images must be readable, none of 8 is"):
        prepare.run(paths, competition, 1)


def test_other_folder_is_searched_for_test_images_though_all_is_up_to_date(
    workspace, tmp_path, capsys
):
    paths, competition = workspace
    (tmp_path / "other").mkdir()
    copied = image_paths(paths, competition.test.folders[0])[0]
    shutil.copy(copied, tmp_path / "other/x.png")
    prepare.run(paths, competition, 1, tmp_path / "other")
    captured = capsys.readouterr()
    assert "prepare demo: up to date" in captured.err
    assert "1 of 8 test images are among 1 others, 1 of them byte for byte" in captured.out
    assert pd.read_csv(paths.overlap_csv)["kind"].tolist() == ["exact"]
    plain = paths.overlap_csv.read_bytes()
    prepare.run(paths, competition, 1, tmp_path / "other", excel=True)
    assert paths.overlap_csv.read_bytes() == b"\xef\xbb\xbf" + plain


def test_audit_gets_its_mark_at_any_time_and_stays_up_to_date(copied, capsys):
    paths, competition = copied
    plain = paths.audit_csv.read_bytes()
    for _ in range(2):
        prepare.run(paths, competition, workers=1, excel=True)
        assert "up to date" in capsys.readouterr().err
        assert paths.audit_csv.read_bytes() == b"\xef\xbb\xbf" + plain
    prepare.run(paths, competition, workers=1)
    assert "up to date" in capsys.readouterr().err
    assert len(audit_of(paths)) == len(plain.splitlines()) - 1
