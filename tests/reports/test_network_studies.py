import numpy as np
import pandas as pd
import pytest

from pipeline.reports.network_studies import draw_degradation, draw_responses
from pipeline.reports.style import to_png

NETWORKS = ("plain18", "plain34", "resnet18", "resnet34")


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved."""
    figures = []

    def watch(figure):
        figures.append(figure)
        return to_png(figure)

    monkeypatch.setattr("pipeline.reports.network_studies.to_png", watch)
    return figures


def table(network: str, **columns: object) -> pd.DataFrame:
    names = {"experiment": f"x-{network}", "family": network[:-2], "network": network}
    return pd.DataFrame(names | columns, index=range(4))


def test_training_errors_are_thin_and_validation_errors_bold(drawn):
    epochs, errors = np.arange(1, 5), np.linspace(0.9, 0.2, 4)
    parts = [
        table(one, epoch=epochs, train_error=errors, val_error=errors + 0.1) for one in NETWORKS
    ]
    assert draw_degradation(pd.concat(parts)).startswith(b"\x89PNG")
    (figure,) = drawn
    assert [axes.get_title() for axes in figure.axes] == ["plain", "resnet"]
    assert figure.axes[0].get_ylabel() == "error (%)"
    for axes, family in zip(figure.axes, ("plain", "resnet"), strict=True):
        assert axes.get_xlabel() == "epoch"
        widths = {line.get_label(): line.get_linewidth() for line in axes.lines}
        for depth in (18, 34):
            assert widths[f"{family}{depth}, train"] < widths[f"{family}{depth}, val"]
        np.testing.assert_allclose(axes.lines[0].get_ydata(), 100 * errors)


def test_responses_are_drawn_in_order_and_sorted(drawn):
    stds = np.array([0.5, 0.9, 0.2, 0.7])
    rank = [3, 1, 4, 2]
    parts = [table(one, layer=range(1, 5), std=stds, rank=rank) for one in NETWORKS]
    assert draw_responses(pd.concat(parts)).startswith(b"\x89PNG")
    upper, lower = drawn[0].axes
    np.testing.assert_array_equal(upper.lines[0].get_ydata(), stds)
    np.testing.assert_array_equal(lower.lines[0].get_ydata(), np.sort(stds)[::-1])
    assert [line.get_linestyle() for line in upper.lines] == ["--", "--", "-", "-"]
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in drawn[0].axes)
