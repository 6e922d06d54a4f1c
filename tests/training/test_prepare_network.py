import pytest

from pipeline.config.train_table import ProgressiveConfig
from pipeline.errors import ConfigError
from pipeline.training.prepare_network import size_in_epoch
from tests import tiny


@pytest.mark.parametrize(
    ("full_px", "from_px", "sizes"),
    [
        (224, 128, [128, 160, 192, 192, 224]),
        (215, 200, [192, 192, 192, 215, 215]),  # 224 is the next multiple, and too large
        (48, 32, [32, 32, 32, 32, 48]),
        (33, 32, [32, 32, 32, 32, 33]),
    ],
)
def test_images_grow_in_steps_of_32_and_never_beyond_their_full_size(full_px, from_px, sizes):
    growth = ProgressiveConfig(from_px=from_px, epochs=4)
    assert [size_in_epoch(full_px, growth, epoch) for epoch in range(5)] == sizes


def test_images_that_do_not_grow_have_their_full_size():
    assert size_in_epoch(100, None, 0) == 100


@pytest.mark.parametrize(
    ("from_px", "size_px", "line"),
    [
        (16, 64, r"^x: 'train\.progressive\.from_px': .* greater than or equal to 32, got 16$"),
        (64, 64, r"^x: train\.progressive\.from_px must be less than images\.size_px$"),
    ],
)
def test_images_that_would_not_grow_are_refused(from_px, size_px, line):
    plain = tiny.experiment(method="finetune")
    changes = {"train.progressive.epochs": 2, "train.progressive.from_px": from_px}
    with pytest.raises(ConfigError, match=line):
        plain.changed(changes | {"images.size_px": size_px}, "x")
