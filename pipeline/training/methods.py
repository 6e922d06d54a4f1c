"""Choose between the two methods of training, behind one interface."""

from typing import Protocol

from pipeline.config.competition import Competition
from pipeline.config.experiment import Experiment
from pipeline.data.training_table import Tables, is_readable
from pipeline.models.preparation import prepared
from pipeline.scoring.oof import class_indices
from pipeline.store.paths import Paths
from pipeline.training.checkpoint import Tensors
from pipeline.training.finetune import Finetune
from pipeline.training.probe import Probe
from pipeline.training.task import FoldResult, FoldTask, Review, TrainingData


class Method(Protocol):
    """Fits folds of one experiment."""

    def fit_fold(self, task: FoldTask) -> FoldResult:
        """Train on the other folds, predict this one and the test images."""

    def review(self, weights: Tensors) -> Review:
        """Look at all training images with what `fit_fold` learned."""


def build_method(
    paths: Paths, competition: Competition, experiment: Experiment, tables: Tables
) -> Method:
    """Build the method that `experiment.method` names.

    Raises:
        ConfigError: A recipe or a network is impossible.
        ArtifactError: Weights can't be had.
    """
    data = TrainingData(
        tables.train,
        class_indices(competition, tables.train),
        tables.test[is_readable(tables.test)],
        competition.num_classes,
        competition.metric,
    )
    method = Probe if experiment.method == "probe" else Finetune
    return method(paths, prepared(experiment), data)
