"""Show what was found and what to do next, and the commands that make it all again."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.corrections import num_pending, recorded_corrections
from pipeline.ladder.course import load_course
from pipeline.reports.page.blocks import (
    Block,
    Commands,
    Facts,
    Finding,
    Findings,
    Fold,
    Section,
)
from pipeline.reports.page.report_data import BestResult, ReportData
from pipeline.reports.page.sections.label_review import conflicts
from pipeline.scoring.metrics import confusion
from pipeline.scoring.oof import find_suspects
from pipeline.store.freshness import digest, read_stamp
from pipeline.store.paths import ExperimentPaths
from pipeline.store.results import Result, all_members, making_command, recorded_members
from pipeline.submission.submission_log import load_log

SURE = 0.9  # of another class than the label's: such a label is worth a look
MANY_SURE = 3
LONGEST_FACT = 41  # a commit, with "+" where it was changed since
TWINS = ("train-test-twin", "exact-duplicate", "near-duplicate")


def build(data: ReportData) -> list[Section]:
    """Show the page in a few lines, and what else could be done."""
    first, *others = _next_steps(data)
    by_class = () if not data.competition.is_by_class else (*_mistakes(data), *_labels(data))
    lines = [*_result(data), *by_class, *_images(data), first]
    blocks: list[Block] = [Findings(lines)]
    if others:
        title = "After that: which experiment next, and what else could be done"
        blocks.append(Fold(title, [Findings(others)]))
    return [Section("summary", "Findings", blocks)]


def build_again(data: ReportData) -> list[Section]:
    """Show the commands that make the best result again, and what it was made with."""
    if data.best is None:
        return []
    return [Section("again", "Make it again", _reproduce(data, data.best))]


def _result(data: ReportData) -> Iterator[Finding]:
    if data.best is None:
        return
    best = data.best.result
    low, high = best.metrics["oof_interval_95"]
    among = f", the best of {len(data.results)}" if len(data.results) > 1 else ""
    loss = best.metrics.get("log_loss")
    text = (
        f"{best.name}{among}: {best.metrics['metric']} {best.metrics['oof_score']:.4f} out of "
        f"fold, {low:.4f} to {high:.4f} with 95 %"
        f"{'' if loss is None else f'; log loss {loss:.4f}'}."
    )
    yield Finding("Result", text, "experiments")


def _mistakes(data: ReportData) -> Iterator[Finding]:
    best = data.best
    if best is None:
        return
    names = data.names
    counts = confusion(best.targets, best.probs.argmax(axis=1), len(names))
    off = counts - np.diag(counts.diagonal())
    if not off.any():
        yield Finding("Mistakes", "None out of fold.", "confusion")
        return
    true, wrong = divmod(int(off.argmax()), len(names))
    recalls = counts.diagonal() / np.maximum(counts.sum(axis=1), 1)
    recalls[counts.sum(axis=1) == 0] = 1
    hardest = int(recalls.argmin())
    text = (
        f"{off.sum():,} of {counts.sum():,} images. Most often {names[true]} is taken for "
        f"{names[wrong]} ({off[true, wrong]:,}); of {names[hardest]} least is found "
        f"({recalls[hardest]:.0%})."
    )
    yield Finding("Mistakes", text, "confusion")


def _labels(data: ReportData) -> Iterator[Finding]:
    corrections = recorded_corrections(data.paths)
    parts = [f"In effect: {corrections.counted()}."] if corrections else []
    if data.best is not None:
        is_open, sure, decided = _suspects(data, data.best)
        parts.append(
            f"{len(is_open):,} are contradicted by the predictions, {len(sure):,} of them surely."
        )
        if decided:
            parts.append(f"{len(decided):,} more were looked at and decided.")
    num_conflicts = len(conflicts(data))
    if num_conflicts:
        parts.append(f"{num_conflicts:,} images have copies with other labels.")
    if parts:
        is_shown = data.best is not None or num_conflicts or corrections
        yield Finding("Labels", " ".join(parts), "review" if is_shown else "")


def _suspects(data: ReportData, best: BestResult) -> tuple[set[str], set[str], set[str]]:
    """Collect the images whose label is in doubt: all open ones, the sure ones, those decided."""
    found = find_suspects(best.probs, best.targets)
    ids = data.train["image_id"].iloc[found["row"]].to_numpy()
    named, sure = set(ids.tolist()), set(ids[(found["prob_suggested"] >= SURE).to_numpy()].tolist())
    return named - data.decided, sure - data.decided, named & data.decided


def _images(data: ReportData) -> Iterator[Finding]:
    findings = data.findings
    counts = {kind: int((findings["finding"] == kind).sum()) for kind in ("unreadable", *TWINS)}
    words = {
        "unreadable": "unreadable",
        "train-test-twin": "test images that equal a training image",
        "exact-duplicate": "copies byte by byte",
        "near-duplicate": "near copies",
    }
    others = len(findings) - sum(counts.values())
    listed = [f"{counts[kind]:,} {words[kind]}" for kind in words if counts[kind]]
    odd = ", ".join([*listed, *([f"{others:,} other findings"] if others else [])])
    of = "" if data.competition.is_number else f" of {data.competition.num_classes:,} classes"
    text = f"{len(data.taking_part):,} training images{of}, {len(data.test):,} test images."
    text += f" {odd or 'Nothing is odd about the files'}."
    yield Finding("Data", text, "data")


def _next_steps(data: ReportData) -> list[Finding]:
    """List what to do next, the most urgent first."""
    steps = [
        *_to_correct(data), *_to_train(data), *_to_review(data), *_to_improve(data),
        *_to_submit(data),
    ]  # fmt: skip
    if steps:
        return steps
    text = "All of it was done. More images of the hardest classes help most from here."
    return [Finding("Next", text, "confusion")]


def _to_train(data: ReportData) -> Iterator[Finding]:
    if data.folds is None:
        yield Finding("Next", "Split the training images:", command=data.command("folds"))
    elif data.best is None and not data.left_out:
        yield Finding("Next", "Nothing is trained yet:", command=data.command("train"))
    elif data.left_out:
        text = f"{len(data.left_out)} results are older than the folds or their members; anew:"
        yield Finding("Next", text, "experiments", _renewing_command(data, list(data.left_out)))


def _renewing_command(data: ReportData, names: list[str]) -> str:
    """Format what makes results anew: those that are trained before the blends of them."""
    trained = [one for one in names if not recorded_members(data.paths, one)]
    if not trained:
        return _making_command(data, names[0])
    found = {one: data.paths.experiment(one).best_toml for one in trained}  # of searches
    sources = [data.in_a_command(path) if path.is_file() else one for one, path in found.items()]
    return data.command("train", " ".join(f"--experiment {source}" for source in sources))


def _to_correct(data: ReportData) -> Iterator[Finding]:
    """Name what `review` wrote and the folds don't have."""
    num = num_pending(data.reviewed, recorded_corrections(data.paths))
    if num and data.folds is not None:
        text = f"{num:,} decisions of the review aren't in effect yet:"
        file = data.in_a_command(data.paths.corrections_csv)
        yield Finding("Next", text, "review", data.command("folds", f"--corrections {file}"))


def _to_review(data: ReportData) -> Iterator[Finding]:
    if not data.competition.is_by_class:  # review is for the one class of an image
        return
    in_conflict = set(conflicts(data)) - data.decided
    sure = set() if data.best is None else _suspects(data, data.best)[1]
    if in_conflict or len(sure) >= MANY_SURE:
        num = len(in_conflict | sure)
        text = f"Look at {num:,} labels that may well be wrong, here or by"
        yield Finding("Next", text, "review", data.command("review"))


def _to_improve(data: ReportData) -> Iterator[Finding]:
    if data.best is None:
        return
    trained = [one for one in data.results if not one.is_ensemble]
    if all(one.config.get("method", "probe") == "probe" for one in trained):
        text = "Only frozen networks were tried; a fine-tuned one mostly beats them:"
        yield Finding("Next", text, command=data.command("train", "--experiment lite0-finetune"))
    if len(trained) > 1 and len(trained) == len(data.results):
        text = f"Blend the {len(trained)} results:"
        yield Finding("Next", text, command=data.command("ensemble"))
    best = data.best.trained
    if best is None:
        return
    if not data.paths.experiment(best.name).tta.is_file():
        text = f"See whether test-time views help {best.name}:"
        command = data.command("tta", f"--experiment {best.name}")
        yield Finding("Next", text, command=command)
    if not any(data.paths.experiment(one.name).tuning_stamp.is_file() for one in trained):
        text = "Search better values of its settings:"
        command = data.command("tune", f"--experiment {best.name}")
        yield Finding("Next", text, "tuning", command)
    if load_course(data.paths) is None:
        text = "Or leave the choice to a plan, from cheap to dear, within the time that you set:"
        yield Finding("Next", text, command=data.command("run", "--time-limit 2h"))


def _to_submit(data: ReportData) -> Iterator[Finding]:
    if data.best is None:
        return
    name = data.best.result.name
    file = data.paths.submission(name)
    entries = [one for one in load_log(data.paths.submission_log) if one.sha256 == digest(file)]
    if not entries:
        command = data.command("submit", f"--experiment {name}")
        yield Finding("Next", "Write the file for the judge:", command=command)
    elif all(one.public_score is None and one.private_score is None for one in entries):
        _, option, root = data.typed.partition(" --root ")
        command = f"pipeline log-score {data.in_a_command(file)}{option}{root} --public SCORE"
        yield Finding("Next", "Send the file, and log the judge's score:", "experiments", command)


def _reproduce(data: ReportData, best: BestResult) -> list[Block]:
    shown = best.trained or best.result
    environment = _environment(data.paths.experiment(shown.name))
    facts = [
        (name, str(environment[key])[:LONGEST_FACT].replace("+", ", changed since"))
        for name, key in (("commit", "commit"), ("device", "device"), ("Python", "python"))
        if environment.get(key)
    ]
    commands = Commands(_commands(data, best.result))
    parts: list[Block] = [commands, Facts(facts)] if facts else [commands]
    return [Fold("Commands and versions; what is up to date is left alone", parts)]


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
    command = making_command(data.paths, data.typed, name)
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
