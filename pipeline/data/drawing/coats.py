"""Paint coats: colours that every animal shares, and the patterns they make."""

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
