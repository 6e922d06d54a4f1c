"""Skip stages that are up to date, by stamps of their inputs and outputs.

A stage ends by writing a stamp: what went in and the digests of what came out. While the same
inputs would go in and the outputs still are what they were, the stage is up to date.
"""

import errno
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.store.atomic import write_text
from pipeline.store.folders import list_files


def file_sha256(path: Path) -> str:
    """Hash a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(path: Path) -> str | None:
    """Identify what stands at a path: a file by its content, a folder by its names and sizes.

    Returns:
        A sha256, or None where there is nothing.
    """
    try:
        is_folder = path.is_dir()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # nothing can be there
            return None
        raise
    if is_folder:
        files = [file for file in list_files(path) if (path / file).is_file()]
        return fingerprint([(str(file), (path / file).stat().st_size) for file in files])
    return file_sha256(path) if path.is_file() else None


def fingerprint(value: Any) -> str:
    """Hash anything that JSON can say; the order of keys doesn't matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Stamp:
    """The record of a finished stage: its inputs, and digests of its outputs.

    `inputs` must be JSON; paths of `outputs` are kept relative to the stamp's folder, so that a
    project can be moved.
    """

    path: Path
    inputs: Mapping[str, Any]

    def is_fresh(self) -> bool:
        """Whether the stage ran with these inputs and all it wrote is still in place."""
        recorded = read_stamp(self.path)
        if recorded is None or recorded["inputs"] != json.loads(json.dumps(self.inputs)):
            return False
        return not self.damaged()

    def damaged(self) -> list[Path]:
        """List outputs of the recorded run that are gone or were changed since."""
        recorded = read_stamp(self.path) or {"outputs": {}}
        places = {self.path.parent / name: sha for name, sha in recorded["outputs"].items()}
        return [place for place, sha in places.items() if digest(place) != sha]

    def write(self, outputs: Iterable[Path]) -> None:
        """Record that the outputs are complete; call it last."""
        digests = {
            output.relative_to(self.path.parent).as_posix(): digest(output) for output in outputs
        }
        record = {"inputs": dict(self.inputs), "outputs": digests}
        write_text(self.path, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def read_stamp(path: Path) -> dict[str, Any] | None:
    """Read a stamp's record; None where there is none, or none that can be read."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    parts = [record.get(name) for name in ("inputs", "outputs")] if isinstance(record, dict) else []
    return record if parts and all(isinstance(part, dict) for part in parts) else None
