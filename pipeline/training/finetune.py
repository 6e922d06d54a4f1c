"""Fine-tuning: the network itself learns, fold by fold."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.config import Experiment
from pipeline.console import progress
from pipeline.models.registry import build_model
from pipeline.paths import Paths
from pipeline.predictions import IntArray
from pipeline.training.engine import Engine
from pipeline.training.fold_result import FoldResult


class Finetune:
    """Trains a network of one experiment for every fold; see `Probe` for the arguments."""

    def __init__(
        self,
        paths: Paths,
        experiment: Experiment,
        train: pd.DataFrame,
        targets: IntArray,
        num_classes: int,
        test: pd.DataFrame,
    ) -> None:
        self._paths = paths
        self._experiment = experiment
        self._train = train
        self._targets = targets
        self._num_classes = num_classes
        self._test = test

    def fit_fold(self, fold: int, is_val: npt.NDArray[np.bool_]) -> FoldResult:
        """Train on the other folds, predict this one and the test images.

        Args:
            fold: Its number, which sets the fold's random stream apart.
            is_val: `(N,)`, the images of this fold.
        """
        config = self._experiment
        network = build_model(config.model, self._num_classes, config.seed)
        engine = Engine(self._paths, config, network, seed=config.seed * 1000 + fold)
        train, val = self._train[~is_val], self._train[is_val]
        val_targets = self._targets[is_val]
        total = len(train) * config.train.epochs
        with progress(f"train {config.name} fold {fold}", total) as advance:
            history = engine.fit(
                train,
                self._targets[~is_val],
                lambda: engine.measure(val, val_targets),
                advance,
            )
        tensors = network.module.state_dict().items()
        weights = {name: tensor.float().cpu().contiguous().numpy() for name, tensor in tensors}
        return FoldResult(weights, history, engine.predict(val), engine.predict(self._test))
