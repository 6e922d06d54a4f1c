"""Files packed into archives, byte for byte the same every time."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

from pipeline.extras import require_seven_zip
from pipeline.schema.archive import Archive

Members = dict[str, bytes]

_MEMBER_DATE = (2021, 1, 1, 0, 0, 0)


def packed(archive: Archive, members: Members) -> bytes:
    """Pack files by name as the archive's own name says.

    Raises:
        DataError: It is a 7z, and py7zr isn't installed.
    """
    if archive.container == "zip":
        return _zipped(members)
    if archive.container == "7z":
        require_seven_zip(archive.name)
        return _sevenzipped(members)
    content = _tarred(members)
    name = archive.name.lower()
    if name.endswith(("bz2", "xz")):
        return bz2.compress(content) if name.endswith("bz2") else lzma.compress(content)
    return content if name.endswith(".tar") else _gzipped(content)


def _zipped(members: Members) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            # Fixed date, system and rights: the same bytes on every machine and day.
            info = zipfile.ZipInfo(name, _MEMBER_DATE)
            info.create_system = 3
            info.external_attr = 0o100644 << 16
            archive.writestr(info, content)
    return buffer.getvalue()


def _sevenzipped(members: Members) -> bytes:
    from py7zr import SevenZipFile
    from py7zr.helpers import ArchiveTimestamp

    buffer = io.BytesIO()
    with SevenZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(content, name)
        for info in archive.header.files_info.files:
            date = ArchiveTimestamp.from_datetime(0)
            info.update(creationtime=date, lastwritetime=date, lastaccesstime=date)
    return buffer.getvalue()


def _tarred(members: Members) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)  # of no date and nobody's
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _gzipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as file:
        file.write(content)
    return buffer.getvalue()
