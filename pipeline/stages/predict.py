"""Predict the images of any folder with a trained experiment.

Predictions are written batch by batch, as CSV, JSON or Parquet; whole or not at all.
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.class_names import join_labels
from pipeline.config.competition import Competition
from pipeline.config.strict import did_you_mean
from pipeline.console import progress, say, warn
from pipeline.errors import ConfigError, PipelineError
from pipeline.inference.fold_models import FoldModels
from pipeline.inference.folder import FolderBatch, list_images, read_batches
from pipeline.inference.tta_policies import POLICIES, allowed_policies, recommended_policy
from pipeline.machine import pip_install
from pipeline.scoring.decisions import AnyDecisions
from pipeline.scoring.oof import best_decisions
from pipeline.scoring.probability_measures import HALF
from pipeline.store.atomic import atomic_path
from pipeline.store.paths import Paths
from pipeline.store.predictions import FloatArray
from pipeline.store.tables import harmless

Row = Mapping[str, Any]
Write = Callable[[list[Row]], None]

MAX_WARNINGS = 5  # images that can't be read and are named one by one


@contextmanager
def prediction_file(path: Path, class_names: list[str]) -> Iterator[Write]:
    """Open a file of predictions; yields a function that appends rows to it.

    Args:
        path: Its suffix decides: .csv, .json (a list, one object a line) or .parquet.
        class_names: K names; a row has `image`, `label`, `prob_<name>` of each and `error`.

    Raises:
        ConfigError: The suffix is another one, or Parquet's library isn't installed.
    """
    writers = {".csv": _csv, ".json": _json, ".parquet": _parquet}
    if path.suffix not in writers:
        raise ConfigError(f"--out {path}: must end in {', '.join(writers)}, ends in {path.suffix}")
    columns = ["image", "label", *(f"prob_{name}" for name in class_names), "error"]
    with atomic_path(path) as partial, writers[path.suffix](partial, columns) as write:
        yield write


@contextmanager
def _csv(path: Path, columns: list[str]) -> Iterator[Write]:
    def write(rows: list[Row]) -> None:
        writer.writerows({key: harmless(value) for key, value in row.items()} for row in rows)

    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        yield write


@contextmanager
def _json(path: Path, columns: list[str]) -> Iterator[Write]:  # noqa: ARG001
    separator = "[\n"

    def write(rows: list[Row]) -> None:
        nonlocal separator
        for row in rows:
            file.write(separator + json.dumps(row, ensure_ascii=False))
            separator = ",\n"

    with path.open("w", encoding="utf-8") as file:
        yield write
        file.write("\n]\n")


@contextmanager
def _parquet(path: Path, columns: list[str]) -> Iterator[Write]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise ConfigError(
            "--out: must be .csv or .json where pyarrow isn't installed, is .parquet; "
            f"run '{pip_install('pyarrow')}'"
        ) from error
    texts = ("image", "label", "error")
    schema = pa.schema([(one, pa.string() if one in texts else pa.float32()) for one in columns])
    with parquet.ParquetWriter(path, schema) as writer:
        yield lambda rows: writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def run(
    paths: Paths,
    competition: Competition,
    experiment_name: str,
    images_dir: Path,
    policy: str | None,
    out: Path,
) -> None:
    """Average every fold's probabilities over test-time views, image by image.

    Reads the images below `images_dir` and the checkpoints of artifacts/COMPETITION/EXPERIMENT.

    Writes `out`: per image its class and the probability of each, or why it can't be read.

    Fails if there is no such policy or kind of output (ConfigError), the folder has no images
    (DataError), or the experiment isn't trained, is damaged, or its views weren't compared for
    "auto" (ArtifactError).
    """
    policy = _choose_policy(paths, competition, experiment_name, policy)
    names, others = list_images(images_dir)
    if others:
        warn(f"{images_dir}: {len(others):,} files are no images by their names: {others[0]}, ...")
    models = FoldModels(paths, competition, experiment_name)
    experiment = models.experiment
    policies = allowed_policies(experiment)
    usual = "flip" if experiment.views.flip and "flip" in policies else "plain"
    if policy is not None and policy not in policies:
        raise ConfigError(
            f"--tta {policy}: must be one of {', '.join(policies)}, as {experiment.name} may not "
            "mirror (horizontal_flip = false)"
        )
    views = policies[policy or usual]
    num_faults = 0
    on_cpu = max(1, experiment.train.batch_size // len(views))
    size = models.images_at_once(on_cpu, len(views))
    classes = [] if competition.is_number else list(competition.classes)
    decisions = _decisions(paths, competition, experiment_name)
    with (
        progress(f"predict {competition.name} {experiment.name}", len(names)) as advance,
        prediction_file(out, classes) as write,
    ):
        for batch in read_batches(images_dir, names, views, experiment.images, size):
            probs = _mean_probs(models, batch)
            write(_rows(batch, probs, classes, _labels(competition, decisions, probs)))
            for name, reason in list(batch.faults.items())[: max(0, MAX_WARNINGS - num_faults)]:
                warn(f"{images_dir / name}: {reason}")
            num_faults += len(batch.faults)
            advance(len(batch.names))
    if num_faults:
        warn(f"{num_faults:,} of {len(names):,} images can't be read; {out} lists them with errors")
    say(f"predict {competition.name} {experiment.name}: {len(names):,} images -> {out}")


def _mean_probs(models: FoldModels, batch: FolderBatch) -> FloatArray:
    """Average over folds and views, `(m, K)`."""
    if len(batch.pixels) == 0:
        return np.empty((0, 0), dtype=np.float32)
    return np.asarray(models.probs(batch.pixels).mean(axis=(0, 1)), dtype=np.float32)


def _choose_policy(
    paths: Paths, competition: Competition, experiment_name: str, asked: str | None
) -> str | None:
    """Resolve a policy's name; None for the experiment's own views."""
    if asked == "auto":
        return recommended_policy(paths, competition, experiment_name)
    if asked is not None and asked not in POLICIES:
        known = ["auto", *POLICIES]
        raise ConfigError(
            f"--tta {asked}: must be one of {', '.join(known)}{did_you_mean(asked, known)}"
        )
    return asked


def _decisions(paths: Paths, competition: Competition, name: str) -> AnyDecisions | None:
    """Return the thresholds that `submit` answers by; None where the likeliest class is meant."""
    if not (competition.has_several or competition.is_ordered):
        return None
    try:
        return best_decisions(paths, competition, name)
    except PipelineError as error:  # a root without its tables
        by = "labels above 1/2" if competition.has_several else "the likeliest classes"
        warn(f"predict {competition.name} {name}: {by} are named, not what scores best ({error})")
        return None


def _labels(
    competition: Competition, decisions: AnyDecisions | None, probs: FloatArray
) -> list[str]:
    """Name each image's class; of several labels all, as `|one|two|`; or write the number."""
    if competition.is_number:
        return [f"{float(own[0]):.6g}" for own in probs]
    chosen = probs if decisions is None or not len(probs) else decisions.apply(probs)
    names = competition.classes
    if competition.has_several:
        return [join_labels(names[index] for index in np.flatnonzero(own > HALF)) for own in chosen]
    return [names[own.argmax()] for own in chosen]


def _rows(
    batch: FolderBatch, probs: FloatArray, classes: list[str], labels: Sequence[str]
) -> list[Row]:
    """Make a row per image, those that can't be read with the reason instead of a label."""
    rows: list[Row] = []
    predicted = iter(zip(labels, probs, strict=True))
    columns = [f"prob_{name}" for name in classes]
    for name in batch.names:
        if name in batch.faults:
            empty = dict.fromkeys(columns)
            rows.append({"image": name, "label": None, **empty, "error": batch.faults[name]})
            continue
        label, own = next(predicted)
        rounded = (round(float(one), 6) for one in own)
        values = dict(zip(columns, rounded, strict=True)) if classes else {}
        rows.append({"image": name, "label": label, **values, "error": None})
    return rows
