"""The worst mistakes and the labels that are probably wrong, with what the network looked at."""

from collections.abc import Sequence

import numpy as np

from pipeline.reports.page.blocks import Block, Card, Gallery, Hint, Paragraph, Picture, Section
from pipeline.reports.page.mistake_pictures import GradCamPictures, load_grad_cam
from pipeline.reports.page.report_data import BestResult, ReportData
from pipeline.scoring.label_noise import find_suspects
from pipeline.store.predictions import IntArray

MAX_SHOWN = 24


def build(data: ReportData) -> list[Section]:
    """Show both galleries; an image may stand in both."""
    best = data.best
    if best is None:
        return []
    grad_cam = load_grad_cam(data)
    return [
        Section("mistakes", "Worst mistakes", _mistakes(data, best, grad_cam)),
        Section("suspects", "Suspicious labels", _suspects(data, best, grad_cam)),
    ]


def worst_mistakes(best: BestResult) -> IntArray:
    """Return the rows of the mistaken images that cost most log loss, the worst first."""
    own = best.probs[np.arange(len(best.targets)), best.targets]
    order = np.argsort(own, kind="stable")
    is_wrong = best.probs.argmax(axis=1) != best.targets
    return np.asarray(order[is_wrong[order]][:MAX_SHOWN])


def _mistakes(data: ReportData, best: BestResult, grad_cam: GradCamPictures) -> Sequence[Block]:
    rows = worst_mistakes(best)
    if not len(rows):
        return [Paragraph(f"{best.result.name} makes no mistake out of fold.")]
    caption = (
        f"The mistakes of {best.result.name} that cost most log loss, the worst first: images "
        "whose own class got the least probability, out of fold."
    )
    others = best.probs[rows].argmax(axis=1)
    cards = _cards(data, best, grad_cam, rows, others)
    return [grad_cam.explanation, Gallery(caption, cards)]


def _suspects(data: ReportData, best: BestResult, grad_cam: GradCamPictures) -> Sequence[Block]:
    found = find_suspects(best.probs, best.targets)
    if found.empty:
        return [Paragraph("No label is contradicted by the predictions.")]
    shown = found.head(MAX_SHOWN)
    caption = (
        f"Labels that the predictions of {best.result.name} contradict, by confident learning "
        f"(Northcutt et al. 2021): {len(found):,}. The most contradicted first."
    )
    rows, suggested = shown["row"].to_numpy(), shown["suggested"].to_numpy()
    cards = _cards(data, best, grad_cam, rows, suggested)
    command = data.command("suspects", f"--experiment {best.result.name}")
    hint = Hint("To drop or relabel some of them, have them listed:", command)
    return [grad_cam.explanation, Gallery(caption, cards), hint]


def _cards(
    data: ReportData, best: BestResult, grad_cam: GradCamPictures, rows: IntArray, others: IntArray
) -> list[Card]:
    """Show images beside what speaks for another class and for their own."""
    pictures = grad_cam.pictures(rows, np.stack([others, best.targets[rows]], axis=1))
    triples = zip(rows.tolist(), others.tolist(), pictures, strict=True)
    return [_card(data, best, row, other, one) for row, other, one in triples]


def _card(
    data: ReportData, best: BestResult, row: int, other: int, pictures: Sequence[Picture]
) -> Card:
    assert data.folds is not None
    names, probs = data.competition.classes, best.probs[row]
    own = int(best.targets[row])
    lines = [
        f"{probs[other]:.1%} {names[other]}, {probs[own]:.1%} {names[own]}; "
        f"fold {data.folds['fold'].iloc[row]}",
        str(data.train["image_id"].iloc[row]),
    ]
    return Card(pictures, f"labelled {names[own]}, predicted {names[other]}", lines)
