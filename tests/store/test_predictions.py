import tracemalloc
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from pipeline.errors import ArtifactError
from pipeline.store.predictions import Predictions, load_predictions

PROBS = np.array([[0.25, 0.75], [0.5, 0.5], [1, 0]], dtype=np.float32)


def predictions(
    image_ids: Sequence[str] = ("a.jpg", "007", "NA"), probs: Any = PROBS
) -> Predictions:
    return Predictions(list(image_ids), probs, ["cat", "dog"], "f" * 64)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "oof.npz"
    predictions().save(path)
    return path


def test_predictions_round_trip(path):
    loaded = load_predictions(path, "again")
    assert (loaded.image_ids, loaded.class_names) == (["a.jpg", "007", "NA"], ["cat", "dog"])
    assert loaded.folds_sha256 == "f" * 64
    np.testing.assert_array_equal(loaded.probs, PROBS)
    assert loaded.probs.dtype == np.float32


def test_equal_predictions_give_equal_bytes(path, tmp_path):
    predictions().save(tmp_path / "other.npz")
    assert (tmp_path / "other.npz").read_bytes() == path.read_bytes()


def test_rows_follow_the_ids_asked_for():
    rows = predictions().reordered(["NA", "a.jpg", "007"], "x")
    np.testing.assert_array_equal(rows, PROBS[[2, 0, 1]])


def test_missing_ids_are_counted_and_named():
    line = (
        "^x: must predict the 3 images of the table, predicts 3 and misses 1, the first missing "
        r"is 'b\.jpg'; train it again$"
    )
    with pytest.raises(ArtifactError, match=line):
        predictions().reordered(["NA", "b.jpg", "007"], "x")


def test_surplus_ids_are_refused():
    with pytest.raises(ArtifactError, match="the 2 images of the table, predicts 3 and misses 0;"):
        predictions().reordered(["NA", "007"], "x")


def test_probs_of_another_shape_or_type_are_a_bug():
    with pytest.raises(AssertionError, match=r"probs are \(3, 2\), not \(2, 2\)"):
        predictions(["a", "b"])
    with pytest.raises(AssertionError, match="probs are float64, not float32"):
        predictions(probs=PROBS.astype(np.float64))


def test_a_missing_file_says_what_makes_it(tmp_path):
    with pytest.raises(ArtifactError, match=r"oof\.npz: must exist, is missing; run 'again'"):
        load_predictions(tmp_path / "oof.npz", "again")


def test_a_cut_file_is_damaged_wherever_it_is_cut(path):
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(ArtifactError, match=r"oof\.npz: damaged \(.+\); run 'again'"):
            load_predictions(path, "again")


def test_a_spoiled_byte_is_refused_or_harmless(path):
    content = path.read_bytes()
    refused = 0
    for position in range(0, len(content), 2):
        spoiled = bytearray(content)
        spoiled[position] ^= 0xFF
        path.write_bytes(bytes(spoiled))
        try:
            loaded = load_predictions(path, "again")
        except ArtifactError:
            refused += 1
        else:  # a byte of the zip's own that nobody reads, such as a date
            np.testing.assert_array_equal(loaded.probs, PROBS)
            assert loaded.image_ids == predictions().image_ids
    assert refused > len(content) / 4


def test_a_pickle_inside_is_never_run(path, tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").touch, ())

    np.savez(path, image_id=np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(ArtifactError, match="damaged"):
        load_predictions(path, "again")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"image_id": ["a", "a", "b"]}, r"holds \(3, 2\) for 2 images and 2 classes"),
        ({"image_id": ["a", "b"]}, r"holds \(3, 2\) for 2 images and 2 classes"),
        ({"class_names": ["cat"]}, r"holds \(3, 2\) for 3 images and 1 classes"),
        ({"probs": PROBS * 2}, "every row must sum to 1, that of '.+' sums to 2; run 'again'"),
        ({"probs": PROBS * np.nan}, "that of '.+' sums to nan; run 'again'"),
        ({"probs": [["a", "b"]] * 3}, "damaged"),
    ],
)
def test_inconsistent_files_are_refused(path, changes, line):
    with np.load(path) as stored:
        content = dict(stored)
    np.savez(path, **(content | changes))
    with pytest.raises(ArtifactError, match=line):
        load_predictions(path, "again")


def test_many_predictions_are_not_held_in_memory_again_while_they_are_saved(tmp_path):
    probs = np.full((10_000, 1000), 0.001, dtype=np.float32)
    names = [str(number) for number in range(1000)]
    many = Predictions([str(row) for row in range(len(probs))], probs, names, "f")
    tracemalloc.start()
    many.save(tmp_path / "oof.npz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < probs.nbytes  # the part that is being written


def test_probabilities_of_several_labels_need_not_sum_to_1_but_be_some(tmp_path):
    probs = np.array([[0.9, 0.8], [0, 0]], dtype=np.float32)
    path = tmp_path / "oof.npz"
    Predictions(["a", "b"], probs, ["cat", "dog"], "f" * 64, has_several=True).save(path)
    loaded = load_predictions(path, "again")
    assert loaded.has_several
    np.testing.assert_array_equal(loaded.probs, probs)
    Predictions(["a", "b"], probs * 2, ["cat", "dog"], "f" * 64, has_several=True).save(path)
    with pytest.raises(ArtifactError, match="every number must be from 0 to 1, one of 'a' isn't"):
        load_predictions(path, "again")
