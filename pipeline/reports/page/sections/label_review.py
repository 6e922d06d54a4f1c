"""Show doubtful training images as cards, to keep, drop or relabel each."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from pipeline.data.corrections import DROP, KEEP, RELABEL, Corrections, recorded_corrections
from pipeline.reports.page.blocks import Block, Fold, Hint, Paragraph, Picture, Section
from pipeline.reports.page.pictures import (
    GradCamPictures,
    copy_pictures,
    load_grad_cam,
    sure_pictures,
    whole_pictures,
)
from pipeline.reports.page.report_data import BestResult, ReportData
from pipeline.reports.page.review_deck import ReviewCard, ReviewDeck, as_reviewed
from pipeline.reports.style import apart
from pipeline.scoring.oof import find_suspects
from pipeline.store.freshness import digest, fingerprint
from pipeline.store.predictions import IntArray
from pipeline.store.tables import SUSPECT_COLUMNS, load_train

MOST_CARDS = {"conflict": 16, "suspect": 40, "mistake": 16, "unreadable": 8, "decided": 24}
REASONS = {
    "conflict": "copies with other labels",
    "suspect": "label contradicted by the predictions",
    "mistake": "mistakes, the worst first",
    "unreadable": "unreadable",
    "decided": "decided already",
}

# As a sentence counts them; what contradicts labels is confident learning (Northcutt et al. 2021).
COUNTED = {
    "conflict": "{:,} images with copies of other labels",
    "suspect": "{:,} labels contradicted by the predictions",
    "mistake": "{:,} mistakes, the worst first",
    "unreadable": "{:,} unreadable",
    "decided": "{:,} decided already",
}


@dataclass
class _Doubt:
    """Why an image is shown, and the class that it may be instead."""

    reasons: list[str] = field(default_factory=list)
    suggested: int | None = None


def build(data: ReportData) -> list[Section]:
    """Show the deck, where there is anything to decide."""
    corrections = recorded_corrections(data.paths)
    # With the labels as they were given, which the saved table names.
    train = load_train(data.paths) if corrections else data.train
    doubts, text = _doubts(data, train)
    if not doubts:
        blocks: list[Block] = [Paragraph("No label is in doubt.")] if data.best else []
        return [Section("review", "Review of labels", blocks)] if blocks else []
    explanation: list[Block] = []
    grad_cam = None
    if data.best is not None:
        grad_cam = load_grad_cam(data)
        explanation = [Fold("How to read the maps", [grad_cam.explanation])]
    cards = _cards(data, train, corrections, doubts, grad_cam)
    deck = as_reviewed(_deck(data, train, corrections, cards), data.reviewed)
    if data.best is not None:
        asked = {one for card in cards for one in (card.label, card.suggested) if one is not None}
        deck = replace(deck, examples=sure_pictures(data, sorted(asked), set(doubts)))
    command = data.command("review")
    hint = Hint("The same with the images in full, and the file written for you:", command)
    return [Section("review", "Review of labels", [Paragraph(text), deck, *explanation, hint])]


def worst_mistakes(best: BestResult) -> IntArray:
    """Return the rows of the mistaken images that cost most log loss, the worst first."""
    own = best.probs[np.arange(len(best.targets)), best.targets]
    order = np.argsort(own, kind="stable")
    is_wrong = best.probs.argmax(axis=1) != best.targets
    return np.asarray(order[is_wrong[order]])


def conflicts(data: ReportData) -> list[str]:
    """List the images whose copies have other labels, as the folds correct them."""
    found = data.findings[data.findings["finding"] == "conflicting-labels"]
    images = data.train[data.train["image_id"].isin(found["image_id"])]
    images = images.sort_values("group", kind="stable")  # a picture's copies one after the other
    labels = images.groupby("group")["label"].nunique()
    is_open = images["group"].isin(labels.index[labels > 1])  # no correction has settled it
    return [str(one) for one in images["image_id"][is_open]]


def _doubts(data: ReportData, train: pd.DataFrame) -> tuple[dict[str, _Doubt], str]:
    """Collect the images to show, by id, and a sentence that counts them."""
    found: dict[str, _Doubt] = {}
    counts: dict[str, int] = {}

    def add(reason: str, ids: Sequence[str], suggested: Sequence[int | None] | None = None) -> None:
        pairs = list(zip(ids, suggested or [None] * len(ids), strict=True))
        if reason != "decided":  # else the same cards would come first for ever
            pairs = [pair for pair in pairs if pair[0] not in data.decided]
        for image_id, other in pairs[: MOST_CARDS[reason]]:
            doubt = found.setdefault(image_id, _Doubt())
            doubt.reasons.append(reason)
            doubt.suggested = other if doubt.suggested is None else doubt.suggested
        if pairs:
            counts[reason] = len(pairs)

    add("conflict", conflicts(data))
    if data.best is not None:
        suspects = find_suspects(data.best.probs, data.best.targets)
        ids = data.train["image_id"].to_numpy()
        add("suspect", ids[suspects["row"]].tolist(), suspects["suggested"].tolist())
        rows = worst_mistakes(data.best)
        add("mistake", ids[rows].tolist(), data.best.probs[rows].argmax(axis=1).tolist())
    is_unreadable = (data.findings["finding"] == "unreadable") & (data.findings["split"] == "train")
    add("unreadable", data.findings.loc[is_unreadable, "image_id"].tolist())
    add("decided", sorted(data.decided & set(train["image_id"])))
    parts = [
        COUNTED[reason].format(count)
        + (f", {MOST_CARDS[reason]} of them here" if count > MOST_CARDS[reason] else "")
        for reason, count in counts.items()
    ]
    return found, f"{len(found):,} cards: {'; '.join(parts)}. {_ADVICE}"


_ADVICE = (
    "Decide by keys or buttons; the browser remembers, and in the next report others take their "
    "places. Decisions count once the saved file is given to 'folds --corrections' and the "
    "experiments are trained anew. Many contradicted labels are right ones of hard images."
)


def _cards(
    data: ReportData,
    train: pd.DataFrame,
    corrections: Corrections | None,
    doubts: dict[str, _Doubt],
    grad_cam: GradCamPictures | None,
) -> list[ReviewCard]:
    place = {name: row for row, name in enumerate(data.train["image_id"])}
    maps: dict[str, list[Picture]] = {}
    if grad_cam is not None and data.best is not None:
        # What is decided needs no arguments: its maps would only make the page larger.
        ids = [name for name in doubts if name in place and name not in data.decided]
        rows = np.array([place[name] for name in ids], dtype=np.int64)
        own = data.best.targets[rows]
        others = [_other(data.best, int(row), doubts[name].suggested) for name, row in
                  zip(ids, rows, strict=True)]  # fmt: skip
        drawn = grad_cam.maps(rows, np.stack([np.array(others, dtype=np.int64), own], axis=1))
        maps = dict(zip(ids, drawn, strict=True))
    shown = train[train["image_id"].isin(doubts)]
    whole = dict(zip(shown["image_id"], whole_pictures(data.paths, shown), strict=True))
    by_id = {str(row["image_id"]): row for _, row in shown.iterrows()}
    cards = []
    for image_id, doubt in doubts.items():
        if image_id not in whole:
            cards.append(_unreadable(data, image_id, doubt))
            continue
        row = place.get(image_id)
        image = by_id[image_id]
        card = _card(data, image, doubt, row, (whole[image_id], maps.get(image_id, [])))
        cards.append(_decided(data, card, corrections))
    return cards


def _other(best: BestResult, row: int, suggested: int | None) -> int:
    """Return the class to compare with the label: the suggested one, else the likeliest other."""
    if suggested is not None:
        return suggested
    probs = best.probs[row].copy()
    probs[best.targets[row]] = -1
    return int(probs.argmax())


def _card(
    data: ReportData,
    image: pd.Series,
    doubt: _Doubt,
    row: int | None,
    drawn: tuple[Picture, Sequence[Picture]],
) -> ReviewCard:
    names = data.names
    label = data.competition.classes.index(str(image["label"]))
    fold = None if row is None or data.folds is None else int(data.folds["fold"].iloc[row])
    suggested, confidence, probs, lines = doubt.suggested, 0.0, ("", ""), []
    if row is not None and data.best is not None:
        own = data.best.probs[row]
        suggested = _other(data.best, row, suggested)
        confidence = float(own[suggested])
        probs = (f"{own[label]:.4f}", f"{own[suggested]:.4f}")
        top = np.argsort(-own, kind="stable")[:3]
        lines.append("Predicted " + ", ".join(f"{names[i]} {own[i]:.1%}" for i in top))
    where = _where(data, str(image["image_id"]), fold)
    name = apart(str(image["image_id"]))
    lines.append(f"{name}; {where}; {image['width']} x {image['height']} px")
    copies, num_copies = copy_pictures(data, image)
    if num_copies > len(copies):
        lines.append(f"It has {num_copies:,} copies, {len(copies)} of them here.")
    return ReviewCard(
        image_id=str(image["image_id"]),
        label=label,
        suggested=suggested,
        reasons=doubt.reasons,
        fold=fold,
        confidence=confidence,
        probs=probs,
        lines=lines,
        whole=drawn[0],
        maps=drawn[1],
        copies=copies,
    )


def _where(data: ReportData, image_id: str, fold: int | None) -> str:
    """Say which fold holds an image out, or why none does."""
    if fold is not None:
        return f"fold {fold}"
    if data.folds is None:
        return "not split yet"
    corrections = recorded_corrections(data.paths)
    is_dropped = corrections is not None and image_id in corrections.drop
    return "takes no part" if is_dropped else "learned from in every fold"


def _unreadable(data: ReportData, image_id: str, doubt: _Doubt) -> ReviewCard:
    is_it = (data.findings["image_id"] == image_id) & (data.findings["finding"] == "unreadable")
    reason = str(data.findings.loc[is_it, "detail"].iloc[0])
    lines = [f"{image_id}: {reason}", "It takes no part; replace the file, or leave it."]
    return ReviewCard(image_id, None, None, doubt.reasons, lines=lines)


def _decided(data: ReportData, card: ReviewCard, corrections: Corrections | None) -> ReviewCard:
    """Add what the corrections in effect say of an image."""
    if corrections is None or card.image_id not in corrections.decided:
        return card
    if card.image_id not in corrections.relabel:
        action = DROP if card.image_id in corrections.drop else KEEP
        return replace(card, action=action)
    chosen = data.competition.classes.index(corrections.relabel[card.image_id])
    return replace(card, action=RELABEL, chosen=chosen)


def _deck(
    data: ReportData, train: pd.DataFrame, corrections: Corrections | None, cards: list[ReviewCard]
) -> ReviewDeck:
    shown = {card.image_id for card in cards}
    labels = dict(zip(train["image_id"], train["label"], strict=True))
    carried = []
    if corrections is not None:
        actions = {
            **dict.fromkeys(corrections.keep, KEEP),
            **dict.fromkeys(corrections.drop, DROP),
            **dict.fromkeys(corrections.relabel, RELABEL),
        }
        carried = [
            [image_id, labels[image_id], corrections.relabel.get(image_id, ""), "", "", action]
            for image_id, action in sorted(actions.items())
            if image_id in labels and image_id not in shown
        ]
    of = [digest(data.paths.train_csv), *data.competition.classes]  # by whose places it is decided
    return ReviewDeck(
        key=f"{data.competition.name} {fingerprint(of)[:12]}",
        classes=data.competition.classes,
        reasons={key: REASONS[key] for key in REASONS if any(key in one.reasons for one in cards)},
        columns=SUSPECT_COLUMNS,
        cards=cards,
        carried=carried,
        command=data.command("folds", "--corrections"),
        afterwards=data.command("run"),
        take_back=data.command("folds", "--corrections none") if corrections else "",
    )
