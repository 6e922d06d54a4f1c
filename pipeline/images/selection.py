"""The test images, where a CSV or the sample submission lists them."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from pipeline.errors import DataError
from pipeline.images.inventory import ImageFile
from pipeline.judging.judge_ids import submission_id
from pipeline.labelling.joining import NameJoin
from pipeline.schema.submission import SubmissionFormat


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


def select_by_judge(
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
