"""Draw a contact sheet of the augmented views that an experiment trains on."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from pipeline.config.competition import Competition
from pipeline.config.experiment_files import load_experiment
from pipeline.console import result, say
from pipeline.images.decode import ByteImage
from pipeline.images.transforms import check_recipe
from pipeline.images.views import View, ViewMaker, training_view
from pipeline.images.working_copy import ImageRows, WorkingCopies, working_side_px
from pipeline.models.preparation import describe, prepared
from pipeline.store.atomic import write_bytes
from pipeline.store.paths import Paths
from pipeline.store.tables import load_train

# Most networks' working size, so that their pixels are shown one to one.
CELL_PX = 224
_MARGIN_PX = 6
_LINE_PX = 18


class SheetRow(NamedTuple):
    """Pictures beside each other under one caption, each `(H, W, 3)` uint8."""

    caption: str
    pictures: Sequence[ByteImage]


def run(
    paths: Paths,
    competition: Competition,
    experiment_name: str,
    overrides: list[str],
    size: tuple[int, int],
    out: Path | None,
) -> None:
    """Draw some training images, plain and in augmented views.

    Reads data/COMPETITION/train.csv and the images drawn from it.

    Writes a PNG with a row per image and a column per view; prints its path.

    Fails if the experiment, an override or its recipe is impossible (ConfigError), the table is
    missing or an image can't be read any more (DataError).

    Args:
        paths: The competition's files.
        competition: Its name.
        experiment_name: The experiment whose views to draw.
        overrides: Changes to the experiment, `key=value`.
        size: The number of images, and of augmented views of each: those of the first epochs.
        out: The file to write instead of one in the experiment's folder.
    """
    experiment = prepared(load_experiment(experiment_name, overrides).allowed_by(competition))
    check_recipe(experiment.views, experiment.images)
    num_images, num_views = size
    train = _sample_images(load_train(paths), num_images, experiment.seed)
    epochs = (training_view(experiment, epoch) for epoch in range(num_views))
    views = list(dict.fromkeys([View(), *epochs]))  # without randomness, some are the same
    config = experiment.images
    copies = WorkingCopies(paths, working_side_px(config), config.interpolation)
    maker = ViewMaker(experiment.images, experiment.views)
    rows = []
    for image, label in zip(ImageRows(train), train["label"], strict=True):
        copy = copies.read(image)
        pictures = [maker.make(view, copy, image.sha256) for view in views]
        rows.append(SheetRow(f"{label}: {image.image_id}", pictures))
    headings = [f"{view.recipe} {view.number}" if view.recipe else "plain" for view in views]
    path = out or paths.experiment(experiment.name).preview
    write_bytes(path, contact_sheet(headings, rows))
    say(
        f"preview {competition.name} {experiment.name}: {len(rows)} images, plain and in "
        f"{len(views) - 1} augmented views; {describe(config)}"
    )
    result(str(path))


def _sample_images(train: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """Sample images, as many of each class as can be, in the order of the classes."""
    shuffled = train.sample(frac=1, random_state=seed)
    rank = shuffled.groupby("label").cumcount()
    return shuffled.loc[rank.sort_values(kind="stable").index[:count]].sort_values(
        "label", kind="stable"
    )


def contact_sheet(headings: Sequence[str], rows: Sequence[SheetRow]) -> bytes:
    """Draw a contact sheet, one column per heading; returns it as PNG.

    Smaller pictures are enlarged without smoothing: what a network sees is shown. A letter that the
    font lacks, as Chinese ones, becomes a box.
    """
    width = _MARGIN_PX + len(headings) * (CELL_PX + _MARGIN_PX)
    row_height = CELL_PX + _LINE_PX + _MARGIN_PX
    sheet = Image.new("RGB", (width, _LINE_PX + _MARGIN_PX + len(rows) * row_height), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=_LINE_PX * 0.75)
    lefts = [_MARGIN_PX + column * (CELL_PX + _MARGIN_PX) for column in range(len(headings))]
    for left, heading in zip(lefts, headings, strict=True):
        pen.text((left, 2), heading, "black", font)
    for number, row in enumerate(rows):
        top = _LINE_PX + _MARGIN_PX + number * row_height
        pen.text((lefts[0], top), row.caption, "black", font)
        for left, picture in zip(lefts, row.pictures, strict=True):
            sheet.paste(_fitted(picture), (left, top + _LINE_PX))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _fitted(picture: ByteImage) -> Image.Image:
    is_small = max(picture.shape[:2]) < CELL_PX
    how = Image.Resampling.NEAREST if is_small else Image.Resampling.BICUBIC
    return Image.fromarray(picture).resize((CELL_PX, CELL_PX), how)
