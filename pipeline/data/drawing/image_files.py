"""Draw photos of animals and encode them as files: in odd formats, as twins, damaged.

Imported by every process that draws, so it stays light: no pandas here.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from pipeline.data.drawing.pen import Frame, Pen
from pipeline.data.drawing.poses import POSES, face
from pipeline.data.drawing.species import Species, individual
from pipeline.data.drawing.surfaces import Pixels, draw_background, occlude, paint_coat

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


EXIF_ORIENTATION = 0x0112
KEPT_OF_TRUNCATED = 0.6


@dataclass(frozen=True)
class FileJob:
    """One file to draw; equal jobs give equal bytes, in whatever process."""

    species: Species
    stream: tuple[int, ...]  # seed, split and index: the image's own random numbers
    min_side_px: int
    max_side_px: int
    encoding: str = "jpeg"


def draw_file(job: FileJob) -> bytes:
    """Draw one picture and encode it."""
    return ENCODERS[job.encoding](draw_job(job), _quality(job))


def draw_job(job: FileJob) -> Pixels:
    """Draw the picture of one file, before it is encoded."""
    rng = np.random.default_rng(np.random.SeedSequence(job.stream))
    low, high = sorted((job.min_side_px, job.max_side_px))
    width, height = rng.integers(low, high + 1, 2).tolist()
    return draw_animal(job.species, rng, width, height)


def _quality(job: FileJob) -> int:
    return int(np.random.default_rng(np.random.SeedSequence((*job.stream, 1))).integers(45, 96))


def encode_jpeg(picture: Pixels, quality: int) -> bytes:
    """Encode an RGB or grayscale picture as an ordinary JPEG."""
    return _saved(Image.fromarray(picture), "JPEG", quality=quality)


def encode_png(picture: Pixels, quality: int) -> bytes:  # noqa: ARG001 (one signature for all)
    """Encode as a PNG, which loses nothing."""
    return _saved(Image.fromarray(picture), "PNG")


def encode_tiff(picture: Pixels, quality: int) -> bytes:  # noqa: ARG001
    """Encode as a TIFF, which loses nothing."""
    return _saved(Image.fromarray(picture), "TIFF")


def encode_npy(picture: Pixels, quality: int) -> bytes:  # noqa: ARG001
    """Encode as an array of three scans, `(3, H, W)` float16, whose range is their own."""
    buffer = io.BytesIO()
    np.save(buffer, np.moveaxis(picture, 2, 0).astype(np.float16) / np.float16(64) - 2)
    return buffer.getvalue()


def encode_dicom(picture: Pixels, quality: int) -> bytes:  # noqa: ARG001
    """Encode as a DICOM of one channel of 12 bits, as a scanner writes it."""
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    file = pydicom.Dataset()
    file.file_meta = pydicom.dataset.FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.SOPClassUID, file.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    file.Rows, file.Columns = picture.shape[:2]
    file.SamplesPerPixel, file.PixelRepresentation = 1, 0
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, 12, 11
    file.PhotometricInterpretation = "MONOCHROME2"
    file.PixelData = (picture.mean(axis=2) * 16).astype("<u2").tobytes()
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, file, enforce_file_format=True)
    return buffer.getvalue()


def encode_gif(picture: Pixels, quality: int) -> bytes:  # noqa: ARG001
    """Encode as a GIF, which OpenCV before 4.11 can't read."""
    return _saved(Image.fromarray(picture).quantize(128), "GIF")


def encode_rgba_png(picture: Pixels, quality: int) -> bytes:  # noqa: ARG001
    """Encode as a PNG whose corners are transparent, and black below that."""
    height, width = picture.shape[:2]
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    alpha = np.clip((1.25 - np.hypot(x, y)) * 2000, 0, 255).astype(np.uint8)
    colours = np.where(alpha[..., None] > 0, picture, 0).astype(np.uint8)
    return _saved(Image.fromarray(np.dstack([colours, alpha])), "PNG")


def encode_grayscale(picture: Pixels, quality: int) -> bytes:
    """Encode as a JPEG of one channel."""
    return _saved(Image.fromarray(picture).convert("L"), "JPEG", quality=quality)


def encode_cmyk(picture: Pixels, quality: int) -> bytes:
    """Encode as a JPEG in the colours of a printer."""
    return _saved(Image.fromarray(picture).convert("CMYK"), "JPEG", quality=quality)


def encode_turned(picture: Pixels, quality: int) -> bytes:
    """Encode lying on its side, with the EXIF orientation 6 that puts it upright again."""
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    return _saved(Image.fromarray(np.rot90(picture)), "JPEG", quality=quality, exif=exif)


ENCODERS: dict[str, Callable[[Pixels, int], bytes]] = {
    "jpeg": encode_jpeg,
    "png": encode_png,
    "tiff": encode_tiff,
    "npy": encode_npy,
    "dicom": encode_dicom,
    "gif": encode_gif,
    "rgba_png": encode_rgba_png,
    "grayscale": encode_grayscale,
    "cmyk": encode_cmyk,
    "turned": encode_turned,
}
# By suffix, else JPEG.
ORDINARY_ENCODINGS = {".png": "png", ".tif": "tiff", ".tiff": "tiff", ".npy": "npy"}
ORDINARY_ENCODINGS |= {".dcm": "dicom"}
ODD_ENCODINGS = tuple(
    name for name in ENCODERS if name != "jpeg" and name not in ORDINARY_ENCODINGS.values()
)


def near_duplicate(content: bytes) -> bytes:
    """Encode a file's picture again, a little smaller and brighter: other bytes, same picture."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    smaller = ImageOps.scale(image, 0.93, resample=Image.Resampling.BICUBIC)
    return _saved(ImageEnhance.Brightness(smaller).enhance(1.06), "JPEG", quality=80)


def truncated(content: bytes) -> bytes:
    """Cut a file off, as a broken download does."""
    return content[: int(KEPT_OF_TRUNCATED * len(content))]


def _saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()
