import bz2
import gzip
import io
import lzma
import random
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.data.archives.unpack import Limits, unpack
from pipeline.errors import ArchiveError
from tests.data.archives.test_unpack import files_below

PICTURE = bytes(range(256)) * 40
BLOCK = tarfile.BLOCKSIZE


def tar_of(*entries: tuple[str | tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as file:
        for name, content in entries:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def write(path: Path, content: bytes) -> Path:
    """Write a tar, gzipped unless its name says that it isn't."""
    path.write_bytes(content if path.suffix == ".tar" else gzip.compress(content))
    return path


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz", "A.TAR.GZ"])
def test_files_come_out_as_they_went_in_and_read_only(tmp_path: Path, name: str) -> None:
    setuid = tarfile.TarInfo("./train/x.jpg")
    setuid.mode = 0o4777
    folder = tarfile.TarInfo("train/empty")
    folder.type = tarfile.DIRTYPE
    content = tar_of((setuid, PICTURE), ("train/deep/y.jpg", b""), (folder, b""))
    assert unpack(write(tmp_path / name, content), tmp_path / "out") == 2
    assert files_below(tmp_path / "out") == ["train/deep/y.jpg", "train/x.jpg"]
    file = tmp_path / "out/train/x.jpg"
    assert file.read_bytes() == PICTURE
    assert stat.S_IMODE(file.stat().st_mode) == 0o444


def test_tar_that_a_browser_has_gunzipped_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(tar_of(("x.jpg", PICTURE)))
    unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    assert files_below(tmp_path / "out") == ["x.jpg"]


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "a.tar.bz2": bz2.compress,
    "a.tbz2": bz2.compress,
    "a.tar.xz": lzma.compress,
}


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_other_compressions_are_undone(tmp_path: Path, name: str) -> None:
    content = COMPRESSIONS[name](tar_of(("x.jpg", PICTURE), ("y.jpg", b"")))
    (tmp_path / name).write_bytes(content)
    assert unpack(tmp_path / name, tmp_path / "out") == 2
    assert (tmp_path / "out/x.jpg").read_bytes() == PICTURE


@pytest.mark.parametrize("name", COMPRESSIONS)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_damage_of_other_compressions_is_noticed(tmp_path: Path, name: str, share: float) -> None:
    noise = random.Random(0).randbytes(20_000)
    content = bytearray(COMPRESSIONS[name](tar_of(("x.jpg", noise))))
    at = int(share * len(content))
    (tmp_path / name).write_bytes(content[:at])
    with pytest.raises(ArchiveError, match=r"must be (a whole tar archive|whole), is damaged"):
        unpack(tmp_path / name, tmp_path / "cut")
    content[at] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ArchiveError, match=r"must be (a whole tar archive|whole), is damaged"):
        unpack(tmp_path / name, tmp_path / "flipped")


def test_litter_of_other_systems_is_left_out(tmp_path: Path) -> None:
    content = tar_of(("._x.jpg", b"x"), ("x.jpg", b"x"), ("d/.DS_Store", b"x"))
    assert unpack(write(tmp_path / "a.tgz", content), tmp_path / "out") == 1
    assert files_below(tmp_path / "out") == ["x.jpg"]


@pytest.mark.parametrize(
    "name", ["/etc/x", "../x", "d/../../x", "C:/x", "\\\\host\\x", "d\\..\\..\\x", "a\nb"]
)
def test_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    archive = write(tmp_path / "a.tar.gz", tar_of(("good.jpg", b"x"), (name, b"x")))
    with pytest.raises(ArchiveError, match="must stay below the archive's folder"):
        unpack(archive, tmp_path / "out")
    assert files_below(tmp_path) == ["a.tar.gz"]


@pytest.mark.parametrize("name", ["训练/猫.jpg", "x" * 150 + "/x.jpg"])
@pytest.mark.parametrize("encoding", ["utf-8", "gbk"])
def test_long_and_chinese_names_are_read(tmp_path: Path, name: str, encoding: str) -> None:
    with tarfile.open(
        tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT, encoding=encoding
    ) as file:
        file.addfile(tarfile.TarInfo(name))
    unpack(tmp_path / "a.tar", tmp_path / "out")
    assert files_below(tmp_path / "out") == [name]


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        tarfile.GNUTYPE_SPARSE,
    ],
)
def test_links_devices_and_sparse_files_are_refused(tmp_path: Path, kind: bytes) -> None:
    odd = tarfile.TarInfo("odd")
    odd.type, odd.linkname = kind, "/etc/passwd"
    archive = write(tmp_path / "a.tar.gz", tar_of(("good.jpg", b"x"), (odd, b"")))
    with pytest.raises(ArchiveError, match="entry 'odd' must be a plain file, is a link, a device"):
        unpack(archive, tmp_path / "out")
    assert files_below(tmp_path / "out") == []


def test_tar_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    content = tar_of(("x.jpg", PICTURE), ("y.jpg", b"y"))
    end = BLOCK + len(PICTURE) + 2 * BLOCK
    assert content[end:].strip(b"\0") == b""
    for length in [1, BLOCK - 1, *range(BLOCK, end + 1, BLOCK), end - 1, end + BLOCK - 1]:
        archive = write(tmp_path / "a.tar", content[:length])
        with pytest.raises(ArchiveError, match=r"a\.tar: must be a whole tar archive, is damaged"):
            unpack(archive, tmp_path / "out")
    assert files_below(tmp_path / "out") == []


def test_gzip_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    content = gzip.compress(tar_of(("x.jpg", PICTURE), ("y.jpg", b"y")))
    for length in range(1, len(content), 7):
        (tmp_path / "a.tgz").write_bytes(content[:length])
        with pytest.raises(ArchiveError, match="must be a whole tar archive, is damaged") as raised:
            unpack(tmp_path / "a.tgz", tmp_path / "out")
        assert "\n" not in str(raised.value)
    assert files_below(tmp_path / "out") == []


def test_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    content = tar_of(("x.jpg", b"x"), ("y.jpg", b"y"), ("z.jpg", b"z"))
    archive = write(tmp_path / "a.tar", content.replace(b"y.jpg", b"Y.jpg"))
    with pytest.raises(ArchiveError, match=r"ends, or has no header, at byte 1,024"):
        unpack(archive, tmp_path / "out")


def test_wrong_checksum_of_the_gzip_is_found_though_no_entry_needs_it(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(tar_of(("x.jpg", PICTURE))))
    content[-8] ^= 1
    (tmp_path / "a.tgz").write_bytes(content)
    with pytest.raises(ArchiveError, match=r"is damaged \(CRC check failed"):
        unpack(tmp_path / "a.tgz", tmp_path / "out")
    assert files_below(tmp_path / "out") == []


def test_name_that_claims_gigabytes_is_not_read(tmp_path: Path) -> None:
    long_name = tarfile.TarInfo("x")
    long_name.type, long_name.size = tarfile.GNUTYPE_LONGNAME, 4 << 30
    archive = write(tmp_path / "a.tgz", long_name.tobuf(tarfile.GNU_FORMAT) + bytes(4 * BLOCK))
    with pytest.raises(ArchiveError, match=r"a header claims 4,294,967,296 bytes"):
        unpack(archive, tmp_path / "out")


def test_negative_size_is_refused(tmp_path: Path) -> None:
    backwards = tarfile.TarInfo("x")
    backwards.size = -BLOCK
    archive = write(tmp_path / "a.tar", backwards.tobuf(tarfile.GNU_FORMAT) + bytes(4 * BLOCK))
    with pytest.raises(ArchiveError, match=r"is damaged"):
        unpack(archive, tmp_path / "out")


def test_two_entries_of_one_name_are_refused(tmp_path: Path) -> None:
    archive = write(tmp_path / "a.tgz", tar_of(("x.jpg", b"1"), ("./x.jpg", b"2")))
    with pytest.raises(ArchiveError, match=r"must differ in name, 'x\.jpg' is there twice"):
        unpack(archive, tmp_path / "out")


def test_tar_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="must hold files, holds 0 entries and no file"):
        unpack(write(tmp_path / "a.tar", tar_of()), tmp_path / "out")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(num_entries=1), "must hold at most 1 entries, holds 2 or more"),
        (Limits(total_bytes=20_000), "must unpack to at most 20,000 bytes, claims 20,480 or more"),
        (Limits(ratio=5, ratio_from_bytes=10_000), r"'a\.jpg' must unpack to at most 5 times"),
    ],
)
def test_bomb_is_refused_before_anything_is_written(
    tmp_path: Path, limits: Limits, message: str
) -> None:
    archive = write(tmp_path / "a.tgz", tar_of(("a.jpg", PICTURE), ("b.jpg", PICTURE)))
    with pytest.raises(ArchiveError, match=message):
        unpack(archive, tmp_path / "out", limits)
    assert files_below(tmp_path / "out") == []


def test_enormous_entry_is_refused_before_it_is_unzipped(tmp_path: Path) -> None:
    enormous = tarfile.TarInfo("x")
    enormous.size = 10**18
    archive = write(tmp_path / "a.tgz", enormous.tobuf(tarfile.GNU_FORMAT))
    with pytest.raises(ArchiveError, match="must unpack to at most 50,000,000,000 bytes"):
        unpack(archive, tmp_path / "out")
