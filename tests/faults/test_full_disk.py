"""Disks that are full, allow no larger file, or are not ours to write to."""

import os
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.commands import Command, Commands
from tests.faults.conftest import Site
from tests.faults.tiny_site import COMPETITION, NAME, Tree, tree

# What makes a finished stage begin anew while its old results stand.
CHANGES = {
    "download": [],  # the competition's file changes, see `copy_site`
    "prepare": [],
    "folds": ["--seed", "1"],
    "train probe": ["--set", "head.l2=0.1"],
    "train finetune": ["--set", "train.epochs=1"],
    "tune": ["--set", "seed=1"],
    "ensemble": ["--method", "mean"],
    "suspects": ["--experiment", "probe"],
    "submit": ["--experiment", "probe"],
}
# A training's state is written as it comes and a lock has no size: what they need, nobody knows.
CACHES = ("/.cache/", "/.features/")
FULL = (
    r"error: \S+: .*must (?:have room for|find) [\d,]+ bytes.*, [\d,]+ (?:bytes )?are free.*"
    r"|error: \S*(?:training\.pt|\.lock): the disk must have room for this file, "
    r"[\d,]+ bytes are free.*"
)
LIMITED = (
    r"error: \S+: must (?:be allowed [\d,]+ bytes, 'ulimit -f' allows [\d,]+"
    r"|have room for a batch of [\d,]+ bytes, [\d,]+ are free) \(File too large.*"
    r"|error: \S*training\.pt: must be allowed its size, "
    r"'ulimit -f' allows [\d,]+ \(File too large.*"
)
READ_ONLY = r"error: \S+: must be writable \(Read-only file system\); choose another --root.*"
DENIED = r"error: \S+: must be writable \(Permission denied\); choose another --root.*"
PAGE_BYTES = 4096  # what a tmpfs counts in
NOBODY = 65534


class Disk:
    """A small disk of its own, in memory."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def leave_free(self, num_bytes: int) -> None:
        """Make it so large that this much is free, in whole pages."""
        status = os.statvfs(self.place)
        used = (status.f_blocks - status.f_bfree) * status.f_frsize
        self._remount(f"rw,size={used + num_bytes // PAGE_BYTES * PAGE_BYTES}")

    def enlarge(self) -> None:
        self._remount("rw,size=200m")

    def make_read_only(self) -> None:
        self._remount("ro")

    def _remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", self.place], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs Linux and the right to mount")
    yield Disk(place)
    subprocess.run(["umount", "-l", place], check=True)


@dataclass(frozen=True)
class Again:
    """A stage that is to begin anew.

    Attributes:
        arguments: Its command, whose files lie in the root.
        before: What lies below the root before.
        after: What a run undisturbed makes of it.
        num_bytes: What it writes, in whole pages.
    """

    arguments: list[str]
    before: Tree
    after: Tree
    num_bytes: int


def copy_site(site: Site, root: Path) -> None:
    """Copy the finished site with its configuration, the competition's file a little changed."""
    shutil.copytree(site.root, root, dirs_exist_ok=True)
    competition = Path(site.stages["download"][1])
    for path in competition.parent.glob("*.toml"):
        shutil.copy(path, root)
    changed = COMPETITION.replace("Tiny", "Other").replace("num_train", "seed = 1\nnum_train")
    (root / f"{NAME}.toml").write_text(changed, encoding="utf-8")


@pytest.fixture(scope="module", params=list(CHANGES))
def again(
    request: pytest.FixtureRequest,
    commands: Commands,
    unbroken: Site,
    tmp_path_factory: pytest.TempPathFactory,
) -> Again:
    name = request.param
    arguments = [Path(one).name if "/" in one else one for one in unbroken.stages[name]]
    arguments += CHANGES[name]
    root = tmp_path_factory.mktemp("undisturbed")
    copy_site(unbroken, root)
    before = tree(root)
    commands.run(arguments, root)
    after = tree(root)
    new = [one for one in after if after[one] is not None and after[one] != before.get(one)]
    pages = sum(-(-(root / one).stat().st_size // PAGE_BYTES) for one in new)
    assert pages
    return Again(arguments, before, after, pages * PAGE_BYTES)


def assert_intact(root: Path, again: Again) -> None:
    """Every file is whole: as it was, or as it will be. A stamp may be gone, nothing else is."""
    now = tree(root)
    for name in now.keys() | again.before.keys():
        if name not in now:
            assert is_stamp(name), f"{name} is gone"
        elif not is_stamp(name) and not name.endswith((".pt", ".lock")):
            assert name in again.before or name in again.after, f"{name} is left over"
            whole = [one[name] for one in (again.before, again.after) if name in one]
            assert now[name] in whole, f"{name} isn't whole"


def assert_one_line(pattern: str, command: Command) -> None:
    """What went wrong is the last line, and the only one that tells of an error."""
    *others, last = command.told.splitlines()
    assert re.fullmatch(pattern, last), command.told
    assert not re.search(r"Traceback|error", "\n".join(others), re.IGNORECASE), command.told


def is_stamp(name: str) -> bool:
    stamps = (
        "stamp.json",
        "download.json",
        "prepare.json",
        "tuning.json",
        "folds/tiny.json",
        "report.json",
    )
    return name.endswith(stamps)


def test_a_full_disk_is_said_costs_nothing_and_the_stage_goes_on(again, disk, commands, unbroken):
    copy_site(unbroken, disk.place)
    rng = random.Random(str(again.arguments))
    num_refused = 0
    for free in (0, rng.randrange(again.num_bytes), rng.randrange(again.num_bytes)):
        disk.leave_free(free)
        command = commands.start(again.arguments, disk.place)
        if command.wait(300) != 0:
            num_refused += 1
            assert_one_line(FULL, command)
            assert_intact(disk.place, again)
    assert num_refused
    disk.enlarge()
    commands.run(again.arguments, disk.place)
    made = tree(disk.place)
    # What was cached makes room where the disk is full, and comes back when it is wanted.
    expected = {
        name: content
        for name, content in again.after.items()
        if name in made or not any(cache in name for cache in CACHES)
    }
    assert made == expected


def test_a_limit_on_file_sizes_is_said_with_the_size(again, commands, unbroken, tmp_path):
    root = tmp_path / "limited"
    copy_site(unbroken, root)
    new = [one for one, content in again.after.items() if content != again.before.get(one)]
    limit = max(len(again.after[one] or b"") for one in new) // 2
    command = commands.start(again.arguments, root, file_bytes=limit)
    assert command.wait(300) == 1, command.told
    assert command.wait_until_gone(10) == []
    assert_one_line(LIMITED, command)
    assert_intact(root, again)
    commands.run(again.arguments, root)
    assert tree(root) == again.after


def test_a_read_only_disk_is_said(again, disk, commands, unbroken):
    copy_site(unbroken, disk.place)
    disk.make_read_only()
    command = commands.start(again.arguments, disk.place)
    assert command.wait(300) == 1, command.told
    assert_one_line(READ_ONLY, command)
    disk.enlarge()
    assert tree(disk.place) == again.before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_another_user_s_folder_is_said(again, commands, unbroken, tmp_path):
    root = tmp_path / "denied"
    copy_site(unbroken, root)
    root.chmod(0o755)  # others may look
    command = commands.start(again.arguments, root, user=NOBODY)
    assert command.wait(300) == 1, command.told
    assert_one_line(DENIED, command)
    assert tree(root) == again.before
