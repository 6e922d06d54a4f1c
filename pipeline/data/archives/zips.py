"""Read the entries of a zip."""

import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from pipeline.data.archives.entries import Contents, Entry, decoded, extract_each

FLAG_ENCRYPTED = 0x1
FLAG_UTF8 = 0x800
# What zipfile raises on bytes that aren't what they claim to be; ValueError covers bad UTF-8.
FAULTS = (BadZipFile, EOFError, NotImplementedError, ValueError, struct.error, zlib.error)


@contextmanager
def opened(archive: Path) -> Iterator[Contents]:
    """Open a zip; zipfile checks each entry's CRC when it has been read."""
    with ZipFile(archive) as zip_file:
        entries = (
            Entry(
                name=_name(info),
                num_bytes=info.file_size,
                packed_bytes=info.compress_size,
                is_dir=info.is_dir(),
                flaw=_flaw(info),
                open=partial(zip_file.open, info),
            )
            for info in zip_file.infolist()
        )
        yield Contents(entries, extract_each)


def _name(info: ZipInfo) -> str:
    """Undo zipfile's guess of cp437 where UTF-8 or GBK fits."""
    name = info.orig_filename
    if info.flag_bits & FLAG_UTF8 or name.isascii():
        return name
    try:
        return decoded(name.encode("cp437"), fallback=name)
    except UnicodeEncodeError:  # the name came from a Unicode extra field
        return name


def _flaw(info: ZipInfo) -> str:
    """Take plain files only, packed in a way whose unpacking needs no more than a chunk."""
    if info.flag_bits & FLAG_ENCRYPTED:
        return "must be readable without a password, is encrypted"
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        return "must be a plain file, is a link or a device"
    if info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        return f"must be stored or deflated, is packed by method {info.compress_type}"
    return ""
