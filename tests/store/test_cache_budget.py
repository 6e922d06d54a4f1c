"""The caches of a competition share one budget, and the longest unused goes first."""

import os
import time
from pathlib import Path

import psutil
import pytest

from pipeline.errors import ConfigError
from pipeline.store.cache_budget import (
    CLOCKS_DIFFER_NS,
    VARIABLE,
    Room,
    budget_bytes,
    make_room,
    mark_used,
)
from pipeline.store.paths import Paths

SIZE = 1000


@pytest.fixture
def paths(tmp_path):
    return Paths(tmp_path, "demo")


@pytest.fixture
def budget(monkeypatch):
    """Allows so many bytes."""
    return lambda num_bytes: monkeypatch.setenv(VARIABLE, str(num_bytes / 1e9))


def cached(path: Path, used_at: int | None = None) -> Path:
    """Write a cached file, last used at a time in seconds since 1970; None is now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(SIZE))
    if used_at is not None:
        os.utime(path, (used_at, used_at))
    return path


def copies(paths: Paths, name: str) -> Path:
    return paths.cache_dir / f"{name}.copies"


def features(paths: Paths, name: str) -> Path:
    return paths.features_dir / name[:2] / f"{name}.npy"


def asked(paths: Paths, *wanted: Path, in_part: bool = False) -> Room:
    return make_room(paths, dict.fromkeys(wanted, SIZE), time.time_ns(), in_part=in_part)


def test_what_one_cache_holds_the_other_may_not_take(paths, budget):
    cached(copies(paths, "a"))
    budget(2.5 * SIZE)
    first, second = features(paths, "b"), features(paths, "c")
    assert asked(paths, first) == ([first], 1.5 * SIZE)
    assert asked(paths, first, second) == ([], 1.5 * SIZE)


def test_the_longest_unused_goes_first_whichever_cache_it_is_of(paths, budget):
    new, old, older = (
        cached(copies(paths, "new"), 3),
        cached(features(paths, "old"), 2),
        cached(copies(paths, "older"), 1),
    )
    budget(3 * SIZE)
    wanted = copies(paths, "x"), copies(paths, "y")
    assert asked(paths, *wanted).paths == [*wanted]
    assert [one.exists() for one in (new, old, older)] == [True, False, False]


def test_what_was_used_since_the_run_began_stays(paths, budget):
    since = time.time_ns()
    earlier = (since - CLOCKS_DIFFER_NS) // 10**9 - 1
    used, unused = cached(copies(paths, "used"), earlier), cached(copies(paths, "unused"), earlier)
    assert mark_used(used)
    assert not mark_used(copies(paths, "gone"))
    budget(2 * SIZE)
    wanted = features(paths, "x"), features(paths, "y")
    assert make_room(paths, dict.fromkeys(wanted, SIZE), since, in_part=True).paths == [wanted[0]]
    assert used.exists()
    assert not unused.exists()


def test_all_or_nothing_is_deleted_for_where_a_part_is_of_no_use(paths, budget):
    old = cached(features(paths, "old"), 1)
    budget(2 * SIZE)
    wanted = [features(paths, name) for name in ("x", "y", "z")]
    assert asked(paths, *wanted).paths == []
    assert old.exists()
    assert asked(paths, *wanted, in_part=True).paths == wanted[:2]
    assert not old.exists()


def test_what_is_wanted_and_there_takes_its_room_once(paths, budget):
    there = cached(copies(paths, "there"), 1)
    budget(SIZE)
    assert asked(paths, there).paths == [there]
    assert there.exists()


def test_a_lower_budget_trims_what_is_unused(paths, budget):
    files = [cached(copies(paths, str(age)), age) for age in range(1, 5)]
    budget(2 * SIZE)
    assert asked(paths, features(paths, "x")).paths == [features(paths, "x")]
    assert [one.exists() for one in files] == [False, False, False, True]


def test_half_of_the_disk_stays_free_whatever_is_allowed(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "1e9")
    usage = psutil.disk_usage(str(tmp_path))
    states = [cached(tmp_path / "a").stat()] * 2_000_000  # 2 GB
    limit = budget_bytes(tmp_path / "not" / "yet", states)
    assert limit == pytest.approx((usage.free + 2e9) / 2, rel=0.05)


@pytest.mark.parametrize("text", ["much", "-1", "nan", ""])
def test_a_budget_that_is_no_number_is_refused(paths, monkeypatch, text):
    monkeypatch.setenv(VARIABLE, text)
    line = f"^{VARIABLE}: must be a number of GB, 0 for no cache, is '{text}'$"
    with pytest.raises(ConfigError, match=line):
        asked(paths, copies(paths, "a"))
