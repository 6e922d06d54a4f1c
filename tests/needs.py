"""What a test needs of the machine besides the packages."""

import os

import pytest

PROMISED = "PIPELINE_TESTS_NEED"


def needs(program: str, *, is_there: bool) -> pytest.MarkDecorator:
    """Skip where a program isn't there; where `.ci/run` promised it, the test runs, and fails."""
    is_promised = program in os.environ.get(PROMISED, "").split()
    return pytest.mark.skipif(not is_there and not is_promised, reason=f"needs {program}")
