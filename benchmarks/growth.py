"""How time and memory of the stages grow with the number of images: 1 x, 4 x and 16 x, drawn.

    python -m benchmarks.growth [IMAGES]

IMAGES is the number at 1 x, 400 if left out. Every stage runs in a process of its own; `train`
computes features and fits one head on them, `submit` writes their predictions.
"""

import os
import re
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from pipeline.console import result

SCALES = (1, 4, 16)
STAGES = ("prepare", "folds", "train", "submit")

# A network of 0.4 MB: what grows is to be seen, not what computes.
EXPERIMENT = """
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


def costs_at(num_images: int, root: Path) -> dict[str, Cost]:
    """Draw a competition, three quarters of it to train on, and run the stages over it."""
    text = resources.files("pipeline").joinpath("competitions", "demo.toml").read_text("utf-8")
    counts = {"num_train": num_images * 3 // 4, "num_test": num_images // 4}
    for key, count in counts.items():
        text = re.sub(rf"^{key} = .*$", f"{key} = {count}", text, flags=re.MULTILINE)
    text = text.replace("[synthetic]", "[synthetic]\nmin_side_px = 96\nmax_side_px = 128")
    competition, experiment = root / "growth.toml", root / "tiny.toml"
    competition.write_text(text, encoding="utf-8")
    experiment.write_text(EXPERIMENT, encoding="utf-8")
    where = (str(competition), "--root", str(root))
    run("download", *where)
    named = {"train": (str(experiment),), "submit": ("tiny",)}
    options = {stage: ("--experiment", *name) for stage, name in named.items()}
    return {stage: run(stage, *where, *options.get(stage, ())) for stage in STAGES}


def main() -> None:
    """Print time and memory of each stage, and how they grow."""
    base = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    counts = [base * scale for scale in SCALES]
    costs = []
    for count in counts:
        with tempfile.TemporaryDirectory() as root:
            costs.append(costs_at(count, Path(root)))
    result(f"at {', '.join(f'{count:,}' for count in counts)} images:")
    for stage in STAGES:
        seconds, peaks = zip(*(cost[stage] for cost in costs), strict=True)
        # Starting takes the same at any size, so it is the additional images that are compared.
        first, then = (
            1000 * (seconds[i + 1] - seconds[i]) / (counts[i + 1] - counts[i]) for i in (0, 1)
        )
        result(
            f"{stage}: {', '.join(f'{value:.1f}' for value in seconds)} s of CPU time, an "
            f"additional image {first:.2f}, then {then:.2f} ms; peak memory "
            f"{', '.join(f'{value:,.0f}' for value in peaks)} MB, {peaks[-1] / peaks[0]:.2f} x"
        )


if __name__ == "__main__":
    main()
