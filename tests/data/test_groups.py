"""Images of one subject share a fold, copies as the competition's file says; doubts are told."""

import cv2
import numpy as np
import pandas as pd
import pytest

from pipeline.config.competition import Competition, load_competition
from pipeline.data.audit import Scan
from pipeline.data.groups import find_copies, joined_copies
from pipeline.errors import ConfigError, DataError
from pipeline.images.decode import ByteImage
from pipeline.stages import download, folds, prepare
from pipeline.store.paths import Paths
from pipeline.store.tables import load_folds, load_train
from tests.user_folder import save_list, save_pictures

TOML = """
title = "wings"
classes = ["left_wing", "right_wing"]
{top}
[train]
folders = ["train"]
labels = {labels}
{train}
[test]
folders = ["test"]
[submission]
id = "stem"
[experiments]
cpu = ["lite0-probe"]
cuda = ["lite0-probe"]
"""
CSV = '{ source = "csv", file = "birds.csv", id_column = "photo", label_column = "wing" }'
IN_NAMES = "{ source = \"file_name\", pattern = '(?P<label>left|right)' }"
NUM = 24


@pytest.fixture
def write(tmp_path):
    """Write pictures of 8 birds, both wings of each, and a competition's file with some keys."""

    def written(train: str = "", top: str = "", labels: str = CSV) -> tuple[Paths, Competition]:
        names = [f"bird{n // 3}_{n}.png" for n in range(NUM)]
        folder = tmp_path / "photos"
        save_pictures(folder, [f"train/{name}" for name in names] + ["test/900.png"])
        wings = [f"{('left', 'right')[n % 2]}_wing" for n in range(NUM)]
        rows = [
            f"{name},{wings[n]},ring {n // 3},part{n % 4 // 2 + 1}" for n, name in enumerate(names)
        ]
        save_list(folder, "birds.csv", "photo,wing,ring,part", *rows)
        own = [f"{name.removesuffix('.png')};{n // 6}" for n, name in enumerate(names) if n < 18]
        save_list(folder, "cages.csv", "id;cage", *own)
        path = tmp_path / "wings.toml"
        path.write_text(TOML.format(train=train, top=top, labels=labels), "utf-8")
        competition = load_competition(str(path))
        paths = Paths(tmp_path / "root", "wings")
        download.run(paths, competition, str(folder))
        return paths, competition

    return written


def test_images_of_one_subject_share_a_fold_by_a_column_of_the_labels(write):
    paths, competition = write('groups = { column = "ring" }')
    prepare.run(paths, competition, 1)
    folds.run(paths, competition, 4, 0)
    table = load_folds(paths)
    bird = table["image_id"].str.extract(r"(bird\d)")[0]
    assert table.groupby(bird)["fold"].nunique().tolist() == [1] * 8
    assert table["group"].nunique() == 8
    assert table["fold"].nunique() == 4


def test_subjects_are_read_off_paths_whatever_their_case(write):
    paths, competition = write("groups = { pattern = '(?P<group>BIRD[0-9]+)_' }")
    prepare.run(paths, competition, 1)
    assert load_train(paths).groupby("group").size().tolist() == [3] * 8


def test_subjects_of_another_list_leave_the_others_alone_and_say_so(write, capsys):
    keys = '{ column = "cage", file = "cages.csv", id_column = "id", separator = ";" }'
    paths, competition = write(f"groups = {keys}")
    prepare.run(paths, competition, 1)
    sizes = load_train(paths).groupby("group").size().tolist()
    assert sorted(sizes) == [1] * 6 + [6] * 3
    said = capsys.readouterr().err
    assert "groups: 6 of 24 training images have none and stand for themselves" in said


IN_LINES = """{ source = "list_file", file = "lines.txt", separator = " ", values = "name",
columns = ["ring", "image", "label"] }""".replace("\n", " ")
HEADERLESS = {
    "of the labels' list": ('groups = { column = "ring" }', IN_LINES),
    "of another list": (
        'groups = { column = "ring", file = "lines.txt", separator = " ", '
        'columns = ["ring", "image", "wing"] }',
        IN_NAMES,
    ),
}


@pytest.mark.parametrize("form", HEADERLESS)
def test_subjects_are_read_off_lists_without_a_header(write, tmp_path, form):
    train, labels = HEADERLESS[form]
    paths, competition = write(train, labels=labels)
    photos = tmp_path / "photos" / "train"
    lines = []
    for n in range(NUM):
        side = ("left", "right")[n % 2]
        (photos / f"bird{n // 3}_{n}.png").rename(photos / f"{side}{n}.png")
        lines.append(f"r{n // 4} {side}{n}.png {side}_wing")
    save_list(tmp_path / "photos", "lines.txt", *lines)
    if form == "of another list":
        competition = competition.model_copy(update={"classes": ("left", "right")})
    prepare.run(paths, competition, 1)
    assert load_train(paths).groupby("group").size().tolist() == [4] * 6


def test_lines_that_lack_the_column_of_groups_are_refused(write, tmp_path):
    train, _ = HEADERLESS["of another list"]
    paths, competition = write(train)
    save_list(tmp_path / "photos", "lines.txt", "r0 bird0_0.png wing", "r0")
    with pytest.raises(DataError, match=r"must have the columns .* in every line, one holds"):
        prepare.run(paths, competition, 1)


def test_groups_that_fit_nothing_are_refused(write):
    paths, competition = write("groups = { pattern = '(?P<group>fish)' }")
    with pytest.raises(DataError, match=r"train\.groups must fit .* fits none of 24"):
        prepare.run(paths, competition, 1)


def test_image_of_two_subjects_is_refused(write, tmp_path):
    paths, competition = write('groups = { column = "ring" }')
    with (tmp_path / "photos" / "birds.csv").open("a", encoding="utf-8") as file:
        file.write("bird0_0.png,left_wing,ring 5,part1\n")
    with pytest.raises(DataError, match=r"holds 'ring 0' and 'ring 5' for 'bird0_0\.png'"):
        prepare.run(paths, competition, 1)


def test_organisers_folds_are_taken_and_torn_groups_are_told(write, capsys):
    paths, competition = write('folds = { column = "part" }\ngroups = { column = "ring" }')
    prepare.run(paths, competition, 1)
    folds.run(paths, competition, None, None)
    table = load_folds(paths)
    numbers = table["image_id"].str.extract(r"_(\d+)")[0].astype(int)
    assert (table["fold"] == numbers % 4 // 2).all()
    said = capsys.readouterr().err
    assert "24 images in 2 folds of 12 to 12, as the organiser's" in said
    assert "the organiser's folds tear 8 groups" in said


def test_another_number_of_folds_than_the_organisers_is_refused(write):
    paths, competition = write('folds = { column = "part" }')
    prepare.run(paths, competition, 1)
    with pytest.raises(
        DataError, match=r"--num-folds must be 2, as the organiser's folds are, is 5"
    ):
        folds.run(paths, competition, 5, None)


def test_images_without_an_organisers_fold_are_refused(write):
    keys = '{ column = "cage", file = "cages.csv", id_column = "id", separator = ";" }'
    paths, competition = write(f"folds = {keys}")
    with pytest.raises(DataError, match=r"column 'cage' must give every .* lacks 6, the first is"):
        prepare.run(paths, competition, 1)


def test_organisers_folds_are_forgotten_with_their_key(write):
    paths, competition = write('folds = { column = "part" }')
    prepare.run(paths, competition, 1)
    assert paths.given_folds_csv.is_file()
    train = competition.train.model_copy(update={"folds": None})
    prepare.run(paths, competition.model_copy(update={"train": train}), 1)
    assert not paths.given_folds_csv.exists()


@pytest.mark.parametrize(
    ("train", "fault"),
    [
        ("groups = { }", "must have one of pattern and column"),
        ("groups = { pattern = '(?P<group>a)', column = \"b\" }", "must have one of pattern and"),
        ("groups = { pattern = 'bird' }", r"must hold a group \(\?P<group>"),
        (
            'groups = { column = "a", file = "b.csv" }',
            "file and one of id_column and columns must be given",
        ),
        ("folds = { }", "column must name a column"),
        ('folds = { column = "a", extension = ".jpg" }', "file must be given where"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(write, train, fault):
    with pytest.raises(ConfigError, match=fault):
        write(train)


def test_a_column_needs_a_list(write):
    with pytest.raises(ConfigError, match=r"groups\.file must name the CSV of its column"):
        write('groups = { column = "ring" }', labels=IN_NAMES)


# Copies.


def scans_of(thumbnails: list[ByteImage]) -> list[Scan]:
    return [Scan(f"{n}", None, thumbnail, "") for n, thumbnail in enumerate(thumbnails)]


def scenes(count: int, variants: int, noise: float = 2.0) -> list[ByteImage]:
    """Draw different scenes, each several times with a little noise."""
    rng = np.random.default_rng(3)
    drawn = []
    for _ in range(count):
        rough = rng.uniform(0, 255, (4, 4)).astype(np.float32)
        scene = cv2.resize(rough, (32, 32), interpolation=cv2.INTER_CUBIC)
        drawn += [scene + noise * rng.standard_normal((32, 32)) for _ in range(variants)]
    return [image.clip(0, 255).astype(np.uint8) for image in drawn]


def copies_of(thumbnails, labels, **keys):
    competition = load_competition("demo").model_copy(update={"duplicates": None, **keys})
    table = pd.DataFrame({"split": "train", "label": labels})
    table["sha256"] = [f"{n}" for n in range(len(labels))]
    return find_copies(competition, table, scans_of(thumbnails)), competition


def test_shots_of_one_scene_are_copies_and_nothing_is_doubted():
    labels = [name for n in range(10) for name in ["cat" if n % 2 else "dog"] * 2]
    copies, _ = copies_of(scenes(10, 2), labels)
    assert set(copies.near) == {(2 * n, 2 * n + 1) for n in range(10)}
    assert copies.doubts == []


def test_one_wrong_label_in_a_cluster_is_no_doubt():
    labels = [*["cat"] * 8, "dog", *["dog"] * 3]
    copies, _ = copies_of(scenes(4, 3), labels)
    assert len(copies.near) == 12
    assert copies.doubts == []


def test_pictures_that_look_alike_across_labels_are_no_copies_and_it_is_said():
    labels = ["mild", "severe", "none"] * 10 + ["mild"] * 4
    copies, _ = copies_of(scenes(1, 30) + scenes(3, 2)[2:], labels)
    assert copies.near == {}
    [doubt] = copies.doubts
    assert "one cluster holds 30 training images of 3 classes: none of them taken" in doubt
    assert 'write duplicates = "near"' in doubt


def test_one_doubtful_cluster_among_many_copies_is_dropped_alone():
    alike, pairs = scenes(1, 6), scenes(61, 2)[2:]
    labels = ["cat", "dog"] * 3 + [name for n in range(60) for name in ["cat"] * 2]
    copies, _ = copies_of(alike + pairs, labels)
    assert len(copies.near) > 50
    assert min(i for i, _ in copies.near) == 6
    assert "those in 1 such clusters aren't taken for copies" in copies.doubts[0]


def test_class_that_is_one_cluster_is_told():
    labels = ["cup"] * 4 + ["cat", "dog"] * 4
    copies, _ = copies_of(scenes(1, 4) + scenes(9, 1)[1:], labels)
    assert copies.near == {}
    assert "all images of 1 classes look the same, the first is 'cup'" in copies.doubts[0]


def test_what_the_file_says_of_copies_is_done_without_a_doubt():
    labels = ["mild", "severe", "none"] * 10
    alike = scenes(1, 30)
    near, _ = copies_of(alike, labels, duplicates="near")
    assert len(near.near) == 30 * 29 // 2
    exact, competition = copies_of([*alike[:29], alike[0]], labels, duplicates="exact")
    assert (exact.near, near.doubts, exact.doubts) == ({}, [], [])
    assert joined_copies(competition, exact) == []


def test_equal_files_are_copies_unless_none_are():
    competition = load_competition("demo")
    table = pd.DataFrame({"split": "train", "label": ["cat"] * 3, "sha256": ["a", "b", "a"]})
    for choice, expected in (("exact", [(0, 2)]), ("none", [])):
        chosen = competition.model_copy(update={"duplicates": choice})
        copies = find_copies(chosen, table, scans_of(scenes(3, 1)))
        assert copies.pairs == [(0, 2)]
        assert joined_copies(chosen, copies) == expected


def test_mirrored_pictures_are_copies_only_where_mirrors_keep_the_class():
    scene = scenes(1, 1)[0]
    pair = [scene, np.ascontiguousarray(scene[:, ::-1])]
    assert len(copies_of(pair, ["cat", "cat"])[0].near) == 1
    assert copies_of(pair, ["left", "right"], horizontal_flip=False)[0].near == {}
