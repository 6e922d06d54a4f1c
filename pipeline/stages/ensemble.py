"""Blend several experiments' predictions by weights fitted on their OOF predictions."""

import json
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config.competition import MAX_NAME_LENGTH, NAME_PATTERN, Competition
from pipeline.config.strict import did_you_mean
from pipeline.console import result, say
from pipeline.data.training_table import fill_with_prior, is_readable, warn_of_unreadable
from pipeline.errors import ArtifactError, ConfigError
from pipeline.reports.ensemble_results import members_table, methods_table, save_reliability_diagram
from pipeline.scoring.decisions import decisions_for, needs_decisions
from pipeline.scoring.ensembling.blending import Member, group_seeds
from pipeline.scoring.ensembling.build import (
    FittedEnsemble,
    MemberProbs,
    Recalibration,
    build,
    describe_ensemble,
)
from pipeline.scoring.ensembling.ensemble_methods import METHODS
from pipeline.scoring.ensembling.selection import AUTO, FALLBACK
from pipeline.scoring.oof import describe_oof
from pipeline.scoring.targets import Judged, class_indices, image_groups
from pipeline.store.atomic import remove, write_text
from pipeline.store.freshness import Stamp, digest, file_sha256
from pipeline.store.locks import held
from pipeline.store.paths import ExperimentPaths, Paths
from pipeline.store.predictions import AnyProbs, FloatArray, Likeliest, Predictions
from pipeline.store.results import all_members, list_results, load_any_probs, load_result
from pipeline.store.tables import held_out, load_folds, load_test


@dataclass(frozen=True)
class _Options:
    """The options of the command."""

    experiments: list[str]
    method: str
    prune: bool

    def as_typed(self) -> str:
        """Return the options as one would type them, without the defaults."""
        typed = [f"--experiment {name}" for name in self.experiments]
        typed += [f"--method {self.method}"] * (self.method != AUTO) + ["--prune"] * self.prune
        return " ".join(typed)


@dataclass(frozen=True)
class _Inputs:
    """The members' predictions, and the tables that they belong to."""

    folds: pd.DataFrame
    test: pd.DataFrame
    members: list[Member]
    probs: MemberProbs  # of the readable test images


def run(
    paths: Paths,
    competition: Competition,
    experiment_names: list[str],
    name: str,
    method: str = AUTO,
    *,
    prune: bool = False,
) -> None:
    """Fit an ensemble of the named experiments, or of all, and predict with it.

    For the test images everything is fitted on all training images; for the OOF predictions, fold
    by fold, on the other folds, so that their score is out-of-fold, too.

    Reads the members' oof.npz and test.npz, folds/COMPETITION.csv and data/COMPETITION/test.csv.

    Writes the same two, config.json, metrics.json and reliability.png to
    artifacts/COMPETITION/NAME; prints a table of the methods and one of the members.

    Fails if there is no such method, or the ensemble's name is a member's or a trained experiment's
    or can't be one (ConfigError), or if there are no members, or one was trained over other folds,
    classes or images (ArtifactError).
    """
    title = f"ensemble {competition.name} {name}"
    options = _Options(sorted(set(experiment_names)), method, prune)
    _check_method(competition, method, prune=prune)
    names = _choose_members(paths, competition, options.experiments, name)
    out = paths.experiment(name)
    sources = {
        member: [digest(paths.experiment(member).oof), digest(paths.experiment(member).test)]
        for member in names
    }
    asked = {"metric": competition.scoring, "method": method, "prune": prune}
    asked |= {"fallback": FALLBACK} if method == AUTO else {}
    stamp = Stamp(out.stamp, {"members": sources, **asked})
    inputs = _load(paths, competition, names)
    if stamp.is_fresh():
        say(f"{title}: up to date")
        return
    with held(out.lock, title):
        if stamp.is_fresh():
            say(f"{title}: up to date, another command has just made it")
            return
        remove(out.stamp)  # killed from here on, the ensemble isn't complete
        ensemble = _build(inputs, options)
        metrics = describe_oof(competition, inputs.folds, ensemble.oof_probs)
        metrics |= describe_ensemble(ensemble, inputs.members)
        weights = ensemble.weights_by_experiment(inputs.members)
        config = {"members": weights, "method": ensemble.method, "options": options.as_typed()}
        _save_probs(competition, file_sha256(paths.folds_csv), out, inputs, ensemble)
        for path, content in ((out.config, config), (out.metrics, metrics)):
            write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        drawn = _save_diagram(ensemble, f"{competition.name} {name}, out of fold", out.reliability)
        stamp.write([out.oof, out.test, out.config, out.metrics, *drawn])
    _print_summary(title, competition, metrics, ensemble)
    low, high = metrics["oof_interval_95"]
    blended_of = " + ".join(f"{weight:.2f} {member}" for member, weight in weights.items())
    say(
        f"{title}: OOF {metrics['metric']} {metrics['oof_score']:.4f} [{low:.4f}, {high:.4f}], "
        f"{ensemble.method} of {blended_of} -> {out.experiment_dir}"
    )


def _build(inputs: _Inputs, options: _Options) -> FittedEnsemble:
    from threadpoolctl import (
        threadpool_limits,  # here: a stage that is up to date needn't wait for it
    )

    with threadpool_limits(1):  # small matrices: threads only wait; and the same bits everywhere
        return build(inputs.probs, options.method, prune=options.prune)


def _save_diagram(ensemble: FittedEnsemble, title: str, path: Path) -> list[Path]:
    """Draw how sure the ensemble is and was; nothing where it isn't calibrated."""
    change = ensemble.recalibration
    if change is None:
        return []
    curves = {"as blended": change.before, "at its best temperature": change.after}
    save_reliability_diagram(curves, title, path)
    return [path]


def _check_method(competition: Competition, method: str, *, prune: bool) -> None:
    known = [AUTO, *METHODS]
    if not competition.is_by_class and (method not in (AUTO, "mean") or prune):
        raise ConfigError(
            f"--method {method}: must be 'mean', without --prune, where images don't have one "
            "class and one answer each"
        )
    if method not in known:
        raise ConfigError(
            f"--method {method}: must be one of {', '.join(known)}{did_you_mean(method, known)}"
        )


def _choose_members(
    paths: Paths, competition: Competition, experiment_names: list[str], name: str
) -> list[str]:
    if not re.fullmatch(NAME_PATTERN, name) or len(name) > MAX_NAME_LENGTH:
        raise ConfigError(f"--name {name}: must match {NAME_PATTERN}, as it names a folder")
    trained = [result.name for result in list_results(paths) if not result.is_ensemble]
    if name in trained or name in experiment_names:
        raise ConfigError(
            f"--name {name}: must differ from every experiment's name, one has it; choose another"
        )
    circular = [member for member in experiment_names if name in all_members(paths, member)]
    if circular:
        raise ConfigError(
            f"--name {name}: must not be part of its own members, '{circular[0]}' is made of it; "
            f"choose another name"
        )
    members = experiment_names or trained
    if not members:
        raise ArtifactError(
            f"{paths.artifacts_dir}: must hold trained experiments, holds none; run 'pipeline "
            f"train {competition.name}'"
        )
    return members


def _load(paths: Paths, competition: Competition, names: list[str]) -> _Inputs:
    folds, test = load_folds(paths), load_test(paths)
    warn_of_unreadable(test)
    held = held_out(folds)
    oof_ids, test_ids = held["image_id"].tolist(), test["image_id"].tolist()
    oof = {name: load_any_probs(paths, competition, name, "oof", oof_ids) for name in names}
    test_probs = {
        name: load_any_probs(paths, competition, name, "test", test_ids) for name in names
    }
    members = group_seeds([load_result(paths.experiment(name)) for name in names])
    is_read = is_readable(test).to_numpy()
    probs = MemberProbs(
        oof=_stacked([member.mean(oof) for member in members]),
        test=_stacked([member.mean(test_probs)[is_read] for member in members]),
        targets=class_indices(competition, held),
        folds=held["fold"].to_numpy(),
        metric=competition.metric,
        groups=image_groups(held),
        judged=None if competition.is_by_class else Judged(competition, held),
        decide=partial(decisions_for, competition) if needs_decisions(competition) else None,
    )
    return _Inputs(folds, test, members, probs)


def _stacked(members: list[AnyProbs]) -> FloatArray | list[AnyProbs]:
    """Stack members, `(M, N, K)`; of very many classes they stay a list."""
    dense = [one for one in members if not isinstance(one, Likeliest)]
    return np.stack(dense) if dense else members


def _save_probs(
    competition: Competition,
    folds_sha256: str,
    out: ExperimentPaths,
    inputs: _Inputs,
    ensemble: FittedEnsemble,
) -> None:
    test_probs = fill_with_prior(ensemble.test_probs, inputs.test, inputs.probs.targets)
    for path, table, probs in (
        (out.oof, held_out(inputs.folds), ensemble.oof_probs),
        (out.test, inputs.test, test_probs),
    ):
        image_ids, class_names = table["image_id"].tolist(), list(competition.classes)
        kind = (competition.has_several, competition.is_number)
        Predictions(image_ids, probs, class_names, folds_sha256, *kind).save(path)


def _print_summary(
    title: str, competition: Competition, metrics: dict[str, Any], ensemble: FittedEnsemble
) -> None:
    """Print the groups of seeds, the tables, pruned members and the calibration."""
    for member in metrics["members"]:
        if member["copies"]:
            copies = ", ".join(member["copies"])
            say(f"{title}: {copies}: the same values and seed as {member['name']}, counted once")
        if len(member["experiments"]) > 1:
            seeds = ", ".join(member["experiments"])
            say(f"{title}: {seeds} differ in nothing but the seed, their mean is one member")
    if ensemble.methods:
        result(methods_table(ensemble.methods, competition.metric, ensemble.method))
    result(members_table(metrics["members"]))
    idle = [member["name"] for member in metrics["members"] if not member["helps"]]
    if metrics["pruned"]:
        say(f"{title}: dropped, as it isn't worse without: {', '.join(metrics['pruned'])}")
    elif idle:
        say(f"{title}: no help beyond noise: {', '.join(idle)}; --prune drops what isn't missed")
    if ensemble.recalibration is not None:
        _print_calibration(title, competition, ensemble.recalibration)


def _print_calibration(title: str, competition: Competition, change: Recalibration) -> None:
    applied = "applied" if change.is_applied else "not applied"
    if competition.is_ordered:
        applied += ", thresholds are found without it"
    elif competition.metric != "log_loss":
        applied += f", {competition.metric} doesn't depend on it"
    say(f"{title}: calibration by {change}; {applied}")
