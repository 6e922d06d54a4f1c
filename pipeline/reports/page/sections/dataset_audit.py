"""Show the data: counts of each class, sizes, odd files, duplicates and samples."""

import numpy as np
import pandas as pd

from pipeline.reports.page.blocks import (
    Block,
    Card,
    Chart,
    Fold,
    Gallery,
    Row,
    Section,
    chart,
    table,
)
from pipeline.reports.page.pictures import thumbnails
from pipeline.reports.page.report_data import ReportData
from pipeline.reports.style import COLORS, apart, drawing, in_words, line, shorten

MAX_BARS = 20
NUM_BINS = 30
SHEET_PICTURES = 144  # on the whole sheet
SHEET_PER_CLASS = 6
SHEET_PX = 104
MAX_CLUSTERS = 6  # of near copies, and of twins
MEANINGS = {
    "exact-duplicate": "its file is the same as another image's, byte by byte",
    "near-duplicate": "its picture is nearly the same as another image's",
    "train-test-twin": "a test image that nearly equals a training image",
    "conflicting-labels": "copies of one picture have different labels",
    "unreadable": "the file is no whole image; a test image gets the class shares",
    "unlisted": "the list of labels doesn't name it, so it isn't used",
    "left-out": "leave_out of the competition's file names it",
    "listed-without-file": "a list names it, and there is no such file",
    "listed-without-label": "the list of labels has no label for it, so it isn't used",
    "listed-with-two-labels": "the list of labels contradicts itself, so it isn't used",
    "listed-otherwise": "the list spells its name otherwise than the file",
    "constant": "it is of one colour",
    "other-range": "its numbers don't run from 0 to 255; it is scaled by its own range",
    "not-an-image": "the file lies among the images, and is none",
    "litter": "a file that an operating system left there; it is ignored",
    "not-rgb": "grey, a palette, transparency or CMYK; read as RGB",
    "type-differs-from-name": "the content is of another type than the name says",
    "rotated-by-exif": "its EXIF data turn it; it is turned upright",
    "invalid-exif-orientation": "its EXIF orientation is no valid one and is ignored",
}


def build(data: ReportData) -> list[Section]:
    """Show the tables of `prepare` and some images."""
    clusters = _clusters(data)
    copies = [Fold("Copies and twins", clusters)] if clusters else []
    is_number = data.competition.is_number
    blocks: list[Block] = [
        Row([_spread(data) if is_number else _balance(data), _findings(data)]),
        *copies,
        *([] if is_number else [Fold("Samples of each class", _sheet(data))]),
        Fold("Sizes, shapes and formats", [_sizes(data), _sizes_table(data)]),
        *([] if is_number else [_classes_table(data)]),
    ]
    return [Section("data", "Data", blocks)]


def _counts(data: ReportData) -> pd.Series:
    counts = data.taking_part["label"].map(data.competition.labels_in).explode().value_counts()
    return counts.reindex(data.competition.classes, fill_value=0)


def _spread(data: ReportData) -> Chart:
    numbers = data.train["label"].astype(float)
    with drawing(4.8, 2.6) as figure:
        axes = figure.subplots()
        axes.hist(numbers, bins=NUM_BINS, color=COLORS[0])
        axes.set(xlabel="number", ylabel="training images")
        caption = (
            f"Spread of the numbers: from {numbers.min():g} to {numbers.max():g}, half of them "
            f"below {numbers.median():g}."
        )
        return chart(figure, "histogram of the training images' numbers", caption)


def _balance(data: ReportData) -> Chart:
    counts = _counts(data).sort_values(kind="stable")
    shown = counts.tail(MAX_BARS)
    with drawing(4.8, max(2.0, 0.8 + 0.2 * len(shown))) as figure:
        axes = figure.subplots()
        axes.barh(range(len(shown)), shown.to_numpy(), color=COLORS[0], height=0.7)
        axes.set_yticks(range(len(shown)), map(shorten, shown.index))
        axes.set(xlabel="training images", ylabel="class")
        axes.grid(visible=False, axis="y")
        caption = (
            f"Class balance: the smallest class has {counts.min():,} training images, the largest "
            f"{counts.max():,}."
            if counts.min() < counts.max()
            else f"Class balance: every class has {counts.max():,} training images."
        )
        if len(shown) < len(counts):
            caption += f" The {MAX_BARS} largest of {len(counts):,} classes."
        return chart(figure, "bar chart of training images per class", caption)


def _sizes(data: ReportData) -> Chart:
    splits = {"train": data.taking_part, "test": data.test[data.test["width"] > 0]}
    sides = np.concatenate([images[["width", "height"]].min(axis=1) for images in splits.values()])
    edges = np.linspace(sides.min(initial=0), sides.max(initial=1) + 1, 41)
    with drawing(4.8, 2.5) as figure:
        upper, lower = figure.subplots(2)
        for place, (name, images) in enumerate(splits.items()):
            sides = images[["width", "height"]].to_numpy()
            look = line(place) | {"histtype": "step", "linewidth": 1.5, "label": name}
            look["weights"] = np.full(len(sides), 1 / max(1, len(sides)))
            upper.hist(sides.min(axis=1), bins=edges, **look)
            lower.hist(sides[:, 0] / sides[:, 1], bins=np.geomspace(0.25, 4, 41), **look)
        upper.set(xlabel="short side, pixels", ylabel="share of images")
        upper.legend()
        lower.set(xlabel="width / height", ylabel="share of images", xscale="log")
        lower.set_xticks([0.25, 0.5, 1, 2, 4], ["1/4", "1/2", "1", "2", "4"])
        lower.minorticks_off()
        caption = "Sizes and shapes: training and test images should look alike here."
        return chart(figure, "histograms of short side and of aspect, train and test", caption)


def _classes_table(data: ReportData) -> Block:
    counts, num_images = _counts(data), max(1, len(data.taking_part))  # an image may count twice
    rows = [[str(name), int(n), int(n) / num_images] for name, n in counts.items()]
    headings = ["class", "training images", "share"]
    return table("Training images per class", headings, rows, is_folded=True)


def _sizes_table(data: ReportData) -> Block:
    rows = []
    for split in ("train", "test"):
        audit = data.audit[split]
        spreads = [
            audit[side].get(which) for side in ("width_px", "height_px") for which in _SPREAD
        ]
        formats = ", ".join(f"{count:,} {kind}" for kind, count in audit["formats"].items())
        rows.append([split, audit["num_images"], *spreads, formats])
    sides = [f"{which} {side}, px" for side in ("width", "height") for which in _SPREAD]
    caption = "Files, by what their content says"
    return table(caption, ["set", "images", *sides, "formats"], rows)


_SPREAD = ("min", "median", "max")


def _findings(data: ReportData) -> Block:
    findings = data.findings
    if findings.empty:
        return table("Odd files: none", ["finding", "images"], [])
    rows = [
        [str(kind), len(images), MEANINGS.get(str(kind), "")]
        for kind, images in findings.groupby("finding")
    ]
    headings = ["finding", "images", "what it means"]
    caption = f"Odd files; all of them stand in {data.below_root(data.paths.audit_csv)}"
    return table(caption, headings, rows)


def _clusters(data: ReportData) -> list[Block]:
    """Show copies within the training images, and those across train and test."""
    columns = ["image_id", "path", "group", "sha256"]
    train = data.taking_part[[*columns, "label"]].assign(split="train")
    test = data.test.loc[data.test["width"] > 0, columns].assign(split="test", label="")
    images = pd.concat([train, test], ignore_index=True)
    is_copy = data.findings["finding"].isin(["exact-duplicate", "near-duplicate"])
    copies = data.findings.loc[is_copy, ["split", "image_id"]].drop_duplicates()
    images = images.merge(copies, on=["split", "image_id"])  # others are grouped by their subject
    images = images[images["group"].duplicated(keep=False)]
    splits = images.groupby("group")["split"]
    is_across = splits.min() != splits.max()
    blocks: list[Block] = []
    for kind, groups in (
        ("train-test twins", is_across[is_across].index),
        ("copies within one set", is_across[~is_across].index),
    ):
        if len(groups):
            shown = f", of which {MAX_CLUSTERS} here" if len(groups) > MAX_CLUSTERS else ""
            caption = f"Clusters of {kind}: {len(groups):,}{shown}. A cluster never crosses folds."
            found = (images[images["group"] == group] for group in groups[:MAX_CLUSTERS])
            blocks.append(Gallery(caption, [_cluster_card(data, rows) for rows in found]))
    return blocks


def _cluster_card(data: ReportData, images: pd.DataFrame) -> Card:
    # An image of each set first, then others, three in all.
    order = images.groupby("split").cumcount().sort_values(kind="stable").index
    shown = images.loc[order[:3]]
    pictures = thumbnails(data.paths, shown)
    triples = zip(shown["split"], shown["label"], shown["image_id"], strict=True)
    lines = [
        f"{split}{label and f', {in_words(label)}'}: {apart(str(name))}"
        for split, label, name in triples
    ]
    return Card(pictures, f"{len(images):,} images", lines)


def _sheet(data: ReportData) -> list[Block]:
    """Show some images of each class, drawn with a seed."""
    counts = _counts(data)
    classes = [str(name) for name in counts[counts > 0].index]
    shown = classes[:SHEET_PICTURES]
    per_class = max(1, min(SHEET_PER_CLASS, SHEET_PICTURES // len(shown)))
    cards = []
    train = data.taking_part
    labels = train["label"].map(data.competition.labels_in)
    for name in shown:
        images = train[[name in one for one in labels]]
        drawn = images.sample(min(per_class, len(images)), random_state=0)
        title = f"{in_words(name)}, {len(images):,} image{'s' * (len(images) > 1)}"
        cards.append(Card(thumbnails(data.paths, drawn, SHEET_PX), title))
    caption = f"{per_class} images of each class, drawn at random; the middle square of each."
    if len(shown) < len(classes):
        caption += f" The first {len(shown):,} of {len(classes):,} classes."
    return [Gallery(caption, cards)]
