"""Archives within archives are unpacked under the same rules as the outer one."""

import io
import zipfile
from pathlib import Path

import pytest

from pipeline.data.archives.unpack import Limits, unpack
from pipeline.errors import ArchiveError
from tests.data.archives.test_unpack import files_below, make_zip
from tests.data.archives.test_untar import tar_of

PICTURE = bytes(range(256)) * 40


def zip_of(**entries: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            file.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return buffer.getvalue()


def test_archives_within_become_folders_of_their_names(tmp_path: Path) -> None:
    entries = {
        "train.zip": zip_of(train__x=PICTURE, y=b"y"),
        "deep/test.tar": tar_of(("z.jpg", b"z")),
        "labels.csv.zip": zip_of(labels_dot_csv=b"id,label\n"),
        "sample.csv": b"id\n",
    }
    archive = make_zip(tmp_path / "all.zip", entries)
    assert unpack(archive, tmp_path / "out") == 5
    assert files_below(tmp_path / "out") == [
        "deep/test/z.jpg",
        "labels.csv/labels.csv",
        "sample.csv",
        "train/train/x",
        "train/y",
    ]
    assert (tmp_path / "out/train/train/x").read_bytes() == PICTURE


def nested(depth: int) -> bytes:
    content = zip_of(x_dot_jpg=b"x")
    for _ in range(depth):
        content = zip_of(a_dot_zip=content)
    return content


def test_depth_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(nested(3))
    assert unpack(tmp_path / "a.zip", tmp_path / "out") == 1
    assert files_below(tmp_path / "out") == ["a/a/a/x.jpg"]
    (tmp_path / "b.zip").write_bytes(nested(4))
    message = r"b\.zip: 'a\.zip': 'a\.zip': 'a\.zip': must hold archives within archives at most 3"
    with pytest.raises(ArchiveError, match=message):
        unpack(tmp_path / "b.zip", tmp_path / "deep")


@pytest.mark.parametrize("name", ["../x", "/etc/x"])
def test_name_that_leads_out_of_the_inner_archive_is_refused(tmp_path: Path, name: str) -> None:
    inner = make_zip(tmp_path / "train.zip", {name: b"x"}).read_bytes()
    (tmp_path / "train.zip").unlink()
    archive = make_zip(tmp_path / "all.zip", {"train.zip": inner})
    message = r"all\.zip: 'train\.zip': entries must stay below the archive's folder"
    with pytest.raises(ArchiveError, match=message):
        unpack(archive, tmp_path / "out")
    assert files_below(tmp_path) == ["all.zip", "out/train.zip"]


def test_limits_are_those_of_all_together(tmp_path: Path) -> None:
    entries = {f"{n}.zip": zip_of(x=PICTURE, y=PICTURE) for n in range(4)}
    archive = make_zip(tmp_path / "all.zip", entries)
    assert unpack(archive, tmp_path / "out", Limits(num_entries=12)) == 8
    with pytest.raises(ArchiveError, match=r"'3\.zip': must hold at most 11 entries, holds 12"):
        unpack(archive, tmp_path / "few", Limits(num_entries=11))
    with pytest.raises(ArchiveError, match=r"must unpack to at most 60,000 bytes, claims \d+"):
        unpack(archive, tmp_path / "small", Limits(total_bytes=60_000))


def test_damaged_inner_archive_is_named_with_the_outer(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "all.zip", {"train.zip": zip_of(x=PICTURE)[:-9]})
    message = r"all\.zip: 'train\.zip': must be a whole zip archive, is damaged"
    with pytest.raises(ArchiveError, match=message):
        unpack(archive, tmp_path / "out")


def test_inner_archive_beside_a_folder_of_its_name_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "all.zip", {"train.zip": zip_of(x=b"x"), "train/y.jpg": b"y"})
    message = r"'train\.zip' must unpack into 'train', which is there"
    with pytest.raises(ArchiveError, match=message):
        unpack(archive, tmp_path / "out")
