"""Which images are training images, with what label, and which are to be predicted."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from pipeline.competition import Competition
from pipeline.errors import DataError
from pipeline.files.folders import list_files
from pipeline.files.foreign import read_foreign_csv
from pipeline.images.inventory import ImageFile, find_images
from pipeline.images.selection import select_by_judge, select_named
from pipeline.judging.judge_ids import submission_id
from pipeline.judging.sample import Sample, load_sample
from pipeline.labelling.label_files import with_extension
from pipeline.labelling.labels import find_listing, read_labels
from pipeline.paths import Paths
from pipeline.preparing.audit import Audit
from pipeline.resolution import resolved


@dataclass(frozen=True)
class Census:
    """Every image that counts.

    Attributes:
        images: Columns split, image_id, path, label (empty for test): the labelled training
            images by image_id, then the test images, in the sample's order where there is a
            sample, else by image_id. A test image that is listed and not there has no path.
        competition: The competition with what its file leaves to the data filled in.
    """

    images: pd.DataFrame
    competition: Competition


def take_census(paths: Paths, competition: Competition, audit: Audit) -> Census:
    """Find the images of both splits and the training images' labels; note what is odd.

    Raises:
        DataError: There are no images of a split, a list or label is unusable, or the test images
            have no ids of their own.
        ConfigError: The labels or the sample contradict the competition's file.
    """
    source_dirs = [paths.archives_dir, paths.images_dir]
    files = list_files(paths.images_dir)
    sample = load_sample(competition, source_dirs)
    candidates = _candidates(paths, competition, files)
    test = _select_test(competition, candidates["test"], sample, source_dirs)
    test_paths = {image.path for image in test}
    train = [image for image in candidates["train"] if image.path not in test_paths]
    listings = tuple(f"/{name}" for name in competition.listings)
    others = [file for file in files if not f"/{file}".endswith(listings)]
    _note_strangers(audit, others, candidates, test)
    labelled = read_labels(competition, [image.image_id for image in train], source_dirs)
    for finding, names in (
        ("unlisted", labelled.unlabelled),
        ("listed-without-file", labelled.missing),
        ("listed-with-two-labels", labelled.contradictory),
    ):
        for name in names:
            audit.add(finding, "train", name)
    rows = [
        ("train", image.image_id, image.path, labelled.labels[image.image_id])
        for image in train
        if image.image_id in labelled.labels
    ]
    rows += [("test", image.image_id, image.path, "") for image in test]
    columns = pd.Index(["split", "image_id", "path", "label"])
    whole = resolved(competition, labelled.classes, sample)
    return Census(pd.DataFrame(rows, columns=columns), whole)


def _candidates(
    paths: Paths, competition: Competition, files: list[PurePosixPath]
) -> dict[str, list[ImageFile]]:
    """Find the images below the folders of each split."""
    candidates = {
        "train": find_images(files, competition.train, competition.test),
        "test": find_images(files, competition.test, competition.train),
    }
    for split, folders in (("train", competition.train), ("test", competition.test)):
        if not candidates[split]:
            tops = ", ".join(sorted({"/".join(file.parts[:2]) for file in files})[:5]) or "nothing"
            raise DataError(
                f"{paths.images_dir}: must hold {split} images below a folder named "
                f"{' or '.join(folders.folders)}, holds {tops}; check the archives and run "
                f"'pipeline download {competition.name}'"
            )
    return candidates


def _select_test(
    competition: Competition,
    candidates: list[ImageFile],
    sample: Sample | None,
    source_dirs: Sequence[Path],
) -> list[ImageFile]:
    """Keep those that a CSV lists or the sample asks for; all where there is neither."""
    listing = competition.test.csv
    if listing is not None:
        path = find_listing(competition, listing.file, source_dirs)
        table = read_foreign_csv(path, listing.separator)
        rows = table.rows if listing.id_column is None else table.columns([listing.id_column])
        names = [with_extension(fields[0], listing.extension) for _, fields in rows]
        candidates = select_named(candidates, names)
    if sample is None:
        _check_submission_ids(competition, candidates)
        return candidates
    where = str(sample.path)
    test = select_by_judge(candidates, competition.submission, sample.ids, where)
    others = {image.image_id for image in candidates} ^ {image.image_id for image in test}
    if listing is not None and others:
        raise DataError(
            f"{where}: must ask for the images that {listing.file} lists, {len(others):,} stand "
            f"in one of them alone, the first is '{min(others)}'"
        )
    return test


def _note_strangers(
    audit: Audit,
    files: list[PurePosixPath],
    candidates: dict[str, list[ImageFile]],
    test: list[ImageFile],
) -> None:
    """Note the files that are no images, and the test images that are listed or there alone.

    Args:
        audit: Takes the notes.
        files: All but the lists.
        candidates: The images by split.
        test: The images to predict.
    """
    train_paths = {image.path for image in candidates["train"]}
    images = train_paths | {image.path for image in candidates["test"]}
    for file in files:
        if str(file) not in images:
            audit.add("not-an-image", "", str(file))
    test_paths = {image.path for image in test}
    for image in candidates["test"]:
        if image.path not in test_paths | train_paths:
            audit.add("unlisted", "test", image.image_id)
    for image in test:
        if not image.path:
            audit.add("listed-without-file", "test", image.image_id)


def _check_submission_ids(competition: Competition, test: list[ImageFile]) -> None:
    ids = Counter(submission_id(competition.submission, image.image_id) for image in test)
    repeated = [name for name, count in ids.items() if count > 1]
    if repeated:
        raise DataError(
            f"{competition.name}: each test image must have an id of its own, {len(repeated)} ids "
            f"stand for several, the first is '{repeated[0]}'; remove the extra copies and run "
            f"'pipeline download {competition.name}'"
        )
