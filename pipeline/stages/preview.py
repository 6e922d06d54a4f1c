"""Draw a contact sheet of the augmented views that an experiment trains on."""

from pathlib import Path

import pandas as pd

from pipeline.config.competition import Competition
from pipeline.config.experiment_files import load_experiment
from pipeline.console import result, say
from pipeline.images.contact_sheet import SheetRow, contact_sheet
from pipeline.images.transforms import check_recipe
from pipeline.images.views import View, ViewMaker, training_view
from pipeline.images.working_copy import WorkingCopies, image_rows, working_side_px
from pipeline.store.atomic import write_bytes
from pipeline.store.paths import Paths
from pipeline.store.tables import load_train


def run(
    paths: Paths,
    competition: Competition,
    experiment_name: str,
    overrides: list[str],
    size: tuple[int, int],
    out: Path | None,
) -> None:
    """Draw some training images, plain and in augmented views.

    Reads data/COMPETITION/train.csv and the images drawn from it.

    Writes a PNG with a row per image and a column per view; prints its path.

    Fails if the experiment, an override or its recipe is impossible (ConfigError), the table is
    missing or an image can't be read any more (DataError).

    Args:
        paths: The competition's files.
        competition: Its name.
        experiment_name: The experiment whose views to draw.
        overrides: Changes to the experiment, `key=value`.
        size: The number of images, and of augmented views of each: those of the first epochs.
        out: The file to write instead of one in the experiment's folder.
    """
    experiment = load_experiment(experiment_name, overrides)
    check_recipe(experiment.views, experiment.images)
    num_images, num_views = size
    train = _sample_images(load_train(paths), num_images, experiment.seed)
    epochs = (training_view(experiment, epoch) for epoch in range(num_views))
    views = list(dict.fromkeys([View(), *epochs]))  # without randomness, some are the same
    copies = WorkingCopies(paths, working_side_px(experiment.images))
    maker = ViewMaker(experiment.images, experiment.views)
    rows = []
    for image, label in zip(image_rows(train), train["label"], strict=True):
        copy = copies.read(image)
        pictures = [maker.make(view, copy, image.sha256) for view in views]
        rows.append(SheetRow(f"{label}: {image.image_id}", pictures))
    headings = [f"{view.recipe} {view.number}" if view.recipe else "plain" for view in views]
    path = out or paths.experiment(experiment.name).preview
    write_bytes(path, contact_sheet(headings, rows))
    say(
        f"preview {competition.name} {experiment.name}: {len(rows)} images, plain and in "
        f"{len(views) - 1} augmented views"
    )
    result(str(path))


def _sample_images(train: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """Sample images, as many of each class as can be, in the order of the classes."""
    shuffled = train.sample(frac=1, random_state=seed)
    rank = shuffled.groupby("label").cumcount()
    return shuffled.loc[rank.sort_values(kind="stable").index[:count]].sort_values(
        "label", kind="stable"
    )
