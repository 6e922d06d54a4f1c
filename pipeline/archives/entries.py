"""What unpacking needs to know of an archive's entries, whatever the kind of archive."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import IO


@dataclass(frozen=True)
class Entry:
    """One thing that an archive says it holds; nothing of it is believed yet.

    Attributes:
        name: As the archive spells it.
        num_bytes: Size that it claims to unpack to.
        packed_bytes: Size that this comes from.
        is_dir: Whether it is a folder.
        flaw: Why it mustn't be unpacked, as the end of a sentence that begins with its name.
        open: Opens its content.
    """

    name: str
    num_bytes: int
    packed_bytes: int
    is_dir: bool
    flaw: str
    open: Callable[[], IO[bytes]]


def decoded(raw: bytes, fallback: str) -> str:
    """Read a name of unknown encoding as UTF-8, else as GBK, which Chinese Windows writes."""
    for encoding in ("utf-8", "gbk"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return fallback
