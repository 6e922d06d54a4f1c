import pytest


@pytest.fixture(autouse=True)
def _quick(_one_thread: None) -> None:
    """Everything here trains on tiny batches."""
