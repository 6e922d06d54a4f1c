"""The part of a download that came so far, kept so that the next attempt can go on from it."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from pipeline.files.atomic import write_text


@dataclass(frozen=True)
class Part:
    """What came so far: `<name>.part`, and beside it which version of which URL it is from."""

    path: Path

    @property
    def origin_path(self) -> Path:
        """Where it says which version of which URL the part is from."""
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def num_bytes(self) -> int:
        """How much has come; 0 where nothing has."""
        return self.path.stat().st_size if self.path.exists() else 0

    def validator(self, url: str) -> str | None:
        """The ETag or date by which the server knows this version; None if it can't resume."""
        try:
            origin = json.loads(self.origin_path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        is_same = isinstance(origin, dict) and origin.get("url") == url and self.num_bytes > 0
        return origin.get("validator") if is_same else None

    def start_over(self, url: str, validator: str | None) -> None:
        """Drop what has come and note what comes next."""
        self.discard()
        write_text(self.origin_path, json.dumps({"url": url, "validator": validator}))

    def discard(self) -> None:
        """Drop what has come."""
        self.path.unlink(missing_ok=True)
        self.origin_path.unlink(missing_ok=True)

    def move(self, target: Path) -> None:
        """Give the whole file its name, once it is safely on the disk."""
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        self.path.replace(target)
        self.discard()
