import errno
import os
import subprocess
import sys

import pytest

from pipeline.errors import DataError, DiskError
from pipeline.store.atomic import atomic_path, write_bytes, write_text
from pipeline.store.disk_errors import explained_os_errors


def test_content_stands_at_the_path_and_nothing_beside_it(tmp_path):
    path = tmp_path / "new" / "folder" / "file.txt"
    write_text(path, "猫\r\n\n")
    assert path.read_bytes() == "猫\r\n\n".encode()
    assert [found.name for found in path.parent.iterdir()] == ["file.txt"]


def test_a_failure_keeps_the_old_file_and_removes_the_partial(tmp_path):
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def write_half() -> None:
        with atomic_path(path) as partial:
            partial.write_bytes(b"ne")
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        write_half()
    assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_the_file_is_not_there_before_it_is_whole(tmp_path):
    path = tmp_path / "file"
    with atomic_path(path) as partial:
        partial.write_bytes(b"whole")
        assert not path.exists()
        assert partial.parent == path.parent  # a rename across file systems isn't atomic
        assert partial.name.startswith(".")
        inode = partial.stat().st_ino
    assert path.read_bytes() == b"whole"
    assert path.stat().st_ino == inode  # renamed: a copy would be half there for a while


def test_content_reaches_the_disk_before_the_rename(tmp_path, monkeypatch):
    path = tmp_path / "file"
    synced = []
    monkeypatch.setattr(os, "fsync", lambda _: synced.append(path.exists()))
    write_bytes(path, b"x")
    assert synced == [False]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_with_the_free_bytes(tmp_path, code):
    path = tmp_path / "not" / "there"
    line = r"there: the disk must have room for this file, [\d,]+ bytes are free \(.+\); free some"
    with pytest.raises(DataError, match=line), explained_os_errors(path):
        raise OSError(code, os.strerror(code))


def test_a_file_that_may_not_be_so_large_is_said_with_the_limit(tmp_path):
    line = r"x: must be allowed 7 bytes, this disk's file system allows fewer \(File too large\); r"
    with pytest.raises(DiskError, match=line), explained_os_errors(tmp_path / "x", 7):
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))


WRITER = """
import os, sys
from pathlib import Path
from pipeline.store.atomic import atomic_path
with atomic_path(Path(sys.argv[1])) as partial:
    partial.write_bytes(b"half")
    print("written", flush=True)
    sys.stdin.read()
"""


def test_a_dead_writer_s_partial_is_swept_and_a_living_one_s_stays(tmp_path):
    def writer(name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", WRITER, tmp_path / name]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        return process

    with writer("dead") as dead, writer("living") as living:
        dead.kill()
        dead.wait()
        assert len(list(tmp_path.glob(".*.partial"))) == 2
        write_bytes(tmp_path / "third", b"x")
        assert [path.name[:8] for path in tmp_path.glob(".*.partial")] == [".living."]
        living.communicate(b"")
        assert living.returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["living", "third"]


def test_only_what_is_named_like_ours_is_swept(tmp_path):
    others = [".x.partial", "x.0123abcd.partial", ".x.123.partial", ".x.0123abcd.part"]
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / ".x.0123abcd.partial").touch()
    write_bytes(tmp_path / "x", b"x")
    assert {path.name for path in tmp_path.iterdir()} == {*others, "x"}


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_place_that_is_not_ours_is_said(tmp_path, code):
    line = rf"x: must be writable \({os.strerror(code)}\); choose another --root"
    with pytest.raises(DataError, match=line), explained_os_errors(tmp_path / "x"):
        raise OSError(code, os.strerror(code))


def test_other_os_errors_stay_what_they_are(tmp_path):
    with pytest.raises(ConnectionError, match="reset"), explained_os_errors(tmp_path):
        raise ConnectionResetError(errno.ECONNRESET, "reset")


@pytest.mark.parametrize("below", ["x", "x/y"])
def test_a_file_where_a_folder_must_be_is_said(tmp_path, below):
    (tmp_path / "file").touch()
    line = r"must be writable \((Not a directory|File exists)\); choose another --root"
    with pytest.raises(DataError, match=line):
        write_bytes(tmp_path / "file" / below, b"x")
