"""How much of its time a training waits for data, as the engine's own history tells.

    python -m benchmarks.data_waiting [FOLDER]

FOLDER holds images, e.g. the unpacked `cat_12_train`; without it, images of such sizes are drawn.
The second epoch counts: in the first, the process that reads images has to start.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.input_pipeline import draw, tabulate
from benchmarks.training_step import NETWORKS, NUM_CLASSES
from pipeline.config.experiment import Experiment
from pipeline.console import result
from pipeline.store.paths import Paths
from pipeline.training.finetune import Finetune
from pipeline.training.task import FoldTask, TrainingData

# Images to predict, which isn't what is measured.
NUM_VAL = 8


def second_epoch(paths: Paths, images: pd.DataFrame, experiment: Experiment) -> pd.Series:
    """Train for two epochs on all images but a few; return the second row of the history."""
    targets = np.arange(len(images)) % NUM_CLASSES
    data = TrainingData(images, targets, images.head(NUM_VAL), NUM_CLASSES, "accuracy")
    is_val = np.arange(len(images)) < NUM_VAL
    task = FoldTask(0, is_val, experiment.name, paths.root / "training.pt")
    return Finetune(paths, experiment, data).fit_fold(task).history.iloc[1]


def main() -> None:
    """Print the share and the speed for each network."""
    with tempfile.TemporaryDirectory() as root:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(root) / "drawn"
        if len(sys.argv) == 1:
            folder.mkdir()
            draw(folder)
        images = tabulate(folder.resolve())
        for name, size_px in NETWORKS.items():
            experiment = Experiment.model_validate(
                {
                    "name": name.rpartition("/")[2].replace("_", "-"),
                    "method": "finetune",
                    "model": {"name": name, "weights": "none"},
                    "images": {"size_px": size_px},
                    "train": {"epochs": 2},
                }
            )
            row = second_epoch(Paths(Path(root), "benchmark"), images, experiment)
            result(
                f"training, {name}: waits for data {row['waiting_for_data']:.2%} of the time, "
                f"at {row['images_per_second']:.1f} images/s"
            )


if __name__ == "__main__":
    main()
