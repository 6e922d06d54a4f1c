"""What it costs to deal jobs by Ray: 15 folds of a minute each on two cores, against serial ones.

    python -m benchmarks.ray_cost [SECONDS]

SECONDS of a job are 60 if left out. Three experiments of five folds are trained by one command on
two cores; by one that counts one core; by two such commands over one root, which share the folds
without Ray; and by one command with two slots of Ray. What Ray costs is its time, start and end
included, against that of the first, and against half of the second's, which no two processes reach
that share a memory.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path

from benchmarks.ratio import seconds
from pipeline.console import result
from pipeline.machine import CPUS_VARIABLE, is_installed, pip_install

COMPETITION, NUM_EXPERIMENTS, NUM_FOLDS, NUM_SLOTS = "few", 3, 5, 2
NUM_IMAGES = {"num_train": 120, "num_test": 20}
# Epochs by which one is timed, without what a command does once.
FEW, MORE = 2, 22
EXPERIMENT_TOML = """
method = "finetune"
seed = {seed}

[model]
name = "timm/test_resnet"
weights = "none"

[images]
size_px = 64

[train]
epochs = {epochs}
batch_size = 16
validate_every = 10
"""


def start(root: Path, command: str, *options: str, num_cores: int = 1) -> "subprocess.Popen[bytes]":
    """Start a command of the pipeline that counts so many cores, silently."""
    words = [command, str(root / f"{COMPETITION}.toml"), "--root", str(root), *options]
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {CPUS_VARIABLE: str(num_cores), "OMP_NUM_THREADS": str(num_cores)},
    )


def finish(process: "subprocess.Popen[bytes]") -> None:
    """Wait for a command.

    Raises:
        SystemExit: It failed.
    """
    if process.wait():
        raise SystemExit(f"{process.args!r} failed")


def run(root: Path, command: str, *options: str) -> None:
    """Run a command to its end."""
    finish(start(root, command, *options))


def make(root: Path) -> None:
    """Draw, prepare and split a competition."""
    text = resources.files("pipeline").joinpath("competitions", "demo.toml").read_text("utf-8")
    for key, count in NUM_IMAGES.items():
        text = re.sub(rf"^{key} = .*$", f"{key} = {count}", text, flags=re.MULTILINE)
    (root / f"{COMPETITION}.toml").write_text(text, encoding="utf-8")
    run(root, "download")
    run(root, "prepare")
    run(root, "folds", "--num-folds", str(NUM_FOLDS))


def experiments(root: Path, epochs: int) -> list[str]:
    """Write the experiments; return the words that name them."""
    words = []
    for seed in range(NUM_EXPERIMENTS):
        path = root / f"seed{seed}.toml"
        path.write_text(EXPERIMENT_TOML.format(seed=seed, epochs=epochs), encoding="utf-8")
        words += ["--experiment", str(path)]
    return words


def epochs_of(root: Path, job_seconds: float) -> int:
    """Find by two short trainings how many epochs take so long."""

    def seconds_of(epochs: int) -> float:
        one = experiments(root, epochs)[:2]
        return seconds(lambda: run(root, "train", *one, "--fold", "0"))

    seconds_of(1)  # the images are decoded
    few, more = seconds_of(FEW), seconds_of(MORE)
    return max(1, round(job_seconds * (MORE - FEW) / (more - few)))


def main() -> None:
    """Print seconds and ratios."""
    if not is_installed("ray"):
        raise SystemExit(f"Ray must be installed; run '{pip_install('ray')}'")
    job_seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make(root)
        epochs = epochs_of(root, job_seconds)
        words = experiments(root, epochs)
        trained = root / "artifacts" / COMPETITION

        def serial() -> None:
            run(root, "train", *words)

        def on_all() -> None:
            finish(start(root, "train", *words, num_cores=NUM_SLOTS))

        def shared() -> None:
            both = [start(root, "train", *words) for _ in range(NUM_SLOTS)]
            for one in both:
                finish(one)

        def dealt() -> None:
            slots = ",".join(map(str, range(NUM_SLOTS)))
            run(root, "train", *words, "--gpus", slots)

        taken = {}
        for work in (dealt, on_all, shared, serial):
            shutil.rmtree(trained, ignore_errors=True)
            taken[work.__name__] = seconds(work)
    ideal = taken["serial"] / NUM_SLOTS
    num_jobs = NUM_EXPERIMENTS * NUM_FOLDS
    result(
        f"{num_jobs} jobs of {taken['serial'] / num_jobs:.1f} s ({epochs} epochs): one after the "
        f"other on {NUM_SLOTS} cores {taken['on_all']:.0f} s, on one {taken['serial']:.0f} s; two "
        f"commands {taken['shared']:.0f} s; Ray with two slots {taken['dealt']:.0f} s, "
        f"{taken['dealt'] / taken['on_all']:.3f} x serial on {NUM_SLOTS} cores, "
        f"{taken['dealt'] / ideal:.3f} x half of serial on one, "
        f"{taken['dealt'] / taken['shared']:.3f} x two commands"
    )


if __name__ == "__main__":
    main()
