"""A decoder that crashes costs one file; real processes die of real signals."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config.competition import Competition
from pipeline.data.audit import scan_file
from pipeline.images.decode import decode_rgb
from pipeline.store.paths import Paths

# Stands in for a decoder with a hole: every Python below imports it before anything else.
SPOILED_DECODER = """
import ctypes, io, os, signal
from PIL import Image

CRASHES = {
    b"segfault": lambda: ctypes.string_at(0),
    b"abort": os.abort,
    b"memory": lambda: os.kill(os.getpid(), signal.SIGKILL),
}
sound = Image.open

def open(file, *args, **kwargs):
    content = file.getvalue() if isinstance(file, io.BytesIO) else b""
    for mark, crash in CRASHES.items():
        if content.endswith(mark):
            crash()
    return sound(file, *args, **kwargs)

Image.open = open
"""
SIGNALS = {"segfault": "SIGSEGV", "abort": "SIGABRT", "memory": "SIGKILL"}


@pytest.fixture
def spoiled(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a process whose decoder is spoiled, as are its children's."""
    (tmp_path / "spoiled").mkdir()
    (tmp_path / "spoiled/sitecustomize.py").write_text(SPOILED_DECODER, encoding="utf-8")
    path = os.pathsep.join([str(tmp_path / "spoiled"), str(Path(__file__).parents[2])])
    return {**os.environ, "PYTHONPATH": path, "PIPELINE_ROOT": str(tmp_path / "root")}


def run(arguments: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def spoil(file: Path, mark: str) -> None:
    """Append a mark: the picture stays whole, but the decoder above dies of it."""
    content = file.read_bytes()
    decode_rgb(content + mark.encode())
    file.chmod(0o644)
    file.write_bytes(content + mark.encode())


def test_files_that_crash_the_decoder_are_unreadable_and_all_others_are_scanned(
    spoiled: dict[str, str], workspace: tuple[Paths, Competition], tmp_path: Path
) -> None:
    paths, competition = workspace
    shutil.move(paths.root, tmp_path / "root")
    paths = Paths(tmp_path / "root", competition.name)
    with paths.train_csv.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    victims = dict(zip(SIGNALS, rows[3:30:10], strict=True))
    for mark, row in victims.items():
        spoil(paths.images_dir / row["path"], mark)
    done = run(["-m", "pipeline", "prepare", "demo"], spoiled)
    with paths.train_csv.open(encoding="utf-8") as file:
        left = [row["image_id"] for row in csv.DictReader(file)]
    fatal = {row["image_id"] for row in victims.values()}
    assert left == [row["image_id"] for row in rows if row["image_id"] not in fatal]
    for mark, row in victims.items():
        line = (
            f"train image '{row['image_id']}' is unreadable and left out: cannot be decoded: it "
            f"ends the process that tries ({SIGNALS[mark]})"
        )
        assert line in done.stderr, done.stderr


READ = """
import json, sys
from pathlib import Path
from pipeline.config.experiment import ImageConfig
from pipeline.inference.tta_policies import POLICIES
from pipeline.inference.folder import list_images, read_batches

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    names, _ = list_images(folder)
    batches = read_batches(folder, names, POLICIES["plain"], ImageConfig(size_px=32), size=4)
    found = [(batch.names, batch.faults, len(batch.pixels)) for batch in batches]
    print(json.dumps(found))
"""


def test_prediction_of_a_folder_goes_on_after_a_crash(
    spoiled: dict[str, str], workspace: tuple[Paths, Competition], tmp_path: Path
) -> None:
    paths, _ = workspace
    names = sorted(file.name for file in paths.images_dir.rglob("cat_*.jpg"))[:10]
    (tmp_path / "folder").mkdir()
    for name in names:
        shutil.copy(next(paths.images_dir.rglob(name)), tmp_path / "folder")
    readable = [not scan_file(tmp_path / "folder" / name).reason for name in names]
    for number, mark in ((1, "segfault"), (6, "memory")):
        assert readable[number]
        readable[number] = False
        spoil(tmp_path / "folder" / names[number], mark)
    script = tmp_path / "read.py"
    script.write_text(READ, encoding="utf-8")
    batches = json.loads(run([str(script), str(tmp_path / "folder")], spoiled).stdout)
    assert [name for found, _, _ in batches for name in found] == names
    assert sum(num_pixels for _, _, num_pixels in batches) == sum(readable)
    faults = {name: fault for _, found, _ in batches for name, fault in found.items()}
    ends = "cannot be decoded: it ends the process that tries"
    assert faults[names[1]] == f"{ends} (SIGSEGV)"
    assert faults[names[6]] == f"{ends} (SIGKILL)"
    assert len(faults) == len(names) - sum(readable)
