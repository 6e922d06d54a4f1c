"""Show which augmentation helps, by the numbers and pictures of `ablate`."""

import io
import json
from pathlib import Path
from typing import Any

from PIL import Image

from pipeline.reports.page.blocks import (
    PX_PER_INCH,
    Block,
    Cell,
    Chart,
    Hint,
    Picture,
    Section,
    table,
)
from pipeline.reports.page.report_data import ReportData
from pipeline.reports.style import PNG_DPI, data_uri
from pipeline.store.paths import AblationPaths

MAX_SHOWN = 3
PICTURES = {
    "differences": "Differences to the first recipe, with intervals that hold all together.",
    "curves": "ROC, precision and recall, and net benefit, means over the seeds.",
    "tsne": "Features of held-out images by t-SNE, all from the same start.",
    "gaps": "How much better the recipes do on the images that they learned from.",
}


def build(data: ReportData) -> list[Section]:
    """Show every ablation's numbers and pictures."""
    if data.best is None:
        return []
    stamps = sorted(data.paths.artifacts_dir.glob("ablations/*/stamp.json"))
    if not stamps:
        trained = data.best.trained
        options = f"--experiment {trained.name if trained else 'NAME'}"
        hint = Hint("Which augmentation helps wasn't tried:", data.command("ablate", options))
        return [Section("ablations", "Augmentation", [hint])]
    blocks: list[Block] = []
    for stamp in stamps[:MAX_SHOWN]:
        blocks += _ablation(data.paths.ablation(stamp.parent.name))
    return [Section("ablations", "Augmentation", blocks)]


def _ablation(files: AblationPaths) -> list[Block]:
    record: dict[str, Any] = json.loads(files.record.read_text(encoding="utf-8"))
    rows = [_row(row, record["metric"]) for row in record["recipes"]]
    baseline = record["recipes"][0]["recipe"]
    headings = [
        "recipe", record["metric"], f"against {baseline}", "interval", "verdict", "log loss",
        "accuracy gap, train - val",
    ]  # fmt: skip
    caption = (
        f"Recipes of augmentation for {files.ablation_dir.name}, out of fold: means over "
        f"{record['num_seeds']} seeds and {record['num_folds']} folds. All intervals hold together "
        "with 95 %."
    )
    charts = [
        _chart(files.picture(name), caption)
        for name, caption in PICTURES.items()
        if files.picture(name).is_file()
    ]
    return [table(caption, headings, rows), *charts]


def _row(row: dict[str, Any], metric: str) -> list[Any]:
    difference = row.get(f"{metric}_difference")
    interval = Cell("", 0.0)
    if difference is not None:
        low, high = row[f"{metric}_low"], row[f"{metric}_high"]
        interval = Cell(f"{low:+.4f} to {high:+.4f}", float(low))
    return [
        row["recipe"],
        row[metric],
        None if difference is None else Cell(f"{difference:+.4f}", float(difference)),
        interval,
        row.get(f"{metric}_verdict", ""),
        row.get("log_loss"),
        row.get("accuracy_gap"),
    ]


def _chart(path: Path, caption: str) -> Chart:
    content = path.read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        width, height = (round(px / PNG_DPI * PX_PER_INCH) for px in image.size)
    picture = Picture(data_uri(content, "image/png"), caption, width, height)
    return Chart(picture, caption, is_wide=True)
