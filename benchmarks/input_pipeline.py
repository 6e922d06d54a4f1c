"""The input pipeline on one core against the sources' (torchvision's loader and transforms).

    python -m benchmarks.input_pipeline [FOLDER]

FOLDER holds images, e.g. the unpacked `cat_12_train`; without it, images of such sizes are drawn.
Both sides end with a batch of random crops of 224 pixels: the sources' normalised, ours as bytes,
which are normalised on the device that computes; one line counts that in, on this CPU. Each side is
a process of one thread, set up as it would be beside a training.
"""

import functools
import hashlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torchvision import transforms  # type: ignore[import-untyped]
from torchvision.datasets.folder import pil_loader  # type: ignore[import-untyped]

from benchmarks.ratio import Work
from benchmarks.sides import Side, compare_sides
from pipeline.config.experiment import ImageConfig, ViewConfig
from pipeline.data.drawing.image_files import draw_animal
from pipeline.data.drawing.species import species_of
from pipeline.images.cache import CachedCopies
from pipeline.images.decode import read_header
from pipeline.images.decoder_pool import prepare_worker
from pipeline.images.views import View
from pipeline.images.working_copy import WorkingCopies, working_side_px
from pipeline.store.paths import Paths
from pipeline.training.device import to_inputs
from pipeline.training.loader import Batch, ViewDataset

NUM_IMAGES = 256
BATCH_SIZE = 32

# Widths and heights of most photos of cat-12.
SIZES = [(427, 320), (480, 320), (320, 480), (320, 427), (300, 225), (500, 375)]

# As in the sources' training of cat-dog.
SOURCE = transforms.Compose(
    [
        transforms.RandomResizedCrop(224),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)


def draw(
    folder: Path, num_images: int = NUM_IMAGES, sizes: Sequence[tuple[int, int]] = SIZES
) -> None:
    """Draw images, by default of the sizes of photos."""
    for number in range(num_images):
        width, height = sizes[number % len(sizes)]
        rng = np.random.default_rng(number)
        pixels = draw_animal(species_of(("cat", "dog"), number % 2, seed=0), rng, width, height)
        Image.fromarray(pixels).save(folder / f"{number}.jpg", "JPEG", quality=90)


def tabulate(folder: Path, num_images: int = NUM_IMAGES) -> pd.DataFrame:
    """List so many of a folder's images, evenly drawn from all of them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    rows = []
    for path in files[:: max(1, len(files) // num_images)][:num_images]:
        content = path.read_bytes()
        header = read_header(content)
        sha256 = hashlib.sha256(content).hexdigest()
        rows.append((path.name, str(path), sha256, header.width, header.height))
    columns = pd.Index(["image_id", "path", "sha256", "width", "height"])
    return pd.DataFrame(rows, columns=columns)


def _batches(count: int) -> list[list[int]]:
    rows = list(range(count))
    return [rows[start : start + BATCH_SIZE] for start in range(0, count, BATCH_SIZE)]


def ours(root: Path, images: pd.DataFrame, *, is_cached: bool, is_normalised: bool) -> Work:
    """Return what makes random crops as the recipe `light` does, batch by batch."""
    torch.set_num_threads(1)
    prepare_worker()
    paths, side_px = Paths(root, "benchmark"), working_side_px(ImageConfig())
    copies = (CachedCopies if is_cached else _decoded)(paths, side_px, images)
    dataset = ViewDataset(copies, images, ImageConfig(), ViewConfig())
    views, device = (View("light"),), torch.device("cpu")

    def load() -> None:
        for rows in _batches(len(images)):
            pixels = dataset[Batch(rows, views)]
            if is_normalised:  # usually the device's work
                to_inputs(pixels.flatten(0, 1), ImageConfig(), device)

    return load


def _decoded(paths: Paths, side_px: int, _: pd.DataFrame) -> WorkingCopies:
    return WorkingCopies(paths, side_px)


def source(images: pd.DataFrame) -> Work:
    """Return what makes random crops as torchvision does, batch by batch."""
    torch.set_num_threads(1)
    files = images["path"].tolist()

    def load() -> None:
        for rows in _batches(len(files)):
            torch.stack([SOURCE(pil_loader(files[row])) for row in rows])

    return load


def run(root: Path, folder: Path | None) -> None:
    """Run the comparisons with a cache below `root`."""
    if folder is None:
        folder = root / "drawn"
        folder.mkdir()
        draw(folder)
    images = tabulate(folder.resolve())
    CachedCopies(Paths(root, "benchmark"), working_side_px(ImageConfig()), images).build()
    with Side(source, images) as other:
        for title, is_cached, is_normalised in (
            ("cold: decoded from the file", False, False),
            ("cached", True, False),
            ("cached, and normalised", True, True),
        ):
            build = functools.partial(ours, is_cached=is_cached, is_normalised=is_normalised)
            with Side(build, root, images) as own:
                what = f"input pipeline, {title}, against torchvision"
                compare_sides(what, own, other, len(images))


def main() -> None:
    """Run the comparisons on one core."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory() as root:
        run(Path(root), folder)


if __name__ == "__main__":
    main()
