import os
import sys

import pytest

from pipeline.errors import DataError
from pipeline.store.folders import find_file, list_files


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def listed(folder):
    return list(map(str, list_files(folder)))


def test_files_are_listed_relative_sorted_and_at_every_depth(tmp_path):
    make(tmp_path, "b/c/d.jpg", "b.txt", "a/z.jpg")
    (tmp_path / "empty").mkdir()
    assert listed(tmp_path) == ["a/z.jpg", "b.txt", "b/c/d.jpg"]


def test_listing_a_missing_folder_gives_nothing(tmp_path):
    assert list_files(tmp_path / "missing") == []


def test_links_to_folders_are_followed(tmp_path):
    make(tmp_path / "elsewhere", "x/a.jpg")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train").symlink_to(tmp_path / "elsewhere")
    assert listed(tmp_path / "data") == ["train/x/a.jpg"]


def test_link_to_a_folder_that_it_lies_in_ends_there(tmp_path):
    make(tmp_path, "a/b/x.jpg")
    (tmp_path / "a/b/up").symlink_to(tmp_path / "a")
    (tmp_path / "a/self").symlink_to(tmp_path / "a")
    assert listed(tmp_path) == ["a/b/x.jpg"]


def test_folder_linked_to_twice_counts_twice(tmp_path):
    make(tmp_path / "elsewhere", "a.jpg")
    (tmp_path / "data").mkdir()
    for name in ("one", "two"):
        (tmp_path / "data" / name).symlink_to(tmp_path / "elsewhere")
    assert listed(tmp_path / "data") == ["one/a.jpg", "two/a.jpg"]


def test_first_folder_wins_then_the_least_depth(tmp_path):
    make(tmp_path, "one/deep/deeper/x.csv", "one/deep/x.csv", "two/x.csv")
    folders = [tmp_path / "none", tmp_path / "one", tmp_path / "two"]
    assert find_file("x.csv", folders) == tmp_path / "one/deep/x.csv"
    assert find_file("deeper/x.csv", folders) == tmp_path / "one/deep/deeper/x.csv"
    assert find_file(".csv", folders) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_folder_that_cannot_be_read_is_named(tmp_path):
    make(tmp_path, "a/x.jpg")
    (tmp_path / "a").chmod(0)
    with pytest.raises(DataError, match=r"a: must be readable \(Permission denied\)"):
        list_files(tmp_path)
    (tmp_path / "a").chmod(0o700)


@pytest.mark.skipif(sys.platform != "linux", reason="others take no such names")
def test_name_that_is_no_text_is_refused(tmp_path):
    make(tmp_path, "deep/a.jpg", os.fsdecode(b"deep/\xff\xfe.jpg"))
    with pytest.raises(DataError, match=r"deep: names of files must be UTF-8, '.*\.jpg' isn't;"):
        list_files(tmp_path)
