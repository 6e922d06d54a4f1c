"""Show the best result, the submissions, and the commands that make it all again."""

import json
import shlex
from pathlib import Path
from typing import Any

from pipeline.reports.page.blocks import Block, Commands, Facts, Hint, Paragraph, Section, table
from pipeline.reports.page.report_data import BestResult, ReportData
from pipeline.store.freshness import digest, read_stamp
from pipeline.store.paths import ExperimentPaths
from pipeline.store.results import Result, all_members, making_command, recorded_members
from pipeline.submission.submission_log import Entry, load_log


def build(data: ReportData) -> list[Section]:
    """Show the best result, how to make it again, and the submissions."""
    return [Section("summary", "Summary", [*_best(data), *_submissions(data)])]


def _best(data: ReportData) -> list[Block]:
    best = data.best
    if best is None:
        stage = "folds" if data.folds is None else "train"
        text = "Nothing is trained over today's folds yet. The next command:"
        return [Hint(text, data.command(stage))]
    metrics = best.result.metrics
    low, high = metrics["oof_interval_95"]
    facts = [
        ("best result", best.result.name),
        (f"{metrics['metric']}, out of fold", f"{metrics['oof_score']:.4f}"),
        ("95 % interval", f"{low:.4f} to {high:.4f}"),
        ("log loss", f"{metrics['log_loss']:.4f}"),
        ("training images", f"{metrics['num_images']:,}"),
        ("test images", f"{len(data.test):,}"),
        ("classes", f"{data.competition.num_classes:,}"),
        ("results compared", f"{len(data.results):,}"),
    ]
    return [
        Facts(facts),
        Paragraph(
            "Out of fold means: every training image was predicted by a model that didn't learn "
            "from it, nor from a copy of it. The interval says how far the score would move on "
            f"other images of this kind. {_selection_note(data, best)}"
        ),
        *_reproduce(data, best),
    ]


def _selection_note(data: ReportData, best: BestResult) -> str:
    if len(data.results) == 1:
        return ""
    flattered = f"It is the best of {len(data.results)}, which flatters its score a little."
    nested = " The ensemble's score is nested: for every fold it was fitted on the others."
    return flattered + (nested if best.result.is_ensemble else "")


def _reproduce(data: ReportData, best: BestResult) -> list[Block]:
    shown = best.trained or best.result
    environment = _environment(data.paths.experiment(shown.name))
    facts = [
        (name, str(environment[key]).replace("+", ", changed since"))
        for name, key in (("commit", "commit"), ("device", "device"), ("Python", "python"))
        if environment.get(key)
    ]
    blocks: list[Block] = [
        Paragraph("To make it again (what is up to date is left alone):"),
        Commands(_commands(data, best.result)),
    ]
    return [*blocks, Facts(facts)] if facts else blocks


def _commands(data: ReportData, best: Result) -> list[str]:
    """List the commands that lead to a result."""
    members = all_members(data.paths, best.name)
    source = "" if data.competition.synthetic else "--from FOLDER"
    lines = [
        data.command("download", source),
        data.command("prepare"),
        data.command("folds"),
    ]
    # An ensemble comes after its members.
    lines += [_making_command(data, name) for name in [*reversed(members), best.name]]
    return [*lines, data.command("submit", f"--experiment {best.name}")]


def _making_command(data: ReportData, name: str) -> str:
    """Format the command that makes a result where there is nothing yet."""
    if data.paths.experiment(name).best_toml.is_file():
        return data.command("tune", _search_options(data, name))
    command = making_command(data.paths, data.competition, name)
    command = command.replace(data.competition.name, data.typed, 1)
    if "--experiment" in command:
        return command
    members = recorded_members(data.paths, name)  # of whatever else there was
    return " ".join([command, *(f"--experiment {member}" for member in members)])


def _search_options(data: ReportData, name: str) -> str:
    """Format a search's options; where the record has none, by the result's name."""
    record = read_stamp(data.paths.experiment(name).tuning_stamp) or {"inputs": {}}
    words: list[str] = record["inputs"].get("typed", ["--experiment", name.removesuffix("-tuned")])
    shown = [_shorten_path(data, word) for word in words]
    return shlex.join([*shown, *_trials(record["inputs"])])


def _trials(inputs: dict[str, Any]) -> list[str]:
    return ["--trials", str(inputs["num_trials"])] if "num_trials" in inputs else []


def _shorten_path(data: ReportData, word: str) -> str:
    """Shorten an absolute path to one relative to the root, or to its name; keep other words."""
    path = Path(word)
    if not path.is_absolute():
        return word
    root = data.paths.root.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _environment(files: ExperimentPaths) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(files.environment.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # what isn't recorded is left out
        return {}
    return record


def _submissions(data: ReportData) -> list[Block]:
    log = load_log(data.paths.submission_log)
    if not log:
        if data.best is None:
            return []
        command = data.command("submit", f"--experiment {data.best.result.name}")
        return [Hint("Nothing was submitted yet. To write the file for the judge:", command)]
    current = {digest(path) for path in data.paths.list_submissions()}
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
