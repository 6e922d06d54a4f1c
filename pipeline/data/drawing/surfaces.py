"""Paint what has a colour: coats by their patterns, what lies behind an animal and before it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Colour = tuple[float, float, float]  # RGB, 0..255

FUR: dict[str, Colour] = {
    "black": (46, 43, 47),
    "charcoal": (84, 82, 86),
    "blue": (126, 138, 156),
    "silver": (186, 187, 190),
    "white": (240, 237, 231),
    "cream": (232, 213, 180),
    "fawn": (204, 168, 128),
    "ginger": (220, 138, 66),
    "red": (176, 94, 48),
    "brown": (136, 94, 62),
    "chocolate": (92, 62, 48),
    "pink": (226, 186, 172),
}
PINK: Colour = (232, 158, 156)
DARK: Colour = (38, 32, 34)


def toned(colour: Colour, factor: float) -> Colour:
    """Return a darker (below 1) or lighter (above 1) colour."""
    red, green, blue = (float(np.clip(channel * factor, 0, 255)) for channel in colour)
    return red, green, blue


def contrasting(colour: Colour) -> Colour:
    """Return the colour of stripes and spots on a coat: darker, or paler on a black coat."""
    return toned(colour, 0.5 if sum(colour) > 200 else 1.9)


def blended(first: Colour, last: Colour, share: float) -> Colour:
    """Return the colour that lies `share` of the way from the first to the last."""
    red, green, blue = (a + share * (b - a) for a, b in zip(first, last, strict=True))
    return red, green, blue


def cloud(rng: np.random.Generator, height: int, width: int, cell_px: float) -> Floats:
    """Return smooth noise of shape (H, W), about 0..1, with bumps of `cell_px`."""
    shape = (int(height / cell_px) + 3, int(width / cell_px) + 3)
    coarse = rng.random(shape, dtype=np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)


@dataclass(frozen=True)
class Coat:
    """The painted fur of one animal, as large as the canvas.

    `parts` holds the colours of parts that leave the pattern: a white muzzle, dark paws.
    """

    texture: Floats  # (H, W, 3)
    grain: Floats  # (H, W, 1), around 1
    pattern: str
    base: Colour
    marking: Colour
    parts: dict[str, Colour] = field(default_factory=dict)

    def part(self, name: str, box: tuple[slice, slice]) -> Floats:
        """Return the coat of one part of the body, (height, width, 3), where it is needed."""
        if name not in self.parts:
            return self.texture[box]
        part: Floats = self.grain[box] * np.array(self.parts[name], np.float32)
        return part


def paint_coat(
    rng: np.random.Generator, shape: tuple[int, int], unit_px: float, look: tuple[str, str, str]
) -> Coat:
    """Paint a coat.

    Args:
        rng: Where the stripes and patches lie.
        shape: Height and width of the canvas.
        unit_px: Length of one figure unit: stripes grow with the animal.
        look: The pattern ("solid", "tabby", "spots", "patches", "calico", "bib" or "points") and
            the names of the colours of coat and markings.
    """
    pattern, base, marking = look[0], _shade(rng, look[1]), _shade(rng, look[2])
    height, width = shape
    strands = rng.standard_normal((height, max(1, width // 3)), dtype=np.float32)
    grain = (
        1
        + 0.045 * cv2.resize(strands, (width, height))
        + 0.16 * (cloud(rng, height, width, 0.35 * unit_px) - 0.5)
    )
    texture = grain[..., None] * np.array(base, np.float32)
    dark = contrasting(base)
    if pattern == "tabby":
        texture = _mixed(texture, grain, dark, 0.85 * _stripes(rng, shape, unit_px))
    elif pattern == "spots":
        texture = _mixed(texture, grain, dark, 0.9 * _spots(rng, shape, unit_px))
    elif pattern in ("patches", "calico"):
        texture = _mixed(texture, grain, marking, _patches(rng, shape, unit_px))
    if pattern == "calico":
        texture = _mixed(texture, grain, FUR["ginger"], _patches(rng, shape, unit_px))
    parts = _part_colours(pattern, base, marking)
    return Coat(texture, grain[..., None], pattern, base, marking, parts)


def _shade(rng: np.random.Generator, name: str) -> Colour:
    return toned(FUR[name], float(rng.uniform(0.88, 1.1)))


def _mixed(texture: Floats, grain: Floats, colour: Colour, amount: Floats) -> Floats:
    other = grain[..., None] * np.array(colour, np.float32)
    mixed: Floats = texture + amount[..., None] * (other - texture)
    return mixed


def _stripes(rng: np.random.Generator, shape: tuple[int, int], unit_px: float) -> Floats:
    height, width = shape
    period_px = unit_px * rng.uniform(0.15, 0.24)
    wobble = cloud(rng, height, width, 0.3 * unit_px) * 7
    across = np.arange(width, dtype=np.float32)[None] * np.float32(2 * np.pi / period_px)
    tilt = rng.uniform(-0.35, 0.35) * np.arange(height, dtype=np.float32)[:, None] / period_px * 6
    return np.clip(1.8 * np.sin(across + tilt + wobble) - 0.3, 0, 1).astype(np.float32)


def _spots(rng: np.random.Generator, shape: tuple[int, int], unit_px: float) -> Floats:
    height, width = shape
    spots = np.zeros(shape, np.uint8)
    step_px = 0.17 * unit_px * rng.uniform(0.85, 1.2)
    for y in np.arange(0, height, step_px):
        for x in np.arange(0, width, step_px):
            centre = (
                round(x + rng.uniform(0, 0.6) * step_px),
                round(y + rng.uniform(0, 0.6) * step_px),
            )
            radii = (max(1, round(step_px * rng.uniform(0.2, 0.36))), max(1, round(step_px * 0.22)))
            cv2.ellipse(spots, centre, radii, rng.uniform(-40, 40), 0, 360, (255,), -1, cv2.LINE_AA)
    return spots.astype(np.float32) / 255.0


def _patches(rng: np.random.Generator, shape: tuple[int, int], unit_px: float) -> Floats:
    noise = cloud(rng, *shape, 0.42 * unit_px)
    patches: Floats = np.clip((noise - 0.52) * 18, 0, 1)
    return patches


def _part_colours(pattern: str, base: Colour, marking: Colour) -> dict[str, Colour]:
    if pattern == "bib":
        return dict.fromkeys(("muzzle", "chest", "paw"), FUR["white"])
    if pattern == "points":
        return dict.fromkeys(("muzzle", "mask", "ear", "paw", "tail"), marking)
    return {"muzzle": toned(base, 1.14)} if pattern in ("tabby", "spots") else {}


# What lies behind an animal, and what gets in its way.


def colour_of(rng: np.random.Generator, low: float = 50, high: float = 235) -> Colour:
    """Return a random, not too vivid colour."""
    vivid = rng.uniform(low, high, 3)
    red, green, blue = (vivid.mean() + rng.uniform(0.3, 0.9) * (vivid - vivid.mean())).tolist()
    return red, green, blue


def draw_background(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """Return a random background of shape (H, W, 3)."""
    kinds: tuple[Callable[[np.random.Generator, int, int], Pixels], ...]
    kinds = (_gradient, _room, _meadow, _clutter, _bokeh)
    return kinds[int(rng.integers(len(kinds)))](rng, height, width)


def occlude(rng: np.random.Generator, pixels: Pixels) -> None:
    """Put something before the animal, in place: bars, a box, a blob or blades of grass."""
    height, width = pixels.shape[:2]
    colour = colour_of(rng)
    kind = int(rng.integers(4))
    if kind == 0:
        for x in np.arange(rng.uniform(0, 0.3), 1, rng.uniform(0.2, 0.4)):
            left, thick = round(x * width), max(2, round(rng.uniform(0.02, 0.05) * width))
            cv2.rectangle(pixels, (left, 0), (left + thick, height), colour, -1)
    elif kind == 1:
        x, y = rng.uniform(0.0, 0.7, 2)
        size = rng.uniform(0.18, 0.34, 2)
        first = (round(x * width), round(y * height))
        cv2.rectangle(
            pixels, first, (round((x + size[0]) * width), round((y + size[1]) * height)), colour, -1
        )
    elif kind == 2:
        x, y = rng.uniform(0.1, 0.9, 2)
        radii = (round(rng.uniform(0.1, 0.2) * width), round(rng.uniform(0.1, 0.2) * height))
        cv2.ellipse(
            pixels,
            (round(x * width), round(y * height)),
            radii,
            30,
            0,
            360,
            colour,
            -1,
            cv2.LINE_AA,
        )
    else:
        _blades(rng, pixels, height, 60)


def _ramp(height: int, width: int, first: Colour, last: Colour, degrees: float) -> Floats:
    right, down = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    across = np.linspace(0, right, width, dtype=np.float32)[None, :, None]
    share = (across + np.linspace(0, down, height, dtype=np.float32)[:, None, None]) / (
        right + down
    )
    start, end = np.array(first, np.float32), np.array(last, np.float32)
    ramp: Floats = start + share * (end - start)  # (H, W, 3)
    return ramp


def _gradient(rng: np.random.Generator, height: int, width: int) -> Pixels:
    ramp = _ramp(height, width, colour_of(rng), colour_of(rng), rng.uniform(0, 90))
    texture = 1 + rng.uniform(0, 0.5) * (cloud(rng, height, width, rng.uniform(3, 40)) - 0.5)
    return np.clip(ramp * texture[..., None], 0, 255).astype(np.uint8)


def _room(rng: np.random.Generator, height: int, width: int) -> Pixels:
    wall, floor = colour_of(rng, 110, 240), colour_of(rng, 60, 190)
    edge = round(height * rng.uniform(0.55, 0.8))
    room = _ramp(height, width, wall, toned(wall, 0.85), 20).astype(np.uint8)
    for x in np.arange(0, width, width * rng.uniform(0.06, 0.15)):  # wallpaper
        cv2.line(room, (round(x), 0), (round(x), edge), toned(wall, 0.94), max(1, width // 60))
    if rng.random() < 0.6:  # a picture or a window
        left, top = round(width * rng.uniform(0, 0.7)), round(height * rng.uniform(0, 0.2))
        right, bottom = left + round(width * rng.uniform(0.2, 0.4)), top + round(height * 0.3)
        cv2.rectangle(room, (left, top), (right, bottom), colour_of(rng, 120, 245), -1)
        cv2.rectangle(room, (left, top), (right, bottom), toned(floor, 0.6), max(2, width // 45))
    room[edge:] = _ramp(height - edge, width, toned(floor, 0.85), toned(floor, 1.1), 0)
    for y in np.geomspace(1, height - edge, 6):  # floor boards
        cv2.line(room, (0, edge + round(y)), (width, edge + round(y)), toned(floor, 0.75), 1)
    cv2.rectangle(room, (0, edge - height // 40), (width, edge), toned(wall, 1.15), -1)
    if rng.random() < 0.5:
        centre, radii = (
            (width // 2, round(height * 0.92)),
            (round(width * 0.55), round(height * 0.13)),
        )
        cv2.ellipse(room, centre, radii, 0, 0, 360, colour_of(rng), -1, cv2.LINE_AA)
    return room


def _meadow(rng: np.random.Generator, height: int, width: int) -> Pixels:
    sky = toned((140, 190, 235), rng.uniform(0.75, 1.1))
    edge = round(height * rng.uniform(0.35, 0.7))
    scene = _ramp(height, width, sky, (225, 232, 238), 0).astype(np.uint8)
    for _ in range(int(rng.integers(0, 4))):
        x, y = round(rng.uniform(0, 1) * width), round(rng.uniform(0, 0.8) * edge)
        for puff in range(4):
            cv2.circle(
                scene, (x + puff * width // 18, y), width // 16, (248, 248, 250), -1, cv2.LINE_AA
            )
    grass = (rng.uniform(70, 150), rng.uniform(120, 175), rng.uniform(50, 90))
    hill = (round(width * rng.uniform(0, 1)), edge + height // 5)
    cv2.ellipse(
        scene, hill, (width * 2 // 3, height // 3), 0, 0, 360, toned(grass, 0.8), -1, cv2.LINE_AA
    )
    scene[edge:] = _ramp(height - edge, width, toned(grass, 0.85), toned(grass, 1.1), 0)
    _blades(rng, scene, edge, 120)
    return scene


def _blades(rng: np.random.Generator, pixels: Pixels, edge: int, count: int) -> None:
    height, width = pixels.shape[:2]
    grass = (rng.uniform(60, 140), rng.uniform(110, 175), rng.uniform(40, 90))
    for x, y, lean, tone in rng.uniform(0, 1, (count, 4)):
        foot = (round(x * width), round(edge + y * (height - edge)) if edge < height else height)
        length = height * (0.05 if edge < height else 0.12 + 0.12 * y)
        tip = (round(foot[0] + (lean - 0.5) * length), round(foot[1] - length))
        cv2.line(
            pixels, foot, tip, toned(grass, 0.7 + 0.6 * tone), max(1, width // 110), cv2.LINE_AA
        )


def _clutter(rng: np.random.Generator, height: int, width: int) -> Pixels:
    scene = _gradient(rng, height, width)
    for _ in range(int(rng.integers(6, 18))):
        knots = rng.uniform(0, 1, (int(rng.integers(3, 6)), 2)) * rng.uniform(0.15, 0.5)
        corners = ((knots + rng.uniform(-0.1, 0.9, 2)) * (width, height)).astype(np.int32)
        if rng.random() < 0.5:
            cv2.fillPoly(scene, [cv2.convexHull(corners)], colour_of(rng), cv2.LINE_AA)
        else:
            centre = (int(corners[0, 0]), int(corners[0, 1]))
            cv2.circle(
                scene,
                centre,
                max(2, round(width * rng.uniform(0.02, 0.14))),
                colour_of(rng),
                -1,
                cv2.LINE_AA,
            )
    return scene


def _bokeh(rng: np.random.Generator, height: int, width: int) -> Pixels:
    scene = _clutter(rng, height, width)
    reach = 2 * (min(height, width) // 14) + 1
    soft = cv2.blur(cv2.blur(scene, (reach, reach)), (reach, reach))
    speckle = rng.uniform(0, 22) * (cloud(rng, height, width, 2.5) - 0.5)
    return np.clip(soft + speckle[..., None], 0, 255).astype(np.uint8)
