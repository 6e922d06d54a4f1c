import os
import resource
from typing import ClassVar

import pytest

from pipeline import machine
from pipeline.machine import keep_freed_memory, most_open_files, num_cpus


def test_nothing_is_tuned_where_there_is_no_glibc(monkeypatch):
    def fail(_):
        raise AssertionError("libc must not be opened")

    monkeypatch.setattr("pipeline.machine.ctypes.CDLL", fail)
    monkeypatch.setattr("pipeline.machine.platform.libc_ver", lambda: ("", ""))
    keep_freed_memory()


def test_glibc_is_told_to_keep_what_is_freed(monkeypatch):
    class Libc:
        calls: ClassVar[list[tuple[int, int]]] = []

        def mallopt(self, option, value):
            self.calls.append((option, value))

    monkeypatch.setattr("pipeline.machine.ctypes.CDLL", lambda _: Libc())
    monkeypatch.setattr("pipeline.machine.platform.libc_ver", lambda: ("glibc", "2.31"))
    keep_freed_memory()
    assert dict(Libc.calls) == {-4: 0, -1: 2**31 - 1, -2: 2**28}


@pytest.fixture
def groups(monkeypatch, tmp_path):
    """Puts this process in control groups of a drawn tree, on a machine of 64 cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64))
    monkeypatch.setattr(machine, "OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(machine, "GROUPS", tmp_path / "groups")

    def put(own, **files):
        (tmp_path / "own").write_text(own)
        for name, content in files.items():
            path = tmp_path / "groups" / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    return put


@pytest.mark.parametrize(
    ("quota", "expected"), [("150000 100000", 2), ("800000 100000", 8), ("max 100000", 64)]
)
def test_a_quota_of_cores_counts_rounded_up(groups, quota, expected):
    groups("0::/slice/job\n", slice__job__cpu_dot_max=quota)
    assert num_cpus() == expected


def test_a_quota_of_the_group_above_counts_too(groups):
    quotas = {"slice__cpu_dot_max": "300000 100000", "slice__job__cpu_dot_max": "max 100000"}
    groups("0::/slice/job\n", **quotas)
    assert num_cpus() == 3


def test_a_quota_of_the_first_version_counts_and_none_is_none(groups):
    own = "4:memory:/m\n3:cpu,cpuacct:/job\n"
    groups(own, cpu__cpu_dot_cfs_period_us="100000\n", cpu__cpu_dot_cfs_quota_us="-1\n")
    assert num_cpus() == 64
    groups(own, cpu__job__cpu_dot_cfs_period_us="100000", cpu__job__cpu_dot_cfs_quota_us="50000")
    assert num_cpus() == 1


def test_a_cache_keeps_an_eighth_of_the_files_open_that_a_process_may(monkeypatch):
    for limit, expected in ((96, 12), (1024, 128), (10**6, 512), (resource.RLIM_INFINITY, 512)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: (limit, limit))
        assert most_open_files() == expected
