"""How good the best result is, what was submitted, and how to make it all again."""

import json
import shlex
from pathlib import Path
from typing import Any

from pipeline.reports.page.blocks import Block, Commands, Facts, Hint, Paragraph, Section, table
from pipeline.reports.page.report_data import Evidence, Judged
from pipeline.store.freshness import digest, read_stamp
from pipeline.store.paths import ExperimentPaths
from pipeline.store.results import Result, all_members, making_command, recorded_members
from pipeline.submission.submission_log import Entry, load_log


def build(evidence: Evidence) -> list[Section]:
    """Say the most important things first."""
    return [Section("summary", "Summary", [*_best(evidence), *_submissions(evidence)])]


def _best(evidence: Evidence) -> list[Block]:
    judged = evidence.judged
    if judged is None:
        stage = "folds" if evidence.folds is None else "train"
        text = "Nothing is trained over today's folds yet. The next command:"
        return [Hint(text, evidence.command(stage))]
    metrics = judged.result.metrics
    low, high = metrics["oof_interval_95"]
    facts = [
        ("best result", judged.result.name),
        (f"{metrics['metric']}, out of fold", f"{metrics['oof_score']:.4f}"),
        ("95 % interval", f"{low:.4f} to {high:.4f}"),
        ("log loss", f"{metrics['log_loss']:.4f}"),
        ("training images", f"{metrics['num_images']:,}"),
        ("test images", f"{len(evidence.test):,}"),
        ("classes", f"{evidence.competition.num_classes:,}"),
        ("results compared", f"{len(evidence.results):,}"),
    ]
    return [
        Facts(facts),
        Paragraph(
            "Out of fold means: every training image was predicted by a model that didn't learn "
            "from it, nor from a copy of it. The interval says how far the score would move on "
            f"other images of this kind. {_choice(evidence, judged)}"
        ),
        *_reproduce(evidence, judged),
    ]


def _choice(evidence: Evidence, judged: Judged) -> str:
    if len(evidence.results) == 1:
        return ""
    flattered = f"It is the best of {len(evidence.results)}, which flatters its score a little."
    nested = " The ensemble's score is nested: for every fold it was fitted on the others."
    return flattered + (nested if judged.result.is_ensemble else "")


def _reproduce(evidence: Evidence, judged: Judged) -> list[Block]:
    shown = judged.trained or judged.result
    environment = _environment(evidence.paths.experiment(shown.name))
    facts = [
        (name, str(environment[key]).replace("+", ", changed since"))
        for name, key in (("commit", "commit"), ("device", "device"), ("Python", "python"))
        if environment.get(key)
    ]
    blocks: list[Block] = [
        Paragraph("To make it again (what is up to date is left alone):"),
        Commands(_commands(evidence, judged.result)),
    ]
    return [*blocks, Facts(facts)] if facts else blocks


def _commands(evidence: Evidence, best: Result) -> list[str]:
    """List the stages that lead to a result."""
    members = all_members(evidence.paths, best.name)
    source = "" if evidence.competition.synthetic else "--from FOLDER"
    lines = [
        evidence.command("download", source),
        evidence.command("prepare"),
        evidence.command("folds"),
    ]
    # An ensemble comes after its members.
    lines += [_making(evidence, name) for name in [*reversed(members), best.name]]
    return [*lines, evidence.command("submit", f"--experiment {best.name}")]


def _making(evidence: Evidence, name: str) -> str:
    """Return the command that makes a result where there is nothing yet."""
    if evidence.paths.experiment(name).best_toml.is_file():
        return evidence.command("tune", _searching(evidence, name))
    command = making_command(evidence.paths, evidence.competition, name)
    command = command.replace(evidence.competition.name, evidence.typed, 1)
    if "--experiment" in command:
        return command
    members = recorded_members(evidence.paths, name)  # of whatever else there was
    return " ".join([command, *(f"--experiment {member}" for member in members)])


def _searching(evidence: Evidence, name: str) -> str:
    """Return a search's options; of a record that tells none, what the name tells."""
    record = read_stamp(evidence.paths.experiment(name).tuning_stamp) or {"inputs": {}}
    words: list[str] = record["inputs"].get("typed", ["--experiment", name.removesuffix("-tuned")])
    shown = [_shown(evidence, word) for word in words]
    return shlex.join([*shown, *_trials(record["inputs"])])


def _trials(inputs: dict[str, Any]) -> list[str]:
    return ["--trials", str(inputs["num_trials"])] if "num_trials" in inputs else []


def _shown(evidence: Evidence, word: str) -> str:
    """Return a word as it is, but a whole path as seen from the root, or without its folder."""
    path = Path(word)
    if not path.is_absolute():
        return word
    root = evidence.paths.root.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _environment(files: ExperimentPaths) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(files.environment.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # what can't be told is left out
        return {}
    return record


def _submissions(evidence: Evidence) -> list[Block]:
    log = load_log(evidence.paths.submission_log)
    if not log:
        if evidence.judged is None:
            return []
        command = evidence.command("submit", f"--experiment {evidence.judged.result.name}")
        return [Hint("Nothing was submitted yet. To write the file for the judge:", command)]
    current = {digest(path) for path in evidence.paths.list_submissions()}
    headings = ["experiment", "file", "written, UTC", "OOF", "public", "private", "state"]
    rows = [_row(entry, is_current=entry.sha256 in current) for entry in reversed(log)]
    caption = "Submissions: our score out of fold beside the judge's"
    return [table(caption, headings, rows)]


def _row(entry: Entry, *, is_current: bool) -> list[Any]:
    sent = "not sent by us" if entry.sent is None else f"sent {entry.sent:%Y-%m-%d %H:%M}"
    return [
        entry.experiment,
        entry.file,
        f"{entry.time:%Y-%m-%d %H:%M}",
        entry.oof_score,
        entry.public_score,
        entry.private_score,
        f"{'there now' if is_current else 'replaced'}, {sent}",
    ]
