"""Select the test images that a list or the sample submission names, whether or not they exist."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pipeline.config.images_table import ImageList
from pipeline.config.submission_table import SubmissionFormat
from pipeline.data.joining import NameJoin, join_names, names_beside
from pipeline.data.label_lists import read_listing, with_extension
from pipeline.data.split_folders import ImageFile, is_image_name
from pipeline.errors import DataError
from pipeline.store.foreign import unusual_names
from pipeline.submission.writer import submission_id


def select_listed(
    candidates: Sequence[ImageFile], path: Path, folder: PurePosixPath, listing: ImageList
) -> list[ImageFile]:
    """Select the images that a CSV lists, called by its ids where it has some.

    Raises:
        DataError: The CSV can't be read, or an image or id stands twice.
    """
    join = NameJoin(image.image_id for image in candidates)
    table = read_listing(path, listing.separator, unusual_names(join.names))
    if listing.id_column is None:
        rows = [
            (_field(fields, listing, "id"), _field(fields, listing, "image"))
            for _, fields in table.rows
        ]
    elif listing.image_column is None:
        rows = [("", fields[0]) for _, fields in table.columns([listing.id_column])]
    else:
        columns = table.columns([listing.id_column, listing.image_column])
        rows = [(judge_id, name) for _, (judge_id, name) in columns]
    names = [with_extension(name, listing.extension) for _, name in rows]
    images = select_named(candidates, names_beside(join, folder, names))
    if not listing.tells_ids:
        return images
    _check_differ([judge_id for judge_id, _ in rows])
    return [
        ImageFile(judge_id, image.path, image.listed_as)
        for (judge_id, _), image in zip(rows, images, strict=True)
    ]


def _field(fields: Sequence[str], listing: ImageList, column: str) -> str:
    place = listing.columns.index(column) if column in listing.columns else len(fields)
    return fields[place] if place < len(fields) else ""


def select_named(candidates: Sequence[ImageFile], names: Sequence[str]) -> list[ImageFile]:
    """Select the images that a CSV names.

    Args:
        candidates: The images of the test folders.
        names: What the CSV calls its images.

    Returns:
        One image per name, in the order of the names; one without a path where there is no such
        file, as every test image needs an answer.

    Raises:
        DataError: A name stands twice, or for the same image as another.
    """
    by_id = {image.image_id: image for image in candidates}
    joined = join_names(names, NameJoin(by_id))
    respelled, suffix = set(joined.respelled), _usual_suffix(candidates)
    selected = [
        ImageFile(found, by_id[found].path, name if name in respelled else "")
        if (found := joined.images.get(name))
        else ImageFile(name if is_image_name(PurePosixPath(name)) else name + suffix, "")
        for name in names
    ]
    _check_differ([image.image_id for image in selected])
    return selected


def _check_differ(names: Iterable[str]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1 or not name]
    if repeated:
        raise DataError(
            f"the list of test images: each must stand once, {len(repeated)} stand several times, "
            f"the first is '{repeated[0]}'"
        )


def select_by_sample(
    candidates: Sequence[ImageFile], submission: SubmissionFormat, ids: Sequence[str], where: str
) -> list[ImageFile]:
    """Select the images that the sample submission asks for.

    Args:
        candidates: The images of the test folders, or those that a CSV names.
        submission: Forms the judge's ids.
        ids: The sample's.
        where: The sample, for errors.

    Returns:
        One image per id, in the sample's order; one without a path where there is no such file.
        One whose file is called a little otherwise than the id has a name of which the id is
        formed, and the file's path.

    Raises:
        DataError: An id stands for several images, or can't be the judge's of any.
    """
    images = _images_by_id(candidates, submission, set(ids), where)
    left = {image.image_id: image for image in candidates} if len(images) < len(ids) else {}
    for image in images.values():
        left.pop(image.image_id, None)
    bare_ids = {judge_id: judge_id.removeprefix(submission.id_prefix) for judge_id in ids}
    absent = [judge_id for judge_id in ids if judge_id not in images]
    joined = join_names([bare_ids[judge_id] for judge_id in absent], NameJoin(left))
    usual = _usual_suffix(candidates)
    for judge_id in absent:
        image_id = joined.images.get(bare_ids[judge_id])
        suffix = PurePosixPath(left[image_id].path).suffix if image_id else usual
        name = bare_ids[judge_id] + (suffix if submission.id in ("stem", "integer") else "")
        _check_forms(submission, name, judge_id, where)
        path, listed_as = (left[image_id].path, judge_id) if image_id else ("", "")
        images[judge_id] = ImageFile(name, path, listed_as)
    return [images[judge_id] for judge_id in ids]


def select_answered(
    candidates: Sequence[ImageFile],
    answer_of: Mapping[str, str],
    submission: SubmissionFormat,
    ids: Sequence[str] | None,
) -> list[ImageFile]:
    """Select the images of the answers that the sample submission asks for; of all without one.

    Args:
        candidates: The images of the test folders, or those that a CSV names.
        answer_of: The answer by image_id.
        submission: Forms the judge's ids.
        ids: The sample's; None where there is no sample, or it is an example.

    Returns:
        The images of each answer one after the other, in the sample's order; where there are none,
        one without a path stands for them.
    """
    images_of: dict[str, list[ImageFile]] = {}
    for image in candidates:
        if image.image_id in answer_of:
            images_of.setdefault(answer_of[image.image_id], []).append(image)
    if ids is None:
        asked = sorted(images_of)
    else:
        asked = [one.removeprefix(submission.id_prefix) for one in ids]
    found = join_names(asked, NameJoin(images_of)).images
    return [
        replace(image, answer=answer)
        for answer in asked
        for image in images_of.get(found.get(answer, ""), [ImageFile(answer, "")])
    ]


def _usual_suffix(images: Sequence[ImageFile]) -> str:
    suffixes = Counter(PurePosixPath(image.path).suffix for image in images)
    return suffixes.most_common(1)[0][0] if suffixes else ".jpg"


def _images_by_id(
    candidates: Sequence[ImageFile], submission: SubmissionFormat, asked: set[str], where: str
) -> dict[str, ImageFile]:
    """Find the images of which the ids that are asked for can be formed, by id."""
    images: dict[str, ImageFile] = {}
    for image in candidates:
        judge_id = _judge_id(submission, image.image_id)
        if judge_id is None or judge_id not in asked:
            continue
        if judge_id in images:
            raise DataError(
                f"{where}: each id must be of one image, '{judge_id}' is of "
                f"'{images[judge_id].image_id}' and '{image.image_id}'"
            )
        images[judge_id] = image
    return images


def _judge_id(submission: SubmissionFormat, image_id: str) -> str | None:
    """Form the judge's id; None for the name of a training image that has none."""
    try:
        return submission_id(submission, image_id)
    except DataError:
        return None


def _check_forms(submission: SubmissionFormat, name: str, judge_id: str, where: str) -> None:
    """Check that the judge's id is formed of the name under which an image stands in."""
    if _judge_id(submission, name) != judge_id:
        raise DataError(
            f"{where}: ids must be formed as [submission] says, '{judge_id}' can't be; compare "
            "id and id_prefix there"
        )
