"""Parts of `benchmarks.gpu` that train and predict images, and the tests that need a GPU."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from benchmarks.gpu_setting import Row, Setting, wait_for_gpu
from pipeline.config.experiment import Experiment, ImageConfig, ViewConfig
from pipeline.images.cache import CachedCopies
from pipeline.images.views import View
from pipeline.images.working_copy import WorkingCopies, working_side_px
from pipeline.models.registry import build_trunk
from pipeline.store.paths import Paths
from pipeline.training.device import Precision, pick_device, set_up
from pipeline.training.finetune import Finetune
from pipeline.training.loader import Batch, ViewDataset, ViewLoader
from pipeline.training.probe import Probe
from pipeline.training.task import FoldTask, TrainingData

NUM_CLASSES = 2
RESUMED = (600, 32)  # images of a fold that is killed, and as many in a dry run
# A fold trained in a process that may be killed: folder, dry or not, where results go.
ENTRY = "import sys; from benchmarks.gpu_folds import fold_in_process as go; go(*sys.argv[1:])"


def _data(images: pd.DataFrame, num_test: int) -> TrainingData:
    targets = np.arange(len(images)) % NUM_CLASSES
    images = images.assign(group=images["image_id"])
    return TrainingData(images, targets, images.head(num_test), NUM_CLASSES, "accuracy")


def _is_val(images: pd.DataFrame) -> npt.NDArray[np.bool_]:
    is_val: npt.NDArray[np.bool_] = np.arange(len(images)) % 5 == 0
    return is_val


def readers(setting: Setting) -> Iterator[Row]:
    """Count the views that readers give where nothing is computed."""
    images, config = setting.images(1500, 16), ImageConfig(size_px=setting.size_px)
    side, paths = working_side_px(config), Paths(setting.folder, "check")
    cached = CachedCopies(paths, side, images)
    begun = time.monotonic()
    cached.build()
    rate = len(images) / (time.monotonic() - begun)
    yield Row("working copies built", f"{rate:,.0f} images/s")
    size, rows = setting.of(128, 8), list(range(len(images)))
    for kind, copies in (("cached", cached), ("decoded", WorkingCopies(paths, side))):
        dataset = ViewDataset(copies, images, config, ViewConfig())
        loader = ViewLoader(dataset, pick_device().type)
        parts = [rows[at : at + size] for at in range(0, len(rows), size)]
        batches = [Batch(part, (View("light"),)) for part in parts]
        for _ in loader.load(batches[:2]):  # the processes start
            pass
        begun = time.monotonic()
        count = sum(len(one) for one in loader.load(batches))
        rate = count / (time.monotonic() - begun)
        yield Row(f"views read, {kind}", f"{rate:,.0f} a second")


def whole_fold(setting: Setting) -> Iterator[Row]:
    """Train a fold: its rate, its waiting, and what an epoch takes beyond its steps."""
    images, paths = setting.images(2500, 32), Paths(setting.folder, "check")
    train = {"epochs": setting.of(6, 3), "batch_size": setting.of(128, 8)}
    ends: list[float] = []
    task = FoldTask(
        0,
        _is_val(images),
        "check",
        setting.folder / "training.pt",
        on_epoch=lambda _: ends.append(time.monotonic()),
    )
    fold = Finetune(paths, setting.experiment(train=train), _data(images, 64)).fit_fold(task)
    steady = fold.history.iloc[1:]
    yield Row("images a second", f"{steady['images_per_second'].median():,.0f}")
    waiting = float(steady["waiting_for_data"].median())
    yield setting.judge("waits for data", f"{waiting:.1%}", "< 5 %", is_right=waiting < 0.05)
    seconds = np.diff(ends)
    trained = (~_is_val(images)).sum() / steady["images_per_second"].to_numpy()
    share = float(np.maximum(seconds - trained, 0).sum() / seconds.sum())
    yield setting.judge(
        "an epoch beyond its steps", f"{share:.0%}", "< 15 %", is_right=share < 0.15
    )
    if torch.cuda.is_available():
        yield Row("peak memory", f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB")


def fold_in_process(folder: str, dry: str, name: str) -> None:
    """Train a fold with its state on the disk, saved after every step."""
    setting, out = Setting(Path(folder), dry == "dry"), Path(folder) / name
    out.mkdir(exist_ok=True)
    images = setting.images(*RESUMED)
    task = FoldTask(0, _is_val(images), "check", out / "training.pt", out / "training.csv")
    train = {"epochs": 6, "batch_size": setting.of(64, 8), "ema_decay": 0.9, "save_minutes": 0.0}
    data, paths = _data(images, 8), Paths(setting.folder, "check")
    fold = Finetune(paths, setting.experiment(train=train), data).fit_fold(task)
    np.save(out / "probs.npy", fold.val_probs)
    fold.history.to_csv(out / "history.csv", index=False)


def resumed(setting: Setting) -> Iterator[Row]:
    """Kill a training amid its epochs: the same call goes on, to nearly the same."""
    setting.images(*RESUMED)
    whole = _start(setting, "whole")
    whole.communicate()
    yield Row("unbroken", f"exit code {whole.returncode}", "0", whole.returncode == 0)
    broken, log = _start(setting, "broken"), setting.folder / "broken" / "training.csv"
    while broken.poll() is None and not (log.is_file() and len(log.read_text().split()) > 2):
        time.sleep(0.01)
    broken.send_signal(signal.SIGKILL)
    broken.communicate()
    again = _start(setting, "broken")
    _, said = again.communicate()
    going_on = re.search(r"going on after step \d+", said)
    told = going_on[0] if going_on else f"exit code {again.returncode}: {said[-200:]}"
    yield Row("killed, and called again", told, "goes on", going_on is not None)
    probs = [
        np.load(setting.folder / name / "probs.npy", allow_pickle=False)
        for name in ("whole", "broken")
    ]
    apart = float(np.abs(probs[0] - probs[1]).max())
    yield Row("probabilities differ by", f"{apart:.1e}", "< 0.1", apart < 0.1)


def _start(setting: Setting, name: str) -> "subprocess.Popen[str]":
    arguments = [str(setting.folder), setting.of("", "dry"), name]
    command = [sys.executable, "-c", ENTRY, *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def features(setting: Setting) -> Iterator[Row]:
    """Compute features as a probe does, from files to files, beside the trunk alone."""
    images = setting.images(2000, 16)
    views = {"recipe": "light", "num_augmented": 6}
    chosen = setting.experiment(method="probe", views=views)
    data = _data(images, 8)
    Probe(Paths(setting.folder, "first"), chosen, _data(images.head(8), 8))  # all is loaded
    begun = time.monotonic()
    probe = Probe(Paths(setting.folder, "check"), chosen, data)
    seconds = time.monotonic() - begun
    own = (len(images) * (2 + 6) + 2 * 8) / seconds  # plain, mirrored, augmented
    bare = _bare_trunk(chosen, setting)
    told = f"{own / bare:.0%}: {own:,.0f} and {bare:,.0f} views/s"
    what = "features, against the trunk alone"
    yield setting.judge(what, told, "80 %", is_right=own > 0.8 * bare)
    begun = time.monotonic()
    probe.fit_fold(FoldTask(0, _is_val(images), "", None))
    yield Row("a head", f"{time.monotonic() - begun:.2f} s")


@torch.inference_mode()
def _bare_trunk(chosen: Experiment, setting: Setting) -> float:
    """Return the views a second of the trunk, from pixels that are there."""
    device, size, side = pick_device(), setting.of(256, 8), setting.size_px
    set_up(device)
    trunk = build_trunk(chosen.model, 0, side).module.to(device).eval()
    trunk = trunk.to(memory_format=torch.channels_last)
    pixels = torch.randn(size, 3, side, side, device=device)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    with Precision.choose("auto", device).autocast():
        return size / _seconds(lambda: trunk(pixels), setting.of(2.0, 0.1))


def _seconds(work: Callable[[], object], enough: float) -> float:
    """Return what a call takes, once it is warm."""
    for _ in range(3):
        work()
    wait_for_gpu()
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < enough:
        work()
        count += 1
        if count % 8 == 0:
            wait_for_gpu()
    wait_for_gpu()
    return (time.perf_counter() - begun) / count


def marked_tests(setting: Setting) -> Iterator[Row]:
    """Run the tests that are marked `gpu`; a dry run lists them."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider"]
    command += ["tests/training", *setting.of([], ["--collect-only"])]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "4"},
    )
    last = (done.stdout + done.stderr).strip().rpartition("\n")[2]
    yield Row("tests marked gpu", last, "all pass", done.returncode == 0)
    for line in re.findall(r"^(?:FAILED|ERROR) .*", done.stdout, flags=re.MULTILINE)[:12]:
        yield Row("failed", line[:180], "", is_right=False)
