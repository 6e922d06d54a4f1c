"""A competition and experiments so small that a command takes little more than its start."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

from tests import tiny

COMPETITION = """
title = "Tiny cats and dogs"
metric = "accuracy"
classes = ["cat", "dog"]

[synthetic]
num_train = 32
num_test = 8
min_side_px = 48
max_side_px = 64
name_template = "{label}_{index}.jpg"

[[archives]]
name = "train.zip"

[[archives]]
name = "dogs_cats_test.zip"

[train]
folders = ["train"]
labels = { source = "file_name", pattern = '(?:^|/)(?P<label>cat|dog)s?[._/][^/]*$' }

[test]
folders = ["test"]

[submission]
id = "integer"
label = "index"
order = "ascending"

[experiments]
cpu = ["lite0-probe"]
cuda = ["lite0-probe"]
"""
TUNE = """
[tune]
head.l2 = { low = 0.001, high = 3.0, log = true }
views.num_augmented = { low = 0, high = 1 }
"""
FINETUNE = """
method = "finetune"

[views]
flip = false

[train]
epochs = 2
batch_size = 8
save_minutes = 0.0
ema_decay = 0.9
mixing = { mixup_alpha = 0.4 }
optimizer = { name = "adam", learning_rate = 0.001 }
"""
NAME = "tiny"
PREDICTED = "predicted.csv"

Tree = dict[str, bytes | None]


def stages(
    folder: Path, root: Path = Path(), num_trials: int = 5, num_workers: int = 2
) -> dict[str, list[str]]:
    """Write the competition and two experiments; return the stages' commands in running order.

    Args:
        folder: Where the files go.
        root: What the commands work on; where they are run, if left out.
        num_trials: Of the search.
        num_workers: Processes of `prepare`.
    """
    competition = folder / f"{NAME}.toml"
    competition.write_text(COMPETITION, encoding="utf-8")
    probe = tiny.write_toml(folder / "probe.toml", TUNE)
    finetune = tiny.write_toml(folder / "finetune.toml", FINETUNE)
    commands = {
        "download": [],
        "prepare": ["--workers", str(num_workers)],
        "folds": ["--num-folds", "2"],
        "train probe": ["--experiment", probe],
        "train finetune": ["--experiment", finetune],
        "tune": ["--experiment", probe, "--trials", str(num_trials)],
        "ensemble": [],
        "suspects": [],
        "submit": [],
        "ablate": ["--experiment", probe, "--recipes", "none,light", "--seeds", "1"],
        "predict": ["--experiment", "finetune", "--images", str(root / "data/tiny/images")],
        "report": [],
    }
    commands["predict"] += ["--out", str(root / PREDICTED)]
    return {
        name: [name.partition(" ")[0], str(competition), *options, "--root", str(root)]
        for name, options in commands.items()
    }


def tree(root: Path) -> Tree:
    """List all that lies below a root with its content, without what legitimately differs.

    Folders have None for content. Times are taken out of the files that hold some; of those that
    hold digests or pictures of times, only the name is kept.
    """
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        found[name] = _content(path, name) if path.is_file() else None
    return found


def _content(path: Path, name: str) -> bytes:
    if path.name.endswith(".lock") or any(_is_of_times(name, one) for one in HOLDS_TIMES):
        return b""
    without_times = WITHOUT_TIMES.get(path.name, bytes)
    return without_times(path.read_bytes())


def _is_of_times(name: str, pattern: str) -> bool:
    return Path(name).match(pattern)


def _without_columns(*columns: str) -> Callable[[bytes], bytes]:
    def remove(content: bytes) -> bytes:
        rows = csv.DictReader(io.StringIO(content.decode()))
        kept = [{key: row[key] for key in row if key not in columns} for row in rows]
        return json.dumps(kept).encode()

    return remove


def _without_seconds(content: bytes) -> bytes:
    return json.dumps({k: v for k, v in json.loads(content).items() if k != "seconds"}).encode()


WITHOUT_TIMES = {
    "history.csv": _without_columns("seconds", "images_per_second", "waiting_for_data"),
    "metrics.json": _without_seconds,
    "log.csv": _without_columns("time"),
}
# Digests of history.csv and metrics.json; a study's own record of when which process did what, and
# the tables and pictures of it, in which a trial that was killed keeps its number.
HOLDS_TIMES = (
    "artifacts/*/*/fold*/stamp.json",
    "artifacts/*/*/stamp.json",
    "artifacts/*/ablations/*/*/stamp.json",
    "artifacts/*/ablations/*/*/fold*/stamp.json",
    "artifacts/*/ablations/*/stamp.json",
    "artifacts/*/.studies/*.log",
    "artifacts/*/*/trials.csv",
    "artifacts/*/*/tuning.json",
    "artifacts/*/*/tuning_*.png",
)
