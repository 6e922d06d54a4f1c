import stat
import struct
import zipfile
from pathlib import Path

import pytest

from pipeline.data.archives.unpack import Limits, peek, unpack
from pipeline.errors import ArchiveError, DataError

PICTURE = bytes(range(256)) * 40


def make_zip(
    path: Path, entries: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED
) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return path


def patch(path: Path, old: bytes, new: bytes) -> Path:
    """Change bytes of an archive as zipfile would never write them."""
    content = path.read_bytes()
    assert old in content
    assert len(old) == len(new)
    path.write_bytes(content.replace(old, new))
    return path


def files_below(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def test_files_come_out_as_they_went_in_and_read_only(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"train/x.jpg": PICTURE, "train/deep/y.jpg": b""})
    assert unpack(archive, tmp_path / "out") == 2
    assert files_below(tmp_path / "out") == ["train/deep/y.jpg", "train/x.jpg"]
    file = tmp_path / "out/train/x.jpg"
    assert file.read_bytes() == PICTURE
    assert stat.S_IMODE(file.stat().st_mode) == 0o444


def test_litter_of_other_systems_is_left_out(tmp_path: Path) -> None:
    names = ["x.jpg", "__MACOSX/._x.jpg", "d/._y.jpg", ".DS_Store", "d/Thumbs.db"]
    archive = make_zip(tmp_path / "a.zip", dict.fromkeys(names, b"x"))
    assert unpack(archive, tmp_path / "out") == 1
    assert files_below(tmp_path / "out") == ["x.jpg"]


@pytest.mark.parametrize(
    "name",
    ["/etc/x", "../x", "d/../../x", "C:/x", "c:x", "\\\\host\\x", "..\\x", "d\\..\\..\\x", "a\nb"],
)
def test_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    archive = make_zip(tmp_path / "a.zip", {"good.jpg": b"x", name: b"x"})
    with pytest.raises(ArchiveError, match="must stay below the archive's folder"):
        unpack(archive, tmp_path / "out")
    assert files_below(tmp_path) == ["a.zip"]


def test_backslashes_separate_folders(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"train\\x.jpg": b"x", "./train//y.jpg": b"y"})
    unpack(archive, tmp_path / "out")
    assert files_below(tmp_path / "out") == ["train/x.jpg", "train/y.jpg"]


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("训练/猫.jpg", "utf-8"),
        ("测试.jpg", "utf-8"),  # these bytes would pass for GBK too
        ("训练/猫咪誠.jpg", "gbk"),  # in GBK, the last sign ends with a backslash's byte
    ],
)
def test_chinese_names_without_the_utf8_flag_are_read(
    tmp_path: Path, name: str, encoding: str
) -> None:
    raw = name.encode(encoding)
    placeholder = "n" * len(raw)
    archive = make_zip(tmp_path / "a.zip", {placeholder: PICTURE})
    unpack(patch(archive, placeholder.encode(), raw), tmp_path / "out")
    assert files_below(tmp_path / "out") == [name]


def test_chinese_names_with_the_utf8_flag_are_read(tmp_path: Path) -> None:
    unpack(make_zip(tmp_path / "a.zip", {"训练/猫.jpg": b"x"}), tmp_path / "out")
    assert files_below(tmp_path / "out") == ["训练/猫.jpg"]


def test_symbolic_link_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(link, "/etc")
    with pytest.raises(ArchiveError, match="'link' must be a plain file, is a link"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_encrypted_archive_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"x.jpg": b"x"}, zipfile.ZIP_STORED)
    patch(archive, b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00")
    with pytest.raises(ArchiveError, match=r"'x\.jpg' must be readable without a password"):
        unpack(archive, tmp_path / "out")


def test_method_that_unpacks_in_one_go_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"x.jpg": b"x"}, zipfile.ZIP_BZIP2)
    with pytest.raises(ArchiveError, match="must be stored or deflated, is packed by method 12"):
        unpack(archive, tmp_path / "out")


def test_wrong_checksum_names_the_entry(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"x.jpg": b"picture"}, zipfile.ZIP_STORED)
    with pytest.raises(ArchiveError, match=r"entry 'x\.jpg' must be whole, is damaged \(Bad CRC"):
        unpack(patch(archive, b"picture", b"pictUre"), tmp_path / "out")


def test_damaged_stream_names_the_entry(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"x.jpg": PICTURE})
    start = archive.read_bytes().index(b"x.jpg") + len("x.jpg")
    damaged = bytearray(archive.read_bytes())
    damaged[start : start + 40] = b"\xff" * 40
    archive.write_bytes(damaged)
    with pytest.raises(ArchiveError, match=r"entry 'x\.jpg' must be whole, is damaged"):
        unpack(archive, tmp_path / "out")


def test_entry_shorter_than_declared_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"x.jpg": PICTURE})
    patch(archive, struct.pack("<L", len(PICTURE)), struct.pack("<L", len(PICTURE) + 9))
    with pytest.raises(ArchiveError, match=r"10,240 bytes came, 10,249 were declared"):
        unpack(archive, tmp_path / "out")


def test_entry_longer_than_declared_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"x.jpg": PICTURE})
    patch(archive, struct.pack("<L", len(PICTURE)), struct.pack("<L", 9))
    with pytest.raises(ArchiveError, match=r"entry 'x\.jpg' must be whole"):
        unpack(archive, tmp_path / "out")


def test_archive_cut_short_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"x.jpg": PICTURE})
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(ArchiveError, match=r"a\.zip: must be a whole zip archive, is damaged"):
        unpack(archive, tmp_path / "out")


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_two_entries_of_one_name_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("x.jpg", b"1")
        file.writestr("x.jpg", b"2")
    with pytest.raises(ArchiveError, match=r"must differ in name, 'x\.jpg' is there twice"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_file_that_is_also_a_folder_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"x": b"1", "x/y": b"2"})
    with pytest.raises(ArchiveError, match=r"must differ in name, 'x/y'"):
        unpack(archive, tmp_path / "out")


def test_overlong_name_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"x" * 300: b"1"})
    with pytest.raises(ArchiveError, match="must have a shorter name"):
        unpack(archive, tmp_path / "out")


def test_empty_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="must hold files, holds 0 entries and no file"):
        unpack(make_zip(tmp_path / "a.zip", {}), tmp_path / "out")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(num_entries=1), "must hold at most 1 entries, holds 2"),
        (Limits(total_bytes=20_000), "must unpack to at most 20,000 bytes, claims 20,480"),
        (Limits(ratio=10, ratio_from_bytes=10_000), r"'a\.jpg' must unpack to at most 10 times"),
    ],
)
def test_zip_bomb_is_refused_before_anything_is_written(
    tmp_path: Path, limits: Limits, message: str
) -> None:
    archive = make_zip(tmp_path / "a.zip", {"a.jpg": PICTURE, "b.jpg": PICTURE})
    with pytest.raises(ArchiveError, match=message):
        unpack(archive, tmp_path / "out", limits)
    assert files_below(tmp_path / "out") == []


def test_default_limits_refuse_a_real_bomb(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"zeros": bytes(12 * 10**6)})
    with pytest.raises(ArchiveError, match=r"claims 12,000,000: a zip bomb"):
        unpack(archive, tmp_path / "out")


def test_archive_larger_than_the_free_disk_is_refused(tmp_path: Path) -> None:
    size = 54_321
    archive = make_zip(tmp_path / "a.zip", {f"{n}.jpg": bytes(size) for n in range(1000)})
    patch(archive, struct.pack("<L", size), struct.pack("<L", 2**32 - 2))
    endless = Limits(total_bytes=10**18, ratio=10**18)
    with pytest.raises(DataError, match=r"must find 4,294,967,294,000 bytes of disk.*free some"):
        unpack(archive, tmp_path / "out", endless)


def test_peek_lists_what_unpack_would_write_and_unpacks_only_what_is_wanted(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "inner.zip", "w") as inner:
        inner.writestr("b/1.jpg", b"picture")
        inner.writestr("b/labels.csv", b"1,cat")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as packed:
        packed.writestr("a/0.jpg", b"picture")
        packed.writestr("__MACOSX/a/._0.jpg", b"litter")
        packed.write(tmp_path / "inner.zip", "train.zip")
    wanted = peek(tmp_path / "all.zip", tmp_path / "peeked", lambda name: name.suffix == ".csv")
    unpack(tmp_path / "all.zip", tmp_path / "whole")
    assert sorted(map(str, wanted)) == files_below(tmp_path / "whole")
    assert files_below(tmp_path / "peeked") == ["train/b/labels.csv"]
