"""Form the ids by which the judge knows the test images."""

import unicodedata
from collections.abc import Sequence
from pathlib import PurePosixPath

from pipeline.config.submission_table import SubmissionFormat
from pipeline.errors import DataError


def submission_id(submission: SubmissionFormat, image_id: str) -> str:
    """Form the id by which the judge knows an image.

    Raises:
        DataError: The judge wants integers and the file's name isn't one, or the name holds what
            no line of UTF-8 text can (a line break, a byte that isn't UTF-8).
    """
    path = PurePosixPath(image_id)
    forms = {"file_name": path.name, "stem": path.stem, "integer": path.stem}
    judge_id = submission.id_prefix + forms.get(submission.id, image_id)
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in judge_id):
        raise DataError(f"{image_id!r}: a test image's name must be printable UTF-8 text")
    if submission.id != "integer":
        return judge_id
    if not (judge_id.isascii() and judge_id.isdigit()):
        raise DataError(
            f"'{image_id}': the judge's ids are integers, so a test image's name must be one, "
            f"is '{judge_id}'; compare the competition's [submission] id"
        )
    return str(int(judge_id))


def submission_ids(submission: SubmissionFormat, image_ids: Sequence[str]) -> list[str]:
    """Form the judge's ids, in the order of `image_ids`.

    Raises:
        DataError: An id can't be formed, or two images would get the same one.
    """
    owners: dict[str, str] = {}
    for image_id in image_ids:
        judge_id = submission_id(submission, image_id)
        if judge_id in owners:
            raise DataError(
                f"test images: must differ in the judge's id, '{owners[judge_id]}' and "
                f"'{image_id}' are both '{judge_id}'; compare the competition's [submission] id"
            )
        owners[judge_id] = image_id
    return list(owners)


def ordered_ids(submission: SubmissionFormat, image_ids: Sequence[str]) -> list[str]:
    """List the judge's ids in the order in which they are written.

    Of a competition with a sample submission `test.csv` stands in the sample's order, and so do
    they; otherwise they ascend, by number or by code point.

    Raises:
        DataError: An id can't be formed, or two images would get the same one.
    """
    ids = submission_ids(submission, image_ids)
    if submission.is_ordered_by_sample:
        return ids
    return sorted(ids, key=int) if submission.id == "integer" else sorted(ids)
