"""Choose between the two methods of training, behind one interface."""

from typing import Protocol

from pipeline.config.competition import Competition
from pipeline.config.experiment import Experiment
from pipeline.data.training_table import Tables, is_readable
from pipeline.models.preparation import prepared
from pipeline.scoring.targets import Judged, class_indices, to_shares
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
    paths: Paths,
    competition: Competition,
    experiment: Experiment,
    tables: Tables,
    *,
    asks_of_flips: bool = False,
) -> Method:
    """Build the method that `experiment.method` names.

    Args:
        paths: The competition's files.
        competition: Its classes and metric, and whether views may be mirrored.
        experiment: How to train.
        tables: The images and their folds.
        asks_of_flips: Whether to say if mirrored views do harm, where the competition's file
            doesn't say whether they may.

    Raises:
        ConfigError: A recipe or a network is impossible.
        ArtifactError: Weights can't be had.
    """
    data = TrainingData(
        tables.train,
        to_shares(competition, class_indices(competition, tables.train)),
        tables.test[is_readable(tables.test)],
        competition.num_classes,
        competition.metric,
        competition.keeps_likeliest,
        Judged(competition, tables.train),
    )
    experiment = prepared(experiment.allowed_by(competition))
    is_open = asks_of_flips and competition.horizontal_flip is None and not competition.is_number
    if experiment.method == "finetune":
        return Finetune(paths, experiment, data, asks_of_flips=is_open)
    return Probe(paths, experiment, data, asks_of_flips=is_open)
