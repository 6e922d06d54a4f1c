"""The worst mistakes and the labels that are probably wrong, with what the network looked at."""

from collections.abc import Sequence

import numpy as np

from pipeline.reports.page.blocks import Block, Card, Gallery, Hint, Paragraph, Picture, Section
from pipeline.reports.page.mistake_pictures import Attention, look
from pipeline.reports.page.report_data import Evidence, Judged
from pipeline.scoring.label_noise import find_suspects
from pipeline.store.predictions import IntArray

MOST_SHOWN = 24


def build(evidence: Evidence) -> list[Section]:
    """Show both galleries; an image may stand in both."""
    judged = evidence.judged
    if judged is None:
        return []
    attention = look(evidence)
    return [
        Section("mistakes", "Worst mistakes", _mistakes(evidence, judged, attention)),
        Section("suspects", "Suspicious labels", _suspects(evidence, judged, attention)),
    ]


def worst_mistakes(judged: Judged) -> IntArray:
    """Return the rows of the mistaken images that cost most log loss, the worst first."""
    own = judged.probs[np.arange(len(judged.targets)), judged.targets]
    order = np.argsort(own, kind="stable")
    is_wrong = judged.probs.argmax(axis=1) != judged.targets
    return np.asarray(order[is_wrong[order]][:MOST_SHOWN])


def _mistakes(evidence: Evidence, judged: Judged, attention: Attention) -> Sequence[Block]:
    rows = worst_mistakes(judged)
    if not len(rows):
        return [Paragraph(f"{judged.result.name} makes no mistake out of fold.")]
    caption = (
        f"The mistakes of {judged.result.name} that cost most log loss, the worst first: images "
        "whose own class got the least probability, out of fold."
    )
    others = judged.probs[rows].argmax(axis=1)
    cards = _cards(evidence, judged, attention, rows, others)
    return [attention.explanation, Gallery(caption, cards)]


def _suspects(evidence: Evidence, judged: Judged, attention: Attention) -> Sequence[Block]:
    found = find_suspects(judged.probs, judged.targets)
    if found.empty:
        return [Paragraph("No label is contradicted by the predictions.")]
    shown = found.head(MOST_SHOWN)
    caption = (
        f"Labels that the predictions of {judged.result.name} contradict, by confident learning "
        f"(Northcutt et al. 2021): {len(found):,}. The most contradicted first."
    )
    rows, suggested = shown["row"].to_numpy(), shown["suggested"].to_numpy()
    cards = _cards(evidence, judged, attention, rows, suggested)
    command = evidence.command("suspects", f"--experiment {judged.result.name}")
    hint = Hint("To drop or relabel some of them, have them listed:", command)
    return [attention.explanation, Gallery(caption, cards), hint]


def _cards(
    evidence: Evidence, judged: Judged, attention: Attention, rows: IntArray, others: IntArray
) -> list[Card]:
    """Show images beside what speaks for another class and for their own."""
    pictures = attention.pictures(rows, np.stack([others, judged.targets[rows]], axis=1))
    triples = zip(rows.tolist(), others.tolist(), pictures, strict=True)
    return [_card(evidence, judged, row, other, one) for row, other, one in triples]


def _card(
    evidence: Evidence, judged: Judged, row: int, other: int, pictures: Sequence[Picture]
) -> Card:
    assert evidence.folds is not None
    names, probs = evidence.competition.classes, judged.probs[row]
    own = int(judged.targets[row])
    lines = [
        f"{probs[other]:.1%} {names[other]}, {probs[own]:.1%} {names[own]}; "
        f"fold {evidence.folds['fold'].iloc[row]}",
        str(evidence.train["image_id"].iloc[row]),
    ]
    return Card(pictures, f"labelled {names[own]}, predicted {names[other]}", lines)
