"""Draw one photo of one animal: background, figure, what is in the way, light and camera."""

import cv2
import numpy as np

from pipeline.data.drawing.backgrounds import draw_background, occlude
from pipeline.data.drawing.coats import Pixels, paint_coat
from pipeline.data.drawing.pen import Frame, Pen
from pipeline.data.drawing.poses import POSES, face
from pipeline.data.drawing.species import Species, individual

# Everything is drawn at twice the size and then halved, which smooths what OpenCV leaves jagged.
OVERSAMPLING = 2


def draw_animal(species: Species, rng: np.random.Generator, width: int, height: int) -> Pixels:
    """Draw one animal of a species as if it had been photographed.

    Args:
        species: What kind of animal.
        rng: Everything else: the individual, its pose, the scene and the camera.
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.

    Returns:
        RGB of shape `(H, W, 3)`.
    """
    shape = (height * OVERSAMPLING, width * OVERSAMPLING)
    canvas = draw_background(rng, *shape)
    looks = individual(species, rng)
    pose = POSES[int(rng.choice(len(POSES), p=(0.42, 0.26, 0.16, 0.16)))]
    size = rng.uniform(0.41, 0.52) * (1.06 if pose is face else 1.0)
    unit_px = float(size * min(shape))
    frame = Frame(np.array([[unit_px, 0.0, shape[1] / 2], [0.0, unit_px, shape[0] / 2]]))
    frame = frame.moved(
        float(rng.normal(0, 0.1)),
        float(rng.normal(0, 0.07)),
        degrees=float(rng.normal(0, 9)),
        mirror=bool(rng.random() < 0.5),
    )
    pose(Pen(canvas, frame, paint_coat(rng, shape, unit_px, looks.coat), rng), looks)
    if rng.random() < 0.2:
        occlude(rng, canvas)
    small = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    return _photographed(rng, small.astype(np.float32))


def _photographed(rng: np.random.Generator, scene: np.ndarray) -> Pixels:
    height, width = scene.shape[:2]
    across = np.linspace(-1, 1, width, dtype=np.float32)[None] * np.float32(rng.uniform(-1, 1))
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * np.float32(rng.uniform(-1, 1))
    light = 1 + 0.2 * (across + down)[..., None]
    cast = rng.normal(1, 0.075, 3).astype(np.float32)
    lit = scene * light * cast * np.float32(rng.uniform(0.7, 1.2))
    lit = (lit - 128) * np.float32(rng.uniform(0.8, 1.1)) + 128
    lit = _blurred(rng, lit, min(height, width))
    if rng.random() < 0.4:
        lit = lit + rng.uniform(1, 9) * rng.standard_normal(lit.shape, dtype=np.float32)
    return np.clip(lit, 0, 255).astype(np.uint8)


def _blurred(rng: np.random.Generator, scene: np.ndarray, side_px: int) -> np.ndarray:
    chance = rng.random()
    if chance < 0.18:
        return cv2.GaussianBlur(scene, (0, 0), rng.uniform(0.004, 0.011) * side_px)
    if chance < 0.28:
        length = max(3, round(rng.uniform(0.02, 0.045) * side_px))
        streak = np.zeros((length, length), np.float32)
        streak[length // 2] = 1 / length
        turn = cv2.getRotationMatrix2D(((length - 1) / 2,) * 2, rng.uniform(0, 180), 1)
        kernel = cv2.warpAffine(streak, turn, (length, length))
        return cv2.filter2D(scene, -1, kernel * np.float32(1 / kernel.sum()))
    return scene
