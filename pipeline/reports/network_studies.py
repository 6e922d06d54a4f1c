"""The figures 4 and 7 of the ResNet paper (He et al. 2016, arXiv 1512.03385) from our numbers."""

import pandas as pd

from pipeline.reports.style import COLORS, LINES, drawing, to_png

FAMILY_LINES = ("--", "-", ":", "-.")  # the first family, plain nets, dashed as in the paper


def draw_degradation(curves: pd.DataFrame) -> bytes:
    """Draw errors over epochs, a panel per family, thin for train and bold for val.

    Args:
        curves: As of `studies.degradation.error_curves`.

    Returns:
        A PNG.
    """
    families = curves["family"].unique().tolist()
    with drawing(4.4 * len(families), 3.8) as figure:
        panels = figure.subplots(1, len(families), sharey=True, squeeze=False)[0]
        for axes, family in zip(panels, families, strict=True):
            own = curves[curves["family"] == family]
            for number, network in enumerate(own["network"].unique()):
                curve = own[own["network"] == network]
                color = COLORS[number % len(COLORS)]
                for split, width in (("train", 0.9), ("val", 2.2)):
                    error = 100 * curve[f"{split}_error"]
                    label = f"{network}, {split}"
                    style = {"color": color, "linewidth": width, "linestyle": LINES[number % 2]}
                    axes.plot(curve["epoch"], error, label=label, **style)
            axes.set(title=family, xlabel="epoch", ylim=(0, 100))
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.legend()
        panels[0].set_ylabel("error (%)")
        return to_png(figure)


def draw_responses(responses: pd.DataFrame) -> bytes:
    """Draw standard deviations by layer: in the layers' order above, sorted below.

    Args:
        responses: As of `studies.responses.layer_responses`, of several networks, with `family`.

    Returns:
        A PNG.
    """
    families = responses["family"].unique().tolist()
    with drawing(6.4, 5.6) as figure:
        panels = figure.subplots(2, 1, sharey=True)
        places = {"layer": "layer, in order", "rank": "layer, by strength of response"}
        for axes, (column, label) in zip(panels, places.items(), strict=True):
            for number, (_, own) in enumerate(responses.groupby("experiment", sort=False)):
                family, network = own["family"].iloc[0], own["network"].iloc[0]
                place = families.index(family)
                line = own.sort_values(column)
                axes.plot(
                    line[column],
                    line["std"],
                    color=COLORS[number % len(COLORS)],
                    linestyle=FAMILY_LINES[place % len(FAMILY_LINES)],
                    marker="." if column == "layer" else None,
                    label=network,
                )
            axes.set(xlabel=label, ylabel="standard deviation", ylim=(0, None))
        panels[0].legend()
        return to_png(figure)
