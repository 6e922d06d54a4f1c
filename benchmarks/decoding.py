"""Decoding an image as the pipeline does it (strict, Pillow) against OpenCV's bare `imdecode`."""

import io

import cv2
import numpy as np
from PIL import Image

from benchmarks.ratio import compare
from pipeline.data.drawing.image_files import draw_animal
from pipeline.data.drawing.species import species_of
from pipeline.images.decode import decode_rgb

NUM_IMAGES = 64
SIDE_PX = 400


def drawn_jpegs() -> list[bytes]:
    """Draw pictures and encode them as JPEG."""
    contents = []
    for number in range(NUM_IMAGES):
        rng = np.random.default_rng(number)
        species = species_of(("cat", "dog"), number % 2, seed=0)
        pixels = draw_animal(species, rng, SIDE_PX, SIDE_PX)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
        contents.append(buffer.getvalue())
    return contents


def main() -> None:
    """Run the comparison."""
    contents = drawn_jpegs()
    compare(
        "decode: Pillow, which notices truncation, against OpenCV, which doesn't",
        lambda: [decode_rgb(content) for content in contents],
        lambda: [cv2.imdecode(np.frombuffer(content, np.uint8), 1) for content in contents],
    )


if __name__ == "__main__":
    main()
