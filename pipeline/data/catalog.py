"""Build the catalog of images: the training images with their labels, and the test images."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from pipeline.config.competition import Competition
from pipeline.data.asked_images import select_answered, select_by_sample, select_listed
from pipeline.data.audit import Audit
from pipeline.data.groups import read_answers
from pipeline.data.labels import (
    LabelledImages,
    doubt_about_labels,
    find_listing,
    folder_below,
    read_labels,
)
from pipeline.data.resolution import resolved
from pipeline.data.sample import Sample, doubt_about_rows, find_doubts, load_sample
from pipeline.data.split_folders import ImageFile, bare_images, find_images, matched_by
from pipeline.errors import DataError
from pipeline.store.folders import find_file, is_litter, list_files
from pipeline.store.foreign import doubt_of_encoding, unusual_names
from pipeline.store.paths import Paths
from pipeline.store.tables import ANSWER
from pipeline.submission.writer import submission_id


@dataclass(frozen=True)
class Catalog:
    """Every image that counts.

    Attributes:
        images: Columns split, image_id, path, label (empty for test): the labelled training
            images by image_id, then the test images, in the sample's order where there is a
            sample, else by image_id. A test image that is listed and not there has no path. Also
            `answer`, where the competition says which images are answered together.
        competition: The competition with what its file leaves to the data filled in.
        doubts: What may not mean what the competition's file says, in one line each.
    """

    images: pd.DataFrame
    competition: Competition
    doubts: list[str]


def build_catalog(paths: Paths, competition: Competition, audit: Audit) -> Catalog:
    """Find the images of both splits and the training images' labels; note what is odd.

    Raises:
        DataError: There are no images of a split, a list or label is unusable, or the test images
            have no ids of their own.
        ConfigError: The labels or the sample contradict the competition's file.
    """
    source_dirs = [paths.archives_dir, paths.images_dir]
    files = list_files(paths.images_dir)
    known = unusual_names(map(str, files))
    sample = load_sample(competition, source_dirs, known)
    candidates = _candidates(paths, competition, files)
    if _is_rest_asked(competition):
        candidates["test"] = _without_labels(competition, candidates, source_dirs)
    test = _select_test(competition, candidates["test"], sample, source_dirs)
    test_paths = {image.path for image in test}
    train = [image for image in candidates["train"] if image.path not in test_paths]
    labelled = read_labels(competition, [image.image_id for image in train], source_dirs)
    unlisted = _unlisted(candidates, labelled, test_paths)
    _audit_files(audit, competition, files, candidates)
    train_paths = {image.path for image in candidates["train"]}
    _audit_lists(audit, labelled, test, [one for one in unlisted if one.path not in train_paths])
    rows = [
        ("train", image.image_id, image.path, labelled.labels[image.image_id])
        for image in train
        if image.image_id in labelled.labels
    ]
    rows += [("test", image.image_id, image.path, "") for image in test]
    images = pd.DataFrame(rows, columns=pd.Index(["split", "image_id", "path", "label"]))
    if competition.answers is not None:
        answer_of = _train_answers(competition, labelled.labels, source_dirs)
        trained = images["image_id"][images["split"] == "train"]
        images[ANSWER] = [answer_of[one] for one in trained] + [image.answer for image in test]
    numbers = list(map(float, labelled.labels.values())) if competition.is_number else []
    whole = resolved(competition, labelled.classes, sample, numbers)
    doubts = find_doubts(whole, sample) + doubt_about_labels(labelled, len(train))
    listings = find_listings(paths, competition)
    doubts += [doubt for path in listings if path and (doubt := doubt_of_encoding(path, known))]
    if sample is not None and competition.submission.is_ordered_by_sample:
        doubts += doubt_about_rows(sample, len(test), unlisted)
    return Catalog(images, whole, doubts)


def find_listings(paths: Paths, competition: Competition) -> list[Path | None]:
    """Find the files that list images or labels; None for one that isn't there."""
    source_dirs = [paths.archives_dir, paths.images_dir]
    return [find_file(name, source_dirs) for name in competition.listings]


def _train_answers(
    competition: Competition, labels: Mapping[str, str], source_dirs: Sequence[Path]
) -> dict[str, str]:
    """Read the answers of the labelled images, by image_id; one without is one of its own.

    Raises:
        DataError: Images of one answer have two labels.
    """
    answer_of = read_answers(competition, list(labels), source_dirs, is_test=False)
    label_of: dict[str, str] = {}
    for image_id, label in labels.items():
        answer = answer_of.setdefault(image_id, image_id)
        if label_of.setdefault(answer, label) != label:
            raise DataError(
                f"{competition.name}: images that are answered together must have one label, those "
                f"of '{answer}' have '{label_of[answer]}' and '{label}' ('{image_id}'); correct "
                "the list of labels, or answers in the competition's file"
            )
    return answer_of


def _candidates(
    paths: Paths, competition: Competition, files: list[PurePosixPath]
) -> dict[str, list[ImageFile]]:
    """Find the images below the folders of each split."""
    bare = bare_images(paths.images_dir, files)
    candidates = {
        "train": find_images(files, competition.train, competition.test, bare),
        "test": find_images(files, competition.test, competition.train, bare),
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


def _is_rest_asked(competition: Competition) -> bool:
    """Whether the test images are those of one folder of all that have no label."""
    are_listed = competition.test.csv or competition.submission.is_ordered_by_sample
    shared = set(competition.train.folders) & set(competition.test.folders)
    return bool(shared) and not are_listed


def _without_labels(
    competition: Competition, candidates: dict[str, list[ImageFile]], source_dirs: Sequence[Path]
) -> list[ImageFile]:
    """Keep the candidates for test images that no label mentions."""
    image_ids = [image.image_id for image in candidates["train"]]
    unknown = set(read_labels(competition, image_ids, source_dirs).unlabelled)
    train_paths = {one.path for one in candidates["train"] if one.image_id not in unknown}
    return [image for image in candidates["test"] if image.path not in train_paths]


def _unlisted(
    candidates: dict[str, list[ImageFile]], labelled: LabelledImages, test_paths: set[str]
) -> list[ImageFile]:
    """List the test images that aren't asked for; those among training images have no label."""
    unknown = set(labelled.unlabelled)
    known = {one.path for one in candidates["train"] if one.image_id not in unknown} | test_paths
    return [one for one in candidates["test"] if one.path not in known]


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
        folder = folder_below(path, source_dirs)
        candidates = select_listed(candidates, path, folder, listing)
    if competition.answers is not None:
        ids = [image.image_id for image in candidates]
        answer_of = read_answers(competition, ids, source_dirs, is_test=True)
        is_asked = sample is not None and competition.submission.is_ordered_by_sample
        wanted = sample.ids if sample is not None and is_asked else None
        return select_answered(candidates, answer_of, competition.submission, wanted)
    if sample is None or not competition.submission.is_ordered_by_sample:
        _check_submission_ids(competition, candidates)
        return candidates
    where = str(sample.path)
    test = select_by_sample(candidates, competition.submission, sample.ids, where)
    asked = {image.path or image.image_id for image in test}
    others = {image.path or image.image_id for image in candidates} ^ asked
    if listing is not None and others and not listing.tells_ids:
        raise DataError(
            f"{where}: must ask for the images that {listing.file} lists, {len(others):,} stand "
            f"in one of them alone, the first is '{min(others)}'"
        )
    return test


def _audit_files(
    audit: Audit,
    competition: Competition,
    files: list[PurePosixPath],
    candidates: dict[str, list[ImageFile]],
) -> None:
    """Note the files that are left out, those that are no images, and none of the lists."""
    patterns = (*competition.train.leave_out, *competition.test.leave_out)
    left_out = matched_by(files, patterns)
    images = {image.path for found in candidates.values() for image in found}
    listings = tuple(f"/{name}" for name in competition.listings)
    for file in files:
        if str(file) not in images and not f"/{file}".endswith(listings):
            other = "left-out" if file in left_out else "not-an-image"
            audit.add("litter" if is_litter(file) else other, "", str(file))


def _audit_lists(
    audit: Audit, labelled: LabelledImages, test: list[ImageFile], unlisted: list[ImageFile]
) -> None:
    """Note what stands in a list alone or in the folders alone, or is written otherwise."""
    for finding, names in (
        ("unlisted", labelled.unlabelled),
        ("listed-without-file", labelled.missing),
        ("listed-with-two-labels", labelled.contradictory),
        ("listed-without-label", labelled.empty),
    ):
        for name in names:
            audit.add(finding, "train", name)
    for name, image_id in labelled.respelled.items():
        audit.add("listed-otherwise", "train", image_id, f"as {name}")
    for image in unlisted:
        audit.add("unlisted", "test", image.image_id)
    for image in test:
        if not image.path:
            audit.add("listed-without-file", "test", image.image_id)
        elif image.listed_as:
            audit.add("listed-otherwise", "test", image.path, f"as {image.listed_as}")


def _check_submission_ids(competition: Competition, test: list[ImageFile]) -> None:
    ids = Counter(submission_id(competition.submission, image.image_id) for image in test)
    repeated = [name for name, count in ids.items() if count > 1]
    if repeated:
        raise DataError(
            f"{competition.name}: each test image must have an id of its own, {len(repeated)} ids "
            f"stand for several, the first is '{repeated[0]}'; name one of several test sets in "
            "[test] folders, else remove the extra copies, and run "
            f"'pipeline download {competition.name}'"
        )
