"""Heads from the side, facing right; their unit is that of the heads from the front."""

from pipeline.images.drawing.coats import DARK, PINK, blended, toned
from pipeline.images.drawing.heads import TONGUE, Knots, between, eye, nose, whiskers
from pipeline.images.drawing.pen import Pen, ellipse, smooth
from pipeline.images.drawing.species import Looks

# fmt: off
FLOPPY_EAR: Knots = [
    (-0.3, -0.62), (0.05, -0.6), (0.12, 0.0), (0.0, 0.6), (-0.3, 0.72), (-0.46, 0.1),
]
BENT_EAR: Knots = [(-0.25, -0.6), (-0.12, -1.0), (0.2, -1.04), (0.42, -0.62), (0.15, -0.7)]
# fmt: on


def side_head(pen: Pen, looks: Looks) -> None:
    """Draw a head in profile, facing right."""
    snout = looks.snout
    if looks.ears in ("pointed", "pricked", "half"):
        _side_ear(pen, looks, 0.22)
    tip = 0.86 + 0.72 * snout
    if looks.has_tongue:
        pen.fill(ellipse(tip - 0.38, 0.66, 0.13, 0.32, -8), TONGUE)
    skull: Knots = [
        (-0.8, 0.05), (-0.62, -0.55), (-0.05, -0.86), (0.42, -0.66), (0.66, -0.26 - 0.04 * snout),
        (tip - 0.08, -0.12), (tip + 0.04, 0.12), (tip - 0.1, 0.38), (0.5 + 0.3 * snout, 0.52),
        (0.2, 0.7), (-0.5, 0.66),
    ]  # fmt: skip
    pen.fur(smooth(skull), fluff=0.02 + looks.fluff)
    pen.fur(ellipse(tip - 0.24 - 0.14 * snout, 0.16, 0.24 + 0.18 * snout, 0.22), "muzzle")
    mouth: Knots = [
        (tip - 0.06, 0.26),
        (tip - 0.3 - 0.2 * snout, 0.32),
        (0.42 + 0.12 * snout, 0.26),
    ]
    pen.line(smooth(mouth, closed=False), DARK, 0.035)
    nose(pen.at(tip, 0.02, degrees=-20), 0, 0, looks)
    eye(pen.at(0.36, -0.2, scale=between(0.9, 0.66, looks)), looks)
    _side_ear(pen, looks, -0.18)
    if looks.has_whiskers:
        whiskers(pen, (tip - 0.15, 0.16), 0.75)


def _side_ear(pen: Pen, looks: Looks, x: float) -> None:
    is_standing = looks.ears in ("pointed", "pricked")
    if looks.ears == "floppy":
        outline = smooth(FLOPPY_EAR)
    elif is_standing:
        outline = smooth(
            _standing_ear(x, (0.72 if looks.ears == "pointed" else 0.9) * looks.ear_size)
        )
    else:
        outline = smooth([(x + knot_x, y) for knot_x, y in BENT_EAR])
    pen.fur(outline, "ear", fluff=looks.fluff * 0.5)
    pen.line(outline, toned(pen.coat.base, 0.6), 0.03, closed=True)
    if is_standing:
        centre = outline.mean(axis=0)
        pen.fill(centre + 0.5 * (outline - centre), blended(pen.coat.base, PINK, 0.6))


def _standing_ear(x: float, height: float) -> Knots:
    return [
        (x - 0.3, -0.5), (x - 0.2, -0.8 - height * 0.6), (x - 0.06, -0.72 - height),
        (x + 0.02, -0.7 - height), (x + 0.2, -0.9), (x + 0.32, -0.6),
    ]  # fmt: skip
