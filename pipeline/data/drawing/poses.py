"""Draw whole animals: a face close up, sitting, standing and lying.

Each figure fills about -1..1 in both directions; it is drawn from back to front.
"""

from collections.abc import Callable

from pipeline.data.drawing.heads import TONGUE, Knots, between, eye, front_head, nose, whiskers
from pipeline.data.drawing.pen import Pen, ellipse, mirrored, smooth, tube
from pipeline.data.drawing.species import Looks
from pipeline.data.drawing.surfaces import DARK, PINK, blended, toned

# Ears of heads in profile, in the unit of the heads from the front.
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


def face(pen: Pen, looks: Looks) -> None:
    """Draw head and shoulders."""
    shoulders: Knots = [(0, 0.3), (0.42, 0.45), (0.75, 0.85), (0.85, 1.5), (0, 1.7)]
    pen.fur(smooth(mirrored(shoulders)), fluff=looks.fluff * 0.6)
    chest: Knots = [(0, 0.4), (0.28, 0.6), (0.36, 1.1), (0, 1.6)]
    _if_coloured(pen, chest, looks)
    _collar(pen.at(0, 0.62, scale=0.95), looks)
    front_head(pen.at(0, 0.05, scale=0.68, degrees=float(pen.rng.uniform(-9, 9))), looks)


def sitting(pen: Pen, looks: Looks) -> None:
    """Draw the animal sitting, seen from the front."""
    pen.shadow(ellipse(0, 0.9, 0.75, 0.12), 0.45)
    _tail(pen.at(0.36, 0.74), looks)
    body: Knots = [(0, -0.25), (0.24, -0.12), (0.38, 0.2), (0.52, 0.62), (0.42, 0.9), (0, 0.94)]
    pen.fur(smooth(mirrored(body)), fluff=looks.fluff * 0.5)
    for side in (-1, 1):
        pen.fur(ellipse(side * 0.4, 0.66, 0.2, 0.26, side * -12), fluff=looks.fluff * 0.3)
        pen.fur(ellipse(side * 0.44, 0.9, 0.18, 0.075), "paw")
    _if_coloured(pen, [(0, -0.12), (0.18, 0.05), (0.2, 0.35), (0, 0.6)], looks)
    for side in (-1, 1):
        leg = [(side * 0.13, 0.2), (side * 0.15, 0.55), (side * 0.14, 0.88)]
        pen.fur(tube(leg, [0.22, 0.17, 0.15]))
        _paw(pen, side * 0.15, 0.9)
    _collar(pen.at(0, -0.07, scale=0.62), looks)
    head = pen.at(0, -0.42, scale=0.42, degrees=float(pen.rng.uniform(-10, 10)))
    front_head(head, looks)


def standing(pen: Pen, looks: Looks) -> None:
    """Draw the animal from the side, facing right, its head in profile or turned to us."""
    foot = 0.42 + 0.34 * looks.legs
    pen.shadow(ellipse(-0.05, foot + 0.03, 0.8, 0.09), 0.45)
    _tail(pen.at(-0.66, 0.02, degrees=-40), looks)
    stride = float(pen.rng.uniform(-0.06, 0.1))
    for x in (-0.4 - stride, 0.3 + stride):
        _leg(pen, x, foot - 0.03)
    pen.fur(tube([(0.35, 0.1), (0.55, -0.15), (0.66, -0.35)], [0.42, 0.34, 0.3]))
    body: Knots = [
        (-0.74, 0.06), (-0.6, -0.14), (-0.1, -0.12), (0.32, -0.18), (0.54, 0.0), (0.5, 0.28),
        (0.1, 0.36), (-0.3, between(0.32, 0.26, looks)), (-0.62, 0.34),
    ]  # fmt: skip
    pen.fur(smooth(body), fluff=looks.fluff * 0.5)
    for x in (-0.58 + stride, 0.42 - stride):
        _leg(pen, x, foot)
    if looks.collar is not None:
        pen.line(
            smooth([(0.4, -0.2), (0.6, -0.02), (0.74, -0.06)], closed=False), looks.collar, 0.06
        )
    head = pen.at(0.66, -0.38, scale=0.32, degrees=float(pen.rng.uniform(-12, 12)))
    (side_head if pen.rng.random() < 0.45 else front_head)(head, looks)


def lying(pen: Pen, looks: Looks) -> None:
    """Draw the animal lying, its paws stretched towards us."""
    pen.shadow(ellipse(0.05, 0.66, 0.95, 0.1), 0.45)
    _tail(pen.at(0.78, 0.5, degrees=20), looks)
    body: Knots = [
        (-0.6, 0.2), (-0.2, -0.02), (0.35, 0.0), (0.78, 0.18), (0.86, 0.5), (0.6, 0.66),
        (-0.3, 0.66), (-0.66, 0.55),
    ]  # fmt: skip
    pen.fur(smooth(body), fluff=looks.fluff * 0.5)
    pen.fur(ellipse(0.52, 0.46, 0.28, 0.22, -10), fluff=looks.fluff * 0.3)
    pen.fur(ellipse(0.42, 0.64, 0.2, 0.07), "paw")
    for x in (-0.62, -0.3):
        pen.fur(tube([(x + 0.1, 0.4), (x, 0.56), (x - 0.05, 0.64)], [0.24, 0.2, 0.18]))
        _paw(pen, x - 0.06, 0.65)
    head = pen.at(-0.42, 0.02, scale=0.42, degrees=float(pen.rng.uniform(-14, 14)))
    front_head(head, looks)


POSES: tuple[Callable[[Pen, Looks], None], ...] = (face, sitting, standing, lying)


def _leg(pen: Pen, x: float, foot: float) -> None:
    pen.fur(tube([(x, 0.15), (x + 0.02, 0.4), (x, foot - 0.03)], [0.24, 0.15, 0.12]))
    pen.fur(ellipse(x + 0.04, foot - 0.02, 0.11, 0.06), "paw")


def _paw(pen: Pen, x: float, y: float) -> None:
    pen.fur(ellipse(x, y, 0.13, 0.075), "paw")
    for toe in (-0.035, 0.035):
        pen.line(
            smooth([(x + toe, y), (x + toe, y + 0.05)], closed=False),
            toned(pen.coat.base, 0.5),
            0.015,
        )


def _tail(pen: Pen, looks: Looks) -> None:
    """Draw a tail that starts at the origin and points up to the right."""
    lift = float(pen.rng.uniform(0.7, 1.1))
    if looks.tail == "slim":
        path: Knots = [
            (0, 0),
            (0.3, -0.02),
            (0.44, -0.35 * lift),
            (0.3, -0.62 * lift),
            (0.42, -0.84 * lift),
        ]
        widths = [0.13, 0.12, 0.11, 0.09]
    elif looks.tail == "bushy":
        path = [(0, 0), (0.26, -0.08), (0.4, -0.36 * lift), (0.36, -0.6 * lift)]
        widths = [0.14, 0.24, 0.26, 0.1]
    elif looks.tail == "curled":
        path = [(0, 0), (0.24, -0.12), (0.26, -0.4), (0.06, -0.46), (0.02, -0.28), (0.12, -0.24)]
        widths = [0.15, 0.14, 0.12, 0.09]
    else:
        path = [(0, 0), (0.16, -0.1), (0.26, -0.28 * lift)]
        widths = [0.14, 0.11, 0.07]
    fluff = looks.fluff * 0.6 + (0.05 if looks.tail == "bushy" else 0)
    pen.fur(tube(path, widths), "tail", fluff=fluff)


def _if_coloured(pen: Pen, chest: Knots, looks: Looks) -> None:
    if "chest" in pen.coat.parts:
        pen.fur(smooth(mirrored(chest)), "chest", fluff=0.03 + looks.fluff * 0.4)


def _collar(pen: Pen, looks: Looks) -> None:
    if looks.collar is not None:
        pen.line(smooth([(-0.5, -0.06), (0, 0.1), (0.5, -0.06)], closed=False), looks.collar, 0.1)
        pen.fill(ellipse(0, 0.17, 0.08, 0.09), (226, 190, 84))
