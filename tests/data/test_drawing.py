"""Drawn animals: repeatable, told apart by shape and not by colour."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.config.competition import load_competition
from pipeline.data.drawing.heads import front_head
from pipeline.data.drawing.image_files import draw_animal
from pipeline.data.drawing.pen import Frame, Pen, ellipse, tube
from pipeline.data.drawing.species import SPECIES, individual, species_of
from pipeline.data.drawing.surfaces import Pixels, paint_coat

NUM_DRAWN = 200


@pytest.fixture(scope="module")
def drawn() -> tuple[list[Pixels], npt.NDArray[np.int64]]:
    """Small cats and dogs by turns, and their targets."""
    pictures = [
        draw_animal(SPECIES["cat" if index % 2 == 0 else "dog"], _rng(index), 48, 48)
        for index in range(NUM_DRAWN)
    ]
    return pictures, np.arange(NUM_DRAWN) % 2


def _rng(*key: int) -> np.random.Generator:
    return np.random.default_rng((9, *key))


def _accuracy(features: list[Pixels], targets: npt.NDArray[np.int64]) -> float:
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
    return float(cross_val_score(model, np.array(features), targets, cv=5).mean())


def _portrait(name: str, index: int) -> Pixels:
    """A head alone on grey, upright and in the middle: what the shape is, without the scene."""
    canvas = np.full((96, 96, 3), 128, np.uint8)
    frame = Frame(np.array([[30.0, 0, 48], [0, 30.0, 52]]))
    coat = paint_coat(_rng(index), (96, 96), 30.0, ("solid", "ginger", "white"))
    front_head(Pen(canvas, frame, coat, _rng(index)), individual(SPECIES[name], _rng(index)))
    small: Pixels = cv2.resize(canvas, (16, 16), interpolation=cv2.INTER_AREA).astype(np.uint8)
    return small


def test_picture_is_rgb_of_the_size_asked_for():
    picture = draw_animal(SPECIES["cat"], _rng(0), width=70, height=40)
    assert picture.shape == (40, 70, 3)
    assert picture.dtype == np.uint8
    assert picture.std() > 10


def test_equal_streams_draw_equal_pictures_and_others_draw_others():
    first, again, other = (draw_animal(SPECIES["dog"], _rng(key), 64, 64) for key in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 10


def test_colours_do_not_tell_cats_from_dogs(drawn):
    pictures, targets = drawn
    edges = [(0, 256)] * 3
    histograms = [
        np.sqrt(np.histogramdd(picture.reshape(-1, 3), (8, 8, 8), edges)[0].ravel())
        for picture in pictures
    ]
    assert _accuracy(histograms, targets) < 0.65


def test_shape_tells_cats_from_dogs():
    portraits = [_portrait(("cat", "dog")[index % 2], index) for index in range(80)]
    greys = [portrait.mean(axis=2).ravel() for portrait in portraits]
    assert _accuracy(greys, np.arange(80) % 2) > 0.85


@pytest.mark.parametrize("name", SPECIES)
def test_every_species_can_be_drawn(name):
    pictures = [draw_animal(SPECIES[name], _rng(index), 40, 52) for index in range(6)]
    assert {picture.shape for picture in pictures} == {(52, 40, 3)}


def test_cats_and_dogs_share_every_coat():
    cat, dog = SPECIES["cat"], SPECIES["dog"]
    assert (cat.coats, cat.bases, cat.markings) == (dog.coats, dog.bases, dog.markings)
    assert cat.eyes == dog.eyes


def test_built_in_classes_have_a_species_of_their_own():
    for name in ("demo", "demo-12"):
        classes = load_competition(name).classes
        assert [species_of(classes, index, 0) for index in range(len(classes))] == [
            SPECIES[label] for label in classes
        ]


def test_unknown_classes_get_species_that_differ_and_stay():
    classes = tuple(f"class {index}" for index in range(100))
    species = [species_of(classes, index, 3) for index in range(100)]
    assert len(set(species)) == 100
    assert species[7] == species_of(classes, 7, 3)
    assert species[7] != species_of(classes, 7, 4)


def test_figures_off_the_canvas_are_left_out():
    canvas = np.zeros((20, 20, 3), np.uint8)
    coat = paint_coat(_rng(0), (20, 20), 5.0, ("solid", "white", "black"))
    pen = Pen(canvas, Frame(np.array([[5.0, 0, 200], [0, 5.0, 10]])), coat, _rng(0))
    pen.fur(ellipse(0, 0, 1, 1))
    assert not canvas.any()


def test_frames_turn_clockwise_and_mirror():
    frame = Frame(np.array([[10.0, 0, 50], [0, 10.0, 50]]))
    right = np.array([[1.0, 0.0]])
    np.testing.assert_allclose(frame.moved(0, 0, degrees=90).to_pixels(right), [[50, 60]])
    np.testing.assert_allclose(frame.moved(1, 0, mirror=True).to_pixels(right), [[50, 50]])
    assert frame.moved(3, 4, scale=0.5, degrees=30, mirror=True).unit_px == pytest.approx(5)


def test_tube_keeps_its_width_to_the_rounded_end():
    outline = tube([(0, 0), (1, 0), (2, 0)], [0.4, 0.4])
    assert outline[:, 1].min() == pytest.approx(-0.2)
    assert outline[:, 1].max() == pytest.approx(0.2)
    assert outline[:, 0].max() == pytest.approx(2.2)
