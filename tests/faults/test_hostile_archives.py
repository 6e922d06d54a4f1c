"""Archives made to hurt, beside those of tests/data/archives."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath

import py7zr
import pytest

from pipeline.config.archive_table import Archive
from pipeline.data.archives.fetch_archive import check
from pipeline.data.archives.unpack import DEFAULT_LIMITS, peek, unpack
from pipeline.errors import ArchiveError
from tests.data.archives.test_unpack import files_below, make_zip, patch
from tests.data.archives.test_untar import tar_of
from tests.faults.mutants import READ, attempt, in_own_process

PICTURE = bytes(range(256)) * 400
MEGABYTES_OF_ZEROS = bytes(9_000_000)  # just small enough to be let through one by one


def zip_of(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return buffer.getvalue()


def seven_zip_of(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with py7zr.SevenZipFile(buffer, "w") as file:
        for name, content in entries.items():
            file.writestr(content, name)
    return buffer.getvalue()


def one_of_each(entries: dict[str, bytes]) -> dict[str, bytes]:
    tar = tar_of(*entries.items())
    return {
        "a.zip": zip_of(entries),
        "a.tar": tar,
        "a.tar.gz": gzip.compress(tar),
        "a.tar.bz2": bz2.compress(tar),
        "a.tar.xz": lzma.compress(tar),
        "a.7z": seven_zip_of(entries),
    }


def take(archive: Path, folder: Path) -> None:
    """Look at an archive and unpack it, as `download` does."""
    check(Archive(name=archive.name), str(archive), archive)
    unpack(archive, folder)


KINDS = ("a.zip", "a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz", "a.7z")


@pytest.mark.parametrize("name", KINDS)
def test_archive_cut_at_every_tenth_or_of_zeros_is_refused(tmp_path: Path, name: str) -> None:
    content = one_of_each({"x.jpg": PICTURE, "y.jpg": b"y"})[name]
    spoiled = [content[: len(content) * tenth // 10] for tenth in range(10)]
    for number, begin in enumerate([*spoiled, bytes(len(content)), b"\0"]):
        (tmp_path / name).write_bytes(begin)
        with pytest.raises(ArchiveError, match=r"must (be|hold files)") as raised:
            take(tmp_path / name, tmp_path / f"out{number}")
        assert len(str(raised.value).splitlines()) == 1


def test_bomb_of_nested_zips_is_refused_before_it_grows(tmp_path: Path) -> None:
    content = zip_of({f"{n}.bin": MEGABYTES_OF_ZEROS for n in range(3)})
    for _ in range(3):  # 16³ of them would be 110 GB
        content = zip_of({f"lib {n}.zip": content for n in range(16)})
    (tmp_path / "42.zip").write_bytes(content)
    assert len(content) < 30_000
    with pytest.raises(ArchiveError, match=r"times the bytes of the whole archive, claims"):
        unpack(tmp_path / "42.zip", tmp_path / "out")
    written = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert written < DEFAULT_LIMITS.ratio * len(content)


@pytest.mark.parametrize("name", ["a.tar.bz2", "a.tar.xz", "a.7z"])
def test_many_small_bombs_are_one_large(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(one_of_each(dict.fromkeys("abcdef", MEGABYTES_OF_ZEROS))[name])
    with pytest.raises(ArchiveError, match=r"times the bytes of the whole archive, .*: a bomb"):
        unpack(tmp_path / name, tmp_path / "out")
    assert files_below(tmp_path / "out") == []


def test_entries_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    """Fifield 2019, "A better zip bomb": one packed file, listed a thousand times."""
    packed = zip_of({"000.bin": MEGABYTES_OF_ZEROS})
    with zipfile.ZipFile(io.BytesIO(packed)) as file:
        start, (info,) = file.start_dir, file.infolist()
    listed = packed[start : start + 46 + len(info.filename)]
    listing = b"".join(listed.replace(b"000.bin", b"%03d.bin" % n) for n in range(1000))
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1000, 1000, len(listing), start, 0)
    (tmp_path / "a.zip").write_bytes(packed[:start] + listing + end)
    with zipfile.ZipFile(tmp_path / "a.zip") as file:
        assert sum(entry.file_size for entry in file.infolist()) == 9 * 10**9
    with pytest.raises(ArchiveError, match=r"times the bytes of the whole archive, .*: a bomb"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert files_below(tmp_path / "out") == []


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress, gzip.compress])
def test_endless_padding_of_a_tar_is_not_read_to_its_end(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    padding = pack(bytes(100 << 20))
    name = {bz2.compress: "a.tar.bz2", lzma.compress: "a.tar.xz"}.get(pack, "a.tar.gz")
    (tmp_path / name).write_bytes(pack(tar_of(("x.jpg", b"x"))) + padding)
    with pytest.raises(ArchiveError, match=r"more than 67,108,864 bytes follow its last entry"):
        unpack(tmp_path / name, tmp_path / "out")


def zip_of_a_million(path: Path) -> None:
    """Write the listing alone: every entry is the same empty file."""
    count, name = 1_000_000, b"%07d.jpg"
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 33, 0, 0, 0, 11, 0) + name % 0
    fixed = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, 0, 0, 11, *(0,) * 6)
    listing = b"".join(fixed + name % number for number in range(count))
    zip64 = struct.pack(
        "<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(listing), len(local)
    )
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(local) + len(listing), 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, *(0xFFFF,) * 2, *(0xFFFFFFFF,) * 2, 0)
    path.write_bytes(local + listing + zip64 + locator + end)


def list_a_million(archive: Path) -> None:
    assert len(peek(archive, archive.parent / "out", lambda _: False)) == 1_000_000


def test_million_entries_are_listed_in_bounded_memory(tmp_path: Path) -> None:
    zip_of_a_million(tmp_path / "a.zip")
    listing = partial(list_a_million, tmp_path / "a.zip")
    assert in_own_process(attempt, listing, 300) == READ  # memory is what is promised of it


@pytest.mark.parametrize("name", KINDS)
def test_names_that_differ_by_case_are_two_files_or_one_refusal(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(one_of_each({"cat.jpg": b"1", "Cat.jpg": b"2"})[name])
    (tmp_path / "probe").touch()
    if (tmp_path / "PROBE").exists():
        with pytest.raises(ArchiveError, match="'a' and 'A' may be one name"):
            unpack(tmp_path / name, tmp_path / "out")
    else:
        assert unpack(tmp_path / name, tmp_path / "out") == 2
        assert (tmp_path / "out/cat.jpg").read_bytes() == b"1"


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("long", ["x" * 300, "猫" * 100, "d/" * 2500 + "x"])
def test_overlong_names_are_refused_in_one_line(tmp_path: Path, name: str, long: str) -> None:
    (tmp_path / name).write_bytes(one_of_each({"good.jpg": b"x", long: b"x"})[name])
    with pytest.raises(ArchiveError, match="must have a shorter name") as raised:
        unpack(tmp_path / name, tmp_path / "out")
    assert len(str(raised.value)) < 6000


@pytest.mark.parametrize("raw", ["日本語/ネコ.jpg".encode("shift-jis"), b"\xff\xfe\x81.jpg"])
def test_names_of_other_encodings_stay_below_the_folder(tmp_path: Path, raw: bytes) -> None:
    """Shift-JIS can't be told from GBK: the letters may be wrong, the place never is."""
    placeholder = "n" * len(raw)
    archive = make_zip(tmp_path / "a.zip", {placeholder: PICTURE})
    assert unpack(patch(archive, placeholder.encode(), raw), tmp_path / "zip") == 1
    with tarfile.open(tmp_path / "a.tar", "w", encoding="latin-1") as file:
        info = tarfile.TarInfo(raw.decode("latin-1"))
        info.size = len(PICTURE)
        file.addfile(info, io.BytesIO(PICTURE))
    assert unpack(tmp_path / "a.tar", tmp_path / "tar") == 1
    for folder in ("zip", "tar"):
        (name,) = files_below(tmp_path / folder)
        assert (tmp_path / folder / name).read_bytes() == PICTURE
        assert ".." not in PurePosixPath(name).parts


@pytest.mark.parametrize("inner", ["../x", "/etc/x", "C:\\x", "a/../../x"])
@pytest.mark.parametrize("name", ["in.tar.gz", "in.zip"])
def test_what_is_nested_leads_out_no_more_than_the_outer(
    tmp_path: Path, inner: str, name: str
) -> None:
    content = zip_of({inner: b"x"}) if name == "in.zip" else gzip.compress(tar_of((inner, b"x")))
    (tmp_path / "a.zip").write_bytes(zip_of({"ok.jpg": b"x", name: content}))
    with pytest.raises(ArchiveError, match="entries must stay below the archive's folder"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert files_below(tmp_path) == ["a.zip", f"out/{name}", "out/ok.jpg"]
