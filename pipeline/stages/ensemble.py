"""Blend experiments by weights fitted on out-of-fold predictions."""

import json
import re

from pipeline.atomic import write_text
from pipeline.competition import MAX_NAME_LENGTH, NAME_PATTERN, Competition
from pipeline.console import say
from pipeline.errors import ArtifactError, ConfigError
from pipeline.freshness import Stamp, digest, file_sha256
from pipeline.paths import Paths
from pipeline.predictions import Predictions
from pipeline.priors import warn_of_unreadable
from pipeline.results import list_results, load_probs
from pipeline.scoring.blending import blend, cross_fitted_blend, fit_weights
from pipeline.scoring.oof import describe_oof, targets_of
from pipeline.tables import load_folds, load_test


def run(paths: Paths, competition: Competition, experiment_names: list[str], name: str) -> None:
    """Read the members' oof.npz and test.npz; write the ensemble's, with its metrics.

    The OOF predictions are blended fold by fold with weights fitted on the other folds, so their
    score is honest; the test predictions with weights fitted on all.

    Raises:
        ConfigError: The ensemble's name is a member's or a trained experiment's, or can't be one.
        ArtifactError: There are no members, or one was trained over other folds, classes or images.
    """
    title = f"ensemble {competition.name} {name}"
    members = _choose_members(paths, competition, experiment_names, name)
    out = paths.experiment(name)
    sources = {
        member: [digest(paths.experiment(member).oof), digest(paths.experiment(member).test)]
        for member in members
    }
    stamp = Stamp(out.stamp, {"members": sources, "metric": competition.metric})
    folds, test = load_folds(paths), load_test(paths)
    warn_of_unreadable(test)
    oof_ids, test_ids = folds["image_id"].tolist(), test["image_id"].tolist()
    folds_sha256 = file_sha256(paths.folds_csv)
    oof = [load_probs(paths, competition, member, "oof", oof_ids) for member in members]
    test_probs = [load_probs(paths, competition, member, "test", test_ids) for member in members]
    if stamp.is_fresh():
        say(f"{title}: up to date")
        return

    out.stamp.unlink(missing_ok=True)  # killed from here on, the ensemble isn't complete
    targets = targets_of(competition, folds)
    oof_probs = cross_fitted_blend(oof, targets, folds["fold"].to_numpy())
    weights = fit_weights(oof, targets)
    class_names = list(competition.classes)
    Predictions(oof_ids, oof_probs, class_names, folds_sha256).save(out.oof)
    blended = blend(test_probs, weights)
    Predictions(test_ids, blended, class_names, folds_sha256).save(out.test)
    shares = {
        member: round(float(weight), 6) for member, weight in zip(members, weights, strict=True)
    }
    metrics = describe_oof(competition, folds, oof_probs)
    for path, content in ((out.config, {"members": shares}), (out.metrics, metrics)):
        write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    stamp.write([out.oof, out.test, out.config, out.metrics])
    low, high = metrics["oof_interval_95"]
    blended_of = " + ".join(f"{weight:.2f} {member}" for member, weight in shares.items())
    say(
        f"{title}: OOF {metrics['metric']} {metrics['oof_score']:.4f} [{low:.4f}, {high:.4f}], "
        f"{blended_of} -> {out.experiment_dir}"
    )


def _choose_members(
    paths: Paths, competition: Competition, experiment_names: list[str], name: str
) -> list[str]:
    if not re.fullmatch(NAME_PATTERN, name) or len(name) > MAX_NAME_LENGTH:
        raise ConfigError(f"--name {name}: must match {NAME_PATTERN}, as it names a folder")
    trained = [result.name for result in list_results(paths) if not result.is_ensemble]
    if name in trained or name in experiment_names:
        raise ConfigError(
            f"--name {name}: must differ from every experiment's name; choose another one"
        )
    members = sorted(set(experiment_names)) or trained
    if not members:
        raise ArtifactError(
            f"{paths.artifacts_dir}: must hold trained experiments, holds none; run 'pipeline "
            f"train {competition.name}'"
        )
    return members
