import importlib.util

import pytest

from pipeline.errors import ConfigError
from pipeline.training.tensorboard import scalar_log

IS_INSTALLED = importlib.util.find_spec("tensorboard") is not None


@pytest.mark.skipif(not IS_INSTALLED, reason="the package tensorboard isn't installed")
def test_rows_of_the_history_become_events(tmp_path):
    with scalar_log(tmp_path / "events") as log:
        log({"step": 3, "train_loss": 0.25})
    (path,) = (tmp_path / "events").iterdir()
    assert b"train_loss" in path.read_bytes()


@pytest.mark.skipif(IS_INSTALLED, reason="the package tensorboard is installed")
def test_without_the_package_it_is_named(tmp_path):
    line = "^--tensorboard: must have the package tensorboard, it isn't installed; run 'pip install"
    with pytest.raises(ConfigError, match=line), scalar_log(tmp_path):
        pass


def test_without_a_folder_nothing_is_logged():
    with scalar_log(None) as log:
        log({"step": 0})
