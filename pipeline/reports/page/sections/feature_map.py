"""How images lie to each other in what the network sees: t-SNE, by class and by error."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import PipelineError
from pipeline.reports.page.blocks import Block, Chart, Charts, Hint, Paragraph, Section, chart
from pipeline.reports.page.report_data import Evidence, Judged
from pipeline.reports.style import COLORS, GREY, brief, drawing, point
from pipeline.store.predictions import FloatArray, IntArray

MOST_IMAGES = 1500
MOST_NAMED = 40


@dataclass(frozen=True)
class Features:
    """What a network makes of images.

    Attributes:
        values: `(n, D)`.
        rows: The images' rows in the training table, `(n,)`.
        of: Which network, in words.
    """

    values: FloatArray
    rows: IntArray
    of: str


def build(evidence: Evidence) -> list[Section]:
    """Show a map of the features."""
    judged = evidence.judged
    if judged is None or evidence.folds is None or len(evidence.folds) < 10:
        return []
    title = "Features"
    if judged.trained is None:
        hint = Hint("No result here has a checkpoint to compute them:", evidence.command("train"))
        return [Section("features", title, [hint])]
    try:
        features = _features(evidence, judged)
    except PipelineError as error:  # its weights may be gone
        return [Section("features", title, [Hint(f"They can't be computed: {error}")])]
    return [Section("features", title, _blocks(evidence, judged, features))]


def _features(evidence: Evidence, judged: Judged) -> Features:
    from pipeline.inference.fold_models import FoldModels
    from pipeline.inference.held_out import fold_features, probe_features

    assert judged.trained is not None
    assert evidence.folds is not None
    name = judged.trained.name
    models = FoldModels(evidence.paths, evidence.competition, name)
    if models.experiment.method == "probe":
        rows = _sample(np.arange(len(evidence.train)))
        of = f"the frozen trunk of {name}, which learned from none of these images"
        values = probe_features(evidence.paths, models, evidence.train, rows)
        return Features(values, rows, of)
    fold = models.folds[0]
    rows = _sample(np.flatnonzero(evidence.folds["fold"] == fold))
    of = (
        f"the network of fold {fold} of {name}, for the images that it held out: features of "
        "different folds' networks can't be compared"
    )
    values = fold_features(evidence.paths, models, evidence.train.iloc[rows], fold)
    return Features(values, rows, of)


def _sample(rows: IntArray) -> IntArray:
    """Draw MOST_IMAGES of the rows, the same each time."""
    if len(rows) <= MOST_IMAGES:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, MOST_IMAGES, replace=False))


def _blocks(evidence: Evidence, judged: Judged, features: Features) -> list[Block]:
    from sklearn.preprocessing import StandardScaler  # here: a second to import

    from pipeline.scoring.separation import principal_start, tsne

    values = StandardScaler().fit_transform(features.values)
    places, rows = tsne(values, principal_start(values)), features.rows
    targets = judged.targets[rows]
    is_wrong = judged.probs.argmax(axis=1)[rows] != targets
    agree = targets[_nearest(values)] == targets
    shown = "all" if len(rows) == len(judged.targets) else f"{len(rows):,} randomly drawn"
    text = (
        f"Features of {features.of}; {shown} images, laid out by t-SNE. Neighbours in the picture "
        "are alike to the network; distances between groups mean little. The nearest neighbour in "
        f"the features themselves is of the same class for {agree.mean():.1%} of the images"
    )
    if is_wrong.any():
        text += f", for {agree[is_wrong].mean():.1%} of those that {judged.result.name} mistakes"
    names = list(evidence.competition.classes)
    charts = [_by_class(places, targets, names), _by_error(places, is_wrong)]
    return [Paragraph(f"{text}."), Charts(charts)]


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
            axes.scatter([], [], s=24, label=f"{index} {brief(names[index])}", **look)
        for index in np.unique(targets).tolist():
            middle = np.median(places[targets == index], axis=0)
            axes.annotate(str(index), middle, ha="center", va="center", weight="bold", fontsize=12)
        if len(names) <= MOST_NAMED:
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
