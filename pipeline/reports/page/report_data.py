"""Read all data that the sections of the page are made from, once."""

import json
import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.config.competition import Competition
from pipeline.data.corrections import load_review, recorded_corrections
from pipeline.data.training_table import load_training_table
from pipeline.errors import ArtifactError, DataError
from pipeline.reports.style import in_words
from pipeline.scoring.calibration import expected_calibration_error, reliability_table
from pipeline.scoring.metrics import rank_results
from pipeline.scoring.oof import scored_anew
from pipeline.scoring.targets import class_indices
from pipeline.store.paths import Paths
from pipeline.store.predictions import FloatArray, IntArray
from pipeline.store.results import (
    Result,
    all_members,
    is_scored_by,
    list_results,
    load_probs,
    scored_by,
)
from pipeline.store.tables import ALWAYS_LEARNED, AUDIT_COLUMNS, load_test, load_train, read_table


@dataclass(frozen=True)
class BestResult:
    """The best result, which the page shows in detail.

    Attributes:
        result: Its name, config and metrics.
        probs: Its OOF predictions, `(N, K)`, rows in the order of the training table.
        targets: True class indices, `(N,)`.
        trained: The best experiment with checkpoints that it consists of: itself, or a member of
            an ensemble. None where none has any.
    """

    result: Result
    probs: FloatArray
    targets: IntArray
    trained: Result | None


@dataclass(frozen=True)
class ReportData:
    """All that the page shows of a competition.

    Attributes:
        paths: Its files.
        competition: Its name, classes and metric.
        typed: The competition as the user names it on the command line.
        train: The training images that folds hold out, rows of `train.csv`; all before the split.
        test: The test images.
        folds: The fold table, in the order of `train`; None before it is made.
        audit: Content of `audit.json`.
        findings: Rows of `audit.csv`.
        results: Experiments and ensembles that are complete and current, the best first.
        calibration_errors: The ECE of each result, by its name.
        left_out: The reason why a result can't be shown, by its name.
        rescored: What scored a result before the competition's file changed, by its name.
        best: The best result; None before there is one.
        reviewed: What `review` wrote, rows of SUSPECT_COLUMNS by image_id.
        decided: Ids of the images whose label a person decided on, by whatever way.
        always_learned: The training images that no fold holds out, rows as those of `train`.
    """

    paths: Paths
    competition: Competition
    typed: str
    train: pd.DataFrame
    test: pd.DataFrame
    folds: pd.DataFrame | None
    audit: dict[str, Any]
    findings: pd.DataFrame
    results: tuple[Result, ...] = ()
    calibration_errors: dict[str, float] | None = None
    left_out: dict[str, str] | None = None
    rescored: dict[str, str] = field(default_factory=dict)
    best: BestResult | None = None
    reviewed: dict[str, list[str]] = field(default_factory=dict)
    decided: frozenset[str] = frozenset()
    always_learned: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def taking_part(self) -> pd.DataFrame:
        """The training images that are learned from, those that no fold holds out at the end."""
        return pd.concat([self.train, self.always_learned], ignore_index=True)

    @property
    def names(self) -> list[str]:
        """The classes' names as sentences show them."""
        return [in_words(name) for name in self.competition.classes]

    def below_root(self, path: Path) -> str:
        """Format a file's path relative to the project's root."""
        return path.relative_to(self.paths.root).as_posix()

    def in_a_command(self, path: Path) -> str:
        """Format a file as commands of the page name it: as the root is named, or not told."""
        below = self.below_root(path)
        if " --root " in self.typed:
            return shlex.quote((self.paths.root / below).as_posix())
        is_in_variable = str(self.paths.root) == os.environ.get("PIPELINE_ROOT")
        return ('"$PIPELINE_ROOT"/' if is_in_variable else "") + shlex.quote(below)

    def command(self, stage: str, options: str = "") -> str:
        """Format a command line about this competition."""
        return f"pipeline {stage} {self.typed} {options}".rstrip()


def read_report_data(paths: Paths, competition: Competition, typed: str) -> ReportData:
    """Read the tables and the predictions of every result.

    Raises:
        DataError: The tables of `prepare` are missing or damaged, or the fold table is older.
        ArtifactError: A result's files are damaged.
    """
    given = load_train(paths)
    corrections = recorded_corrections(paths)
    reviewed = load_review(paths, set(given["image_id"]), competition.classes)
    tables: dict[str, Any] = {
        "reviewed": reviewed,
        "decided": frozenset({*reviewed, *(corrections.decided if corrections else ())}),
        "paths": paths,
        "competition": competition,
        "typed": typed,
        "test": load_test(paths),
        "audit": _read_audit(paths),
        "findings": read_table(
            paths.audit_csv, AUDIT_COLUMNS, f"pipeline prepare {competition.name}"
        ),
    }
    if not paths.folds_csv.is_file():
        return ReportData(train=given, folds=None, **tables)
    train, folds = load_training_table(paths)
    is_held = folds["fold"] != ALWAYS_LEARNED
    tables["always_learned"] = train[~is_held]
    train, folds = (one[is_held].reset_index(drop=True) for one in (train, folds))
    return ReportData(
        train=train, folds=folds, **tables, **select_best(paths, competition, train, folds)
    )


def _read_audit(paths: Paths) -> dict[str, Any]:
    try:
        audit: dict[str, Any] = json.loads(paths.audit_json.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{paths.audit_json}: must be JSON, cannot be read ({error}); run 'pipeline prepare "
            f"{paths.competition}'"
        ) from error
    return audit


def select_best(
    paths: Paths, competition: Competition, train: pd.DataFrame, folds: pd.DataFrame
) -> dict[str, Any]:
    """Rank the results and select the best one; each is scored as the competition says now.

    They are read one after the other: only the best one's predictions are kept in memory.

    Returns:
        The fields of `ReportData` about results.
    """
    image_ids, targets = train["image_id"].tolist(), class_indices(competition, train)
    errors: dict[str, float] = {}
    left_out: dict[str, str] = {}
    rescored: dict[str, str] = {}
    current = []
    for result in list_results(paths):
        try:
            probs = load_probs(paths, competition, result.name, "oof", image_ids)
        except ArtifactError as error:
            left_out[result.name] = str(error).replace(f"{paths.root.absolute()}{os.sep}", "")
            continue
        if competition.is_by_class:
            errors[result.name] = expected_calibration_error(reliability_table(probs, targets))
        if not is_scored_by(result, competition):
            rescored[result.name] = scored_by(result)
        current.append(scored_anew(competition, folds, result, probs))
    ranked = rank_results(competition, current)
    best = None
    if ranked:
        name = ranked[0].name
        probs = load_probs(paths, competition, name, "oof", image_ids)
        parts = {name, *all_members(paths, name)}
        trained = next((x for x in ranked if x.name in parts and not x.is_ensemble), None)
        best = BestResult(ranked[0], probs, targets, trained)
    return {
        "results": tuple(ranked),
        "calibration_errors": errors,
        "left_out": left_out,
        "rescored": rescored,
        "best": best,
    }
