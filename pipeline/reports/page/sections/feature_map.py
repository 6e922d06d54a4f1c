"""Show how images lie in the network's feature space: t-SNE, by class and by error."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import PipelineError
from pipeline.reports.page.blocks import (
    Block,
    Chart,
    Charts,
    Fold,
    Hint,
    Paragraph,
    Section,
    chart,
)
from pipeline.reports.page.report_data import BestResult, ReportData
from pipeline.reports.style import COLORS, GREY, drawing, point, shorten
from pipeline.store.predictions import FloatArray, IntArray

MAX_IMAGES = 1500
MAX_NAMED = 40


@dataclass(frozen=True)
class Features:
    """A network's features of some images.

    Attributes:
        values: `(n, D)`.
        rows: The images' rows in the training table, `(n,)`.
        of: The network's description.
    """

    values: FloatArray
    rows: IntArray
    of: str


def build(data: ReportData) -> list[Section]:
    """Show a map of the features."""
    best = data.best
    if best is None or data.folds is None or len(data.folds) < 10:
        return []
    title = "Features"
    if best.trained is None:
        hint = Hint("No result here has a checkpoint to compute them:", data.command("train"))
        return [Section("features", title, [hint])]
    try:
        features = _features(data, best)
    except PipelineError as error:  # its weights may be gone
        return [Section("features", title, [Hint(f"They can't be computed: {error}")])]
    return [Section("features", title, _blocks(data, best, features))]


def _features(data: ReportData, best: BestResult) -> Features:
    from pipeline.inference.fold_models import FoldModels
    from pipeline.inference.held_out import fold_features, probe_features

    assert best.trained is not None
    assert data.folds is not None
    name = best.trained.name
    models = FoldModels(data.paths, data.competition, name)
    if models.experiment.method == "probe":
        rows = _sample(np.arange(len(data.train)))
        of = f"the frozen trunk of {name}, which learned from none of these images"
        values = probe_features(data.paths, models, data.train, rows)
        return Features(values, rows, of)
    fold = models.folds[0]
    rows = _sample(np.flatnonzero(data.folds["fold"] == fold))
    of = (
        f"the network of fold {fold} of {name}, for the images that it held out: features of "
        "different folds' networks can't be compared"
    )
    values = fold_features(data.paths, models, data.train.iloc[rows], fold)
    return Features(values, rows, of)


def _sample(rows: IntArray) -> IntArray:
    """Draw MAX_IMAGES of the rows, the same each time."""
    if len(rows) <= MAX_IMAGES:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, MAX_IMAGES, replace=False))


def _blocks(data: ReportData, best: BestResult, features: Features) -> list[Block]:
    from sklearn.preprocessing import StandardScaler  # here: a second to import

    from pipeline.scoring.separation import principal_start, tsne

    values = StandardScaler().fit_transform(features.values)
    places, rows = tsne(values, principal_start(values)), features.rows
    targets = best.targets[rows]
    is_wrong = best.probs.argmax(axis=1)[rows] != targets
    agree = targets[_nearest(values)] == targets
    shown = "all" if len(rows) == len(best.targets) else f"{len(rows):,} randomly drawn"
    text = (
        f"Features of {features.of}; {shown} images, laid out by t-SNE. Neighbours in the picture "
        "are alike to the network; distances between groups mean little. The nearest neighbour in "
        f"the features themselves is of the same class for {agree.mean():.1%} of the images"
    )
    if is_wrong.any():
        text += f", for {agree[is_wrong].mean():.1%} of those that {best.result.name} mistakes"
    names = list(data.competition.classes)
    charts = [_by_class(places, targets, names), _by_error(places, is_wrong)]
    return [Paragraph(f"{text}."), Fold("Maps of the features", [Charts(charts)])]


def _nearest(features: FloatArray) -> IntArray:
    """Return the row of each image's nearest neighbour, `(n,)`."""
    from sklearn.neighbors import NearestNeighbors

    found = NearestNeighbors(n_neighbors=1).fit(features).kneighbors(return_distance=False)
    return np.asarray(found[:, 0])


def _by_class(places: FloatArray, targets: IntArray, names: list[str]) -> Chart:
    with drawing(5.6, 5.0) as figure:
        axes = figure.subplots()
        for index in np.unique(targets).tolist():
            look = point(index) | {"linewidths": 0}
            x, y = places[targets == index].T
            axes.scatter(x, y, s=14, alpha=0.75, rasterized=True, **look)
            axes.scatter([], [], s=24, label=f"{index} {shorten(names[index])}", **look)
        for index in np.unique(targets).tolist():
            middle = np.median(places[targets == index], axis=0)
            axes.annotate(str(index), middle, ha="center", va="center", weight="bold", fontsize=12)
        if len(names) <= MAX_NAMED:
            columns = 1 + (len(names) - 1) // 20
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), ncols=columns)
        axes.set(xlabel="t-SNE, first axis", ylabel="t-SNE, second axis")
        caption = "Coloured by class; a class's number stands in the middle of its images."
        return chart(figure, "t-SNE of features, coloured by class", caption, is_wide=True)


def _by_error(places: FloatArray, is_wrong: np.ndarray) -> Chart:
    with drawing(4.8, 4.6) as figure:
        axes = figure.subplots()
        kinds: list[tuple[str, Any, dict[str, Any]]] = [
            ("right", ~is_wrong, {"color": GREY, "marker": "o", "s": 12}),
            ("mistaken", is_wrong, {"color": COLORS[1], "marker": "X", "s": 30}),
        ]
        for label, mask, look in kinds:
            x, y = places[mask].T
            axes.scatter(x, y, alpha=0.8, linewidths=0, rasterized=True, **look)
            axes.scatter([], [], linewidths=0, label=f"{label}, {mask.sum():,}", **look)
        figure.legend(loc="outside upper right", ncols=2)
        axes.set(xlabel="t-SNE, first axis", ylabel="t-SNE, second axis")
        caption = (
            "The same, by error: mistakes between groups are hard images, those deep inside "
            "another group may have a wrong label."
        )
        return chart(figure, "t-SNE of features, mistakes marked", caption)
