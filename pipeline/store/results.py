"""List the complete experiments and ensembles of a competition, and read their predictions."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.config.competition import Competition
from pipeline.errors import ArtifactError
from pipeline.store.freshness import Stamp, digest, read_stamp
from pipeline.store.paths import ExperimentPaths, Paths
from pipeline.store.predictions import AnyProbs, FloatArray, Likeliest, load_predictions

SCORED_BY = "scored_by"  # in metrics.json, where the metric's name doesn't say all


@dataclass(frozen=True)
class Result:
    """An experiment or ensemble that is complete.

    Attributes:
        name: Its name.
        config: Content of `config.json`.
        metrics: Content of `metrics.json`.
    """

    name: str
    config: dict[str, Any]
    metrics: dict[str, Any]

    @property
    def is_ensemble(self) -> bool:
        """Whether it blends others instead of having been trained."""
        return "members" in self.config


def load_result(paths: ExperimentPaths) -> Result:
    """Read what a complete experiment left.

    Raises:
        ArtifactError: A file is missing or damaged.
    """
    name = paths.experiment_dir.name
    return Result(name, _read_json(paths.config), _read_json(paths.metrics))


def is_scored_by(result: Result, competition: Competition) -> bool:
    """Whether a result's scores are made as the competition's file says now, not as it once did."""
    return scored_by(result) in ("", competition.scoring)


def scored_by(result: Result) -> str:
    """Return how a result's scores were made, see `Competition.scoring`; "" if nothing says it."""
    return str(result.metrics.get(SCORED_BY, result.metrics.get("metric", "")))


def list_results(paths: Paths) -> list[Result]:
    """List the complete experiments and ensembles of a competition by name."""
    stamps = sorted(paths.artifacts_dir.glob("[!.]*/stamp.json"))
    return [load_result(paths.experiment(stamp.parent.name)) for stamp in stamps]


def load_probs(
    paths: Paths, competition: Competition, name: str, which: Literal["oof", "test"], ids: list[str]
) -> FloatArray:
    """Read all probabilities of an experiment or ensemble; see `load_any_probs`.

    Raises:
        ArtifactError: As there; or of very many classes the likeliest alone are kept.
    """
    probs = load_any_probs(paths, competition, name, which, ids)
    if isinstance(probs, Likeliest):
        raise ArtifactError(
            f"{paths.experiment(name).oof}: must hold the probabilities of all classes, of "
            f"{competition.num_classes:,} the likeliest are kept; this can't be told of so many"
        )
    dense: FloatArray = probs
    return dense


def load_any_probs(
    paths: Paths, competition: Competition, name: str, which: Literal["oof", "test"], ids: list[str]
) -> AnyProbs:
    """Read the probabilities of an experiment or ensemble, made with today's folds and classes.

    Args:
        paths: The competition's files.
        competition: Its classes, in order.
        name: The experiment.
        which: Of the training images, out of fold, or of the test images.
        ids: The images wanted, all of them and in this order.

    Returns:
        `(len(ids), K)`; of very many classes the likeliest.

    Raises:
        ArtifactError: There is no such experiment, it is incomplete or damaged, or it was made
            with another fold table, other classes or other images.
    """
    files = paths.experiment(name)
    path = files.oof if which == "oof" else files.test
    _check_exists(paths, competition, name)
    load_result(files)  # whole?
    again = making_command(paths, competition.name, name)
    changed = Stamp(files.stamp, {}).damaged() or changed_members(paths, name)
    if changed:
        raise ArtifactError(
            f"{path}: must be newer than what it is made from, {changed[0]} changed since; "
            f"run '{again}'"
        )
    _check_tables(paths, name, path)
    predictions = load_predictions(path, again)
    if predictions.class_names != list(competition.classes):
        raise ArtifactError(
            f"{path}: classes must be {list(competition.classes)}, are {predictions.class_names}; "
            f"run '{again}'"
        )
    kinds = {(True, False): "several labels", (False, True): "numbers"}
    asked = kinds.get((competition.has_several, competition.is_number), "one class")
    found = kinds.get((predictions.has_several, predictions.is_number), "one class")
    if found != asked:
        raise ArtifactError(
            f"{path}: predictions must be of {asked} an image, are of {found}, as the "
            f"competition's file changed; run 'pipeline prepare {competition.name}', then '{again}'"
        )
    if predictions.folds_sha256 != digest(paths.folds_csv):
        raise ArtifactError(
            f"{path}: must be made over the folds of {paths.folds_csv}, which changed since; "
            f"run '{again}'"
        )
    return predictions.reordered(ids, str(path))


def gathered_folds(files: ExperimentPaths) -> list[int]:
    """List the folds that an experiment's results were gathered from.

    Folders of other folds may lie beside them, of a split into more.
    """
    stamp = read_stamp(files.stamp) or {"inputs": {}}
    return sorted(map(int, stamp["inputs"].get("folds", {})))


def changed_tables(paths: Paths, name: str) -> list[Path]:
    """List the tables of images that changed since a result, or its members, were trained."""
    tables = {"train": paths.train_csv, "test": paths.test_csv}
    today = {key: sha256 for key, path in tables.items() if (sha256 := digest(path))}
    changed = set()
    for one in [name, *all_members(paths, name)]:
        files = paths.experiment(one)
        for fold in gathered_folds(files):
            inputs = (read_stamp(files.fold(fold).stamp) or {"inputs": {}})["inputs"]
            changed |= {key for key in today if inputs.get(key, today[key]) != today[key]}
    return [tables[key] for key in sorted(changed)]


def _check_tables(paths: Paths, name: str, path: Path) -> None:
    """Refuse predictions of other images, whatever they are called."""
    if changed := changed_tables(paths, name):
        stale = [one for one in [name, *all_members(paths, name)] if changed_tables(paths, one)]
        again = making_command(paths, paths.competition, stale[-1])
        raise ArtifactError(
            f"{path}: must be of the images of {changed[0]}, which changed since; run '{again}'"
        )


def changed_members(paths: Paths, name: str) -> list[Path]:
    """List the files of an ensemble's members, and of theirs, that changed since it was made."""
    changed = []
    for ensemble in [name, *all_members(paths, name)]:
        for member, recorded in recorded_members(paths, ensemble).items():
            files = paths.experiment(member)
            pairs = zip((files.oof, files.test), recorded, strict=True)
            changed += [path for path, sha256 in pairs if digest(path) != sha256]
    return changed


def all_members(paths: Paths, name: str) -> list[str]:
    """List the members of an ensemble, their members, and so on; each once."""
    found: list[str] = []
    waiting = [name]
    while waiting:
        for member in recorded_members(paths, waiting.pop()):
            if member not in found:
                found.append(member)
                waiting.append(member)
    return found


def recorded_members(paths: Paths, name: str) -> dict[str, list[str]]:
    """Return what an ensemble was made of: name → sha256 of oof.npz and test.npz."""
    stamp = read_stamp(paths.experiment(name).stamp) or {"inputs": {}}
    members: dict[str, list[str]] = stamp["inputs"].get("members", {})
    return members


def making_command(paths: Paths, typed: str, name: str) -> str:
    """Return the command that makes an experiment or ensemble anew, of a competition as `typed`."""
    files = paths.experiment(name)
    config = _read_json(files.config) if files.config.is_file() else {}
    if "members" in config:
        command = f"pipeline ensemble {typed} --name {name}"
        return f"{command} {config.get('options', '')}".rstrip()
    source = name
    if files.best_toml.is_file():  # of a search, whose name no shipped file has
        source = str(files.best_toml)
    return f"pipeline train {typed} --experiment {source}"


def _check_exists(paths: Paths, competition: Competition, name: str) -> None:
    present = [result.name for result in list_results(paths)]
    if name not in present:
        command = "ensemble" if name == "ensemble" and present else "train"
        raise ArtifactError(
            f"experiment '{name}': must be one of the complete ones "
            f"({', '.join(present) or 'none yet'}); run 'pipeline {command} {competition.name}'"
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"a {type(content).__name__} instead of names and values")
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{path}: must be JSON, cannot be read ({error}); delete {path.parent} and train again"
        ) from error
    return content
