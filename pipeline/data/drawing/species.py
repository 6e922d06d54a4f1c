"""Describe each class of drawn animals by the ranges that an individual is drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.data.drawing.surfaces import FUR, Colour

Range = tuple[float, float]

EYES: tuple[Colour, ...] = ((196, 158, 60), (126, 162, 74), (108, 152, 190), (122, 78, 42))
# Both species wear every coat: colour must not tell them apart.
COATS = ("solid", "solid", "tabby", "spots", "patches", "bib", "bib", "points", "calico")
COLOURS = tuple(name for name in FUR if name != "pink")


@dataclass(frozen=True)
class Species:
    """Ranges and choices; a choice that stands twice is twice as likely."""

    snout: Range = (0.0, 0.2)  # 0 is a cat's short face, 1 a dog's long muzzle
    ears: tuple[str, ...] = ("pointed",)  # pointed, pricked, floppy, half or folded
    ear_size: Range = (0.85, 1.15)
    tails: tuple[str, ...] = ("slim",)  # slim, bushy, curled or stub
    legs: Range = (0.8, 1.0)
    fluff: Range = (0.0, 0.06)
    slit_pupils: float = 0.9  # this and the next two are probabilities
    whiskers: float = 0.9
    tongue: float = 0.0
    coats: tuple[str, ...] = COATS
    bases: tuple[str, ...] = COLOURS
    markings: tuple[str, ...] = COLOURS
    eyes: tuple[Colour, ...] = EYES


@dataclass(frozen=True)
class Looks:
    """One individual."""

    snout: float
    ears: str
    ear_size: float
    tail: str
    legs: float
    fluff: float
    has_slit_pupils: bool
    has_whiskers: bool
    has_tongue: bool
    coat: tuple[str, str, str]  # pattern, colour, colour of the markings
    eye: Colour
    collar: Colour | None


CAT = Species(
    ears=("pointed",) * 12 + ("folded",), tails=("slim", "slim", "slim", "bushy"), tongue=0.12
)
DOG = Species(
    snout=(0.75, 1.15),
    ears=("floppy",) * 8 + ("half", "pricked"),
    tails=("stub", "curled", "bushy"),
    legs=(0.85, 1.2),
    slit_pupils=0.0,
    whiskers=0.05,
    tongue=0.4,
)
SPECIES: dict[str, Species] = {
    "cat": CAT,
    "dog": DOG,
    "Black": replace(CAT, coats=("solid",), bases=("black",)),
    "Blue": replace(CAT, coats=("solid",), bases=("blue",), eyes=EYES[:2]),
    "Calico": replace(CAT, coats=("calico",), bases=("white",), markings=("black", "charcoal")),
    "Colourpoint": replace(
        CAT,
        coats=("points",),
        bases=("cream", "white"),
        markings=("chocolate", "charcoal", "black"),
        eyes=EYES[2:3],
    ),
    "Fold-eared": replace(
        CAT,
        snout=(-0.2, -0.1),
        ears=("folded",),
        ear_size=(1.0, 1.2),
        coats=("solid", "bib", "patches"),
        bases=("cream", "silver", "fawn", "brown"),
        eyes=EYES[:1],
    ),
    "Ginger Tabby": replace(CAT, coats=("tabby",), bases=("ginger", "red")),
    "Grey Tabby": replace(CAT, coats=("tabby",), bases=("blue", "silver", "charcoal")),
    "Hairless": replace(
        CAT, coats=("bare",), bases=("pink",), ear_size=(1.25, 1.5), fluff=(0, 0), whiskers=0.1
    ),
    "Longhair": replace(
        CAT,
        coats=("solid", "bib", "patches", "tabby"),
        bases=("brown", "cream", "silver", "chocolate", "fawn"),
        fluff=(0.26, 0.36),
        ear_size=(0.65, 0.8),
        tails=("bushy",),
    ),
    "Spotted": replace(CAT, coats=("spots",), bases=("fawn", "ginger", "silver", "cream")),
    "Tuxedo": replace(CAT, coats=("bib",), bases=("black",)),
    "White": replace(CAT, coats=("solid",), bases=("white",)),
}
for _name in set(SPECIES) - {"cat", "dog", "Fold-eared"}:
    SPECIES[_name] = replace(SPECIES[_name], ears=("pointed",))


def species_of(classes: Sequence[str], class_index: int, seed: int) -> Species:
    """Return the species of one class.

    Where every class has a name of ours its species is drawn; other classes (aeroplanes, real
    breeds) each get a made-up one, so that any competition has a drawn edition.
    """
    if all(name in SPECIES for name in classes):
        return SPECIES[classes[class_index]]
    return _made_up(class_index, np.random.default_rng((seed, class_index)))


def _made_up(class_index: int, rng: np.random.Generator) -> Species:
    # Ears and coat count through all their pairs, so near classes never share both.
    ears = ("pointed", "floppy", "pricked", "folded", "half")
    coats = ("solid", "tabby", "spots", "patches", "bib", "points", "calico")
    snout = float(rng.uniform(0.0, 1.0))
    fluff = float(rng.choice([0.02, 0.2]))
    return Species(
        snout=(snout, snout + 0.15),
        ears=(ears[class_index % len(ears)],),
        tails=(str(rng.choice(["slim", "bushy", "curled", "stub"])),),
        fluff=(fluff, fluff + 0.05),
        slit_pupils=float(rng.integers(2)),
        whiskers=float(rng.integers(2)),
        coats=(coats[class_index % len(coats)],),
        bases=(COLOURS[int(rng.integers(len(COLOURS)))],),
        markings=(COLOURS[int(rng.integers(len(COLOURS)))],),
    )


def individual(species: Species, rng: np.random.Generator) -> Looks:
    """Draw one animal of a species."""
    base = str(rng.choice(species.bases))
    # Markings in the coat's own colour would leave a plain animal.
    others = [name for name in species.markings if name != base] or [_opposite(base)]
    collar = tuple(rng.uniform(40, 230, 3).tolist()) if rng.random() < 0.25 else None
    return Looks(
        snout=float(rng.uniform(*species.snout)),
        ears=str(rng.choice(species.ears)),
        ear_size=float(rng.uniform(*species.ear_size)),
        tail=str(rng.choice(species.tails)),
        legs=float(rng.uniform(*species.legs)),
        fluff=float(rng.uniform(*species.fluff)),
        has_slit_pupils=bool(rng.random() < species.slit_pupils),
        has_whiskers=bool(rng.random() < species.whiskers),
        has_tongue=bool(rng.random() < species.tongue),
        coat=(str(rng.choice(species.coats)), base, str(rng.choice(others))),
        eye=species.eyes[int(rng.integers(len(species.eyes)))],
        collar=collar,
    )


def _opposite(colour: str) -> str:
    return "charcoal" if sum(FUR[colour]) > 380 else "cream"
