"""Draw a whole competition, archives and truth, in the layout that its file describes.

The same code then reads drawn competitions as reads real ones, and since the truth is known, the
score that the judge would give can be computed.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from string import ascii_letters, digits

import numpy as np
import pandas as pd

from pipeline.config.archive_table import Synthetic
from pipeline.config.class_names import join_labels
from pipeline.config.competition import Competition
from pipeline.config.images_table import Answers
from pipeline.console import progress
from pipeline.data.drawing.image_files import ORDINARY_ENCODINGS, FileJob, draw_file
from pipeline.data.drawing.layout import (
    Drawn,
    find_batched,
    kinds_of,
    labels_of,
    listed_id,
    write_archives,
)
from pipeline.data.drawing.oddities import SIDE_PX, TEST, TRAIN, Key, Oddities, plan_oddities
from pipeline.data.drawing.species import species_of
from pipeline.errors import ConfigError
from pipeline.images.decoder_pool import map_in_processes
from pipeline.machine import num_cpus
from pipeline.store.tables import TRUTH_COLUMNS, write_table

# Third member of the random stream's key, beside TRAIN and TEST: names, order and oddities.
_PLAN = 2
ANSWERED_TOGETHER = 2  # images, where an answer is of several
# Below this many images the start of the processes costs more than they save.
_MIN_PARALLEL = 200


def name_train_images(
    competition: Competition,
    synthetic: Synthetic,
    targets: Sequence[int],
    rng: np.random.Generator,
) -> list[str]:
    """Name the training images; counted per class where the template names the class."""
    template = synthetic.name_template
    if template is None:
        return [random_name(competition, rng) for _ in targets]
    names, counts = [], Counter[str]()
    for target in targets:
        label = competition.classes[target] if "{label" in template else ""
        index = counts[label]
        names.append(template.format(label=label, index=index, number=index + 1))
        counts[label] += 1
    return names


def name_test_images(
    competition: Competition, synthetic: Synthetic, rng: np.random.Generator
) -> list[str]:
    """Name the test images."""
    template = synthetic.test_name_template
    if template is None and competition.submission.id == "integer":
        template = "{index}" + suffix_of(competition)
    if template is None:
        return [random_name(competition, rng) for _ in range(synthetic.num_test)]
    indices = range(synthetic.num_test)
    return [template.format(label="", index=index, number=index + 1) for index in indices]


def random_name(competition: Competition, rng: np.random.Generator) -> str:
    """Name an image by 32 random letters."""
    return "".join(rng.choice(list(ascii_letters + digits), 32)) + suffix_of(competition)


def suffix_of(competition: Competition) -> str:
    """Return the suffix, and so the format, of the images: as names or lists say, else `.jpg`."""
    if find_batched(competition):
        return ".png"
    template = competition.synthetic and competition.synthetic.name_template
    lists = (competition.train.labels, competition.test.csv)
    extensions = [getattr(listing, "extension", "") for listing in lists]
    return PurePosixPath(template or "").suffix or next(filter(None, extensions), ".jpg")


def draw_competition(competition: Competition, archives_dir: Path, truth_csv: Path) -> None:
    """Draw the images of a competition and pack them into its archives.

    The first zip, tar or 7z among `competition.archives` holds the training images, the second
    the test images (or the first again, where there is only one); one of format "cifar-batches"
    holds them all. Label list, list of test images and sample submission are archives of their
    own if they are named among them, else they lie in the first. What else is named is written
    empty. Two draws give the same bytes, whatever the number of processes.

    Args:
        competition: What to draw; `synthetic` says how many, how large and how odd.
        archives_dir: Where the archives go, each whole or not at all.
        truth_csv: Gets `image_id` and `label` (the class's name, or names as `|one|two|`) of each
            test image.

    Raises:
        ConfigError: The competition isn't to be drawn, has no zip, tar or 7z, its labels stand in
            file names without a `name_template`, or its batches can't hold the pictures.
        DataError: The disk is full or not writable, or what writes a 7z isn't installed.
    """
    synthetic = _drawable(competition)
    rng = np.random.default_rng(np.random.SeedSequence((synthetic.seed, _PLAN)))
    kinds, size = kinds_of(competition), 1 if competition.answers is None else ANSWERED_TOGETHER
    train_targets = [index // size % len(kinds) for index in range(synthetic.num_train)]
    of_answers = [number % len(kinds) for number in range(-(-synthetic.num_test // size))]
    rng.shuffle(of_answers)
    test_targets = [of_answers[index // size] for index in range(synthetic.num_test)]
    drawn = Drawn(
        train_names=name_train_images(competition, synthetic, train_targets, rng),
        test_names=name_test_images(competition, synthetic, rng),
        train_targets=train_targets,
        test_targets=test_targets,
        odd=Oddities(),
    )
    if competition.answers is not None:
        _answer_together(competition.answers, drawn)
    if synthetic.odd_files:
        has_list = competition.train.labels.source in ("list_file", "csv", "one_hot")
        drawn.odd = plan_oddities(train_targets, test_targets, rng, has_list=has_list)
    drawn.ghost_name = random_name(competition, rng)
    jobs = _jobs(competition, synthetic, {TRAIN: train_targets, TEST: test_targets}, drawn.odd)
    drawn.files = _drawn_files(jobs, f"drawing {competition.name}")
    for key, source, change in drawn.odd.rewrites:
        drawn.files[key] = change(drawn.files[source])
    write_archives(competition, drawn, archives_dir)
    labels = [_truth(competition, target) for target in test_targets]
    are_listed = competition.submission.id == "listed"
    names = list(map(listed_id, drawn.test_names)) if are_listed else drawn.test_names
    pairs = dict.fromkeys(zip(drawn.test_answers or names, labels, strict=True))
    write_table(pd.DataFrame(list(pairs), columns=TRUTH_COLUMNS), truth_csv)


def _answer_together(answers: Answers, drawn: Drawn) -> None:
    """Give every two images an answer: the folder that they lie in, or what columns say."""
    for first, names, owners in (
        ("", drawn.train_names, drawn.train_answers),
        ("9", drawn.test_names, drawn.test_answers),
    ):
        parts = ["L"] * (len(answers.columns) - 1)
        numbers = [f"{first}{index // ANSWERED_TOGETHER:04}" for index in range(len(names))]
        owners += ["_".join([number, *parts]) for number in numbers]
        pairs = zip(owners, names, strict=True)
        names[:] = [name if answers.columns else f"{one}/{name}" for one, name in pairs]


def _truth(competition: Competition, target: int) -> str:
    names = labels_of(competition, target)
    return join_labels(names) if competition.has_several else names[0]


def _drawable(competition: Competition) -> Synthetic:
    where = f"{competition.name}.toml"
    if competition.synthetic is None:
        raise ConfigError(
            f"{where}: must have a table [synthetic] to be drawn, has none; "
            f"run 'pipeline download {competition.name}'"
        )
    if not any(archive.container or archive.records for archive in competition.archives):
        raise ConfigError(f"{where}: archives must name a zip, tar or 7z to draw into, name none")
    if find_batched(competition):
        _check_batches_can_hold(competition.synthetic, where)
    template = competition.synthetic.name_template or ""
    if competition.train.labels.source == "file_name" and "{label}" not in template:
        raise ConfigError(
            f"{where}: synthetic.name_template must hold '{{label}}', since labels stand in file "
            f"names, is '{template}'"
        )
    return competition.synthetic


def _check_batches_can_hold(synthetic: Synthetic, where: str) -> None:
    sides = (synthetic.min_side_px, synthetic.max_side_px)
    if synthetic.odd_files or set(sides) != {SIDE_PX}:
        raise ConfigError(
            f"{where}: synthetic must have odd_files = false and sides of {SIDE_PX} px where the "
            f"format is 'cifar-batches', has odd_files = {str(synthetic.odd_files).lower()} and "
            f"sides of {sides[0]} to {sides[1]} px"
        )


def _jobs(
    competition: Competition, synthetic: Synthetic, targets: dict[int, list[int]], odd: Oddities
) -> dict[Key, FileJob]:
    kinds = kinds_of(competition)
    species = [species_of(kinds, index, synthetic.seed) for index in range(len(kinds))]
    ordinary = ORDINARY_ENCODINGS.get(suffix_of(competition), "jpeg")
    return {
        (split, index): FileJob(
            species[target],
            (synthetic.seed, split, index),
            synthetic.min_side_px,
            synthetic.max_side_px,
            odd.encodings.get((split, index), ordinary),
        )
        for split in targets
        for index, target in enumerate(targets[split])
    }


def _drawn_files(jobs: dict[Key, FileJob], description: str) -> dict[Key, bytes]:
    files: dict[Key, bytes] = {}
    with progress(description, total=len(jobs)) as advance:
        for key, content in zip(jobs, _map_draw(list(jobs.values())), strict=True):
            files[key] = content
            advance(1)
    return files


def _map_draw(jobs: Sequence[FileJob]) -> Iterator[bytes]:
    if len(jobs) < _MIN_PARALLEL:
        yield from map(draw_file, jobs)
    else:
        yield from map_in_processes(draw_file, jobs, min(num_cpus(), 16))
