"""Spoiled archives of every kind: files below the folder, or one line; nothing anywhere else."""

import bz2
import gzip
import io
import lzma
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import py7zr

from pipeline.config.archive_table import container_of
from pipeline.data.archives.unpack import Limits, looks_like, unpack
from tests.data.archives.test_untar import tar_of
from tests.faults.mutants import Outcome, assert_held, hold, in_own_process, mutants

PER_KIND = 450
LIMITS = Limits(num_entries=1000, total_bytes=10**7)
NOISE = random.Random(0).randbytes(700)
ENTRIES = {"train/x.jpg": NOISE, "train/训练/y.jpg": bytes(900), "labels.csv": b"x.jpg,1\n" * 9}
START_BYTES = 32  # of a 7z: the signature, and where the header lies


def a_zip(compression: int, **more: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in (ENTRIES | more).items():
            file.writestr(name, content)
    return buffer.getvalue()


def a_7z(*, is_header_packed: bool, filters: list[dict[str, int]] | None = None) -> bytes:
    buffer = io.BytesIO()
    with py7zr.SevenZipFile(buffer, "w", filters=filters) as file:
        file.set_encoded_header_mode(is_header_packed)
        for name, content in ENTRIES.items():
            file.writestr(content, name)
    return buffer.getvalue()


def with_right_checksums(content: bytes) -> bytes:
    """Mend the checksums of a 7z's header, so that damage reaches what reads it."""
    if len(content) < START_BYTES:
        return content
    offset, size = struct.unpack("<QQ", content[12:28])
    header = content[START_BYTES + offset :][:size]
    place = content[12:28] + struct.pack("<I", zlib.crc32(header))
    start = content[:8] + struct.pack("<I", zlib.crc32(place)) + place
    return start + content[START_BYTES:]


def inputs() -> dict[str, Iterator[bytes]]:
    """Spoil archives, and what compressed ones hold, under the name that each has."""
    tar = tar_of(*ENTRIES.items())
    long_name = tar_of(("deep/" * 40 + "x.jpg", b"x"), *ENTRIES.items())
    zips = [a_zip(zipfile.ZIP_STORED), a_zip(zipfile.ZIP_DEFLATED)]
    nested = a_zip(zipfile.ZIP_STORED, **{"in.zip": zips[1], "in.tar.gz": gzip.compress(tar)})
    sevens = [a_7z(is_header_packed=False), a_7z(is_header_packed=True)]
    deflated = [{"id": py7zr.FILTER_DEFLATE}]
    spoil = partial(mutants, count=PER_KIND)
    return {
        "a.zip": spoil(zips, seed=1),
        "nested.zip": spoil([nested], seed=2),
        "a.tar": spoil([tar, long_name], seed=3),
        "a.tar.gz": spoil([gzip.compress(tar)], seed=4),
        "inner.tar.gz": map(gzip.compress, spoil([tar, long_name], seed=5)),
        "a.tar.bz2": spoil([bz2.compress(tar)], seed=6),
        "inner.tar.bz2": map(bz2.compress, spoil([tar], seed=7)),
        "a.tar.xz": spoil([lzma.compress(tar)], seed=8),
        "inner.tar.xz": map(lzma.compress, spoil([long_name], seed=9)),
        "a.7z": spoil([*sevens, a_7z(is_header_packed=False, filters=deflated)], seed=10),
        "header.7z": map(with_right_checksums, spoil(sevens, seed=11)),
    }


def read(name: str, content: bytes) -> None:
    with TemporaryDirectory(prefix="fuzz-") as place:
        archive = Path(place) / name
        archive.write_bytes(content)
        container = container_of(name)
        assert container is not None
        looks_like(archive, container)
        try:
            num_files = unpack(archive, Path(place) / "deep/er/out", LIMITS)
        finally:
            found = [path for path in Path(place).rglob("*") if not path.is_dir()]
            assert all(path.is_relative_to(Path(place) / "deep/er/out") for path in found[1:])
            assert not any(path.is_symlink() for path in found)
            assert sum(path.stat().st_size for path in found[1:]) <= LIMITS.total_bytes
        assert num_files == len(found) - 1


def fuzz() -> dict[str, Outcome]:
    return {name: hold(partial(read, name), spoiled) for name, spoiled in inputs().items()}


def test_spoiled_archives_of_every_kind_are_unpacked_or_refused_in_bounded_memory_and_time():
    assert_held(in_own_process(fuzz), least=4_900)


def test_the_seeds_are_whole():
    for name, content in (
        ("a.zip", a_zip(zipfile.ZIP_DEFLATED)),
        ("a.tar", tar_of(*ENTRIES.items())),
        ("a.7z", with_right_checksums(a_7z(is_header_packed=False))),
    ):
        read(name, content)
    packed = a_7z(is_header_packed=True)
    assert with_right_checksums(packed) == packed
