"""Draw what lies behind the animal, and what gets in its way."""

import math
from collections.abc import Callable

import cv2
import numpy as np

from pipeline.data.drawing.coats import Colour, Floats, Pixels, cloud, toned


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
