import hashlib
import shutil

import pytest

from pipeline.store.freshness import Stamp, digest, file_sha256, fingerprint, read_stamp


@pytest.fixture
def stamp(tmp_path):
    """A stage that ran: inputs {"a": 1}, one file and one folder written."""
    home = tmp_path / "home"
    (home / "folder").mkdir(parents=True)
    (home / "out.txt").write_text("out", encoding="utf-8")
    (home / "folder" / "x").write_text("x", encoding="utf-8")
    stamp = Stamp(home / "stamp.json", {"a": 1, "names": ("b", "c")})
    stamp.write([home / "out.txt", home / "folder"])
    return stamp


def test_a_stage_that_ran_is_fresh(stamp):
    assert stamp.is_fresh()
    assert stamp.damaged() == []


def test_a_stage_that_never_ran_is_not_fresh(tmp_path):
    stamp = Stamp(tmp_path / "stamp.json", {})
    assert not stamp.is_fresh()
    assert stamp.damaged() == []


@pytest.mark.parametrize("inputs", [{}, {"a": 2, "names": ["b", "c"]}, {"a": 1, "names": ["c"]}])
def test_other_inputs_are_not_fresh(stamp, inputs):
    assert not Stamp(stamp.path, inputs).is_fresh()


def test_a_changed_output_is_damage(stamp):
    output = stamp.path.parent / "out.txt"
    output.write_text("oux", encoding="utf-8")
    assert stamp.damaged() == [output]
    assert not stamp.is_fresh()


def test_a_missing_output_is_damage(stamp):
    shutil.rmtree(stamp.path.parent / "folder")
    assert stamp.damaged() == [stamp.path.parent / "folder"]
    assert not stamp.is_fresh()


def test_a_name_that_no_file_can_have_is_nothing(tmp_path):
    assert digest(tmp_path / ("x" * 300)) is None


def test_a_moved_project_stays_fresh(stamp, tmp_path):
    moved = tmp_path / "moved"
    stamp.path.parent.rename(moved)
    assert Stamp(moved / "stamp.json", stamp.inputs).is_fresh()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"x"', b'{"inputs": {}}', b"\xff\xfe"])
def test_a_damaged_stamp_counts_as_none(stamp, content):
    stamp.path.write_bytes(content)
    assert read_stamp(stamp.path) is None
    assert not stamp.is_fresh()


def test_a_file_is_known_by_its_content(tmp_path):
    (tmp_path / "x").write_bytes(b"cat")
    assert (
        file_sha256(tmp_path / "x") == digest(tmp_path / "x") == hashlib.sha256(b"cat").hexdigest()
    )
    assert digest(tmp_path / "y") is None


def test_a_folder_is_known_by_its_names_and_sizes(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x").write_bytes(b"12")
    first = digest(tmp_path / "a")
    (tmp_path / "a" / "b" / "x").write_bytes(b"123")
    longer = digest(tmp_path / "a")
    (tmp_path / "a" / "b" / "x").rename(tmp_path / "a" / "b" / "y")
    renamed = digest(tmp_path / "a")
    assert len({first, longer, renamed}) == 3


def test_a_fingerprint_ignores_the_order_of_keys_only():
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"a": [1, 2]}) != fingerprint({"a": [2, 1]})
