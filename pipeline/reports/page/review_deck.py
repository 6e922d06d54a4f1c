"""Define the deck of cards about doubtful labels, and the rows that are saved of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from pipeline.data.corrections import DROP, RELABEL
from pipeline.reports.page.blocks import Block, Picture
from pipeline.store.paths import Paths
from pipeline.store.tables import SUSPECT_COLUMNS, harmless, read_image_table

KEEP = "keep"


@dataclass(frozen=True)
class ReviewCard:
    """An image whose label a person may keep, drop or change.

    Attributes:
        image_id: Its id.
        label: Its index among the classes, as `train.csv` has it; None for an image that can't be
            corrected, as it takes no part.
        suggested: Index of the class that it may be instead; None where nothing suggests one.
        reasons: Why it is shown, keys of `ReviewDeck.reasons`.
        fold: That holds it out; None for none.
        confidence: The suggested class's probability, out of fold.
        probs: Of the label and of the suggested class, as the saved table holds them.
        lines: What is known of it.
        whole: The whole picture, smaller; None where it can't be read.
        maps: What speaks for the suggested class and for the label.
        copies: Pictures of its copies, each labelled with set, class and fold.
        action: "drop" or "relabel" where that is decided already, "keep" or empty.
        chosen: Index of the class that `action` relabels to.
    """

    image_id: str
    label: int | None
    suggested: int | None
    reasons: Sequence[str]
    fold: int | None = None
    confidence: float = 0.0
    probs: tuple[str, str] = ("", "")
    lines: Sequence[str] = ()
    whole: Picture | None = None
    maps: Sequence[Picture] = ()
    copies: Sequence[Picture] = ()
    action: str = ""
    chosen: int | None = None

    @property
    def cells(self) -> list[str]:
        """What the saved table says of it besides label, suggestion and action."""
        return [str(harmless(self.image_id)), *self.probs]


@dataclass(frozen=True)
class ReviewDeck(Block):
    """Cards that their reader decides on, one after the other.

    Attributes:
        key: Under which the reader's browser keeps the decisions.
        classes: Names of the classes.
        reasons: Words for each kind of card.
        columns: Of the table that is saved.
        cards: The images.
        carried: Rows of that table about images without a card.
        command: What to type with the saved file, whose name ends it.
        take_back: What to type where nothing is to be corrected any more; empty where nothing is.
    """

    kind = "deck"
    key: str
    classes: Sequence[str]
    reasons: dict[str, str]
    columns: Sequence[str]
    cards: Sequence[ReviewCard]
    carried: Sequence[Sequence[str]] = ()
    command: str = ""
    take_back: str = ""

    @property
    def safe_classes(self) -> list[str]:
        """The classes' names as the saved table holds them."""
        return [str(harmless(name)) for name in self.classes]

    @property
    def safe_carried(self) -> list[list[str]]:
        """The carried rows as the saved table holds them."""
        return [[str(harmless(cell)) for cell in row] for row in self.carried]


def saved_row(deck: ReviewDeck, number: int, action: str, chosen: int | None) -> list[str]:
    """Return the saved table's row of a decision.

    Args:
        deck: Holds the card.
        number: The card's place in it.
        action: "keep", "drop" or "relabel".
        chosen: Index of the class to relabel to.

    Raises:
        ValueError: There is no such card, action or class.
    """
    cards, classes = deck.cards, deck.classes
    if not 0 <= number < len(cards) or action not in (KEEP, DROP, RELABEL):
        raise ValueError("no such card or action")
    card = cards[number]
    suggested = card.suggested if action != RELABEL else chosen
    if card.label is None or not (suggested is None or 0 <= suggested < len(classes)):
        raise ValueError("no such class")
    if action == RELABEL and (suggested is None or suggested == card.label):
        raise ValueError("must be another class")
    name = "" if suggested is None else classes[suggested]
    prob = card.probs[1] if suggested == card.suggested else ""
    kept = "" if action == KEEP else action
    return [card.image_id, classes[card.label], name, card.probs[0], prob, kept]


def as_decided(deck: ReviewDeck, paths: Paths, train: pd.DataFrame) -> ReviewDeck:
    """Add what an earlier review decided; it goes before the corrections in effect.

    Args:
        deck: As the page has it.
        paths: Where the review's file lies, if there is one.
        train: Rows of `train.csv`.

    Raises:
        DataError: The file is damaged.
    """
    path = paths.corrections_csv
    if not path.is_file():
        return deck
    table = read_image_table(
        path, SUSPECT_COLUMNS, f"pipeline review {paths.competition}", train["image_id"]
    )
    rows = {row[0]: [str(cell) for cell in row] for row in table.itertuples(index=False)}
    cards = [_card_as_decided(card, rows.pop(card.image_id, None), deck) for card in deck.cards]
    known = set(train["image_id"])
    others = [row for image_id, row in rows.items() if image_id in known and row[-1]]
    carried = {row[0]: list(row) for row in [*deck.carried, *others]}
    return replace(deck, cards=cards, carried=list(carried.values()))


def _card_as_decided(card: ReviewCard, row: list[str] | None, deck: ReviewDeck) -> ReviewCard:
    if row is None:
        return card
    suggested, action = row[2], row[-1].strip().lower()
    if action != RELABEL:
        return replace(card, action=action or KEEP, chosen=None)
    if suggested not in deck.classes:
        return card
    return replace(card, action=RELABEL, chosen=list(deck.classes).index(suggested))
