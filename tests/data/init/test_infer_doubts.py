"""What may be meant otherwise than `init` reads it is found, or said."""

import pytest

from pipeline.data.init.file_roles import GivenPaths
from pipeline.errors import DataError
from pipeline.stages import init
from pipeline.store.tables import load_test, load_train
from tests.user_folder import bring, infer, save_files, save_list, save_pictures

NUM = 24


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "folder"
    save_files(folder, [f"train/{n}.jpg" for n in range(NUM)])
    save_files(folder, [f"test/{n + 100}.jpg" for n in range(6)])
    return folder


def save_sample(folder, header, answer, prefix=""):
    save_list(folder, "sample.csv", header, *(f"{prefix}{n + 100},{answer}" for n in range(6)))


def test_list_of_class_names_is_no_list_of_images_that_have_such_numbers(folder):
    save_list(folder, "kinds.csv", "kind_id,kind", "0,ash", "1,elm", "2,fir")
    save_list(folder, "train.csv", "id,kind_id", *(f"{n},{n % 3}" for n in range(NUM)))
    save_sample(folder, "id,kind", "elm")
    found = infer(folder).competition
    assert found.train.labels.file == "train.csv"  # type: ignore[union-attr]
    assert found.classes == ("ash", "elm", "fir")


def test_labels_of_which_one_may_be_several_are_doubted(folder):
    tags = ["ash", "ash/elm", "ash elm", "fir"]
    save_list(folder, "train.csv", "id,tag", *(f"{n},{tags[n % 4]}" for n in range(NUM)))
    found = infer(folder)
    assert found.is_guess("classes")
    assert (found.competition.target, found.competition.num_classes) == ("one_class", 4)


def test_names_of_several_words_are_not_doubted(folder):
    names = ["Red Oak", "White Oak", "Red Maple", "Sugar Maple"]
    save_list(folder, "train.csv", "id,tree", *(f"{n},{names[n % 4]}" for n in range(NUM)))
    assert not infer(folder).is_guess("classes")


def test_labels_of_pairs_of_images_are_doubted(folder):
    rows = [f"{n}.jpg,{(n * 5 + 1) % NUM}.jpg,{'no' if n % 2 else 'yes'}" for n in range(NUM)]
    save_list(folder, "train.csv", "one,other,alike", *rows)
    found = infer(folder)
    assert found.is_guess("labels")
    assert "for pairs of images: column 2 names some, too" in found.text


def test_second_name_of_the_same_image_is_no_pair(folder):
    rows = [f"{n}.jpg,train/{n}.jpg,{'no' if n % 2 else 'yes'}" for n in range(NUM)]
    save_list(folder, "train.csv", "name,path,ripe", *rows)
    assert not infer(folder).is_guess("labels")


@pytest.mark.parametrize("prefix", ["img_", "holdout-", "final.set."])
def test_prefix_of_the_sample_s_ids_is_found(tmp_path, prefix):
    folder = tmp_path / "folder"
    save_pictures(folder, [f"train/{k}/{n}.png" for k in ("ash", "elm") for n in range(4)])
    save_pictures(folder, [f"test/{n + 100}.png" for n in range(6)])
    save_sample(folder, "id,tree", "ash", prefix)
    found = infer(folder)
    assert found.competition.submission.id_prefix == prefix
    _, competition = bring(found, folder)
    assert competition.submission.id == "stem"


def test_ids_that_are_no_test_image_s_are_a_guess(folder):
    save_list(folder, "train.csv", "id,kind", *(f"{n},{'xy'[n % 2]}" for n in range(NUM)))
    save_list(folder, "sample.csv", "id,kind", "alpha,x", "beta,y", "gamma,x")
    assert infer(folder).is_guess("id")


def test_decimal_commas_are_told(folder):
    save_list(folder, "train.csv", "id;kind", *(f"{n};{'xy'[n % 2]}" for n in range(NUM)))
    save_list(folder, "sample.csv", "id;x;y", *(f"{n + 100};0,5;0,5" for n in range(6)))
    found = infer(folder)
    assert found.is_guess("label")
    assert "numbers have commas there, in the submission they have points" in found.text
    assert found.competition.submission.rows_sum_to_1


def test_labels_that_differ_in_zeros_are_told(folder):
    codes = ["01", "1", "10"]
    save_list(folder, "train.csv", "id,code", *(f"{n},{codes[n % 3]}" for n in range(NUM)))
    found = infer(folder)
    assert found.is_guess("classes")
    assert "'01' are taken for the same without zeros before them" in found.text


def test_class_that_the_answer_s_column_names_among_other_words_is_the_positive_one(folder):
    states = ["healthy", "ill"]
    save_list(folder, "train.csv", "id,state", *(f"{n},{states[n % 2]}" for n in range(NUM)))
    save_sample(folder, "id,prob_healthy", "0.5")
    found = infer(folder)
    assert found.competition.submission.positive == "healthy"
    assert found.is_guess("positive")


def test_rows_that_a_list_calls_test_images_are_told(folder):
    rows = [f"{n},{'xy'[n % 2]},{'test' if n > 19 else 'train'}" for n in range(NUM)]
    save_list(folder, "all.csv", "id,kind,subset", *rows)
    found = infer(folder)
    assert found.is_guess("labels")
    assert "but column 'subset' calls 4 of them test images" in found.text


TITLES = ["Trees of 2026", "Trees of 2026,", '"Trees, in all",', "Trees, in all", "Trees, in, all"]


@pytest.mark.parametrize("title", TITLES)
def test_title_above_a_header_is_named_with_its_line(folder, title, capsys):
    rows = [f"{n},{'xy'[n % 2]}" for n in range(NUM)]
    save_list(folder, "labels.csv", title, "id,kind", *rows)
    assert infer(folder).competition.classes == ()
    told = "labels.csv: not read as a list, line 1 is a title above the header, 'Trees"
    assert told in capsys.readouterr().err
    given = GivenPaths(labels=folder / "labels.csv")
    with pytest.raises(DataError, match=r"labels\.csv: must be .* line 1 is a title above"):
        init.run("mine", given, folder, folder.parent / "mine.toml", force=True)


@pytest.mark.parametrize("first", ["0,", "0.jpg,", ",kind"])
def test_first_line_of_a_table_is_no_title(folder, first):
    rows = [f"{n}{'.jpg' * ('.' in first)},{'xy'[n % 2]}" for n in range(1, NUM)]
    save_list(folder, "labels.csv", first, *rows)
    assert infer(folder).competition.classes == ("x", "y")


@pytest.mark.parametrize("second", ["1,photo", "c.jpg,photo"])
def test_class_that_is_called_as_a_column_makes_no_header_of_its_line(folder, second):
    rows = [f"{n},{'xy'[n % 2]}" for n in range(2, NUM)]
    save_list(folder, "labels.csv", "0,x", second, *rows)
    assert "photo" in infer(folder).competition.classes


def test_list_in_utf_16_is_read(folder):
    lines = ["id\tkind", *(f"{n}\t{'xy'[n % 2]}" for n in range(NUM))]
    (folder / "train.txt").write_bytes("\r\n".join(lines).encode("utf-16"))
    assert infer(folder).competition.classes == ("x", "y")


def test_list_that_cannot_be_read_is_named(folder, capsys):
    lines = [f"{n}.jpg {'xy'[n % 2]}" for n in range(NUM)]
    save_list(folder, "labels.txt", "# made by hand", *lines)
    save_list(folder, "label_names.txt", "Small Ape", "Ape", "Big White Ape")
    save_list(folder, "README.txt", "Pictures of things.", "Two, or so.")
    assert infer(folder).competition.classes == ()
    said = capsys.readouterr().err
    assert "labels.txt: not read as a list, has lines of several lengths" in said
    assert "README" not in said
    assert "label_names.txt: not" not in said


@pytest.mark.parametrize("test_name", ["P900", "P003"])
def test_number_that_names_begin_with_is_a_guess_unless_test_images_have_it(tmp_path, test_name):
    folder = tmp_path / "folder"
    files = [f"P{n // 4:03}_{('low', 'high')[n // 4 % 2]}_{n}.png" for n in range(48)]
    save_files(folder, [f"train/{name}" for name in files] + [f"test/{test_name}_x_1.png"])
    save_list(folder, "train.csv", "file,risk", *(f"{one},{one.split('_')[1]}" for one in files))
    found = infer(folder)
    assert found.is_guess("groups") == (test_name == "P900")
    assert "groups = " in found.text


@pytest.mark.parametrize("num_wrong", [0, 1])
@pytest.mark.parametrize("header", [["file,tree"], []])
def test_list_that_contradicts_the_folders_of_classes_is_doubted(tmp_path, num_wrong, header):
    folder = tmp_path / "folder"
    files = [f"train/{'elm' if n % 2 else 'ash'}/{n}.jpg" for n in range(NUM)]
    save_files(folder, [*files, "test/1.jpg"])
    rows = [f"{n}.jpg,{'Elm' if n % 2 or n < num_wrong else 'Ash'}" for n in range(NUM)]
    save_list(folder, "train.csv", *header, *rows)
    found = infer(folder)
    assert found.is_guess("labels") == bool(num_wrong)
    assert ("which call 1 of them otherwise" in found.text) == bool(num_wrong)


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("image,fold", ["{name},{fold}"]),
        ("image,width,height", ["{name},6{fold},48"]),
        ("image,split", ["{name},train", "{name},val"]),
    ],
)
def test_folders_are_labels_where_a_list_says_other_things_of_the_images(tmp_path, header, rows):
    folder = tmp_path / "folder"
    files = [f"train/{('normal', 'sick')[n % 2]}/{n}.jpg" for n in range(NUM)]
    save_files(folder, [*files, "test/1000.jpg"])
    lines = [rows[n % 3 % len(rows)].format(name=f"{n}.jpg", fold=n % 5) for n in range(NUM)]
    save_list(folder, "folds.csv", header, *lines)
    found = infer(folder)
    assert found.competition.train.labels.source == "folder"
    assert found.competition.classes == ("normal", "sick")


def test_folders_are_named_where_a_column_that_is_not_called_so_may_hold_labels(tmp_path):
    folder = tmp_path / "folder"
    files = [f"train/{('normal', 'sick')[n % 2]}/{n}.jpg" for n in range(NUM)]
    save_files(folder, [*files, "test/1000.jpg"])
    save_list(
        folder, "people.csv", "image,sex", *(f"{n}.jpg,{'fm'[n // 2 % 2]}" for n in range(NUM))
    )
    found = infer(folder)
    assert found.is_guess("labels")
    assert "in their paths: normal, sick" in found.text


def test_folders_of_unequal_depth_are_a_guess(tmp_path):
    folder = tmp_path / "folder"
    files = [f"train/site{'AB'[n % 2]}/{('cat', 'dog/x')[n // 2 % 2]}/{n}.jpg" for n in range(NUM)]
    save_files(folder, [*files, "test/1.jpg"])
    found = infer(folder)
    assert found.is_guess("labels")
    assert "some lie deeper, as in site" in found.text


def test_a_finer_column_that_is_called_as_labels_are_is_named(folder):
    breeds = ("siam", "pug", "manx", "corgi")
    rows = [f"{n},{('cat', 'dog')[n % 2]},{breeds[n % 4]}" for n in range(NUM)]
    save_list(folder, "train.csv", "id,species,breed", *rows)
    found = infer(folder)
    assert found.is_guess("labels")
    assert "labels may also stand in 'breed'" in found.text


def test_folders_of_something_else_contradict_no_list(tmp_path):
    folder = tmp_path / "folder"
    save_files(folder, [f"train/{n % 4}/{n}.jpg" for n in range(NUM)] + ["test/1.jpg"])
    save_list(folder, "train.csv", "file,grade", *(f"{n}.jpg,{n % 3}" for n in range(NUM)))
    assert not infer(folder).is_guess("labels")


def test_list_of_other_names_is_told_where_there_are_no_labels(tmp_path):
    folder = tmp_path / "folder"
    save_files(folder, [f"train/{n}.jpg" for n in range(NUM)] + ["test/1.jpg"])
    save_list(
        folder,
        "train.csv",
        "case,files,kind",
        *(f"c{n},x{n};y{n},{'ab'[n % 2]}" for n in range(NUM)),
    )
    assert "may also stand in train.csv, which names other images" in infer(folder).text


def test_sample_with_fewer_columns_than_classes_is_doubted(folder):
    kinds = ["ash", "elm", "fir", "oak"]
    save_list(folder, "train.csv", "id,kind", *(f"{n},{kinds[n % 4]}" for n in range(NUM)))
    save_list(folder, "sample.csv", "id,ash,elm,fir", *(f"{n + 100},0.2,0.3,0.5" for n in range(6)))
    found = infer(folder)
    assert found.is_guess("label")
    assert "has 3 columns after the id's, 4 classes were found" in found.text


@pytest.mark.parametrize("most", ["0.75", "9"])
def test_votes_in_the_columns_that_the_sample_asks_for_are_refused(folder, most):
    rows = (f"{n},{','.join(most if k == n % 3 else '0' for k in range(3))}" for n in range(NUM))
    save_list(folder, "train.csv", "id,ash,elm,fir", *rows)
    save_list(folder, "sample.csv", "id,ash,elm,fir", *(f"{n + 100},0,0,1" for n in range(6)))
    with pytest.raises(DataError, match=rf"mark them by 1 and 0, hold numbers as {most};"):
        infer(folder)


@pytest.mark.parametrize("dummy", ["-1", "unknown", "9"])
@pytest.mark.parametrize("is_listed", [True, False])
def test_label_of_images_that_are_to_be_predicted_is_no_class(tmp_path, dummy, is_listed):
    folder = tmp_path / "folder"
    save_pictures(folder, [f"photos/{n:02}.png" for n in range(16)])
    rows = [f"{n:02},{dummy if n > 11 else n % 3}" for n in range(16)]
    save_list(folder, "labels.csv", "id,kind", *rows)
    if is_listed:
        save_list(folder, "test.csv", "id", *(f"{n:02}" for n in range(12, 16)))
    else:
        save_list(folder, "sample.csv", "id,kind", *(f"{n:02},0" for n in range(12, 16)))
    found = infer(folder)
    assert found.competition.classes == ("0", "1", "2")
    assert not found.is_guess("classes")
    paths, _ = bring(found, folder)
    assert len(load_train(paths)) == 12
    assert len(load_test(paths)) == 4


@pytest.mark.parametrize(("one", "other"), [("IMG", "DSC"), ("photo", "Scan"), ("DSCF", "image")])
def test_what_cameras_call_images_is_no_label(tmp_path, one, other):
    folder = tmp_path / "folder"
    names = [f"train/{(one, other)[n % 2]}_{n:04}.jpg" for n in range(NUM)]
    save_files(folder, [*names, "test/1.jpg"])
    assert infer(folder).competition.classes == ()


@pytest.mark.parametrize("name", ["kinds.xlsx", "train_labels.json", "annotations.jsonl"])
def test_folders_are_a_guess_beside_a_list_that_cannot_be_read(tmp_path, name):
    folder = tmp_path / "folder"
    save_files(folder, [f"train/{'ab'[n % 2]}/{n}.jpg" for n in range(NUM)] + ["test/1.jpg", name])
    found = infer(folder)
    assert found.is_guess("labels")
    assert f"{name}, which can't be read" in found.text


def test_folders_that_differ_in_case_alone_are_doubted(tmp_path):
    folder = tmp_path / "folder"
    folders = ("train/Elm", "val/elm", "train/Ash")
    save_files(folder, [f"{one}/{n}.jpg" for one in folders for n in "12"] + ["test/1.jpg"])
    assert infer(folder).is_guess("classes")


def test_lists_of_single_images_are_no_lists_of_labels(tmp_path, capsys):
    folder = tmp_path / "folder"
    save_files(folder, [f"{split}/images/{n}.jpg" for split in ("train", "test") for n in range(9)])
    for split in ("train", "test"):
        for n in range(9):
            save_list(folder, f"{split}/labels/{n}.txt", f"{n % 3} 0.5 0.5 0.1 0.2")
    assert infer(folder).competition.classes == ()
    assert "18 files called as the images, as mine/test/labels/0.txt" in capsys.readouterr().err


def test_list_that_names_few_of_the_images_is_doubted(folder):
    save_list(folder, "train.csv", "id,kind", *(f"{n},{'ab'[n % 2]}" for n in range(6)))
    found = infer(folder)
    assert found.is_guess("labels")
    assert "18 images aren't named" in found.text


def test_separator_behind_the_last_column_is_no_column(folder):
    save_list(folder, "train.csv", "id;kind;", *(f"{n};{'ab'[n % 2]};" for n in range(NUM)))
    labels = infer(folder).competition.train.labels.model_dump()
    assert (labels["id_column"], labels["label_column"]) == ("id", "kind")


def save_views(tmp_path, views=("front", "side")):
    """Leave files called by two words and a number, a fourth of them by each pair."""
    folder = tmp_path / "views"
    kinds = [f"{view}-{tree}" for view in views for tree in ("ash", "elm")]
    save_files(folder, [f"train/{kinds[n % len(kinds)]}-{n}.jpg" for n in range(NUM)])
    save_files(folder, [f"test/{n + 100}.jpg" for n in range(6)])
    return folder


def test_file_names_that_combine_two_sorts_of_words_are_doubted(tmp_path):
    found = infer(save_views(tmp_path))
    assert found.is_guess("labels")
    assert "in a word of them: ash, elm or front, side" in found.text


def test_file_names_that_combine_a_subjects_number_with_a_word_are_doubted(tmp_path):
    found = infer(save_views(tmp_path, views=("s01", "s02", "s03")))
    assert found.is_guess("labels")
    assert "in a word of them: ash, elm" in found.text


def test_the_word_of_file_names_that_the_sample_answers_is_the_label(tmp_path):
    folder = save_views(tmp_path)
    save_sample(folder, "id,answer", "elm")
    found = infer(folder)
    assert found.competition.classes == ("ash", "elm")
    assert not found.is_guess("labels")


def test_file_names_of_which_one_part_says_nothing_are_not_doubted(tmp_path):
    assert not infer(save_views(tmp_path, views=("front",))).is_guess("labels")


def test_numbers_in_brackets_follow_labels_as_windows_writes_copies(tmp_path):
    names = [f"train/{('ash', 'elm')[n % 2]} ({n // 2 + 1}).jpg" for n in range(NUM)]
    save_files(tmp_path / "copies", [*names, *(f"test/{n}.jpg" for n in range(6))])
    assert infer(tmp_path / "copies").competition.classes == ("ash", "elm")


def test_ids_that_another_list_gives_labels_to_are_no_certain_labels(folder):
    for n in range(NUM):
        (folder / f"train/{n}.jpg").rename(folder / f"train/{n + 500}.jpg")
    save_list(folder, "photos.csv", "no,photo", *(f"{n + 90},{n + 500}.jpg" for n in range(NUM)))
    save_list(
        folder,
        "kinds.csv",
        "no,kind",
        *(f"{n + 90},{'ash' if n % 3 else 'elm'}" for n in range(NUM)),
    )
    found = infer(folder)
    assert found.is_guess("labels")
    assert found.competition.submission.sample is None


@pytest.mark.parametrize("second", ["ash", "elm", ""])
def test_a_second_column_of_the_same_names_is_doubted_where_it_contradicts(folder, second):
    rows = [f"{n},{('ash', 'elm')[n % 2]},{second if n % 4 == 1 else ''}" for n in range(NUM)]
    save_list(folder, "trees.csv", "id,species,reviewed", *rows)
    found = infer(folder)
    assert found.is_guess("labels") == (second == "ash")
    assert ("in 'reviewed', which contradicts it" in found.text) == (second == "ash")


# A tree by its kind, drawn by one of two kinds of pen: which of two groupings is the label?
@pytest.mark.parametrize(
    ("third", "is_doubted"),
    [
        (lambda n: ("biro", "ink")[n % 3 > 0], True),
        (lambda n: ("north", "south")[n % 2], False),  # says the same
        (lambda n: f"note {n}", False),
        (lambda n: str(n % 3), False),
    ],
)
def test_words_beside_the_labels_that_group_the_images_otherwise_are_doubted(
    folder, third, is_doubted
):
    rows = [f"{n},{('ash', 'elm')[n % 2]},{third(n)}" for n in range(NUM)]
    save_list(folder, "trees.csv", "id,class,other", *rows)
    found = infer(folder)
    assert found.competition.train.labels.label_column == "class"  # type: ignore[union-attr]
    assert found.is_guess("labels") == is_doubted
    assert ("may also stand in 'other'" in found.text) == is_doubted


def test_labels_that_the_sample_answers_are_not_doubted_for_words_beside_them(folder):
    rows = [f"{n},{('ash', 'elm')[n % 2]},{('biro', 'ink')[n % 3 > 0]}" for n in range(NUM)]
    save_list(folder, "trees.csv", "id,class,other", *rows)
    save_sample(folder, "id,answer", "elm")
    assert not infer(folder).is_guess("labels")


def test_the_column_that_the_sample_asks_for_is_not_doubted_for_another_of_its_names(folder):
    rows = [f"{n},{('ash', 'elm')[n % 2]},{('ash', 'elm')[n % 3 > 0]}" for n in range(NUM)]
    save_list(folder, "trees.csv", "id,species,reviewed", *rows)
    save_sample(folder, "id,reviewed", "elm")
    found = infer(folder)
    assert found.competition.train.labels.label_column == "reviewed"  # type: ignore[union-attr]
    assert not found.is_guess("labels")
