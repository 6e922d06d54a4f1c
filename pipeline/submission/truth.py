"""Read true labels of test images from whatever table a person has of them."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from pipeline.config.competition import Competition
from pipeline.errors import DataError
from pipeline.store.tables import TRUTH_COLUMNS
from pipeline.submission.faults import shown
from pipeline.submission.judge_ids import submission_ids

Pair = tuple[str, str]


def load_truth(path: Path, competition: Competition, image_ids: Sequence[str]) -> dict[str, int]:
    """Read the true class indices of all or some test images, by the judge's id.

    The table is a submission of labels, with or without its header, or `image_id,label` with a
    header, whatever form the judge wants. Ids may be the judge's, image_ids or file names; labels
    indices or names. A BOM, CRLF and blank lines do no harm: this file comes from a person, not
    from us, and no judge reads it.

    Raises:
        DataError: The file is missing, empty, not such a table, or names an image that isn't a
            test image or stands twice, or an unknown class.
    """
    pairs = _without_header(_read_pairs(path, competition), competition)
    known_ids = _known_ids(competition, image_ids)
    known_labels = _known_labels(competition)
    _refuse(path, [key for key, _ in pairs if key not in known_ids], "ids must be of test images")
    wanted = f"labels must be an index below {competition.num_classes} or a class name"
    _refuse(path, [label for _, label in pairs if label not in known_labels], wanted)
    truth: dict[str, int] = {}
    repeated = []
    for key, label in pairs:
        if known_ids[key] in truth:
            repeated.append(key)
        truth[known_ids[key]] = known_labels[label]
    _refuse(path, repeated, "every image must stand once")
    if not truth:
        raise DataError(f"{path}: must hold one line per image, holds none")
    return truth


def _read_pairs(path: Path, competition: Competition) -> list[Pair]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: must be a file of UTF-8 text ({error})") from error
    separator = competition.submission.separator
    # The judge's separator may be another than the comma of image_id,label.
    separator = separator if separator in text.partition("\n")[0] else ","
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error as error:
        raise DataError(f"{path}: must be a CSV ({error})") from error
    rows = [row for row in rows if "".join(row).strip()]
    odd = [separator.join(row) for row in rows if len(row) != 2]
    _refuse(path, odd, f"lines must be <id>{separator}<label>")
    return [(row[0], row[1]) for row in rows]


def _without_header(pairs: list[Pair], competition: Competition) -> list[Pair]:
    headers = (competition.columns, tuple(TRUTH_COLUMNS))
    return pairs[1:] if pairs and pairs[0] in headers else pairs


def _known_ids(competition: Competition, image_ids: Sequence[str]) -> dict[str, str]:
    judge_ids = submission_ids(competition.submission, image_ids)
    by_name = {
        PurePosixPath(image_id).name: judge_id
        for image_id, judge_id in zip(image_ids, judge_ids, strict=True)
    }
    by_image_id = dict(zip(image_ids, judge_ids, strict=True))
    # The judge's id comes last: it wins if it is the name of another image.
    return by_name | by_image_id | {judge_id: judge_id for judge_id in judge_ids}


def _known_labels(competition: Competition) -> Mapping[str, int]:
    by_name = {name: index for index, name in enumerate(competition.classes)}
    by_index = {str(index): index for index in range(competition.num_classes)}
    # Classes may be named by digits; then the form that the judge wants is meant.
    return by_index | by_name if competition.submission.label == "name" else by_name | by_index


def _refuse(path: Path, offenders: list[str], rule: str) -> None:
    if offenders:
        first = shown(offenders[0])
        raise DataError(f"{path}: {rule}, found {len(offenders):,} otherwise, the first is {first}")
