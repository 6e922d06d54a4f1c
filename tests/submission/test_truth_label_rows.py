"""The truth as lines of an image and a class each."""

from pathlib import Path

import pytest

from pipeline.config.competition import Competition
from pipeline.errors import DataError
from pipeline.submission.truth_labels import gather_label_rows
from tests.editions import shipped

PATH = Path("truth.csv")


@pytest.fixture(scope="module")
def spine() -> Competition:
    return shipped("rsna-2022-cervical-spine-fracture-detection")


def lines(spine: Competition) -> list[list[str]]:
    """Two scans, the second of which has the second label alone."""
    return [
        [f"scan{scan}_{name}", str(int((scan, name) == (1, spine.classes[1])))]
        for scan in range(2)
        for name in spine.classes
    ]


@pytest.mark.parametrize("header", [[], ["row_id", "fractured"], ["line", "p"], ["id", "label"]])
def test_a_header_of_any_names_or_none_is_read(spine, header):
    below = gather_label_rows(PATH, spine, [header] * bool(header) + lines(spine))[1:]
    nothing = ["0"] * spine.num_classes
    assert below == [["scan0", *nothing], ["scan1", "0", "1", *nothing[2:]]]


def test_a_first_line_of_a_mark_and_no_image_is_no_header(spine):
    with pytest.raises(DataError, match=r"ids must be of an image and a class.* 'scan9'"):
        gather_label_rows(PATH, spine, [["scan9", "1"], *lines(spine)])


def test_a_line_that_stands_twice_is_refused_whatever_it_says(spine):
    first, *others = lines(spine)
    with pytest.raises(DataError, match=f"every line must stand once.* '{first[0]}'"):
        gather_label_rows(PATH, spine, [first, *others, [first[0], "1"]])
