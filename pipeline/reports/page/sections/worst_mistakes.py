"""Show the worst mistakes and the labels that are probably wrong, with Grad-CAM maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.errors import PipelineError
from pipeline.images.decode import ByteImage
from pipeline.reports.page.blocks import (
    SIDE_PX,
    Block,
    Card,
    Gallery,
    Hint,
    Paragraph,
    Picture,
    Section,
    encode,
    thumbnails,
)
from pipeline.reports.page.report_data import BestResult, ReportData
from pipeline.scoring.oof import find_suspects
from pipeline.store.predictions import IntArray

if TYPE_CHECKING:
    from pipeline.inference.fold_models import FoldModels

MAX_SHOWN = 24
HEAT = cv2.COLORMAP_INFERNO  # grows lighter evenly


@dataclass(frozen=True)
class GradCamPictures:
    """Makes pictures with the networks of the best trained experiment, where there are any.

    Attributes:
        data: The page's data.
        models: The networks; None where they can't be loaded.
        explanation: The text above the pictures.
    """

    data: ReportData
    models: "FoldModels | None"
    explanation: Block

    def pictures(self, rows: IntArray, classes: IntArray) -> list[list[Picture]]:
        """Draw images, each by the network of the fold that held it out.

        Args:
            rows: Of the training table, `(n,)`, each once.
            classes: The classes to map, `(n, M)` indices.

        Returns:
            Of each image, itself and where there are networks M maps.

        Raises:
            DataError: An image can't be read any more.
        """
        images = self.data.train.iloc[rows]
        if self.models is None or not len(rows):
            return [[one] for one in thumbnails(self.data.paths, images)]
        from pipeline.inference.held_out import explain

        assert self.data.folds is not None
        folds = self.data.folds["fold"].to_numpy()[rows]
        found = explain(self.data.paths, self.models, images, folds, classes)
        names = self.data.competition.classes
        pictures = []
        for image_id, asked, one in zip(images["image_id"], classes.tolist(), found, strict=True):
            shown = [encode(one.pixels, f"image {image_id}", label="as seen")]
            for name, heat in zip([names[index] for index in asked], one.maps, strict=True):
                alt = f"what speaks for {name} in image {image_id}"
                shown.append(encode(overlay(one.pixels, heat), alt, label=f"for {name}"))
            pictures.append(shown)
        return pictures


def build(data: ReportData) -> list[Section]:
    """Show both galleries; an image may stand in both."""
    best = data.best
    if best is None:
        return []
    grad_cam = load_grad_cam(data)
    return [
        Section("mistakes", "Worst mistakes", _mistakes(data, best, grad_cam)),
        Section("suspects", "Suspicious labels", _suspects(data, best, grad_cam)),
    ]


def worst_mistakes(best: BestResult) -> IntArray:
    """Return the rows of the mistaken images that cost most log loss, the worst first."""
    own = best.probs[np.arange(len(best.targets)), best.targets]
    order = np.argsort(own, kind="stable")
    is_wrong = best.probs.argmax(axis=1) != best.targets
    return np.asarray(order[is_wrong[order]][:MAX_SHOWN])


def _mistakes(data: ReportData, best: BestResult, grad_cam: GradCamPictures) -> Sequence[Block]:
    rows = worst_mistakes(best)
    if not len(rows):
        return [Paragraph(f"{best.result.name} makes no mistake out of fold.")]
    caption = (
        f"The mistakes of {best.result.name} that cost most log loss, the worst first: images "
        "whose own class got the least probability, out of fold."
    )
    others = best.probs[rows].argmax(axis=1)
    cards = _cards(data, best, grad_cam, rows, others)
    return [grad_cam.explanation, Gallery(caption, cards)]


def _suspects(data: ReportData, best: BestResult, grad_cam: GradCamPictures) -> Sequence[Block]:
    found = find_suspects(best.probs, best.targets)
    if found.empty:
        return [Paragraph("No label is contradicted by the predictions.")]
    shown = found.head(MAX_SHOWN)
    caption = (
        f"Labels that the predictions of {best.result.name} contradict, by confident learning "
        f"(Northcutt et al. 2021): {len(found):,}. The most contradicted first."
    )
    rows, suggested = shown["row"].to_numpy(), shown["suggested"].to_numpy()
    cards = _cards(data, best, grad_cam, rows, suggested)
    command = data.command("suspects", f"--experiment {best.result.name}")
    hint = Hint("To drop or relabel some of them, have them listed:", command)
    return [grad_cam.explanation, Gallery(caption, cards), hint]


def _cards(
    data: ReportData, best: BestResult, grad_cam: GradCamPictures, rows: IntArray, others: IntArray
) -> list[Card]:
    """Show images beside what speaks for another class and for their own."""
    pictures = grad_cam.pictures(rows, np.stack([others, best.targets[rows]], axis=1))
    triples = zip(rows.tolist(), others.tolist(), pictures, strict=True)
    return [_card(data, best, row, other, one) for row, other, one in triples]


def _card(
    data: ReportData, best: BestResult, row: int, other: int, pictures: Sequence[Picture]
) -> Card:
    assert data.folds is not None
    names, probs = data.competition.classes, best.probs[row]
    own = int(best.targets[row])
    lines = [
        f"{probs[other]:.1%} {names[other]}, {probs[own]:.1%} {names[own]}; "
        f"fold {data.folds['fold'].iloc[row]}",
        str(data.train["image_id"].iloc[row]),
    ]
    return Card(pictures, f"labelled {names[own]}, predicted {names[other]}", lines)


def load_grad_cam(data: ReportData) -> GradCamPictures:
    """Load the networks of the best trained experiment, or explain why there are none."""
    assert data.best is not None
    trained = data.best.trained
    if trained is None:
        text = "Where a network looks can't be shown: no result here has a checkpoint."
        return GradCamPictures(data, None, Hint(text, data.command("train")))
    from pipeline.inference.fold_models import FoldModels  # here: torch takes seconds to import

    try:
        models = FoldModels(data.paths, data.competition, trained.name)
    except PipelineError as error:  # its weights may be gone
        text = f"Where the network looks can't be shown: {error}"
        return GradCamPictures(data, None, Hint(text))
    if not models.has_maps():
        text = f"{trained.name} computes no map of features that shows where it looks."
        return GradCamPictures(data, None, Hint(text))
    text = (
        f"Beside each image, as {trained.name} sees it: the places that speak for the predicted or "
        "suggested class, and for the given one (Grad-CAM, by the network of the fold that held "
        "the image out). Light: much speaks for the class there; every map has its own scale."
    )
    return GradCamPictures(data, models, Paragraph(text))


def overlay(pixels: ByteImage, heat: npt.NDArray[np.float32], side_px: int = SIDE_PX) -> ByteImage:
    """Lay a map over the image in grey.

    Args:
        pixels: `(S, S, 3)` uint8.
        heat: `(h, w)` in [0, 1].
        side_px: Of the result.

    Returns:
        `(side_px, side_px, 3)` uint8.
    """
    size = (side_px, side_px)
    how = cv2.INTER_AREA if len(pixels) > side_px else cv2.INTER_NEAREST
    grey = cv2.cvtColor(cv2.resize(pixels, size, interpolation=how), cv2.COLOR_RGB2GRAY)
    smooth = np.clip(cv2.resize(heat, size, interpolation=cv2.INTER_LINEAR), 0, 1)
    colors = cv2.applyColorMap((smooth * 255).astype(np.uint8), HEAT)[:, :, ::-1]  # (S, S, 3) RGB
    share = 0.7 * smooth[:, :, None]
    mixed = (1 - share) * grey[:, :, None] + share * colors
    return np.asarray(mixed.round(), dtype=np.uint8)
