"""Draw lines, areas and fur, in coordinates that move, turn and grow with the figure.

A figure is drawn in its own units (about -1..1, y downwards), so that a head is the same head on
every body and at every size.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.data.drawing.surfaces import Coat, Colour, Pixels

Points = npt.NDArray[np.float64]  # (num_points, 2), x and y

# OpenCV takes whole numbers: this many of their bits lie behind the point.
SUBPIXEL_BITS = 4


@dataclass(frozen=True)
class Frame:
    """The map from figure coordinates to the canvas: an affine matrix of shape (2, 3)."""

    matrix: Points

    def moved(
        self, x: float, y: float, *, scale: float = 1.0, degrees: float = 0.0, mirror: bool = False
    ) -> "Frame":
        """Return the frame whose origin is at (x, y) of this one, scaled and turned clockwise."""
        turn = math.radians(degrees)
        flip = -1.0 if mirror else 1.0
        axes = scale * np.array(
            [[flip * math.cos(turn), -math.sin(turn)], [flip * math.sin(turn), math.cos(turn)]]
        )
        origin = self.to_pixels(np.array([[x, y]]))[0]
        return Frame(np.column_stack([self.matrix[:, :2] @ axes, origin]))

    def to_pixels(self, points: Points) -> Points:
        """Map figure coordinates to pixels."""
        mapped: Points = points @ self.matrix[:, :2].T + self.matrix[:, 2]
        return mapped

    @property
    def unit_px(self) -> float:
        """Length of one figure unit in pixels."""
        return math.sqrt(abs(float(np.linalg.det(self.matrix[:, :2]))))


@dataclass(frozen=True)
class Pen:
    """Draws on `pixels`, in place, through `frame`."""

    pixels: Pixels  # (H, W, 3) RGB
    frame: Frame
    coat: Coat
    rng: np.random.Generator

    def at(self, x: float, y: float, *, scale: float = 1.0, degrees: float = 0.0) -> "Pen":
        """Return a pen for a part of the figure, with its own coordinates."""
        frame = self.frame.moved(x, y, scale=scale, degrees=degrees)
        return Pen(self.pixels, frame, self.coat, self.rng)

    def fill(self, points: Points, colour: Colour) -> None:
        """Fill an outline with one colour."""
        cv2.fillPoly(self.pixels, [self._fixed(points)], colour, cv2.LINE_AA, SUBPIXEL_BITS)

    def line(self, points: Points, colour: Colour, width: float, *, closed: bool = False) -> None:
        """Draw a line; `width` is in figure units and never below one pixel."""
        width_px = max(1, round(width * self.frame.unit_px))
        outline = [self._fixed(points)]
        cv2.polylines(self.pixels, outline, closed, colour, width_px, cv2.LINE_AA, SUBPIXEL_BITS)

    def shadow(self, points: Points, opacity: float) -> None:
        """Darken an area, softly."""
        mask = self._mask(points)
        blur_px = 2 * round(0.06 * self.frame.unit_px) + 1
        soft = cv2.blur(mask, (blur_px, blur_px)).astype(np.float32) / 255.0
        self.pixels[:] = (self.pixels * (1.0 - opacity * soft[..., None])).astype(np.uint8)

    def fur(self, points: Points, part: str = "body", *, fluff: float = 0.0) -> None:
        """Fill an outline with the coat, rounded by light from above, with a darker rim.

        Args:
            points: The outline.
            part: Which part of the coat it is; see `Coat.part`.
            fluff: How far tufts stand out, in figure units.
        """
        outline = self._ruffled(points, fluff) if fluff > 0 else points
        mask = self._mask(outline)
        x, y, width, height = cv2.boundingRect(mask)
        if width == 0 or height == 0:  # all of it lies off the canvas
            return
        box = (slice(y, y + height), slice(x, x + width))
        alpha = mask[box].astype(np.float32)[..., None] / 255.0
        # A box filter costs the same at every size, which a Gaussian doesn't.
        reach_px = max(3, round(0.22 * min(width, height)))
        edge = cv2.blur(mask, (reach_px, reach_px))[box].astype(np.float32)[..., None] / 255.0
        slope = np.linspace(1.07, 0.86, height, dtype=np.float32)[:, None, None]
        shaded = self.coat.part(part, box) * (0.56 + 0.46 * edge) * slope
        area = self.pixels[box].astype(np.float32)
        area += alpha * (np.clip(shaded, 0, 255) - area)
        self.pixels[box] = area.astype(np.uint8)

    def _ruffled(self, points: Points, fluff: float) -> Points:
        tangents = np.roll(points, -1, axis=0) - np.roll(points, 1, axis=0)
        lengths = np.maximum(np.linalg.norm(tangents, axis=1, keepdims=True), 1e-9)
        normals = np.column_stack([tangents[:, 1], -tangents[:, 0]]) / lengths
        # Outlines run clockwise or not: tufts must point outwards in both.
        outwards = np.sign(np.sum(normals * (points - points.mean(axis=0))))
        tufts = fluff * self.rng.uniform(0.0, 1.0, (len(points), 1))
        tufts[::2] *= 0.15
        ruffled: Points = points + outwards * normals * tufts
        return ruffled

    def _mask(self, points: Points) -> Pixels:
        mask = np.zeros(self.pixels.shape[:2], np.uint8)
        cv2.fillPoly(mask, [self._fixed(points)], (255,), cv2.LINE_AA, SUBPIXEL_BITS)
        return mask

    def _fixed(self, points: Points) -> npt.NDArray[np.int32]:
        scaled = self.frame.to_pixels(points) * (1 << SUBPIXEL_BITS)
        return np.round(scaled).astype(np.int32)


def ellipse(x: float, y: float, radius_x: float, radius_y: float, degrees: float = 0.0) -> Points:
    """Return the outline of an ellipse, turned clockwise."""
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    turn = math.radians(degrees)
    across, down = radius_x * np.cos(angles), radius_y * np.sin(angles)
    return np.column_stack(
        [
            x + across * math.cos(turn) - down * math.sin(turn),
            y + across * math.sin(turn) + down * math.cos(turn),
        ]
    )


def smooth(knots: Sequence[tuple[float, float]], *, closed: bool = True) -> Points:
    """Return the Catmull-Rom spline through the knots, ten points per stretch."""
    ring = np.array(knots, np.float64)
    if not closed:  # an end has no neighbour: it stands in for it
        ring = np.concatenate([ring[:1], ring, ring[-1:]])
    before, start, end, after = (np.roll(ring, shift, axis=0)[:, None] for shift in (1, 0, -1, -2))
    t = np.linspace(0, 1, 10, endpoint=False)[None, :, None]
    curve = 0.5 * (
        2 * start
        + (end - before) * t
        + (2 * before - 5 * start + 4 * end - after) * t**2
        + (3 * start - before - 3 * end + after) * t**3
    )
    stretches: Points = curve if closed else curve[1:-2]
    return stretches.reshape(-1, 2)


def mirrored(knots: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Close a right half, given from top to bottom, with its mirror image."""
    left = [(-x, y) for x, y in reversed(knots) if x != 0]
    return [*knots, *left]


def tube(knots: Sequence[tuple[float, float]], widths: Sequence[float]) -> Points:
    """Return the outline of a limb or tail along the knots; `widths` from its root to its end."""
    path = np.concatenate([smooth(knots, closed=False), np.array(knots[-1:], np.float64)])
    along = np.gradient(path, axis=0)
    normals = np.column_stack([-along[:, 1], along[:, 0]])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    half = np.interp(np.linspace(0, 1, len(path)), np.linspace(0, 1, len(widths)), widths) / 2
    turn = np.linspace(-np.pi / 2, np.pi / 2, 9)[1:-1, None]
    forward = np.array([normals[-1, 1], -normals[-1, 0]])
    cap = path[-1] + half[-1] * (np.cos(turn) * forward - np.sin(turn) * -normals[-1])
    side = half[:, None] * normals
    return np.concatenate([path - side, cap, (path + side)[::-1]])
