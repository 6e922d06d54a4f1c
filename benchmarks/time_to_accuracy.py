"""Seconds until the 12-cat photos are told apart out-of-fold, 0.90 of them, over all five folds.

    python -m benchmarks.time_to_accuracy FOLDER [EPOCHS]

FOLDER holds `cat_12_train.zip`, `cat_12_test.zip` and `train_list.txt`. Both sides start from
prepared tables, decoded by neither, and the same ImageNet weights of EfficientNet-Lite0. Ours is
the experiment `lite0-probe` with an empty feature cache, predictions of the test images included.
The other is fine-tuning fold by fold as the sources do: a plain float32 loop over torchvision's
transforms, on the device that the pipeline picks. It is run on one fold for EPOCHS (3, if left
out), or until it is as good; five times that is the least that it takes, so the ratio is a lower
bound.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms  # type: ignore[import-untyped]
from torchvision.datasets.folder import pil_loader  # type: ignore[import-untyped]

from pipeline.config.competition import Competition, load_competition
from pipeline.config.experiment_files import load_experiment
from pipeline.console import result
from pipeline.machine import num_cpus
from pipeline.models.profile import wait_for
from pipeline.models.registry import build_model
from pipeline.scoring.metrics import score
from pipeline.scoring.targets import class_indices
from pipeline.stages import download, folds, prepare, train
from pipeline.store.paths import Paths
from pipeline.store.predictions import IntArray, load_predictions
from pipeline.store.tables import load_folds, load_train
from pipeline.training.device import describe_device, pick_device

EXPERIMENT = "lite0-probe"
GOAL = 0.90
NUM_FOLDS = 5
BATCH_SIZE = 32

NORMALISE = [transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
TRAIN = transforms.Compose(
    [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), *NORMALISE]
)
VAL = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), *NORMALISE])


class Photos(Dataset[tuple[torch.Tensor, int]]):
    """Photos as torchvision's folders give them: read and transformed one by one."""

    def __init__(
        self, paths: Paths, images: pd.DataFrame, targets: IntArray, transform: transforms.Compose
    ) -> None:
        self._files = [str(paths.images_dir / path) for path in images["path"]]
        self._targets = targets.tolist()
        self._transform = transform

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self._transform(pil_loader(self._files[index])), self._targets[index]


def probe(paths: Paths, competition: Competition) -> tuple[float, float]:
    """Return the seconds of the experiment, and its pooled accuracy."""
    start = time.monotonic()
    train.run(paths, competition, [EXPERIMENT], [], [])
    seconds = time.monotonic() - start
    path = paths.experiment(EXPERIMENT).oof
    predictions = load_predictions(path, "train again")
    targets = class_indices(competition, load_train(paths))
    return seconds, score("accuracy", targets, predictions.probs)


def fine_tune(paths: Paths, competition: Competition) -> Iterator[tuple[float, float]]:
    """Yield after every epoch on the first fold its training's seconds so far, and its accuracy."""
    images = load_train(paths)
    targets, is_val = (
        class_indices(competition, images),
        (load_folds(paths)["fold"] == 0).to_numpy(),
    )
    train_photos = Photos(paths, images[~is_val], targets[~is_val], TRAIN)
    val_photos = Photos(paths, images[is_val], targets[is_val], VAL)
    model = load_experiment(EXPERIMENT, []).model
    device = pick_device()
    module = build_model(model, competition.num_classes).module.to(device)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    loader = DataLoader(train_photos, BATCH_SIZE, shuffle=True, num_workers=num_cpus())
    seconds = 0.0
    while True:
        start = time.monotonic()
        module.train()
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(module(inputs.to(device)), labels.to(device))
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        wait_for(device)
        seconds += time.monotonic() - start
        yield seconds, accuracy(module, val_photos)


@torch.inference_mode()
def accuracy(module: nn.Module, photos: Photos) -> float:
    """Measure it."""
    module.eval()
    loader = DataLoader(photos, BATCH_SIZE, num_workers=num_cpus())
    device = pick_device()
    guesses = ((module(inputs.to(device)).argmax(1).cpu(), labels) for inputs, labels in loader)
    hits = [(guess == labels).numpy() for guess, labels in guesses]
    return float(np.concatenate(hits).mean())


def main() -> None:
    """Run both sides and print the ratio."""
    folder, num_epochs = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3
    competition = load_competition("cat-12")
    result(f"device: {describe_device(pick_device())}")
    with tempfile.TemporaryDirectory() as root:
        paths, start = Paths(Path(root), competition.name), time.monotonic()
        download.run(paths, competition, folder)
        prepare.run(paths, competition, None)
        folds.run(paths, competition, NUM_FOLDS, 0)
        our_seconds, our_score = probe(paths, competition)
        since_archives = time.monotonic() - start
        result(
            f"{EXPERIMENT}: {our_score:.4f} over all folds in {our_seconds:.0f} s, "
            f"{since_archives:.0f} s from the archives"
        )
        if our_score < GOAL:
            raise SystemExit(f"{EXPERIMENT} isn't as good as {GOAL:.2f}: there is no ratio")
        for _, (seconds, fold_score) in zip(
            range(num_epochs), fine_tune(paths, competition), strict=False
        ):
            result(f"fine-tuning: {fold_score:.4f} on one fold in {seconds:.0f} s")
            if fold_score >= GOAL:
                break
    ratio = NUM_FOLDS * seconds / our_seconds
    result(f"time to {GOAL:.2f}: {ratio:.1f} x, or more where {GOAL:.2f} wasn't reached")


if __name__ == "__main__":
    main()
