"""As in the offline kernels of a judge: the data on a read-only mount, and no network."""

import hashlib
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pipeline.data.drawing.draw_competition import draw_competition
from tests import tiny
from tests.editions import edition

# Runs commands one after the other in one process, as starting it is what takes the time.
COMMANDS = """
import shlex, sys
from pipeline.cli import app
for line in sys.argv[1:]:
    try:
        app(shlex.split(line))
    except SystemExit as end:
        assert not end.code, line
"""


def isolated(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a shell script with mounts of its own and without a network."""
    return subprocess.run(
        ["unshare", "--map-root-user", "--mount", "--net", "sh", "-ec", script, "sh"]
        + [str(argument) for argument in arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def can_isolate() -> bool:
    script = 'mkdir -p "$1" && mount -t tmpfs none "$1"'
    return shutil.which("unshare") is not None and isolated(script, "/tmp").returncode == 0


def snapshot(folder: Path) -> dict[str, tuple[int, str]]:
    """Time of change and content of all that lies in a folder."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
    }


def unpack(folder: Path) -> None:
    for archive in sorted(folder.glob("*.zip")):
        with zipfile.ZipFile(archive) as file:
            file.extractall(folder / archive.stem)
        archive.unlink()


@pytest.mark.faults
@pytest.mark.skipif(not can_isolate(), reason="needs Linux and the right to mount")
@pytest.mark.parametrize("form", ["archives", "folders"])
def test_all_stages_work_from_a_read_only_mount_without_a_network(form, tmp_path):
    given, mount, root = (tmp_path / name for name in ("given", "input", "working"))
    draw_competition(edition("cat-12"), given, tmp_path / "truth.csv")
    if form == "folders":
        unpack(given)
    mount.mkdir()
    root.mkdir()
    before = snapshot(given)
    experiment = tiny.write_toml(tmp_path / "tiny.toml")
    at = f"cat-12 --root {shlex.quote(str(root))}"
    commands = [
        f"download {at} --from {shlex.quote(str(mount))}",
        f"prepare {at} --workers 1",
        f"prepare {at} --workers 1 --against {shlex.quote(str(mount / 'cat_12_train'))}",
        f"folds {at} --num-folds 2",
        f"train {at} --experiment {shlex.quote(experiment)}",
        f"submit {at} --experiment tiny",
        f"init mine --from {shlex.quote(str(mount))} --out {shlex.quote(str(root / 'mine.toml'))}",
    ]
    if form == "archives":
        del commands[2]
    script = (
        'mount --bind "$1" "$2"; mount -o remount,bind,ro "$2"; ! touch "$2/x" 2>/dev/null; '
        'shift 2; exec "$@"'
    )
    done = isolated(script, given, mount, sys.executable, "-c", COMMANDS, *commands)
    assert done.returncode == 0, done.stderr
    assert snapshot(given) == before
    assert (root / "submissions/cat-12/tiny.csv").is_file()
    assert (root / "mine.toml").is_file()
    images = root / "data/cat-12/images"
    if form == "folders":
        assert all(path.is_symlink() for path in images.iterdir())
    else:
        archives = list((root / "data/cat-12/archives").glob("*.zip"))
        assert len(archives) == 2
        assert all(path.is_symlink() for path in archives)
