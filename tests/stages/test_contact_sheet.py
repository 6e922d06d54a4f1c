import io

import numpy as np
import pytest
from PIL import Image

from pipeline.stages.preview import CELL_PX, SheetRow, contact_sheet


def picture(size_px: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (size_px, size_px, 3), dtype=np.uint8)


def opened(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png), formats=["PNG"]))


def find(sheet: np.ndarray, cell: np.ndarray) -> tuple[int, int]:
    """Return the top left corner of a picture on a sheet."""
    windows = np.lib.stride_tricks.sliding_window_view(sheet, (1, 4, 3))[:, :, 0]
    for top, left in np.argwhere((windows == cell[:1, :4]).all(axis=(2, 3, 4))).tolist():
        if (sheet[top : top + len(cell), left : left + len(cell)] == cell).all():
            return top, left
    raise AssertionError("the picture isn't on the sheet")


def test_pictures_stand_in_rows_and_columns():
    pictures = [[picture(CELL_PX, 2 * row + column) for column in range(2)] for row in range(2)]
    rows = [SheetRow(f"row {number}", cells) for number, cells in enumerate(pictures)]
    sheet = opened(contact_sheet(["left", "right"], rows))
    places = np.array([[find(sheet, cell) for cell in cells] for cells in pictures])
    tops, lefts = places[..., 0], places[..., 1]
    assert (tops[:, 0] == tops[:, 1]).all()
    assert (lefts[0] == lefts[1]).all()
    assert tops[1, 0] - tops[0, 0] > CELL_PX
    assert lefts[0, 1] - lefts[0, 0] > CELL_PX


def test_captions_and_headings_are_drawn():
    bare, full = (
        opened(contact_sheet([heading], [SheetRow(caption, [picture(CELL_PX)])]))
        for heading, caption in (("", ""), ("plain", "cat: cat_0.jpg"))
    )
    top, _ = find(full, picture(CELL_PX))
    assert (bare != full)[:top].any()
    np.testing.assert_array_equal(bare[top:], full[top:])


def test_small_pictures_are_enlarged_without_smoothing():
    small = picture(CELL_PX // 7)
    sheet = opened(contact_sheet(["plain"], [SheetRow("", [small])]))
    find(sheet, small.repeat(7, axis=0).repeat(7, axis=1))


@pytest.mark.parametrize("name", ["猫: 暹罗", "Кошка", "𓃠 🐈", "a\nb", "\x00", "x" * 500])
def test_any_name_can_be_drawn(name):
    assert opened(contact_sheet([name], [SheetRow(name, [picture(8)])])).ndim == 3
