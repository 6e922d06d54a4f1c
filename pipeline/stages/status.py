"""Show each stage's state and the scores so far."""

import json
from pathlib import Path

from rich.table import Table

from pipeline.config.competition import Competition
from pipeline.console import result
from pipeline.data.corrections import recorded_corrections
from pipeline.ladder.course import load_course
from pipeline.reports.ensemble_results import course_table
from pipeline.scoring.metrics import rank_results
from pipeline.store.freshness import Stamp, digest, read_stamp
from pipeline.store.paths import Paths
from pipeline.store.results import (
    Result,
    changed_members,
    changed_tables,
    gathered_folds,
    is_scored_by,
    list_results,
    load_result,
    recorded_members,
    scored_by,
)
from pipeline.submission.submission_log import Entry, load_log

DONE, MISSING, STALE = "done", "to do", "stale"


def run(paths: Paths, competition: Competition) -> None:
    """Tabulate the stages, the submissions and the scores.

    Reads all files of the competition below the root.

    Writes nothing.

    Fails if a trained experiment's files are damaged (ArtifactError) or the log is (DataError).
    """
    stages = Table("stage", "state", "what", title=f"{competition.name}: {competition.title}")
    for column in stages.columns:
        column.overflow = "fold"
    for stage, state, what in _stages(paths):
        stages.add_row(stage, state, what)
    result(stages)
    log = load_log(paths.submission_log)
    if log:
        result(_submissions(paths, log))
    course = load_course(paths)
    if course is not None and course.reached:
        result(course_table(course))
    results = list_results(paths)
    if results:
        result(_scores(paths, competition, results))


def _stages(paths: Paths) -> list[tuple[str, str, str]]:
    rows = [
        ("download", _state(paths.download_stamp), str(paths.images_dir)),
        ("prepare", _state(paths.prepare_stamp), _describe_audit(paths.audit_json)),
        ("folds", _folds_state(paths), _describe_folds(paths)),
    ]
    configs = paths.artifacts_dir.glob("[!.]*/config.json")  # other folders are no experiments
    experiments = [path.parent for path in configs]
    if not experiments:
        rows += [("train", MISSING, ""), ("ensemble", MISSING, "")]
    rows += [
        (_stage_of(paths, path.name), _experiment_state(paths, path.name), str(path))
        for path in sorted(experiments)
    ]
    submissions = paths.list_submissions()
    rows.append(("submit", DONE if submissions else MISSING, "\n".join(map(str, submissions))))
    return rows


def _stage_of(paths: Paths, name: str) -> str:
    files = paths.experiment(name)
    if files.tuning_stamp.is_file():
        return f"tune {name}"
    is_ensemble = files.stamp.is_file() and load_result(files).is_ensemble
    return f"{'ensemble' if is_ensemble else 'train'} {name}"


def _state(stamp: Path) -> str:
    if read_stamp(stamp) is None:
        return MISSING
    return STALE if Stamp(stamp, {}).damaged() else DONE


def _describe_audit(path: Path) -> str:
    if not path.is_file():
        return ""
    audit = json.loads(path.read_text(encoding="utf-8"))
    images = f"{audit['train']['num_images']:,} train, {audit['test']['num_images']:,} test images"
    return ", ".join([images, *(f"{count} {kind}" for kind, count in audit["findings"].items())])


def _folds_state(paths: Paths) -> str:
    stamp = read_stamp(paths.folds_stamp)
    if stamp is None:
        return MISSING
    return DONE if stamp["inputs"]["train"] == digest(paths.train_csv) else STALE


def _describe_folds(paths: Paths) -> str:
    corrections = recorded_corrections(paths)
    return f"{paths.folds_csv}\n{corrections}" if corrections else str(paths.folds_csv)


def _experiment_state(paths: Paths, name: str) -> str:
    """Return an experiment's state: done, stale, or the number of today's folds that are done."""
    files = paths.experiment(name)
    places = [files.fold(fold).stamp for fold in gathered_folds(files)]
    places = places or sorted(files.experiment_dir.glob("fold*/stamp.json"))
    stamps = [read_stamp(path) for path in places]
    current = digest(paths.folds_csv)
    fresh = [stamp for stamp in stamps if stamp and stamp["inputs"]["folds"] == current]
    if stamps and len(fresh) < len(stamps):
        return STALE
    if files.stamp.is_file():
        is_changed = Stamp(files.stamp, {}).damaged() or changed_members(paths, name)
        members = [_experiment_state(paths, one) for one in recorded_members(paths, name)]
        is_changed = is_changed or changed_tables(paths, name)
        return STALE if is_changed or STALE in members else DONE
    return f"{len(fresh)} folds done"


def _scores(paths: Paths, competition: Competition, results: list[Result]) -> Table:
    """Tabulate the complete experiments, the best first."""
    title = f"{competition.metric}, out of fold, with 95 % interval"
    table = Table("experiment", "OOF", "folds", "log loss", "seconds", title=title)
    table.columns[0].overflow = "fold"
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    for one in rank_results(competition, results):
        metrics = one.metrics
        low, high = metrics["oof_interval_95"]
        scores = [value for value in metrics["fold_scores"] if value is not None]
        other = "" if is_scored_by(one, competition) else f"{scored_by(one)} "
        submitted = " *" if paths.submission(one.name).is_file() else ""
        table.add_row(
            one.name + submitted,
            f"{other}{metrics['oof_score']:.4f} [{low:.4f}, {high:.4f}]",
            f"{min(scores):.3f}..{max(scores):.3f}" if scores else "",
            f"{metrics['log_loss']:.4f}" if "log_loss" in metrics else "",
            f"{metrics['seconds']:.0f}" if "seconds" in metrics else "",  # blending takes none
        )
    table.caption = "* is written as a submission; an ensemble takes its members' seconds"
    return table


def _submissions(paths: Paths, log: list[Entry]) -> Table:
    """Tabulate what was submitted, the newest first: our score beside the judge's."""
    table = Table("written", "experiment", "metric", "OOF", "public", "private", "sent")
    table.title, table.caption = "submissions, UTC", "* is the file that is there now"
    for column in table.columns[3:6]:
        column.justify = "right"
    current = {digest(path) for path in paths.list_submissions()}
    for entry in reversed(log):
        scores = (entry.oof_score, entry.public_score, entry.private_score)
        table.add_row(
            f"{entry.time:%Y-%m-%d %H:%M}",
            entry.experiment + (" *" if entry.sha256 in current else ""),
            entry.metric,
            *("" if score is None else f"{score:.5f}" for score in scores),  # as Kaggle's tables
            "" if entry.sent is None else f"{entry.sent:%Y-%m-%d %H:%M}",
        )
    return table
