"""Draw contact sheets: many small pictures on one, with captions."""

import io
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from pipeline.images.decode import ByteImage

# Most networks' working size, so that their pixels are shown one to one.
CELL_PX = 224
_MARGIN_PX = 6
_LINE_PX = 18


class SheetRow(NamedTuple):
    """Pictures beside each other under one caption, each `(H, W, 3)` uint8."""

    caption: str
    pictures: Sequence[ByteImage]


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
