import pytest

from tests.needs import PROMISED, needs


@pytest.mark.parametrize(
    ("promised", "is_there", "is_skipped"),
    [
        ("", True, False),
        ("", False, True),
        ("postgresql", False, True),
        ("postgresql chromium", False, False),
    ],
)
def test_what_was_promised_is_not_skipped(monkeypatch, promised, is_there, is_skipped):
    monkeypatch.setenv(PROMISED, promised)
    assert needs("chromium", is_there=is_there).args == (is_skipped,)
