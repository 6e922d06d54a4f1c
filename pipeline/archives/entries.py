"""What unpacking needs to know of an archive's entries, whatever the kind of archive."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO, NamedTuple, Protocol

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, eq=False, slots=True)
class Entry:
    """One thing that an archive says it holds; nothing of it is believed yet.

    Two entries are two things even if they say the same.

    Attributes:
        name: As the archive spells it.
        num_bytes: Size that it claims to unpack to.
        packed_bytes: Size that this comes from.
        is_dir: Whether it is a folder.
        flaw: Why it mustn't be unpacked, as the end of a sentence that begins with its name.
        open: Opens its content; None where entries can't be read one by one.
    """

    name: str
    num_bytes: int
    packed_bytes: int
    is_dir: bool
    flaw: str
    open: Callable[[], IO[bytes]] | None = None


class Sink(Protocol):
    """Takes the content of an entry, piece by piece."""

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""


Receive = Callable[[Entry], AbstractContextManager[Sink]]


class Contents(NamedTuple):
    """An open archive: what it holds, and how to have some of it unpacked."""

    entries: Iterator[Entry]
    extract: Callable[[Sequence[Entry], Receive], None]


def extract_each(entries: Sequence[Entry], receive: Receive) -> None:
    """Unpack entries that can be read one by one."""
    for entry in entries:
        with receive(entry) as sink:
            assert entry.open is not None, entry.name
            with entry.open() as packed:
                while chunk := packed.read(CHUNK_BYTES):
                    sink.write(chunk)


def decoded(raw: bytes, fallback: str) -> str:
    """Read a name of unknown encoding as UTF-8, else as GBK, which Chinese Windows writes."""
    for encoding in ("utf-8", "gbk"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return fallback
