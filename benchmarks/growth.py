"""How time and memory of every command grow with the number of images, drawn ones.

    python -m benchmarks.growth [IMAGES ...]

IMAGES are 400, 1600 and 6400 if left out. Every command runs in a process of its own; `train`
computes features of a tiny network and fits a head on them.
"""

import os
import re
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from pipeline.console import result

SIZES = (400, 1600, 6400)
COMPETITION, EXPERIMENT = "growth", "tiny"

# A network of 0.4 MB: what grows is to be seen, not what computes.
EXPERIMENT_TOML = """
[model]
name = "timm/test_resnet"
weights = "none"

[images]
size_px = 32
"""


class Cost(NamedTuple):
    """What a process and its children took.

    Attributes:
        cpu_seconds: Their time on all cores: what runs beside them hardly shows in it.
        peak_mb: The memory of the largest of them.
    """

    cpu_seconds: float
    peak_mb: float


def run(*arguments: str) -> Cost:
    """Run a command of the pipeline to its end, silently."""
    command = [sys.executable, "-m", "pipeline", *arguments]
    silence = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)]
    pid = os.posix_spawn(sys.executable, command, os.environ, file_actions=silence)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"'pipeline {' '.join(arguments)}' failed")
    kilobytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return Cost(usage.ru_utime + usage.ru_stime, kilobytes / 1000)


def commands(root: Path) -> dict[str, list[str]]:
    """List every command that reads images or their tables, in running order."""
    data, name = root / "data" / COMPETITION, str(root / f"{COMPETITION}.toml")
    submission = str(root / "submissions" / COMPETITION / f"{EXPERIMENT}.csv")
    tiny = ["--experiment", EXPERIMENT]
    return {
        "download": [name],
        "init": ["found", "--from", str(data / "archives"), "--out", str(root / "found.toml")],
        "prepare": [name],
        "folds": [name],
        "preview": [name, "--experiment", str(root / f"{EXPERIMENT}.toml")],
        "train": [name, "--experiment", str(root / f"{EXPERIMENT}.toml")],
        "ensemble": [name],
        "suspects": [name, *tiny],
        "submit": [name, *tiny],
        "validate": [name, submission],
        "grade": [name, submission, "--truth", str(data / "truth.csv")],
        "report": [name],
        "status": [name],
        "predict": [name, *tiny, "--images", str(data / "images"), "--out", str(root / "out.csv")],
    }


def costs_at(num_images: int, root: Path) -> dict[str, Cost]:
    """Draw a competition, three quarters of it to train on, and run the commands over it."""
    text = resources.files("pipeline").joinpath("competitions", "demo.toml").read_text("utf-8")
    counts = {"num_train": num_images * 3 // 4, "num_test": num_images // 4}
    for key, count in counts.items():
        text = re.sub(rf"^{key} = .*$", f"{key} = {count}", text, flags=re.MULTILINE)
    text = text.replace("[synthetic]", "[synthetic]\nmin_side_px = 96\nmax_side_px = 128")
    (root / f"{COMPETITION}.toml").write_text(text, encoding="utf-8")
    (root / f"{EXPERIMENT}.toml").write_text(EXPERIMENT_TOML, encoding="utf-8")
    costs = {}
    for command, options in commands(root).items():
        where = () if command == "init" else ("--root", str(root))
        costs[command] = run(command, *options, *where)
    return costs


def main() -> None:
    """Print time and memory of each command, and how they grow."""
    sizes = [int(size) for size in sys.argv[1:]] or list(SIZES)
    costs = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as root:
            costs.append(costs_at(size, Path(root)))
    result(f"at {', '.join(f'{size:,}' for size in sizes)} images:")
    for command in costs[0]:
        seconds, peaks = zip(*(cost[command] for cost in costs), strict=True)
        # Starting takes the same at any size, so it is the additional images that are compared.
        steps = zip(seconds, seconds[1:], sizes, sizes[1:], strict=False)
        added = [1000 * (late - early) / (more - few) for early, late, few, more in steps]
        per_image = (seconds[-1] / sizes[-1]) / (seconds[-2] / sizes[-2])
        result(
            f"{command}: {', '.join(f'{value:.1f}' for value in seconds)} s of CPU time, an "
            f"additional image {', then '.join(f'{value:.2f}' for value in added)} ms, an image "
            f"{per_image:.2f} x what it took one size before; peak memory "
            f"{', '.join(f'{value:,.0f}' for value in peaks)} MB, {peaks[-1] / peaks[0]:.2f} x"
        )


if __name__ == "__main__":
    main()
