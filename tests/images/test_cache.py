"""Working copies on the disk: the same bits, never stale, never too many, whoever dies."""

import os
import pickle
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from pipeline.errors import DataError
from pipeline.images import cache
from pipeline.images.cache import CachedCopies
from pipeline.images.working_copy import ImageRows, WorkingCopies
from pipeline.store.cache_budget import VARIABLE
from pipeline.store.freshness import file_sha256
from pipeline.store.paths import Paths
from pipeline.store.tables import load_train

SIDE = 37
PIXELS = SIDE * SIDE * 3  # of the smallest copy


@pytest.fixture
def paths(workspace):
    return workspace[0]


@pytest.fixture
def train(paths):
    return load_train(paths)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of a few images each."""
    monkeypatch.setattr(cache, "BLOCK_BYTES", 8 * PIXELS)


@pytest.fixture
def no_images(paths):
    """Takes the images away, so that only the cache can be read."""
    away = paths.images_dir.with_name("away")
    return lambda: paths.images_dir.rename(away)


def built(paths: Paths, images: pd.DataFrame, side_px: int = SIDE) -> CachedCopies:
    copies = CachedCopies(paths, side_px, images)
    copies.build()
    return copies


def files(paths: Paths) -> dict[str, int]:
    """Return the cache's files and their inodes, which change where one is written anew."""
    return {path.name: path.stat().st_ino for path in paths.cache_dir.glob("*.copies")}


def age(paths: Paths) -> None:
    """Let what is cached be of earlier runs, in the order of its names."""
    for seconds, path in enumerate(sorted(paths.cache_dir.glob("*.copies"))):
        os.utime(path, (seconds, seconds))


def assert_cached(copies: CachedCopies, images: pd.DataFrame, expected: list[np.ndarray]) -> None:
    for image, pixels in zip(ImageRows(images), expected, strict=True):
        np.testing.assert_array_equal(copies.read(image), pixels, err_msg=image.image_id)


def decoded(paths: Paths, images: pd.DataFrame, side_px: int = SIDE) -> list[np.ndarray]:
    return [WorkingCopies(paths, side_px).read(image) for image in ImageRows(images)]


def test_cached_copies_are_the_decoded_ones_to_the_bit(paths, train, no_images):
    expected = decoded(paths, train)
    copies = built(paths, train)
    no_images()
    assert_cached(copies, train, expected)
    assert len({pixels.shape for pixels in expected}) > 1


def test_what_is_not_in_the_table_is_decoded(paths, train):
    copies = built(paths, train.head(4))
    assert_cached(copies, train, decoded(paths, train))


@pytest.mark.usefixtures("small_blocks")
def test_a_second_time_nothing_is_written(paths, train):
    built(paths, train)
    before = files(paths)
    assert len(before) > 2
    built(paths, train)
    assert files(paths) == before


@pytest.mark.usefixtures("small_blocks")
def test_a_changed_image_is_cached_anew(paths, train, no_images):
    built(paths, train)
    before = files(paths)
    source, target = (paths.images_dir / train["path"][row] for row in (5, 9))
    target.unlink()
    target.write_bytes(source.read_bytes())
    changed = train.copy()
    changed.loc[9, "sha256"] = file_sha256(target)
    expected = decoded(paths, changed)
    copies = built(paths, changed)
    no_images()
    assert_cached(copies, changed, expected)
    assert 0 < len(files(paths).keys() - before.keys()) < len(before)


@pytest.mark.usefixtures("small_blocks")
def test_a_broken_off_build_goes_on_where_it_stopped(paths, train):
    last = paths.images_dir / train["path"].iloc[-1]
    away = last.rename(last.with_name("away"))
    with pytest.raises(DataError, match="must be as it was prepared"):
        built(paths, train)
    before = files(paths)
    away.rename(last)
    built(paths, train)
    after = files(paths)
    assert 0 < len(before) < len(after)
    assert before.items() <= after.items()


def test_a_damaged_block_is_made_again(paths, train, no_images):
    expected = decoded(paths, train)
    built(paths, train)
    (path,) = paths.cache_dir.glob("*.copies")
    content = path.read_bytes()
    for damage in (content[:-1], content[:20], b""):
        path.unlink()
        path.write_bytes(damage)
        assert_cached(CachedCopies(paths, SIDE, train), train, expected)
        built(paths, train)
        assert path.read_bytes() == content
    no_images()
    assert_cached(CachedCopies(paths, SIDE, train), train, expected)


def test_what_killed_processes_left_is_swept(paths, train):
    paths.cache_dir.mkdir()
    (paths.cache_dir / ".x.copies.0123abcd.partial").write_bytes(b"half")
    built(paths, train)
    assert sorted(path.suffix for path in paths.cache_dir.iterdir()) == ["", ".copies"]


def test_copies_travel_to_other_processes_after_they_were_read(paths, train):
    copies = built(paths, train)
    expected = decoded(paths, train)
    assert_cached(copies, train, expected)
    travelled = pickle.dumps(copies)
    assert len(travelled) < 10_000
    assert_cached(pickle.loads(travelled), train, expected)


@pytest.mark.usefixtures("small_blocks")
def test_only_as_much_is_cached_as_is_allowed(paths, train, monkeypatch, capsys):
    built(paths, train)
    sizes = [path.stat().st_size for path in paths.cache_dir.glob("*.copies")]
    age(paths)
    monkeypatch.setenv(VARIABLE, str(2.5 * max(sizes) / 1e9))
    copies = built(paths, train, side_px=36)
    assert 0 < len(files(paths)) < len(sizes)
    assert sum(p.stat().st_size for p in paths.cache_dir.glob("*.copies")) < 3 * max(sizes)
    assert_cached(copies, train, decoded(paths, train, side_px=36))
    line = (
        rf"warning: {re.escape(str(paths.cache_dir))}: has room for 0\.0 GB, the decoded images "
        rf"take 0\.0 GB: \d+ of {len(train)} are kept, the others decoded whenever they are "
        rf"wanted; {VARIABLE} and free space allow more"
    )
    assert re.search(line, capsys.readouterr().err)


@pytest.mark.usefixtures("small_blocks")
def test_a_second_table_takes_no_room_from_the_first(paths, train, monkeypatch):
    first, second = train.head(12), train.tail(12)
    built(paths, first)
    before = files(paths)
    sizes = [(paths.cache_dir / name).stat().st_size for name in before]
    monkeypatch.setenv(VARIABLE, str((sum(sizes) + 0.5 * min(sizes)) / 1e9))
    both = CachedCopies(paths, SIDE, first, second)
    both.build()
    assert files(paths) == before
    monkeypatch.delenv(VARIABLE)
    both.build()
    assert before.items() < files(paths).items()
    assert_cached(both, train, decoded(paths, train))


def test_nothing_is_cached_where_nothing_is_allowed(paths, train, monkeypatch):
    monkeypatch.setenv(VARIABLE, "0")
    copies = built(paths, train)
    assert files(paths) == {}
    assert_cached(copies, train, decoded(paths, train))


def test_copies_of_another_size_stay_while_there_is_room(paths, train):
    built(paths, train)
    first = files(paths)
    built(paths, train, side_px=20)
    assert first.items() < files(paths).items()


def test_the_oldest_copies_make_room_first(paths, train, monkeypatch):
    built(paths, train)
    age(paths)
    oldest = set(files(paths))
    built(paths, train, side_px=36)
    kept = sum(path.stat().st_size for path in paths.cache_dir.glob("*.copies"))
    monkeypatch.setenv(VARIABLE, str(kept / 1e9))
    built(paths, train, side_px=20)
    assert not oldest & files(paths).keys()
    assert len(files(paths)) == 2


BUILD = """
import sys
from pathlib import Path
from pipeline.images import cache
from pipeline.store.paths import Paths
from pipeline.store.tables import load_train
if __name__ == "__main__":
    paths = Paths(Path(sys.argv[1]), "demo")
    cache.BLOCK_BYTES = 1
    copies = cache.CachedCopies(paths, 37, load_train(paths))
    copies.build()
"""


def builder(paths: Paths, script: Path) -> "subprocess.Popen[bytes]":
    """Start a process that caches every image in a block of its own."""
    script.write_text(BUILD, encoding="utf-8")
    return subprocess.Popen([sys.executable, str(script), str(paths.root)], cwd=Path.cwd())


@pytest.mark.slow
def test_killed_builders_leave_no_process_and_the_next_goes_on(paths, train, tmp_path):
    process = builder(paths, tmp_path / "build.py")
    deadline = time.monotonic() + 60
    while not files(paths) and time.monotonic() < deadline:
        time.sleep(0.005)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert workers
    assert psutil.wait_procs(workers, timeout=10)[1] == []
    assert builder(paths, tmp_path / "build.py").wait(60) == 0
    assert len(files(paths)) == train["sha256"].nunique()
    assert not list(paths.cache_dir.glob("*.partial"))


@pytest.mark.slow
def test_two_builders_at_once_share_the_work(paths, train, tmp_path):
    processes = [builder(paths, tmp_path / "build.py") for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert len(files(paths)) == train["sha256"].nunique()
