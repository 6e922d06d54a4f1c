"""Train one experiment with several augmentation recipes and seeds, and measure each training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt

from pipeline.config.competition import Competition
from pipeline.config.experiment import Experiment, ViewConfig
from pipeline.config.strict import did_you_mean
from pipeline.data.training_table import Tables, subsample
from pipeline.errors import ConfigError
from pipeline.scoring.decisions import decided
from pipeline.scoring.metrics import score
from pipeline.scoring.separation import scatter_ratio, silhouette
from pipeline.scoring.targets import class_indices, image_groups
from pipeline.store.freshness import digest
from pipeline.store.paths import AblationPaths, Paths
from pipeline.store.predictions import FloatArray, IntArray, Likeliest, load_predictions
from pipeline.store.tables import held_out
from pipeline.training.experiment_run import ExperimentRun
from pipeline.training.fold_jobs import train_in_pool
from pipeline.training.ray_cluster import PoolOptions
from pipeline.training.task import Review

RECIPES: tuple[str, ...] = get_args(ViewConfig.model_fields["recipe"].annotation)


def read_recipes(text: str) -> list[str]:
    """Read names with commas between them.

    Raises:
        ConfigError: There is no such recipe, only one is named, or one twice.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in RECIPES:
            hint = did_you_mean(name, RECIPES)
            raise ConfigError(
                f"--recipes {text}: must be of {', '.join(RECIPES)}, '{name}' is no recipe{hint}"
            )
    if len(names) < 2 or len(set(names)) < len(names):
        raise ConfigError(
            f"--recipes {text}: must be two or more, each once, are {len(names)}, of which "
            f"{len(set(names))} differ; the first is the one that the others are compared with"
        )
    return names


def recipe_variants(
    experiment: Experiment, recipes: Sequence[str], num_seeds: int
) -> dict[str, list[Experiment]]:
    """Make the experiments to train: by recipe, one per seed from the experiment's own on.

    Raises:
        ConfigError: The experiment draws no augmented views, or "custom" is asked of one without
            transforms.
    """
    if experiment.method == "probe" and not experiment.views.num_augmented:
        raise ConfigError(
            f"experiment '{experiment.name}': views.num_augmented must be 1 at least, is 0, "
            "with which all recipes are the same"
        )
    seeds = range(experiment.seed, experiment.seed + num_seeds)
    return {recipe: [_variant(experiment, recipe, seed) for seed in seeds] for recipe in recipes}


def _variant(experiment: Experiment, recipe: str, seed: int) -> Experiment:
    changes = {
        "name": f"{experiment.name}-{recipe}-seed{seed}",
        "seed": seed,
        "views.recipe": recipe,
    }
    if recipe != "custom":
        changes["views.transforms"] = []
    return experiment.changed(changes, f"--recipes {recipe}")


@dataclass(frozen=True)
class TrainingResult:
    """Predictions, numbers and features of one training.

    Attributes:
        oof_probs: `(N, K)`, each image predicted by the fold that didn't learn from it.
        answers: `(N, K)`, what metrics of classes take: the same, or decided by thresholds of the
            other folds.
        numbers: Means over the folds: accuracy and log loss of images in their plain views,
            `train_*` of those that were learned from and `val_*` of the others; silhouette and
            scatter ratio of the others' features.
        features: `(n, D)`, of the first fold's held-out images.
    """

    oof_probs: FloatArray
    answers: FloatArray
    numbers: Mapping[str, float]
    features: FloatArray


class AblationTrainings:
    """Trains every recipe with every seed, over the same folds.

    Args:
        paths: The competition's files.
        competition: Its classes and metric.
        out: Where the trainings' files go.
        experiments: By recipe, one per seed; alike in all but recipe and seed.
        tables: The images and their folds.

    Attributes:
        targets: Class indices of the images that folds hold out, `(N,)`.
        folds: The fold of each, `(N,)`.
        groups: The group of each, `(N,)`; None for each by itself.
    """

    def __init__(
        self,
        paths: Paths,
        competition: Competition,
        out: AblationPaths,
        experiments: Mapping[str, Sequence[Experiment]],
        tables: Tables,
    ) -> None:
        self._paths = paths
        self._competition = competition
        self._out = out
        self._experiments = experiments
        self._tables = tables
        used = subsample(tables, next(iter(experiments.values()))[0].data.limit)
        held = held_out(used.folds)
        self._image_ids: list[str] = held["image_id"].tolist()
        self.targets: IntArray = class_indices(competition, held)
        self.folds: IntArray = held["fold"].to_numpy()
        self.groups = image_groups(held)
        self._all_targets: IntArray = class_indices(competition, used.train)
        self._all_folds: IntArray = used.folds["fold"].to_numpy()

    def train(self, options: PoolOptions) -> dict[str, list[str | None]]:
        """Train what isn't up to date, once all of it is known to be possible.

        Args:
            options: What several trainings at once run on.

        Returns:
            By recipe, the digest of each training's stamp.
        """
        for recipe, (first, *_) in self._experiments.items():  # seeds change nothing about it
            self._run(recipe, first).check([])
        runs = [
            self._run(recipe, experiment)
            for recipe, experiments in self._experiments.items()
            for experiment in experiments
        ]
        train_in_pool(runs, [], options)
        return {
            recipe: [digest(self._out.training(recipe, one.seed).stamp) for one in experiments]
            for recipe, experiments in self._experiments.items()
        }

    def load_results(self, recipe: str) -> list[TrainingResult]:
        """Measure the trainings of a recipe, one per seed.

        Raises:
            ArtifactError: A file of one is missing or damaged.
        """
        return [self._load_result(recipe, one) for one in self._experiments[recipe]]

    def _run(self, recipe: str, experiment: Experiment) -> ExperimentRun:
        out = self._out.training(recipe, experiment.seed)
        return ExperimentRun(self._paths, self._competition, experiment, self._tables, out)

    def _load_result(self, recipe: str, experiment: Experiment) -> TrainingResult:
        run, files = self._run(recipe, experiment), self._out.training(recipe, experiment.seed)
        oof = load_predictions(files.oof, f"pipeline ablate {self._competition.name}")
        numbers, features = [], []
        for fold in np.unique(self.folds).tolist():
            review, is_val = run.review(fold), self._all_folds == fold
            numbers.append(self._numbers(review, is_val))
            features.append(review.features[is_val])
        oof_probs = oof.reordered(self._image_ids, str(files.oof))
        assert not isinstance(oof_probs, Likeliest)
        answers = decided(self._competition, self.targets, oof_probs, self.folds)
        assert not isinstance(answers, Likeliest)
        return TrainingResult(
            oof_probs=oof_probs,
            answers=answers,
            numbers={key: float(np.mean([one[key] for one in numbers])) for key in numbers[0]},
            features=features[0],
        )

    def _numbers(self, review: Review, is_val: npt.NDArray[np.bool_]) -> dict[str, float]:
        of_val = review.features[is_val], self._all_targets[is_val]
        return {
            f"{split}_{metric}": score(metric, self._all_targets[rows], review.probs[rows])
            for split, rows in (("train", ~is_val), ("val", is_val))
            for metric in ("accuracy", "log_loss")
        } | {"silhouette": silhouette(*of_val), "scatter_ratio": scatter_ratio(*of_val)}
