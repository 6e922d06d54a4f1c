"""Define the deck of cards about doubtful labels, and the rows that are saved of it."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

import pandas as pd

from pipeline.data.corrections import ACTIONS, KEEP, RELABEL, load_review
from pipeline.reports.page.blocks import Block, Picture
from pipeline.reports.style import in_words
from pipeline.store.paths import Paths
from pipeline.store.tables import SUSPECT_COLUMNS, harmless, write_for_people


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
        action: "keep", "drop" or "relabel" where that is decided already, else empty.
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
        afterwards: What to type after that, to train anew what it changes.
        take_back: What to type where nothing is to be corrected any more; empty where nothing is.
        examples: Pictures of classes to compare the cards with, by their indices.
    """

    kind = "deck"
    key: str
    classes: Sequence[str]
    reasons: dict[str, str]
    columns: Sequence[str]
    cards: Sequence[ReviewCard]
    carried: Sequence[Sequence[str]] = ()
    command: str = ""
    afterwards: str = ""
    take_back: str = ""
    examples: Mapping[int, Picture] = field(default_factory=dict)

    @property
    def shown_classes(self) -> list[str]:
        """The classes' names as sentences show them."""
        return [in_words(name) for name in self.classes]

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
        action: "keep", "drop" or "relabel"; empty for an open card, whose row isn't saved.
        chosen: Index of the class to relabel to.

    Raises:
        ValueError: There is no such card, action or class.
    """
    cards, classes = deck.cards, deck.classes
    if not 0 <= number < len(cards) or action not in ("", *ACTIONS):
        raise ValueError("no such card or action")
    card = cards[number]
    suggested = card.suggested if action != RELABEL else chosen
    if card.label is None or not (suggested is None or 0 <= suggested < len(classes)):
        raise ValueError("no such class")
    if action == RELABEL and (suggested is None or suggested == card.label):
        raise ValueError("must be another class")
    name = "" if suggested is None else classes[suggested]
    prob = card.probs[1] if suggested == card.suggested else ""
    return [card.image_id, classes[card.label], name, card.probs[0], prob, action]


def decided_rows(deck: ReviewDeck) -> dict[str, list[str]]:
    """Return the saved table's rows of all that is decided already, by image_id."""
    rows = [list(row) for row in deck.carried]
    for number, card in enumerate(deck.cards):
        if card.action:
            rows.append(saved_row(deck, number, card.action, card.chosen))
    return {row[0]: row for row in rows}


def emptied(deck: ReviewDeck) -> ReviewDeck:
    """Return the deck with nothing decided."""
    cards = [replace(card, action="", chosen=None) for card in deck.cards]
    return replace(deck, cards=cards, carried=[])


def as_reviewed(deck: ReviewDeck, rows: dict[str, list[str]]) -> ReviewDeck:
    """Add what an earlier review decided; it goes before the corrections in effect.

    Args:
        deck: Of the cards.
        rows: What `load_review` read.
    """
    shown = {card.image_id for card in deck.cards}
    cards = [_card_as_reviewed(card, rows.get(card.image_id), deck) for card in deck.cards]
    others = [row for image_id, row in rows.items() if image_id not in shown]
    carried = {row[0]: list(row) for row in [*deck.carried, *others]}
    return replace(deck, cards=cards, carried=list(carried.values()))


def _card_as_reviewed(card: ReviewCard, row: list[str] | None, deck: ReviewDeck) -> ReviewCard:
    if row is None or (row[-1] == RELABEL and row[2] not in deck.classes):
        return card
    suggested, action = row[2], row[-1]
    if action != RELABEL:
        return replace(card, action=action, chosen=None)
    chosen = list(deck.classes).index(suggested)
    if chosen == card.label:  # the organiser's list says so by now
        return replace(card, action=KEEP, chosen=None)
    return replace(card, action=RELABEL, chosen=chosen)


@dataclass
class ReviewFile:
    """The file that holds a review's decisions.

    Attributes:
        paths: The competition's files.
        deck: The cards, nothing decided.
        image_ids: Of all training images.
        given: What was decided before the first decision here, rows by image_id.
        lock: Held while it is changed.
    """

    paths: Paths
    deck: ReviewDeck
    image_ids: frozenset[str]
    given: dict[str, list[str]]
    lock: Lock = field(default_factory=Lock)

    def rows(self) -> dict[str, list[str]]:
        """Return its rows, and before the first decision those given, by image_id.

        Raises:
            DataError: It is damaged.
        """
        return {**self.given, **load_review(self.paths, self.image_ids, self.deck.classes)}

    def save(self, decisions: Any) -> str:
        """Write decisions into the file, whatever else it holds by now; returns a line about it.

        Args:
            decisions: `[[card, action, class or None], ...]`; without action the card is open.

        Raises:
            ValueError: They are no such list.
            DataError: The file is damaged, or can't be written.
        """
        found = [(self.deck.cards[number].image_id, saved_row(self.deck, number, action, chosen))
                 for number, action, chosen in decisions]  # fmt: skip
        if len(dict(found)) < len(found):
            raise ValueError("an image is decided twice")
        with self.lock:
            rows = self.rows() | dict(found)
            kept = [row for row in rows.values() if row[-1]]
            table = pd.DataFrame(kept, columns=pd.Index(SUSPECT_COLUMNS))
            write_for_people(table, self.paths.corrections_csv)
            self.given = {}
        return self.told()

    def told(self) -> str:
        """Say what is decided, and the command that it is for."""
        actions = [row[-1] for row in self.rows().values()]
        num = sum(action != KEEP for action in actions)
        path = self.paths.corrections_csv
        if not num:
            told = f"{len(actions):,} looked at and kept, nothing to correct"
            return f"{told}; {self.deck.take_back}" if self.deck.take_back else told
        text = f"{path}: {len(actions):,} decided, {num:,} of them corrections"
        file = shlex.quote(str(path))
        return f"{text}; run '{self.deck.command} {file}', then '{self.deck.afterwards}'"
