"""The memory of 64,500 classes: folds, heads, an ensemble and the answers of herbarium-2021's size.

    python -m benchmarks.many_classes [--classes 64500] [--images 100000] [--folds 2]

Tables are drawn and so are features, 64 of an image, of a seeded generator: no image is read, all
else is what the commands do, in this process. The end says the most memory that it took, and how
many answers are right.
"""

import argparse
import resource
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd

from pipeline.config.competition import Competition, load_competition
from pipeline.console import result
from pipeline.images.views import View
from pipeline.stages import ensemble, folds, submit, train
from pipeline.store.paths import Paths
from pipeline.store.predictions import IntArray
from pipeline.store.tables import TEST_COLUMNS, TRAIN_COLUMNS, write_table
from pipeline.training import probe
from pipeline.training.feature_cache import FeatureRows

DIM = 64
TEST_SHARE = 0.05
NOISE = 1.2  # beside a spread of 1 between classes
EXPERIMENTS = {"sure": 0.5, "shrunk": 0.9}  # by how far the covariance is shrunk
EXPERIMENT_TOML = """
[model]
name = "timm/test_resnet"
weights = "none"

[images]
size_px = 32

[views]
horizontal_flip = false

[head]
kind = "lda"
shrinkage = {shrinkage}
"""


class DrawnFeatures:
    """Stands in for what computes features: those of an image are its class's, and noise.

    Args:
        targets: The class of each image, `(N,)`, by the number that is its name.
        num_classes: K.
        others: What a real one is made of.
    """

    def __init__(self, targets: IntArray, num_classes: int, *others: object) -> None:
        del others
        self._targets = targets
        rng = np.random.default_rng(0)
        self._centers = rng.standard_normal((num_classes, DIM), dtype=np.float32)

    def extract(self, images: pd.DataFrame, views: Sequence[View], what: str) -> list[FeatureRows]:
        """Draw the features of images, by view."""
        numbers = images["image_id"].to_numpy(dtype=np.int64)
        rng = np.random.default_rng((1, len(what)))
        noise = rng.standard_normal((len(numbers), DIM), dtype=np.float32)
        drawn = self._centers[self._targets[numbers]] + NOISE * noise
        block = drawn.astype(np.float16)
        return [FeatureRows([block], [len(block)]) for _ in views]


def draw_targets(num_images: int, num_classes: int) -> IntArray:
    """Draw the classes of images: each class has one at least, and few have many."""
    rng = np.random.default_rng(2)
    more = (num_classes * rng.random(num_images) ** 3).astype(np.int64)
    targets = np.concatenate([np.arange(num_classes), more])[:num_images]
    rng.shuffle(targets[: int(num_images * (1 - TEST_SHARE))])
    return targets


def write_tables(paths: Paths, targets: IntArray) -> None:
    """Write what `prepare` would."""
    numbers = pd.Series(np.arange(len(targets))).astype(str)
    table = pd.DataFrame({"image_id": numbers, "path": numbers + ".jpg", "group": numbers})
    table = table.assign(label=targets.astype(str), width=16, height=16, format="JPEG", sha256="0")
    num_train = int(len(targets) * (1 - TEST_SHARE))
    write_table(table[:num_train][TRAIN_COLUMNS], paths.train_csv)
    write_table(table[num_train:][TEST_COLUMNS], paths.test_csv)


def herbarium(num_classes: int) -> Competition:
    """Describe herbarium-2021 as `prepare` leaves it, without a sample."""
    competition = load_competition("herbarium-2021-fgvc8")
    form = competition.submission.model_copy(
        update={"sample": None, "columns": ("Id", "Predicted")}
    )
    classes = tuple(map(str, range(num_classes)))
    return competition.model_copy(update={"classes": classes, "submission": form})


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the commands and tell their memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, default=64_500)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--folds", type=int, default=2)
    options = parser.parse_args(arguments)
    competition = herbarium(options.classes)
    targets = draw_targets(options.images, options.classes)
    with tempfile.TemporaryDirectory() as folder:
        paths = Paths(Path(folder), competition.name)
        write_tables(paths, targets)
        folds.run(paths, competition, options.folds, seed=0)
        files = []
        for name, shrinkage in EXPERIMENTS.items():
            files.append(Path(folder, f"{name}.toml"))
            files[-1].write_text(EXPERIMENT_TOML.format(shrinkage=shrinkage), encoding="utf-8")
        drawn = partial(DrawnFeatures, targets, options.classes)
        with patch.object(probe, "FeatureExtractor", drawn):
            train.run(paths, competition, list(map(str, files)), [], [])
        ensemble.run(paths, competition, [], "ensemble")
        submit.run(paths, competition, "ensemble")
        rows = paths.submission("ensemble").read_text(encoding="utf-8").splitlines()[1:]
        answers = np.array([row.split(",") for row in rows], dtype=np.int64)
        share = float((targets[answers[:, 0]] == answers[:, 1]).mean())
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    result(
        f"{options.images:,} images of {options.classes:,} classes: {most:.2f} GiB at most, "
        f"{share:.1%} of {len(answers):,} answers right"
    )


if __name__ == "__main__":
    main()
