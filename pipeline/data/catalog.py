"""Build the catalog of images: the training images with their labels, and the test images."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from pipeline.config.competition import Competition
from pipeline.config.images_table import ImageFolders
from pipeline.config.submission_table import SubmissionFormat
from pipeline.data.audit import Audit
from pipeline.data.joining import NameJoin
from pipeline.data.label_lists import with_extension
from pipeline.data.labels import find_listing, read_labels
from pipeline.data.resolution import resolved
from pipeline.data.sample import Sample, load_sample
from pipeline.errors import DataError
from pipeline.store.folders import list_files
from pipeline.store.foreign import read_foreign_csv
from pipeline.store.paths import Paths
from pipeline.submission.judge_ids import submission_id

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff"}


@dataclass(frozen=True)
class ImageFile:
    """An image file of the unpacked archives.

    Attributes:
        image_id: Its key: the path below the innermost folder that holds all images of its
            split, so `cat_0.jpg` in a flat folder and `cats/0.jpg` where folders name classes.
        path: The path below `data/<competition>/images`, with forward slashes; empty where a list
            names the image and there is no such file.
    """

    image_id: str
    path: str


def find_images(
    files: list[PurePosixPath], folders: ImageFolders, other: ImageFolders
) -> list[ImageFile]:
    """Pick the images of a split: those below a folder of one of its names, at any depth.

    Archives nest folders as they like (`train/train/cat_0.jpg`), so names count, not depth. An
    image below folders of both splits (`train.zip` that holds `train` and `test`) belongs to that
    of the innermost; a folder that both splits name belongs to both.

    Args:
        files: As `list_files` gives them.
        folders: The split's folder names.
        other: The other split's.

    Returns:
        The images, sorted by image_id.
    """
    split_of = dict.fromkeys(other.folders, other) | dict.fromkeys(folders.folders, folders)
    images = [
        file
        for file in files
        if file.suffix.lower() in IMAGE_SUFFIXES
        and next((split_of[part] for part in reversed(file.parent.parts) if part in split_of), None)
        is folders
    ]
    if not images:
        return []
    common = PurePosixPath(os.path.commonpath([file.parent for file in images]))
    found = [ImageFile(str(file.relative_to(common)), str(file)) for file in images]
    return sorted(found, key=lambda image: image.image_id)


def select_named(candidates: Sequence[ImageFile], names: Sequence[str]) -> list[ImageFile]:
    """Pick the images that a CSV names.

    Args:
        candidates: The images of the test folders.
        names: What the CSV calls its images, extension included.

    Returns:
        One image per name, in the order of the names; one without a path where there is no such
        file, as every test image needs an answer.

    Raises:
        DataError: A name stands twice, or for the same image as another.
    """
    by_id = {image.image_id: image for image in candidates}
    join = NameJoin(by_id)
    matches = [(join.find(name), name) for name in names]
    selected = [by_id[match] if match else ImageFile(name, "") for match, name in matches]
    repeated = [key for key, count in Counter(i.image_id for i in selected).items() if count > 1]
    if repeated:
        raise DataError(
            f"the list of test images: each must stand once, {len(repeated)} stand several times, "
            f"the first is '{repeated[0]}'"
        )
    return selected


def select_by_sample(
    candidates: Sequence[ImageFile], submission: SubmissionFormat, ids: Sequence[str], where: str
) -> list[ImageFile]:
    """Pick the images that the sample submission asks for.

    Args:
        candidates: The images of the test folders, or those that a CSV names.
        submission: Forms the judge's ids.
        ids: The sample's.
        where: The sample, for errors.

    Returns:
        One image per id, in the sample's order; one without a path where there is no such file.

    Raises:
        DataError: An id stands for several images, or can't be the judge's of any.
    """
    asked = set(ids)
    images: dict[str, ImageFile] = {}
    for image in candidates:
        judge_id = _judge_id(submission, image.image_id)
        if judge_id not in asked:
            continue
        if judge_id in images:
            raise DataError(
                f"{where}: each id must be of one image, '{judge_id}' is of "
                f"'{images[judge_id].image_id}' and '{image.image_id}'"
            )
        images[judge_id] = image
    suffixes = Counter(PurePosixPath(image.image_id).suffix for image in candidates)
    suffix = suffixes.most_common(1)[0][0] if suffixes else ".jpg"
    return [
        images.get(judge_id) or _absent(submission, judge_id, suffix, where) for judge_id in ids
    ]


def _judge_id(submission: SubmissionFormat, image_id: str) -> str | None:
    """Form the judge's id; None for the name of a training image that has none."""
    try:
        return submission_id(submission, image_id)
    except DataError:
        return None


def _absent(submission: SubmissionFormat, judge_id: str, suffix: str, where: str) -> ImageFile:
    """Stand in for an image that isn't there, under a name of which the judge's id is formed."""
    name = judge_id.removeprefix(submission.id_prefix)
    image = ImageFile(name + (suffix if submission.id in ("stem", "integer") else ""), "")
    formed = _judge_id(submission, image.image_id)
    if formed != judge_id:
        raise DataError(
            f"{where}: ids must be formed as [submission] says, '{judge_id}' can't be; compare "
            "id and id_prefix there"
        )
    return image


@dataclass(frozen=True)
class Catalog:
    """Every training image with its label, and every test image.

    Attributes:
        images: Columns split, image_id, path, label (empty for test): the labelled training
            images by image_id, then the test images, in the sample's order where there is a
            sample, else by image_id. A test image that is listed and not there has no path.
        competition: The competition with what its file leaves to the data filled in.
    """

    images: pd.DataFrame
    competition: Competition


def build_catalog(paths: Paths, competition: Competition, audit: Audit) -> Catalog:
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
    _audit_unlisted(audit, others, candidates, test)
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
    return Catalog(pd.DataFrame(rows, columns=columns), whole)


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
    """Keep the candidates that a CSV lists or the sample asks for; all where there is neither."""
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
    test = select_by_sample(candidates, competition.submission, sample.ids, where)
    others = {image.image_id for image in candidates} ^ {image.image_id for image in test}
    if listing is not None and others:
        raise DataError(
            f"{where}: must ask for the images that {listing.file} lists, {len(others):,} stand "
            f"in one of them alone, the first is '{min(others)}'"
        )
    return test


def _audit_unlisted(
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
