"""The look of figures: colours that can be told apart, and files that suit light and dark pages."""

import itertools
import warnings
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from pipeline.reports.style import (
    COLORS,
    INK,
    data_uri,
    drawing,
    in_words,
    shorten,
    to_png,
    to_svg,
)

PAGES = ("#ffffff", "#15181c")
# How linear RGB looks to dichromats (Machado, Oliveira and Fernandes 2009, severity 1).
EYES = {
    "all cones": np.eye(3),
    "no red cones": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no green cones": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no blue cones": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
RGB_TO_XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
JUST_TOLD_APART = 10  # CIELAB; 2.3 is a just noticeable difference of large patches


def linear(color):
    srgb = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    xyz = np.array(RGB_TO_XYZ) @ np.clip(rgb, 0, 1) / [0.9505, 1, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(first, second):
    """WCAG 2's contrast ratio."""
    light = [float(linear(color) @ RGB_TO_XYZ[1]) + 0.05 for color in (first, second)]
    return max(light) / min(light)


@pytest.mark.parametrize("eye", EYES)
def test_colour_blind_eyes_tell_the_colours_apart(eye):
    seen = [lab(np.array(EYES[eye]) @ linear(color)) for color in COLORS]
    pairs = itertools.combinations(seen, 2)
    assert min(np.linalg.norm(one - other) for one, other in pairs) > JUST_TOLD_APART


@pytest.mark.parametrize("page", PAGES)
def test_the_colours_stand_out_from_light_and_dark_pages(page):
    assert min(contrast(color, page) for color in COLORS) >= 3


def drawn(save, label="x"):
    with drawing() as figure:
        axes = figure.subplots()
        axes.plot([1, 2], label=label)
        axes.set(xlabel=label, ylabel="y")
        axes.legend()
        return save(figure)


def test_text_and_axes_take_the_colour_of_the_page():
    svg = drawn(to_svg).decode()
    assert INK not in svg.partition("</style>")[2]
    assert "currentColor" in svg
    assert "prefers-color-scheme:dark" in svg
    assert "fill: none" in svg  # no background


@pytest.mark.parametrize("save", [to_svg, to_png])
def test_equal_figures_have_equal_bytes(save):
    assert drawn(save) == drawn(save)


@pytest.mark.parametrize("label", ["$\\frac{$", "<script>alert(1)</script>&", "\u732b", "a_b^c"])
def test_any_label_is_shown_as_it_is(label):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = drawn(to_svg, label)
    root = ET.fromstring(svg)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count(label) == 2  # the axis and the legend
    assert not list(root.iter("{http://www.w3.org/2000/svg}script"))


def test_a_data_uri_holds_the_content():
    assert data_uri(b"\x00\xff", "image/png") == "data:image/png;base64,AP8="


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("cat", "cat"),
        ("猫", "猫"),
        ("x" * 80, "x" * 80),
        ("x" * 81, f"{'x' * 79}…"),
        ("قطة", "\u2068قطة\u2069"),
        ("\u2800", "U+2800"),
    ],
)
def test_names_in_sentences_are_seen_and_keep_to_themselves(name, shown):
    assert in_words(name) == shown


def test_names_in_charts_are_short_and_seen():
    assert [shorten("y" * 25), shorten("\u3164")] == [f"{'y' * 23}…", "U+3164"]
