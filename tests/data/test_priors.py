import numpy as np
import pandas as pd
import pytest

from pipeline.data.training_table import (
    MOST_NAMES,
    fill_with_prior,
    is_readable,
    warn_of_unreadable,
)


def table(widths: list[int]) -> pd.DataFrame:
    names = [f"{number}.jpg" for number in range(len(widths))]
    return pd.DataFrame({"image_id": names, "width": widths})


def test_only_unreadable_images_get_the_class_shares():
    readable = np.array([[0.9, 0.1], [0.2, 0.8]], dtype=np.float32)
    targets = np.array([0, 0, 0, 1])
    probs = fill_with_prior(readable, table([0, 5, 0, 7]), targets)
    np.testing.assert_array_equal(
        probs, np.array([[0.75, 0.25], [0.9, 0.1], [0.75, 0.25], [0.2, 0.8]], dtype=np.float32)
    )
    assert probs.dtype == np.float32


def test_a_class_without_training_images_still_has_a_column():
    probs = fill_with_prior(np.empty((0, 3), dtype=np.float32), table([0]), np.array([0, 1]))
    np.testing.assert_array_equal(probs, np.array([[0.5, 0.5, 0]], dtype=np.float32))


def test_an_image_of_width_0_is_unreadable():
    assert is_readable(table([0, 1])).tolist() == [False, True]


def test_nothing_is_said_where_all_can_be_read(capsys):
    warn_of_unreadable(table([1, 2]))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("num", "rest"), [(MOST_NAMES, ""), (MOST_NAMES + 3, " and 3 more, all named in audit.csv")]
)
def test_unreadable_images_are_named_the_first_ones_at_least(capsys, num, rest):
    warn_of_unreadable(table([0] * num + [1]))
    names = ", ".join(f"{number}.jpg" for number in range(MOST_NAMES))
    assert capsys.readouterr().err == (
        f"warning: {num} of {num + 1} test images are unreadable and get the class prior: "
        f"{names}{rest}\n"
    )
