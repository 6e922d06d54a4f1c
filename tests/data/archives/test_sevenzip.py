"""A 7z is unpacked under the rules of zips and tars, by a package that may be missing."""

import io
import random
import stat
from pathlib import Path

import py7zr
import pytest

from pipeline.data.archives import tars_and_7z
from pipeline.data.archives.unpack import Limits, looks_like, unpack
from pipeline.errors import ArchiveError, DataError
from tests.data.archives.test_unpack import files_below

PICTURE = bytes(range(256)) * 40


def write(path: Path, entries: dict[str, bytes], password: str | None = None) -> Path:
    with py7zr.SevenZipFile(path, "w", password=password) as file:
        for name, content in entries.items():
            file.writestr(content, name)
    return path


def renamed(path: Path, old: str, new: str) -> Path:
    """Spell a name as py7zr refuses to; both are as long, and the header isn't packed."""
    content = path.read_bytes()
    plain = io.BytesIO()
    with py7zr.SevenZipFile(io.BytesIO(content)) as source:
        source.reset()
        factory = py7zr.io.BytesIOFactory(limit=1 << 20)
        source.extractall(factory=factory)
    with py7zr.SevenZipFile(plain, "w") as file:
        file.set_encoded_header_mode(False)
        for product in factory.products.values():
            file.writestr(product.read(), old)
        for info in file.header.files_info.files:
            info["filename"] = new
    path.write_bytes(plain.getvalue())
    return path


def test_files_come_out_as_they_went_in_and_read_only(tmp_path: Path) -> None:
    archive = write(tmp_path / "a.7z", {"train/x.jpg": PICTURE, "训练/猫.jpg": b"y", "empty": b""})
    assert looks_like(archive, "7z")
    assert unpack(archive, tmp_path / "out") == 3
    assert files_below(tmp_path / "out") == ["empty", "train/x.jpg", "训练/猫.jpg"]
    file = tmp_path / "out/train/x.jpg"
    assert file.read_bytes() == PICTURE
    assert stat.S_IMODE(file.stat().st_mode) == 0o444


def test_folders_and_litter_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "in/folder").mkdir(parents=True)
    for name in ("x.jpg", "._x.jpg", "Thumbs.db"):
        (tmp_path / "in" / name).write_bytes(b"x")
    with py7zr.SevenZipFile(tmp_path / "a.7z", "w") as file:
        file.writeall(tmp_path / "in", "in")
    assert unpack(tmp_path / "a.7z", tmp_path / "out") == 1
    assert files_below(tmp_path / "out") == ["in/x.jpg"]


@pytest.mark.parametrize("name", ["/etc/x", "../../x", "C:/xxx", "..\\..\\x", "d/../../x"])
def test_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    archive = renamed(write(tmp_path / "a.7z", {"x": b"x"}), "x", name)
    with pytest.raises(ArchiveError, match="must stay below the archive's folder"):
        unpack(archive, tmp_path / "out")
    assert files_below(tmp_path) == ["a.7z"]


def test_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    with py7zr.SevenZipFile(tmp_path / "a.7z", "w") as file:
        file.write(tmp_path / "link", "link")
    with pytest.raises(ArchiveError, match="entry 'link' must be a plain file, is a link"):
        unpack(tmp_path / "a.7z", tmp_path / "out")


def test_entry_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with py7zr.SevenZipFile(tmp_path / "a.7z", "w") as file:
        file.writestr(b"x", "x.jpg")
        file.writestr(b"x", "x.jpg")
    with pytest.raises(ArchiveError, match=r"must differ in name, 'x\.jpg' is there twice"):
        unpack(tmp_path / "a.7z", tmp_path / "out")


def test_encrypted_archive_is_refused(tmp_path: Path) -> None:
    archive = write(tmp_path / "a.7z", {"x.jpg": PICTURE}, password="secret")
    with pytest.raises(ArchiveError, match="must be readable without a password, is encrypted"):
        unpack(archive, tmp_path / "out")
    with py7zr.SevenZipFile(archive, "w", password="secret", header_encryption=True) as file:
        file.writestr(PICTURE, "x.jpg")
    with pytest.raises(ArchiveError, match=r"a\.7z: must be readable without a password"):
        unpack(archive, tmp_path / "out2")


def test_claims_beyond_the_limits_are_refused(tmp_path: Path) -> None:
    archive = write(tmp_path / "a.7z", {f"{n}.jpg": PICTURE for n in range(9)})
    with pytest.raises(ArchiveError, match=r"at most 8 entries, holds 9 or more"):
        unpack(archive, tmp_path / "out", Limits(num_entries=8))
    with pytest.raises(ArchiveError, match=r"must unpack to at most 50,000 bytes, claims 51,200"):
        unpack(archive, tmp_path / "out", Limits(total_bytes=50_000))
    bomb = write(tmp_path / "b.7z", {"x.jpg": bytes(20_000_000)})
    with pytest.raises(ArchiveError, match=r"claims 20,000,000: a zip bomb"):
        unpack(bomb, tmp_path / "out")


@pytest.mark.parametrize("tenth", range(1, 10))
def test_truncated_archive_is_refused_in_one_line(tmp_path: Path, tenth: int) -> None:
    content = write(tmp_path / "a.7z", {"x.jpg": random.Random(0).randbytes(9_000)}).read_bytes()
    (tmp_path / "a.7z").write_bytes(content[: len(content) * tenth // 10])
    with pytest.raises(ArchiveError, match=r"must be a whole 7z archive, is damaged \(") as raised:
        unpack(tmp_path / "a.7z", tmp_path / "out")
    assert "\n" not in str(raised.value)


def test_flipped_bits_lead_to_our_errors_alone(tmp_path: Path) -> None:
    rng = random.Random(0)
    entries = {"x.jpg": rng.randbytes(500), "y/z.jpg": rng.randbytes(500)}
    content = write(tmp_path / "a.7z", entries).read_bytes()
    num_refused = 0
    for number in range(150):
        spoiled = bytearray(content)
        spoiled[rng.randrange(len(spoiled))] ^= 1 << rng.randrange(8)
        (tmp_path / "b.7z").write_bytes(spoiled)
        try:
            unpack(tmp_path / "b.7z", tmp_path / f"out{number}")
        except DataError:
            num_refused += 1
    assert num_refused > 140  # a few bits are dates


def test_missing_package_is_named_with_the_command_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write(tmp_path / "a.7z", {"x.jpg": PICTURE})
    monkeypatch.setattr(tars_and_7z, "PACKAGE", "no_such_package")
    message = (
        r"a\.7z: a 7z needs the package no_such_package \(the extra 'sevenzip'\), which isn't "
        r"installed; run '.*python.* -m pip install no_such_package', or unpack it by hand"
    )
    with pytest.raises(DataError, match=message):
        unpack(archive, tmp_path / "out")
