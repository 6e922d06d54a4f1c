"""Repeat two experiments of the ResNet paper: degradation, and the layers' responses.

He et al. 2016, "Deep Residual Learning for Image Recognition", arXiv 1512.03385, figures 4 and 7.
Plain and residual networks of 18 and 34 layers learn side by side, on all folds but the first.

    python -m examples.resnet_paper                        # drawn pictures, minutes on two cores
    python -m examples.resnet_paper cifar-10 --size-px 32 --epochs 30 --batch-size 128    # on a GPU

Writes artifacts/COMPETITION/resnet-paper: a figure for each experiment, and its numbers as a CSV.
Broken off, the same command goes on where it was; what is trained isn't trained again.
"""

import argparse
import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from pipeline.cli.group import load
from pipeline.config.competition import Competition
from pipeline.config.experiment import Experiment
from pipeline.console import result
from pipeline.data.training_table import Tables, load_tables, subsample
from pipeline.errors import PipelineError
from pipeline.images.working_copy import WorkingCopies, working_side_px
from pipeline.inference.fold_models import load_network
from pipeline.reports.style import COLORS, LINES, drawing, to_png
from pipeline.stages import download, folds, prepare
from pipeline.store.atomic import write_bytes
from pipeline.store.paths import Paths
from pipeline.store.tables import load_record, write_table
from pipeline.training.device import pick_device
from pipeline.training.experiment_run import ExperimentRun
from pipeline.training.inputs import PixelInputs
from pipeline.training.predictor import predict

NETWORKS = ("plain18_cifar", "plain34_cifar", "resnet18_cifar", "resnet34_cifar")
FOLD = 0  # the paper trains once, and one fold tells what five would
FAMILY_LINES = ("--", "-", ":", "-.")  # the first family, plain nets, dashed as in the paper


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m examples.resnet_paper")
    parser.add_argument("competition", nargs="?", default="cifar-10-demo")
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--size-px", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--limit", type=int, help="learn from so many images only")
    return parser.parse_args(arguments)


def experiments_of(options: argparse.Namespace) -> list[Experiment]:
    """Return an experiment for each network, alike in all else; rates grow with the batch."""
    optimizer = {"name": "sgd", "momentum": 0.9, "weight_decay": 0.0001}
    train = {
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "measure_train": True,  # the figure shows the training error, without augmentation
        "optimizer": optimizer | {"learning_rate": 0.05 * math.sqrt(options.batch_size / 32)},
        "schedule": {"name": "cosine", "warmup_epochs": 1.0},
    }
    values = {
        "method": "finetune",
        "images": {"size_px": options.size_px, "crop_fraction": 1.0},
        "views": {"recipe": "light", "flip": False},
        "train": train,
        "data": {"limit": options.limit},
    }
    return [
        Experiment.model_validate(
            values | {"name": f"paper-{one}", "model": {"name": one, "weights": "none"}}
        )
        for one in options.networks
    ]


def family_of(network: str) -> str:
    """Return a network's name up to its depth, as `plain` of `plain34_cifar`."""
    return re.split(r"\d", network)[0]


# Figure 4: deeper plain nets train worse, deeper residual nets don't.


def error_curves(paths: Paths, experiments: Sequence[Experiment]) -> pd.DataFrame:
    """Return errors after every epoch: of the images that were learned from, and held-out ones."""
    curves = []
    for one in experiments:
        history = load_record(paths.experiment(one.name).fold(FOLD).history)
        columns = {
            "family": family_of(one.model.name),
            "network": one.model.name,
            "epoch": history["epoch"] + 1,
            "train_error": 1 - history["train_accuracy"],
            "val_error": 1 - history["val_accuracy"],
        }
        curves.append(pd.DataFrame(columns))
    return pd.concat(curves, ignore_index=True)


def draw_curves(curves: pd.DataFrame) -> bytes:
    """Draw errors over epochs, a panel per family, thin for train and bold for val, as a PNG."""
    families = curves["family"].unique().tolist()
    with drawing(4.4 * len(families), 3.8) as figure:
        panels = figure.subplots(1, len(families), sharey=True, squeeze=False)[0]
        for axes, family in zip(panels, families, strict=True):
            own = curves[curves["family"] == family]
            for number, (network, curve) in enumerate(own.groupby("network", sort=False)):
                look = {"color": COLORS[number % len(COLORS)], "linestyle": LINES[number % 2]}
                for split, width in (("train", 0.9), ("val", 2.2)):
                    error, label = 100 * curve[f"{split}_error"], f"{network}, {split}"
                    axes.plot(curve["epoch"], error, label=label, linewidth=width, **look)
            axes.set(title=family, xlabel="epoch", ylim=(0, 100))
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.legend()
        panels[0].set_ylabel("error (%)")
        return to_png(figure)


# Figure 7: the layers of residual nets respond less. A response is what a layer puts out after
# batch norm, before the nonlinearity or the addition; shortcuts are no layers of the paper's count.


@contextmanager
def recorded_responses(module: nn.Module) -> Iterator[dict[str, list[tuple[int, float, float]]]]:
    """Record number, mean and variance of each layer's responses, pass by pass, as layers run."""
    passes: dict[str, list[tuple[int, float, float]]] = {}

    def record_as(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        def record(_: nn.Module, __: object, response: Tensor) -> None:
            found = torch.var_mean(response.detach().float(), correction=0)
            variance, mean = torch.stack(found).tolist()
            passes.setdefault(name, []).append((response.numel(), mean, variance))

        return record

    handles = [
        layer.register_forward_hook(record_as(name))
        for name, layer in module.named_modules()
        if isinstance(layer, nn.BatchNorm2d) and "downsample" not in name
    ]
    yield passes
    for handle in handles:
        handle.remove()


def pooled_std(passes: Sequence[tuple[int, float, float]]) -> float:
    """Return the standard deviation over all passes' images, channels and places."""
    counts, means, variances = np.array(passes).T
    mean = np.average(means, weights=counts)
    return float(np.sqrt(np.average(variances + (means - mean) ** 2, weights=counts)))


def layer_responses(
    paths: Paths, competition: Competition, experiment: Experiment, tables: Tables
) -> pd.DataFrame:
    """Measure a trained network's responses to the held-out images, a row per layer."""
    checkpoint = paths.experiment(experiment.name).fold(FOLD).checkpoint
    device = pick_device()
    network = load_network(experiment, competition.num_classes, checkpoint).module.to(device)
    used = subsample(tables, experiment.data.limit)
    copies = WorkingCopies(paths, working_side_px(experiment.images))
    inputs = PixelInputs(copies, experiment, used.train, None, device)
    with recorded_responses(network) as passes:
        predict(experiment, network, inputs, np.flatnonzero(used.folds["fold"] == FOLD))
    columns = {
        "family": family_of(experiment.model.name),
        "network": experiment.model.name,
        "layer": range(1, len(passes) + 1),
        "name": list(passes),
        "std": [pooled_std(one) for one in passes.values()],
    }
    table = pd.DataFrame(columns)
    return table.assign(rank=table["std"].rank(method="first", ascending=False).astype(int))


def draw_responses(responses: pd.DataFrame) -> bytes:
    """Draw standard deviations by layer, in the layers' order above, sorted below, as a PNG."""
    families = responses["family"].unique().tolist()
    with drawing(6.4, 5.6) as figure:
        panels = figure.subplots(2, 1, sharey=True)
        places = {"layer": "layer, in order", "rank": "layer, by strength of response"}
        for axes, (column, label) in zip(panels, places.items(), strict=True):
            for number, (network, own) in enumerate(responses.groupby("network", sort=False)):
                place, line = families.index(own["family"].iloc[0]), own.sort_values(column)
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare the competition where it isn't, train the networks, draw both figures."""
    options = parse(arguments)
    declared = load(options.competition, options.root, as_declared=True)
    download.run(*declared, None)
    prepare.run(*declared, None)
    paths, competition = load(options.competition, options.root)
    folds.run(paths, competition, None, None)
    tables, experiments = load_tables(paths), experiments_of(options)
    runs = [ExperimentRun(paths, competition, one, tables) for one in experiments]
    for run in runs:
        run.check([FOLD])  # all of them before the first is trained
    for run in runs:
        run.train([FOLD])
    curves = error_curves(paths, experiments)
    parts = [layer_responses(paths, competition, one, tables) for one in experiments]
    responses = pd.concat(parts, ignore_index=True)
    out = paths.artifacts_dir / "resnet-paper"
    for name, table, picture in (
        ("degradation", curves, draw_curves(curves)),
        ("responses", responses, draw_responses(responses)),
    ):
        write_table(table, out / f"{name}.csv")
        write_bytes(out / f"{name}.png", picture)
    for network, own in curves.groupby("network", sort=False):
        last = own.iloc[-1]
        stds = responses.loc[responses["network"] == network, "std"]
        result(
            f"{network}: error {last['train_error']:.4f} of the learned images, "
            f"{last['val_error']:.4f} of the held-out ones; mean response {stds.mean():.3f}"
        )
    result(str(out))


if __name__ == "__main__":
    try:
        main()
    except PipelineError as error:
        sys.exit(f"error: {error}")
