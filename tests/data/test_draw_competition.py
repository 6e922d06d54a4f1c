"""Drawn competitions: the layout of the real ones, the same bytes every time, known truth."""

import io
import pickle
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFile, ImageOps

from pipeline.config.archive_table import Archive, Synthetic
from pipeline.config.competition import Competition, load_competition
from pipeline.config.labels_table import CsvLabels, FolderLabels
from pipeline.data.drawing import draw_competition
from pipeline.data.drawing.image_files import FileJob, draw_file, draw_job
from pipeline.data.drawing.oddities import TEST, TRAIN, plan_oddities, same
from pipeline.data.drawing.species import SPECIES, species_of
from pipeline.errors import ConfigError

Members = dict[str, bytes]


def tiny(
    name: str = "demo", num_train: int = 24, num_test: int = 8, **changes: object
) -> Competition:
    """Return a built-in drawn competition with few and small images."""
    competition = load_competition(name)
    sizes = {"num_train": num_train, "num_test": num_test, "min_side_px": 48, "max_side_px": 64}
    assert competition.synthetic is not None
    drawn = competition.synthetic.model_copy(
        update=sizes | {key: changes.pop(key) for key in ("odd_files", "seed") if key in changes}
    )
    return competition.model_copy(update={"synthetic": drawn, **changes})


def draw(competition: Competition, root: Path) -> tuple[list[Members], pd.DataFrame]:
    """Draw, and return the members of each zip and the truth."""
    draw_competition.draw_competition(competition, root / "archives", root / "truth.csv")
    zips: list[Members] = []
    for path in (root / "archives" / archive.name for archive in competition.archives):
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                zips.append({name: archive.read(name) for name in archive.namelist()})
    return zips, pd.read_csv(root / "truth.csv", dtype=str)


def images_of(members: Members) -> Members:
    return {
        name.rpartition("/")[2]: content
        for name, content in members.items()
        if name.endswith(".jpg") and not name.startswith("__MACOSX/")
    }


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return draw(tiny(num_train=40), tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def demo_12(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo-12")
    zips, truth = draw(tiny("demo-12", num_train=48, num_test=24), root)
    lines = (root / "archives" / "train_list.txt").read_text("utf-8").splitlines()
    return zips, truth, [line.split("\t") for line in lines]


@pytest.mark.parametrize("name", ["demo", "demo-12"])
def test_two_draws_are_byte_identical_whatever_the_number_of_processes(name, tmp_path, monkeypatch):
    competition = tiny(name)
    draw(competition, tmp_path / "one")
    monkeypatch.setattr(draw_competition, "_MIN_PARALLEL", 1)
    monkeypatch.setattr(draw_competition, "num_cpus", lambda: 2)
    draw(competition, tmp_path / "two")
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / root).rglob("*.*")}
        for root in ("one", "two")
    )
    assert first == second
    assert set(first) == {archive.name for archive in competition.archives} | {"truth.csv"}


def test_another_seed_draws_other_images(tmp_path):
    first, second = (
        draw(tiny(seed=seed, odd_files=False), tmp_path / str(seed))[0][0] for seed in (0, 1)
    )
    assert first.keys() == second.keys()
    assert not set(first.values()) & set(second.values())


def test_demo_has_the_layout_of_cat_dog(demo):
    (train, test), _ = demo
    images = {name for name in train if not name.startswith("__MACOSX/")}
    assert images == {f"train/{kind}_{i}.jpg" for kind in ("cat", "dog") for i in range(20)}
    assert set(test) == {f"test/{index}.jpg" for index in range(8)}
    assert {"__MACOSX/train/._cat_0.jpg", "__MACOSX/._train"} <= set(train)


def test_demo_12_has_the_layout_of_cat_12(demo_12):
    (train, test), _, lines = demo_12
    assert {name.partition("/")[0] for name in train} == {"cat_12_train", "__MACOSX"}
    assert {name.partition("/")[0] for name in test} == {"cat_12_test"}
    stems = [name.removesuffix(".jpg") for name in [*images_of(train), *images_of(test)]]
    assert len(set(stems)) == 48 + 24
    assert all(len(stem) == 32 and stem.isascii() and stem.isalnum() for stem in stems)
    assert all(path.startswith("cat_12_train/") for path, _ in lines)
    assert {target for _, target in lines} == {str(target) for target in range(12)}


def test_list_names_one_image_that_is_missing_and_leaves_one_out(demo_12):
    (train, _), _, lines = demo_12
    listed = {path.rpartition("/")[2] for path, _ in lines}
    assert len(listed) == len(lines) == 48
    assert len(listed - set(images_of(train))) == 1
    assert len(set(images_of(train)) - listed) == 1


def test_truth_covers_each_test_image_with_level_class_names(demo, demo_12):
    for (_, test), truth, *_ in (demo, demo_12):
        assert list(truth.columns) == ["image_id", "label"]
        assert sorted(truth["image_id"]) == sorted(images_of(test))
        assert len(set(Counter(truth["label"]).values())) == 1
    assert set(demo[1]["label"]) == {"cat", "dog"}


def test_odd_files_are_called_jpg_but_are_not(demo):
    (train, _), _ = demo
    kinds: Counter[tuple[str | None, str, int | None]] = Counter()
    for content in images_of(train).values():
        with Image.open(io.BytesIO(content)) as image:
            kinds[image.format, image.mode, image.getexif().get(0x0112)] += 1
    ordinary = kinds.pop(("JPEG", "RGB", None))
    assert kinds == {
        ("GIF", "P", None): 1,
        ("PNG", "RGBA", None): 1,
        ("JPEG", "L", None): 1,
        ("JPEG", "CMYK", None): 1,
        ("JPEG", "RGB", 6): 1,
    }
    assert ordinary == 35


def test_rgba_png_is_transparent_somewhere():
    job = FileJob(SPECIES["cat"], (0, TRAIN, 0), 30, 40, "rgba_png")
    alpha = np.asarray(Image.open(io.BytesIO(draw_file(job))))[..., 3]
    assert alpha.min() == 0
    assert alpha.max() == 255


def test_exif_turns_the_stored_picture_upright():
    job = FileJob(SPECIES["cat"], (0, TRAIN, 0), 30, 60, "turned")
    stored = Image.open(io.BytesIO(draw_file(job)))
    upright = draw_job(job)
    assert stored.size == upright.shape[:2]
    difference = np.asarray(ImageOps.exif_transpose(stored)).astype(int) - upright
    assert np.abs(difference).mean() < 12


def test_train_holds_duplicates_and_one_of_them_is_mislabelled(demo):
    (train, test), truth = demo
    names: dict[bytes, list[str]] = {}
    for name, content in images_of(train).items():
        names.setdefault(content, []).append(name[:3])
    twins = sorted(kinds for kinds in names.values() if len(kinds) > 1)
    assert len(twins) == 3
    assert sorted(len(set(kinds)) for kinds in twins) == [1, 1, 2]
    leaks = [name for name, content in images_of(test).items() if content in names]
    assert len(leaks) == 1
    labels = dict(truth.to_numpy())
    assert labels[leaks[0]] in names[images_of(test)[leaks[0]]]


def _is_whole(content: bytes) -> bool:
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        Image.open(io.BytesIO(content)).load()
    except OSError:
        return False
    return True


def test_one_train_image_is_truncated_and_a_test_image_only_beside_a_list(demo, demo_12):
    for (train, test), num_broken in ((demo[0], 0), (demo_12[0], 1)):
        assert sum(not _is_whole(content) for content in images_of(train).values()) == 1
        assert sum(not _is_whole(content) for content in images_of(test).values()) == num_broken


def test_near_duplicates_are_other_bytes_of_the_same_picture():
    plan = plan_oddities([0, 1] * 20, [0, 1], np.random.default_rng(0), has_list=False)
    near = [change for _, _, change in plan.rewrites if change.__name__ == "near_duplicate"]
    assert len(near) == 2
    job = FileJob(SPECIES["cat"], (0, TRAIN, 0), 60, 60)
    original = draw_file(job)
    copy = Image.open(io.BytesIO(near[0](original)))
    assert copy.size == (56, 56)
    difference = np.asarray(copy.resize((60, 60))).astype(int) - draw_job(job)
    assert 0 < np.abs(difference).mean() < 25


@pytest.mark.parametrize("num_train", [1, 2, 5, 12, 24, 100])
def test_no_image_is_odd_in_two_ways_however_few_there_are(num_train):
    for num_classes in (2, 12):
        targets = [index % num_classes for index in range(num_train)]
        plan = plan_oddities(targets, [0, 1, 2], np.random.default_rng(1), has_list=True)
        pairs = [pair for pair in plan.rewrites if pair[0] != pair[1]]
        used = [key for pair in pairs for key in pair[:2]] + list(plan.encodings)
        used += [key for key, source, _ in plan.rewrites if key == source]
        used += [] if plan.unlisted is None else [(TRAIN, plan.unlisted)]
        assert len(set(used)) == len(used)
        assert all(index < num_train for split, index in used if split == TRAIN)


def test_two_dozen_images_are_enough_for_every_oddity():
    targets = [index % 2 for index in range(24)]
    plan = plan_oddities(targets, [0, 1, 0], np.random.default_rng(1), has_list=True)
    assert len(plan.encodings) == 5
    assert [change.__name__ for _, _, change in plan.rewrites] == [
        "same", "same", "near_duplicate", "near_duplicate", "same", "truncated", "same",
        "truncated",
    ]  # fmt: skip
    conflict, twin = plan.rewrites[4], plan.rewrites[6]
    assert targets[conflict[0][1]] != targets[conflict[1][1]]
    assert twin[0][0] == TEST
    assert twin[2] is same
    assert plan.unlisted is not None


def test_without_odd_files_every_file_is_an_ordinary_jpeg(tmp_path):
    (train, test), _ = draw(tiny(odd_files=False), tmp_path)
    assert len(train) == 24
    assert len(set(train.values()) | set(test.values())) == 32
    assert {Image.open(io.BytesIO(content)).format for content in train.values()} == {"JPEG"}


def test_folder_labels_are_folders(tmp_path):
    competition = tiny("demo-12", odd_files=False)
    folders = competition.train.model_copy(update={"labels": FolderLabels(source="folder")})
    (train, _), _ = draw(competition.model_copy(update={"train": folders}), tmp_path)
    parents = Counter(name.rpartition("/")[0] for name in train)
    assert parents == {f"cat_12_train/{name}": 2 for name in competition.classes}


@pytest.mark.parametrize("num_classes", [2, 5, 17])
def test_any_number_of_classes_works_with_a_csv_of_names(num_classes, tmp_path):
    labels = CsvLabels(
        source="csv", file="labels.csv", id_column="id", label_column="breed", extension=".jpg"
    )
    classes = tuple(f"kind {index}" for index in range(num_classes))
    base = tiny(num_train=2 * num_classes, num_test=num_classes, odd_files=False)
    competition = base.model_copy(
        update={
            "classes": classes,
            "archives": (*base.archives, Archive(name="labels.csv")),
            "train": base.train.model_copy(update={"labels": labels}),
        }
    )
    (train, _), truth = draw(competition, tmp_path)
    table = pd.read_csv(tmp_path / "archives" / "labels.csv", dtype=str)
    assert list(table.columns) == ["id", "breed"]
    assert set(table["id"] + ".jpg") == set(images_of(train))
    assert Counter(table["breed"]) == dict.fromkeys(classes, 2)
    assert set(truth["label"]) == set(classes)


def test_one_zip_holds_everything_if_there_is_no_other(tmp_path):
    base = tiny("demo-12", num_test=4, odd_files=False)
    (members,), _ = draw(base.model_copy(update={"archives": base.archives[:1]}), tmp_path)
    folders = Counter(name.partition("/")[0] for name in members)
    assert folders == {"cat_12_train": 24, "cat_12_test": 4, "train_list.txt": 1}


def tiny_cifar(num_train: int = 12, num_test: int = 4, **changes: object) -> Competition:
    """Return `cifar-10-demo` with few images."""
    competition = load_competition("cifar-10-demo")
    assert competition.synthetic is not None
    sizes = {"num_train": num_train, "num_test": num_test}
    drawn = competition.synthetic.model_copy(update=sizes | changes)
    return competition.model_copy(update={"synthetic": drawn})


def members_of_tar(path: Path) -> Members:
    with tarfile.open(path) as archive:
        files = {info.name: archive.extractfile(info) for info in archive}
        return {name: file.read() for name, file in files.items() if file is not None}


def test_cifar_demo_has_the_layout_of_cifar_10(tmp_path):
    for name in ("one", "two"):
        draw(tiny_cifar(), tmp_path / name)
    one, two = (tmp_path / name / "archives/cifar-10-python.tar.gz" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    members = members_of_tar(one)
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"]
    assert set(members) == {f"cifar-10-batches-py/{name}" for name in names}
    *train, test, meta = (pickle.loads(members[f"cifar-10-batches-py/{name}"]) for name in names)
    assert meta[b"label_names"] == [name.encode() for name in tiny_cifar().classes]
    assert meta[b"num_vis"] == 3072
    assert [len(batch[b"labels"]) for batch in (*train, test)] == [3, 3, 2, 2, 2, 4]
    assert train[1][b"batch_label"] == b"training batch 2 of 5"
    assert train[1][b"filenames"][0] == b"cat_s_000003.png"
    for batch in (*train, test):
        assert list(batch) == [b"batch_label", b"labels", b"data", b"filenames"]
        assert batch[b"data"].shape == (len(batch[b"labels"]), 3072)
        assert batch[b"data"].dtype == np.uint8


def test_rows_of_a_drawn_batch_are_reds_then_greens_then_blues(tmp_path):
    draw(tiny_cifar(), tmp_path)
    members = members_of_tar(tmp_path / "archives/cifar-10-python.tar.gz")
    batch = pickle.loads(members["cifar-10-batches-py/test_batch"])
    target = batch[b"labels"][2]
    species = species_of(tiny_cifar().classes, target, seed=0)
    picture = draw_job(FileJob(species, (0, TEST, 2), 32, 32))
    planes = [picture[..., channel].ravel() for channel in range(3)]
    assert np.array_equal(batch[b"data"][2], np.concatenate(planes))


@pytest.mark.parametrize("changes", [{"odd_files": True}, {"max_side_px": 33}])
def test_pictures_that_no_batch_can_hold_are_refused(tmp_path, changes):
    message = r"cifar-10-demo\.toml: synthetic must have odd_files = false and sides of 32 px"
    with pytest.raises(ConfigError, match=message):
        draw(tiny_cifar(**changes), tmp_path)


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_images_are_drawn_into_tars_too(tmp_path, suffix):
    (first, second), _ = draw(tiny(), tmp_path / "zips")
    archives = (Archive(name=f"train.{suffix}"), Archive(name=f"test.{suffix}"))
    for name in ("one", "two"):
        draw(tiny().model_copy(update={"archives": archives}), tmp_path / name)
    for archive, members in zip(archives, (first, second), strict=True):
        one, two = (tmp_path / name / "archives" / archive.name for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
        assert members_of_tar(one) == members


def test_competition_that_cannot_be_drawn_is_refused(tmp_path):
    no_zip = tiny().model_copy(update={"archives": (Archive(name="list.txt"),)})
    drawn = Synthetic(num_train=4, num_test=2)
    cases = {
        r"cat-12\.toml: must have a table \[synthetic\]": load_competition("cat-12"),
        r"demo\.toml: archives must name a zip, tar or 7z to draw": no_zip,
        r"demo\.toml: synthetic\.name_template must hold '\{label\}'": tiny().model_copy(
            update={"synthetic": drawn}
        ),
    }
    for match, competition in cases.items():
        with pytest.raises(ConfigError, match=match):
            draw(competition, tmp_path)
