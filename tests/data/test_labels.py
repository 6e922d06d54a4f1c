"""Labels come from names, folders, lists and CSVs, and nothing is guessed."""

import os
import unicodedata
from typing import Any

import pytest

from pipeline.config.competition import Competition, load_competition
from pipeline.config.strict import parse
from pipeline.data.labels import LabelledImages, read_labels
from pipeline.errors import ConfigError, DataError
from pipeline.store.foreign import read_foreign_text


def a_competition(classes: object = ("cat", "dog", "猫"), **labels: Any) -> Competition:
    values = {
        "name": "pets",
        "title": "Pets",
        "classes": classes,
        "archives": [{"name": "train.zip"}],
        "train": {"folders": ["train"], "labels": labels},
        "test": {"folders": ["test"]},
        "submission": {"id": "stem"},
        "experiments": {"cpu": ["a"], "cuda": ["a"]},
    }
    return parse(Competition, values, "pets.toml")


LIST = a_competition(source="list_file", file="list.txt")
NAMED_LIST = a_competition(source="list_file", file="list.txt", values="name", separator=" ")
CSV = a_competition(
    source="csv", file="labels.csv", id_column="id", label_column="breed", extension=".jpg"
)


@pytest.fixture
def read(tmp_path):
    """Read labels from a label file with the given content."""

    def read_content(
        content: str | bytes, image_ids: list[str], competition: Competition = LIST
    ) -> LabelledImages:
        name = getattr(competition.train.labels, "file", "unused")
        data = content.encode() if isinstance(content, str) else content
        (tmp_path / name).write_bytes(data)
        return read_labels(competition, image_ids, [tmp_path])

    return read_content


def from_names(competition: Competition, *image_ids: str) -> LabelledImages:
    return read_labels(competition, image_ids, [])


# Names and folders


@pytest.mark.parametrize("name", ["cat-dog", "demo"])
@pytest.mark.parametrize(
    "template",
    ["{}_0.jpg", "{}.0.jpg", "{}s/0.jpg", "{}/0.jpg", "train/{}_0.jpg", "val/{}s/a b.jpg"],
)
def test_file_names_of_all_three_mirrors_are_understood(name, template):
    cat, dog = template.format("cat"), template.format("dog")
    found = from_names(load_competition(name), cat, dog)
    assert found == LabelledImages(labels={cat: "cat", dog: "dog"})


def test_case_of_a_name_does_not_matter():
    assert from_names(load_competition("cat-dog"), "CAT_1.JPG").labels == {"CAT_1.JPG": "cat"}


@pytest.mark.parametrize("name", ["0.jpg", "cow_1.jpg", "bobcat_1.jpg", "cat_and_dog/1.jpg"])
def test_name_without_a_label_is_unlabelled_not_guessed(name):
    found = from_names(load_competition("cat-dog"), name, "dog_1.jpg")
    assert found == LabelledImages(labels={"dog_1.jpg": "dog"}, unlabelled=[name])


def test_innermost_folder_is_the_label():
    found = from_names(a_competition(source="folder"), "cat/1.jpg", "dog/Cat/2.jpg", "猫/3.jpg")
    assert found.labels == {"cat/1.jpg": "cat", "dog/Cat/2.jpg": "cat", "猫/3.jpg": "猫"}


def test_folder_that_is_no_class_is_unlabelled():
    found = from_names(a_competition(source="folder"), "cow/1.jpg", "2.jpg", "cat/3.jpg")
    assert found == LabelledImages({"cat/3.jpg": "cat"}, unlabelled=["cow/1.jpg", "2.jpg"])


# Lists


@pytest.mark.parametrize(
    "content",
    [
        "train/a.jpg\t0\ntrain/b.jpg\t1\n",
        "train/a.jpg\t0\ntrain/b.jpg\t1",
        "train/a.jpg\t0\r\ntrain/b.jpg\t1\r\n",
        "train/a.jpg\t0\rtrain/b.jpg\t1\r",
        b"\xef\xbb\xbftrain/a.jpg\t0\ntrain/b.jpg\t1\n",
        "\n  \ntrain/a.jpg\t0\n\n\ntrain/b.jpg\t1\n\n",
        " a.jpg \t 0 \n./b.jpg\t1\n",
    ],
    ids=["LF", "no last line end", "CRLF", "CR", "BOM", "blank lines", "spaces"],
)
def test_list_is_read_however_it_was_saved(read, content):
    assert read(content, ["a.jpg", "b.jpg"]) == LabelledImages({"a.jpg": "cat", "b.jpg": "dog"})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030"])
def test_chinese_list_is_read_from_either_encoding(read, encoding):
    content = "图片/小猫.jpg 猫\n图片/狗.jpg dog\n".encode(encoding)
    found = read(content, ["小猫.jpg", "狗.jpg"], NAMED_LIST)
    assert found.labels == {"小猫.jpg": "猫", "狗.jpg": "dog"}


def test_text_in_neither_encoding_is_refused(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"\x81\x00a.jpg\t0\n")
    with pytest.raises(
        DataError, match=r"list\.txt: must be text in UTF-8 or GB18030, byte 1 \(0x"
    ):
        read_foreign_text(path)


def test_unlisted_and_missing_images_are_told_apart(read):
    found = read("train/a.jpg\t0\ntrain/ghost.jpg\t1\n", ["a.jpg", "b.jpg"])
    assert found == LabelledImages(
        {"a.jpg": "cat"}, unlabelled=["b.jpg"], missing=["train/ghost.jpg"]
    )


def test_contradictory_lines_leave_the_image_out(read):
    found = read("a.jpg\t0\nb.jpg\t1\na.jpg\t1\nb.jpg\t1\na.jpg\t0\n", ["a.jpg", "b.jpg"])
    assert found == LabelledImages({"b.jpg": "dog"}, contradictory=["a.jpg"])


def test_empty_list_labels_nothing(read):
    assert read("", ["a.jpg"]) == LabelledImages(unlabelled=["a.jpg"])


@pytest.mark.parametrize(
    "index", ["3", "-1", "-0", "1.5", "\N{FULLWIDTH DIGIT ONE}", "cat", "0x1", "1 2"]
)
def test_index_that_is_none_is_refused_with_its_line(read, index):
    expected = rf"list\.txt: line 2: the label must be a class index from 0 to 2, is '{index}'"
    with pytest.raises(DataError, match=expected):
        read(f"a.jpg\t0\nb.jpg\t{index}\n", ["a.jpg", "b.jpg"])


def test_class_name_that_is_none_is_refused_with_those_there_are(read):
    with pytest.raises(DataError, match=r"line 1: .* one of \['cat', 'dog', '猫'\], is 'cow'"):
        read("a.jpg cow\n", ["a.jpg"], NAMED_LIST)


@pytest.mark.parametrize("line", ["a.jpg 0", "a.jpg", "\t0", "  \t0"])
def test_malformed_line_is_refused_with_its_number(read, line):
    with pytest.raises(DataError, match=r"line 3 must be <image>'\\t'<label>, is '"):
        read(f"a.jpg\t0\n\n{line}\n", ["a.jpg"])


def test_name_may_hold_the_separator(read):
    assert read("my cat.jpg cat\n", ["my cat.jpg"], NAMED_LIST).labels == {"my cat.jpg": "cat"}


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (["label", "image"], " 1 my dog.jpg"),
        (["image", "label", "other"], "my dog.jpg 1 0.25 "),
        (["other", "image", "other", "label"], "x my dog.jpg 7 1"),
    ],
)
def test_columns_of_a_list_stand_as_it_says(read, columns, line):
    a_list = a_competition(source="list_file", file="list.txt", separator=" ", columns=columns)
    assert read(f"{line}\n", ["my dog.jpg"], a_list).labels == {"my dog.jpg": "dog"}
    with pytest.raises(DataError, match=r"line 1 must be <.*>' '<.*>, is 'dog\.jpg'"):
        read("dog.jpg\n", ["dog.jpg"], a_list)


@pytest.mark.parametrize("columns", [["image"], ["image", "label", "label"]])
def test_columns_of_a_list_are_an_image_and_a_label(columns):
    with pytest.raises(ConfigError, match="columns': must name 'image' and 'label' once each"):
        a_competition(source="list_file", file="list.txt", columns=columns)


# Joining lists and images


def test_folders_of_the_list_need_not_be_those_of_the_archive(read):
    found = read("old/place/a.jpg\t0\nb.jpg\t1\n", ["train/a.jpg", "val/b.jpg"])
    assert found.labels == {"train/a.jpg": "cat", "val/b.jpg": "dog"}


def test_name_listed_as_it_stands_wins(read):
    found = read("0.jpg\t0\nx/0.jpg\t1\n", ["0.jpg", "x/0.jpg"])
    assert found == LabelledImages({"0.jpg": "cat", "x/0.jpg": "dog"})


def test_folder_decides_between_images_of_one_name(read):
    ids = ["all/cats/0.jpg", "all/dogs/0.jpg"]
    found = read("cats/0.jpg\t0\nroot/all/dogs/0.jpg\t1\n", ids)
    assert found == LabelledImages({ids[0]: "cat", ids[1]: "dog"})


@pytest.mark.parametrize(
    "name", [r"train\7.JPG", "./train/007.jpg", "7.jpg", "TRAIN/007.jpg", "/data/007.jpg"]
)
def test_back_slashes_capitals_and_lost_zeros_do_not_matter(read, name):
    ids = ["train/007.jpg", "train/70.jpg"]
    assert read(f"{name}\t0\n", ids).labels == {"train/007.jpg": "cat"}


def test_capitals_and_zeros_matter_where_both_ways_of_writing_occur(read):
    ids = ["A.jpg", "a.jpg", "07.jpg", "7.jpg"]
    found = read("a.jpg\t0\nA.JPG\t1\n7.jpg\t1\n007.jpg\t1\n", ids)
    assert found.labels == {"a.jpg": "cat", "7.jpg": "dog"}
    assert found.missing == ["A.JPG", "007.jpg"]


@pytest.mark.parametrize("name", ["0abc.jpg", "00.jpg1"])
def test_zeros_count_where_they_stand_before_no_number(read, name):
    assert read(f"{name}\t0\n", ["abc.jpg", ".jpg1"]).missing == [name]


def test_end_of_a_path_is_compared_by_whole_names(read):
    found = read("s/0.jpg\t0\n", ["cats/0.jpg", "dog/0.jpg"])
    assert found == LabelledImages(unlabelled=["cats/0.jpg", "dog/0.jpg"], missing=["s/0.jpg"])


def test_name_that_could_be_several_images_is_missing(read):
    found = read("0.jpg\t0\n", ["a/0.jpg", "b/0.jpg"])
    assert found == LabelledImages(unlabelled=["a/0.jpg", "b/0.jpg"], missing=["0.jpg"])


# CSVs


@pytest.mark.parametrize(
    "content",
    [
        "id,breed\na,cat\nb,dog\n",
        "id,breed\r\na,cat\r\nb,dog\r\n",
        "id,breed\ra,cat\rb,dog\r",
        b"\xef\xbb\xbfid,breed\na,cat\nb,dog\n",
        "breed,extra,id\ncat,1,a.jpg\n\ndog,2,b.jpg\n",
        'id,breed\n"a","cat"\n"b","dog"',
    ],
    ids=["LF", "CRLF", "CR", "BOM", "other columns", "quoted"],
)
def test_csv_is_read_and_its_ids_get_their_extension(read, content):
    found = read(content, ["a.jpg", "b.jpg"], CSV)
    assert found == LabelledImages({"a.jpg": "cat", "b.jpg": "dog"})


def test_csv_is_read_with_its_separator_and_whole_names_keep_their_extension(read):
    semicolons = a_competition(
        source="csv", file="labels.csv", id_column="id", label_column="breed", separator=";",
        extension=".jpg",
    )  # fmt: skip
    found = read("id;breed\na.JPG;cat\nb;dog\n", ["a.JPG", "b.jpg"], semicolons)
    assert found.labels == {"a.JPG": "cat", "b.jpg": "dog"}


def test_csv_in_chinese_encoding_is_read(read):
    content = "id,breed\n狗,猫\n".encode("gb18030")
    assert read(content, ["狗.jpg"], CSV).labels == {"狗.jpg": "猫"}


@pytest.mark.parametrize("header", ["id,label", "breed", "ID,breed", "id;breed", ""])
def test_csv_without_its_columns_is_refused(read, header):
    with pytest.raises(DataError, match=r"must have the columns \['id', 'breed'\], has "):
        read(f"{header}\na,cat\n" if header else "", ["a.jpg"], CSV)


def test_csv_row_without_an_id_or_cut_off_before_its_label_is_refused(read):
    for row, rule in ((",cat", "must hold an id and a label"), ("a", "must reach to column 2")):
        with pytest.raises(DataError, match=rf"labels\.csv: line 3 {rule}"):
            read(f"id,breed\nb,dog\n{row}\n", ["a.jpg"], CSV)


@pytest.mark.parametrize(
    ("competition", "content"),
    [
        (CSV, "id,breed\na,cat\nb,\nc, \n"),
        (LIST, "a.jpg\t0\nb.jpg\t\nc.jpg\t \n"),
    ],
)
def test_empty_label_leaves_the_image_out_and_is_told(read, competition, content):
    found = read(content, ["a.jpg", "b.jpg", "c.jpg"], competition)
    assert (found.labels, found.empty) == ({"a.jpg": "cat"}, ["b.jpg", "c.jpg"])
    assert found.unlabelled == []


@pytest.mark.parametrize("gap", ["nan", "NaN", "NA", "null"])
def test_what_programs_write_for_no_number_labels_nothing(read, gap):
    pawpularity = load_competition("petfinder-pawpularity-score")
    content = f"Id,Pawpularity\na,{gap}\nb,7.5\n"
    labelled = read(content, ["a.jpg", "b.jpg"], pawpularity)
    assert (labelled.labels, labelled.empty) == ({"b.jpg": "7.5"}, ["a.jpg"])
    with pytest.raises(DataError, match="the label must be a number from 1 to 100, is 'much'"):
        read(content.replace(gap, "much"), ["a.jpg", "b.jpg"], pawpularity)


def test_csv_label_that_is_no_class_is_refused_with_its_line(read):
    with pytest.raises(DataError, match=r"labels\.csv: line 2: the label must be one of"):
        read("id,breed\na,cow\n", ["a.jpg"], CSV)


@pytest.mark.parametrize("content", [f"id,breed\na,{'x' * 200_000}\n", 'id,breed\n"a'])
def test_csv_that_no_reader_takes_is_refused_with_its_line(read, content):
    with pytest.raises(
        DataError, match=r"labels\.csv: line \d must (be of a CSV|reach to column 2)"
    ):
        read(content, ["a.jpg"], CSV)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_csv_that_may_not_be_read_is_refused(tmp_path):
    (tmp_path / "labels.csv").write_text("id,breed\n", encoding="utf-8")
    (tmp_path / "labels.csv").chmod(0)
    with pytest.raises(DataError, match=r"labels\.csv: must be readable \(Permission denied\)"):
        read_labels(CSV, ["a.jpg"], [tmp_path])


# One column per class


ONE_HOT = a_competition(source="one_hot", file="train.csv", id_column="id", extension=".jpg")


@pytest.mark.parametrize(
    "content",
    [
        "id,cat,dog,猫\na,1,0,0\nb,0,0,1\n",
        "猫,id,dog,other,cat\n0.0,a,0.0,7,1.0\n1,b.jpg,0,,0\n",
        "id,Cat,dog,猫\na,True,False,False\nb,FALSE,false,TRUE\n",
        "id, cat, dog, 猫\na, 1.000000e+00, 0.000000e+00, 0e0\nb, 0, 0, 1\n",
    ],
    ids=["as the classes", "other order and columns", "True and False", "floats, spaces"],
)
def test_one_hot_row_is_labelled_by_its_column(read, content):
    assert read(content, ["a.jpg", "b.jpg"], ONE_HOT) == LabelledImages(
        {"a.jpg": "cat", "b.jpg": "猫"}
    )


@pytest.mark.parametrize(
    "row", ["a,1,1,0", "a,0,0,0", "a,1,0,", "a,1,0,0.5", "a,2,0,0", "a,1,0,yes", ",1,0,0"]
)
def test_row_that_does_not_mark_one_class_is_refused_with_its_line(read, row):
    with pytest.raises(
        DataError, match=r"train\.csv: line 3 must hold an id, 1 for one class and 0"
    ):
        read(f"id,cat,dog,猫\nb,0,1,0\n{row}\n", ["a.jpg"], ONE_HOT)


ROWS = parse(
    Competition,
    ONE_HOT.model_dump(mode="json")
    | {
        "target": "several_labels",
        "metric": "log_loss",
        "train": {
            "folders": ["train"],
            "labels": {
                "source": "label_rows",
                "file": "train.csv",
                "id_column": "row",
                "label_column": "is_there",
                "extension": ".jpg",
            },
        },
        "submission": {"id": "stem", "label": "label_rows", "order": "any"},
    },
    "pets.toml",
)


def test_lines_of_an_image_and_a_label_each_are_gathered(read):
    lines = ["1.2_b_cat,1", "3_dog,0", "1.2_b_dog,0", "3_猫,True", "1.2_b_猫,1", "4_cat,0"]
    found = read("\n".join(["row,is_there", *lines]), ["1.2_b.jpg", "3.jpg", "4.jpg"], ROWS)
    labels = {"1.2_b.jpg": "|cat|猫|", "3.jpg": "|猫|", "4.jpg": "|"}
    assert found == LabelledImages(labels)


def test_a_line_that_contradicts_another_one_is_refused(read):
    same = read("row,is_there\na_cat,1\na_dog,0\na_cat,1\n", ["a.jpg"], ROWS)
    assert same.labels == {"a.jpg": "|cat|"}
    with pytest.raises(DataError, match=r"line 4 must say of 'a_dog' what another line does"):
        read("row,is_there\na_cat,1\na_dog,0\na_dog,1\n", ["a.jpg"], ROWS)


@pytest.mark.parametrize("row", ["a_cow,1", "a,1", "a_cat,2", "a_cat,", "_cat,1"])
def test_line_of_no_label_or_without_a_mark_is_refused(read, row):
    with pytest.raises(DataError, match=r"train\.csv: line 3 must hold the id of an image and a"):
        read(f"row,is_there\nb_dog,1\n{row}\n", ["a.jpg"], ROWS)


def test_one_hot_csv_is_read_with_its_separator(read):
    one_hot = a_competition(source="one_hot", file="train.csv", id_column="id", separator="\t")
    found = read("id\tcat\tdog\t猫\na.jpg\t0\t1\t0\n", ["a.jpg"], one_hot)
    assert found.labels == {"a.jpg": "dog"}


def test_one_hot_csv_without_a_class_is_refused(read):
    with pytest.raises(
        DataError, match=r"must have the columns \['id', 'cat', 'dog', '猫'\], has "
    ):
        read("id,cat,dog\na,1,0\n", ["a.jpg"], ONE_HOT)


# Classes that are read from the labels


def test_names_in_a_csv_are_the_classes_sorted(read):
    open_csv = a_competition(
        "from_labels", source="csv", file="labels.csv", id_column="id", label_column="breed"
    )
    found = read("id,breed\na,dog\nb,Ant\nc,cat\nd,dog\n", ["a", "b", "c"], open_csv)
    assert found.classes == ("Ant", "cat", "dog")
    assert found.labels == {"a": "dog", "b": "Ant", "c": "cat"}


def test_names_that_are_all_numbers_are_sorted_by_number(read):
    open_list = a_competition("from_labels", source="list_file", file="l.txt", values="name")
    assert read("a\t10\nb\t9\nc\t1\n", list("abc"), open_list).classes == ("1", "9", "10")
    assert read("a\t10\nb\t9\nc\tx\n", list("abc"), open_list).classes == ("10", "9", "x")


def test_columns_of_a_one_hot_csv_are_the_classes(read):
    open_table = a_competition("from_labels", source="one_hot", file="t.csv", id_column="id")
    assert read("scab,id,rust\n1,a,0\n0,b,1\n", ["a", "b"], open_table).classes == ("rust", "scab")


def test_folders_and_file_names_are_the_classes_whatever_their_case():
    folders = a_competition("from_labels", source="folder")
    found = from_names(folders, "oak/1.jpg", "ash/2.jpg", "3.jpg")
    assert found.classes == ("ash", "oak")
    assert found.unlabelled == ["3.jpg"]
    names = a_competition("from_labels", source="file_name", pattern="^(?P<label>[a-z]+)_")
    found = from_names(names, "oak_1.jpg", "OAK_2.jpg", "ash_3.jpg")
    assert len(found.classes) == len(set(found.labels.values())) == 2


# Where the file is


def test_label_file_is_found_at_any_depth_and_the_first_folder_wins(tmp_path):
    for folder, index in (("archives", 1), ("images/train/deep", 0)):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "list.txt").write_text(f"a.jpg\t{index}\n", encoding="utf-8")
    archives, images = tmp_path / "archives", tmp_path / "images"
    assert read_labels(LIST, ["a.jpg"], [archives, images]).labels == {"a.jpg": "dog"}
    (archives / "list.txt").unlink()
    assert read_labels(LIST, ["a.jpg"], [archives, images]).labels == {"a.jpg": "cat"}


def test_missing_label_file_leads_to_download(tmp_path):
    folders = [tmp_path / "archives", tmp_path / "images"]
    expected = r"'list\.txt' must be in .*archives or .*images, is missing; run 'pipeline download"
    with pytest.raises(DataError, match=expected):
        read_labels(LIST, ["a.jpg"], folders)


# Other ways of writing what is the same


def test_numbers_are_the_same_label_however_they_are_written(read):
    numbered = a_competition(["1", "3", "10"], source="list_file", file="l.txt", values="name")
    found = read("a\t1.0\nb\t3.000000e+00\nc\t10\nd\t01\n", list("abcd"), numbered)
    assert found.labels == {"a": "1", "b": "3", "c": "10", "d": "1"}
    with pytest.raises(DataError, match=r"line 1: the label must be one of .*, is '2\.0'"):
        read("a\t2.0\n", ["a"], numbered)


def test_integers_written_as_floats_are_the_classes_in_their_order(read):
    open_list = a_competition("from_labels", source="list_file", file="l.txt", values="name")
    rows = "".join(f"i{n}\t{float(n - 1)}\n" for n in range(12))
    found = read(rows, [f"i{n}" for n in range(12)], open_list)
    assert found.classes == tuple(str(n - 1) for n in range(12))
    assert found.labels["i11"] == "10"


def test_index_written_as_a_float_is_one(read):
    assert read("a\t2.0\nb\t0.000000e+00\n", ["a", "b"]).labels == {"a": "猫", "b": "cat"}


def test_names_are_the_same_label_whatever_their_case_and_what_stands_between_words(read):
    leaves = a_competition(["brown spot", "Rust"], source="list_file", file="l.txt", values="name")
    found = read("a\tBrown_Spot\nb\trust\nc\tBROWN-SPOT\n", ["a", "b", "c"], leaves)
    assert set(found.labels.values()) == {"brown spot", "Rust"}
    assert found.labels["c"] == "brown spot"


def test_labels_may_be_called_otherwise_in_the_classes(read):
    names = {"1": "birch", "2": "oak"}
    trees = a_competition(
        ["birch", "oak"], source="list_file", file="l.txt", values="name", names=names
    )
    assert read("a\t1\nb\t2.0\n", ["a", "b"], trees).labels == {"a": "birch", "b": "oak"}
    open_trees = a_competition("from_labels", source="folder", names={"n01": "elm", "n02": "ash"})
    found = from_names(open_trees, "n01/1.jpg", "n02/2.jpg")
    assert (found.classes, found.labels["n01/1.jpg"]) == (("ash", "elm"), "elm")
    columns = a_competition(
        ["ash", "elm"], source="one_hot", file="t.csv", id_column="id", names={"n01": "elm"}
    )
    assert read("id,n01,ash\na,1,0\nb,0,1\n", ["a", "b"], columns).labels == {
        "a": "elm",
        "b": "ash",
    }


def test_folders_below_those_of_the_classes_are_looked_through():
    found = from_names(a_competition(source="folder"), "cat/s1/1.jpg", "Dog/s1/x/2.jpg", "s1/3.jpg")
    assert (found.labels, found.unlabelled) == (
        {"cat/s1/1.jpg": "cat", "Dog/s1/x/2.jpg": "dog"},
        ["s1/3.jpg"],
    )


def test_classes_in_folder_names_are_written_in_one_form_of_unicode():
    decomposed = unicodedata.normalize("NFD", "café")
    found = from_names(a_competition("from_labels", source="folder"), f"{decomposed}/1", "the/2")
    assert found.classes == ("café", "the")


def test_several_spaces_between_columns_are_one(read):
    assert read("a.jpg   cat\nb.jpg dog  \n", ["a.jpg", "b.jpg"], NAMED_LIST).labels == {
        "a.jpg": "cat",
        "b.jpg": "dog",
    }


# Names that are not quite those of the files


@pytest.mark.parametrize(
    ("name", "image_id"),
    [
        ("x1", "x1.png"),
        ("v1.5", "v1.5.png"),
        ("a.jpg", "a.jpeg"),
        ("b/A.JPG", "c/a.png"),
        ("03", "train/3.tiff"),
        ("\u00e9.jpg", "e\u0301.jpg"),
    ],
)
def test_suffix_case_zeros_and_form_of_unicode_may_differ_where_one_image_fits(
    read, name, image_id
):
    assert read(f"{name}\t0\n", [image_id, "other.jpg"]).labels == {image_id: "cat"}


def test_image_in_another_way_of_writing_is_told_an_id_without_a_suffix_is_not(read):
    found = read("a\t0\nB.jpg\t1\n", ["a.png", "b.jpg"])
    assert found.respelled == {"B.jpg": "b.jpg"}


def test_suffix_decides_between_images_of_one_name(read):
    found = read("a.png\t0\na.gif\t1\na\t1\n", ["a.png", "a.jpg"])
    assert found == LabelledImages({"a.png": "cat"}, unlabelled=["a.jpg"], missing=["a.gif", "a"])


def test_image_is_not_given_to_a_name_that_fits_less_than_another(read):
    found = read("a.png\t0\na.jpg\t1\nval/b.jpg\t1\ntrain/b.jpg\t0\n", ["a.png", "train/b.jpg"])
    assert found.labels == {"a.png": "cat", "train/b.jpg": "cat"}
    assert found.missing == ["a.jpg", "val/b.jpg"]


def test_two_names_that_fit_one_image_alike_are_both_missing(read):
    found = read("A.jpg\t0\na.JPG\t1\nx/b.jpg\t0\ny/b.jpg\t1\n", ["a.jpg", "z/b.jpg"])
    assert (found.labels, len(found.missing)) == ({}, 4)


# Several labels an image


def several(**labels: Any) -> Competition:
    values = a_competition(**labels).model_dump(mode="json")
    values |= {"target": "several_labels", "metric": "micro_f1"}
    values["submission"] = {"id": "stem", "label": "labels"}
    return parse(Competition, values, "pets.toml")


def test_labels_with_spaces_between_them_are_read_in_one_order(read):
    spaced = several(source="csv", file="labels.csv", id_column="id", label_column="breed")
    found = read(
        "id,breed\na.jpg,dog  cat\nb.jpg,猫\nc.jpg,\n", ["a.jpg", "b.jpg", "c.jpg"], spaced
    )
    assert found.labels == {"a.jpg": "|cat|dog|", "b.jpg": "|猫|"}
    assert found.empty == ["c.jpg"]
    assert spaced.labels_in(found.labels["a.jpg"]) == ("cat", "dog")


def test_same_labels_in_another_order_do_not_contradict(read):
    spaced = several(source="csv", file="labels.csv", id_column="id", label_column="breed")
    found = read("id,breed\na.jpg,dog cat\na.jpg,cat dog\n", ["a.jpg"], spaced)
    assert found.labels == {"a.jpg": "|cat|dog|"}
    assert found.contradictory == []


def test_any_number_of_marks_may_stand_in_a_row(read):
    marked = several(source="one_hot", file="labels.csv", id_column="id")
    content = "id,cat,dog,猫\na,1,0,1\nb,0,0,0\nc,,,\n"
    found = read(content, ["a.jpg", "b.jpg", "c.jpg"], marked)
    assert found.labels == {"a.jpg": "|cat|猫|", "b.jpg": "|"}
    assert marked.labels_in("|") == ()
    assert found.empty == ["c.jpg"]


def test_label_of_several_that_is_no_class_is_refused_with_its_line(read):
    spaced = several(source="csv", file="labels.csv", id_column="id", label_column="breed")
    with pytest.raises(DataError, match=r"line 2: the label must be one of .*, is 'cow'"):
        read("id,breed\na.jpg,cat cow\n", ["a.jpg"], spaced)
