"""Hours in one process: memory, open files, threads and processes don't grow with the work."""

import json
import shutil
import subprocess
import sys

import pytest

# What grows is seen between the first third, when caches have filled, and the end.
LIFE = """
import json, os, sys
import psutil
from pathlib import Path
from pipeline.config.competition import load_competition
from pipeline.store.paths import Paths
from pipeline.data.resolution import resolve
from pipeline.stages import train, tune
from pipeline.stages.tune import Options

what, toml, experiment, count = sys.argv[1], *sys.argv[2:4], int(sys.argv[4])
me = psutil.Process()
paths = Paths(Path("."), "tiny")
competition = resolve(load_competition(toml), paths)
seen = []

def look():
    seen.append((me.memory_info().rss, me.num_fds(), me.num_threads(), len(me.children())))

if what == "tune":
    from pipeline.tuning.objective import Objective
    call = Objective.__call__
    def watched(self, trial):
        try:
            return call(self, trial)
        finally:
            look()
    Objective.__call__ = watched
    tune.run(paths, competition, experiment, [], Options(count))
else:
    for seed in range(count):
        changes = [f"seed={seed}", "name=again", "train.epochs=1"]
        train.run(paths, competition, [experiment], [0], changes)
        look()
print(json.dumps(seen))
"""
# Of the tuned study, so many trials are there already.
EARLIER = {"tune": 5, "train": 0}
# By call; when measured, a trial left 4 kB behind, a training 25 kB.
TOLERATED_BYTES = {"tune": 32 * 2**10, "train": 256 * 2**10}


@pytest.mark.parametrize(
    ("what", "experiment", "count"), [("tune", "probe", 200), ("train", "finetune", 50)]
)
def test_neither_memory_nor_files_nor_threads_grow(what, experiment, count, unbroken, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(unbroken.root, root)
    toml = unbroken.stages["download"][1]
    total = str(count + EARLIER[what])
    arguments = [what, toml, toml.replace("tiny.toml", f"{experiment}.toml"), total]
    done = subprocess.run(
        [sys.executable, "-c", LIFE, *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert len(seen) >= count
    rss, *counts = zip(*seen[len(seen) // 3 :], strict=True)
    third = len(rss) // 3
    growth = (min(rss[-third:]) - min(rss[:third])) / (len(rss) - third)
    told = f"{growth:,.0f} bytes a call: {rss[:: max(1, third // 3)]}"
    assert growth < TOLERATED_BYTES[what], told
    for name, values in zip(("files", "threads", "processes"), counts, strict=True):
        assert max(values[-third:]) <= max(values[:third]), f"{name}: {values}"
