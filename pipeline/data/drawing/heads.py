"""Draw heads from the front, anything between a cat's (snout 0) and a dog's (snout 1).

One unit is about half a head. A head is drawn from back to front: ears that stand, skull,
muzzle, nose and mouth, eyes, ears that hang, whiskers.
"""

from pipeline.data.drawing.pen import Pen, Points, ellipse, mirrored, smooth
from pipeline.data.drawing.species import Looks
from pipeline.data.drawing.surfaces import DARK, PINK, Colour, blended, contrasting, toned

TONGUE: Colour = (224, 112, 122)
Knots = list[tuple[float, float]]

# Right halves, from the top down: cat and dog.
SKULLS: tuple[Knots, Knots] = (
    [(0, -0.8), (0.5, -0.76), (0.9, -0.32), (1.02, 0.2), (0.72, 0.6), (0.3, 0.8), (0, 0.84)],
    [(0, -0.9), (0.42, -0.84), (0.7, -0.42), (0.68, 0.08), (0.5, 0.5), (0.38, 0.86), (0, 1.0)],
)
# fmt: off
STANDING_EARS: dict[str, Knots] = {
    "pointed": [
        (0.97, -0.15), (1.0, -0.8), (0.9, -1.36), (0.82, -1.34), (0.4, -1.0), (0.1, -0.68),
    ],
    "pricked": [
        (0.78, -0.3), (0.86, -0.95), (0.66, -1.5), (0.56, -1.48), (0.24, -1.1), (0.12, -0.7),
    ],
    "half": [(0.78, -0.3), (0.9, -0.8), (0.78, -1.18), (0.6, -1.2), (0.3, -1.05), (0.12, -0.7)],
}
HANGING_EARS: dict[str, Knots] = {
    "floppy": [
        (0.3, -0.84), (0.68, -0.92), (1.02, -0.5), (1.16, 0.2), (0.98, 0.66), (0.72, 0.5),
        (0.62, -0.2),
    ],
    "half": [(0.5, -1.16), (0.84, -1.18), (1.06, -0.92), (1.12, -0.62), (0.9, -0.7), (0.66, -0.86)],
    "folded": [
        (0.36, -0.72), (0.7, -0.9), (0.92, -0.62), (0.92, -0.3), (0.72, -0.42), (0.5, -0.58),
    ],
}
# fmt: on


def between(cat: float, dog: float, looks: Looks) -> float:
    """Return the value for a head between a cat's and a dog's."""
    return cat + (dog - cat) * looks.snout


def front_head(pen: Pen, looks: Looks) -> None:
    """Draw a face that looks at us."""
    fluff = 0.02 + looks.fluff
    _ears(pen, looks, STANDING_EARS)
    skull: Knots = [
        (between(cat_x, dog_x, looks), between(cat_y, dog_y, looks))
        for (cat_x, cat_y), (dog_x, dog_y) in zip(*SKULLS, strict=True)
    ]
    pen.fur(smooth(mirrored(skull)), fluff=fluff)
    _face_markings(pen)
    if looks.has_tongue:
        tongue = pen.at(0.03, between(0.5, 0.85, looks), scale=between(0.5, 1.0, looks))
        tongue.fill(ellipse(0, 0.15, 0.17, 0.3), TONGUE)
        tongue.line(smooth([(0, -0.05), (0, 0.3)], closed=False), toned(TONGUE, 0.8), 0.03)
    _front_muzzle(pen, looks)
    for side in (-1, 1):
        x, y = side * between(0.43, 0.33, looks), between(-0.06, -0.2, looks)
        size = between(1.0, 0.66, looks)
        eye(pen.at(x, y, scale=size, degrees=side * between(-14, 4, looks)), looks)
    _ears(pen, looks, HANGING_EARS)
    if looks.has_whiskers:
        for side in (-1, 1):
            whiskers(pen, (side * 0.22, 0.4), side * 1.0)


def eye(pen: Pen, looks: Looks) -> None:
    """Draw one eye: rim, iris, pupil and a glint."""
    pen.fill(ellipse(0, 0, 0.25, 0.22), DARK)
    pen.fill(ellipse(0, 0, 0.21, 0.19), looks.eye)
    width = pen.rng.uniform(0.045, 0.1) if looks.has_slit_pupils else 0.14
    pen.fill(ellipse(0, 0, width, 0.17 if looks.has_slit_pupils else 0.14), (16, 14, 16))
    pen.fill(ellipse(-0.06, -0.07, 0.05, 0.05), (255, 255, 255))


def whiskers(pen: Pen, root: tuple[float, float], reach: float) -> None:
    """Draw three whiskers on one side of a muzzle; `reach` is negative to the left."""
    # Light hairs vanish on a light coat, dark ones on a dark one.
    colour: Colour = (250, 250, 250) if sum(pen.coat.base) < 420 else (96, 88, 86)
    for drop in (-0.2, 0.02, 0.24):
        x, y = root
        hair: Knots = [
            (x, y + drop * 0.3),
            (x + reach * 0.6, y + drop - 0.04),
            (x + reach * 1.08, y + drop * 1.8),
        ]
        pen.line(smooth(hair, closed=False), colour, 0.022)


def _ears(pen: Pen, looks: Looks, kinds: dict[str, Knots]) -> None:
    if looks.ears not in kinds:
        return
    is_standing = kinds is STANDING_EARS
    for side in (-1, 1):
        tilt = float(pen.rng.uniform(-6, 6))
        knots = [(side * x, y) for x, y in kinds[looks.ears]]
        # Ears grow from where they sit on the skull, not from the middle of the face.
        seat_x, seat_y = side * 0.55, -0.55
        ear = pen.at(seat_x, seat_y, scale=looks.ear_size, degrees=tilt)
        outline = smooth([(x - seat_x, y - seat_y) for x, y in knots])
        ear.fur(outline, "ear", fluff=looks.fluff * 0.5)
        if is_standing and looks.ears != "half":
            inner = outline.mean(axis=0) + 0.55 * (outline - outline.mean(axis=0))
            ear.fill(inner, blended(pen.coat.base, PINK, 0.6))
        if not is_standing:
            ear.line(outline, toned(pen.coat.base, 0.55), 0.035, closed=True)


def _face_markings(pen: Pen) -> None:
    coat = pen.coat
    if coat.pattern == "points":
        pen.fur(ellipse(0, 0.22, 0.56, 0.62), "mask")
    elif coat.pattern == "bib":
        blaze: Knots = [(0, -0.62), (0.1, -0.2), (0.34, 0.2), (0.5, 0.62), (0, 0.82)]
        pen.fur(smooth(mirrored(blaze)), "muzzle")
    elif coat.pattern == "tabby":
        _tabby_face(pen)
    elif coat.pattern == "bare":
        for y in (-0.62, -0.5, -0.38):
            fold: Knots = [(-0.3, y), (0, y + 0.05), (0.3, y)]
            pen.line(smooth(fold, closed=False), toned(coat.base, 0.8), 0.03)


def _tabby_face(pen: Pen) -> None:
    dark = contrasting(pen.coat.base)
    for x in (-0.3, -0.1, 0.1, 0.3):
        pen.line(smooth([(x * 0.75, -0.38), (x, -0.7)], closed=False), dark, 0.08)
    for side in (-1, 1):
        for y in (0.12, 0.3):
            stripe: Knots = [(side * 0.62, y), (side * 0.92, y - 0.06)]
            pen.line(smooth(stripe, closed=False), dark, 0.07)


def _front_muzzle(pen: Pen, looks: Looks) -> None:
    line = toned(DARK, 1.2)
    y = between(0.24, 0.3, looks)
    for side in (-1, 1):
        x, width = side * between(0.16, 0.2, looks), between(0.23, 0.3, looks)
        pen.fur(ellipse(x, between(0.42, 0.62, looks), width, between(0.18, 0.36, looks)), "muzzle")
    if looks.snout > 0.4:  # the bridge of a long muzzle
        pen.fur(smooth(mirrored([(0, -0.22), (0.15, -0.1), (0.27, 0.5), (0, 0.7)])), "muzzle")
    bottom = between(0.46, 0.78, looks)
    pen.line(smooth([(0, y), (0, bottom - 0.06)], closed=False), line, 0.035)
    for side in (-1, 1):
        lip: Knots = [
            (0, bottom - 0.08),
            (side * 0.14, bottom),
            (side * between(0.24, 0.4, looks), bottom - 0.1),
        ]
        pen.line(smooth(lip, closed=False), line, 0.035)
    nose(pen, 0, y, looks)


def nose(pen: Pen, x: float, y: float, looks: Looks) -> None:
    """Draw a nose: a small triangle on a cat, a large dark one on a dog."""
    width, height = between(0.12, 0.24, looks), between(0.09, 0.16, looks)
    is_pink = looks.snout < 0.4 and sum(pen.coat.base) > 450
    shape: Knots = [
        (0, -height * 0.8),
        (width, -height * 0.6),
        (width * 0.6, height * 0.3),
        (0, height),
    ]
    outline: Points = smooth(mirrored(shape))
    pen.at(x, y).fill(outline, toned(PINK, 0.85) if is_pink else DARK)
    pen.fill(
        ellipse(x - width * 0.3, y - height * 0.45, width * 0.22, height * 0.18), (150, 140, 140)
    )
