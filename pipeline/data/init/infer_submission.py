"""Infer the format of a submission from a sample submission."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.config.class_names import ClassLookup
from pipeline.config.submission_table import IdForm, SubmissionFormat
from pipeline.data.init.draft import Section
from pipeline.data.init.infer_answer import Answer, infer_answer
from pipeline.data.init.label_columns import LabelSource
from pipeline.data.init.user_lists import ForeignList
from pipeline.errors import DataError
from pipeline.submission.judge_ids import submission_id

ID_FORMS: tuple[IdForm, ...] = ("integer", "stem", "file_name", "path")
ASK = "no sample submission was given, compare the judge's page"
SUM_TOLERANCE = 1e-3


def without_sample(test_ids: Sequence[str], labels: LabelSource) -> tuple[Section, Answer]:
    """Guess the usual, for want of a sample."""
    section = Section("[submission]")
    forms: tuple[IdForm, ...] = ("integer", "file_name", "path")
    apart = [form for form in forms if len(_formed(form, "", test_ids)) == len(test_ids) > 0]
    section.guess("id", (*apart, "file_name")[0], ASK)
    section.guess("label", "name", f'{ASK}; else "index", "probability", "probabilities"')
    section.guess("has_header", value=True, why=ASK)
    section.unknown("columns", ["id", "label"], "the header's columns, if they are others")
    section.unknown("sample", "sample_submission.csv", "the judge's sample, if there is one")
    return section, Answer("name", is_certain=False, why=ASK, classes=labels.classes)


def from_sample(
    sample: ForeignList, test_ids: Sequence[str], labels: LabelSource
) -> tuple[Section, Answer]:
    """Read the form of a submission off a sample.

    Args:
        sample: The sample.
        test_ids: image_ids of the test images; none where they aren't known.
        labels: Where the labels stand, and which classes there are.

    Raises:
        DataError: It has one column, so nothing is answered.
    """
    if sample.num_columns < 2:
        raise DataError(f"{sample.path}: a sample must have an id and an answer, has one column")
    form, prefix, has_header, why = _ids(sample.column(0), test_ids)
    rows = sample.rows[has_header:]
    answer = infer_answer(sample, rows, labels)
    section = Section("[submission]")
    section.found("id", form, why)
    if prefix:
        section.found("id_prefix", prefix, f"what stands before the ids of {sample.name}")
    (section.found if answer.is_certain else section.guess)("label", answer.label, answer.why)
    if answer.label == "probability":
        _add_positive(section, sample, sample.rows[0][1] if has_header else "", answer)
    if has_header:
        columns = sample.rows[0] if answer.label != "probabilities" else sample.rows[0][:1]
        section.found("columns", columns, f"the first line of {sample.name}")
    section.found("has_header", bool(has_header), f"the first line of {sample.name}")
    section.found("sample", sample.name, "ids and their order are those of the sample")
    section.unknown("order", "any", "the sample's is written and demanded; whether any will do")
    _add_bytes(section, sample)
    if answer.label == "probabilities" and not _sum_to_1(rows):
        section.found("rows_sum_to_1", value=False, why=f"the rows of {sample.name} don't")
    return section, answer


def _ids(column: Sequence[str], test_ids: Sequence[str]) -> tuple[IdForm, str, bool, str]:
    """Tell form, prefix and header by how many of the sample's ids the test images have."""
    found = []
    for prefix in sorted({"", column[-1][: column[-1].rfind("/") + 1]}):
        for rank, form in enumerate(ID_FORMS):
            formed = _formed(form, prefix, test_ids)
            has_header = column[0] not in formed and not _is_integer(column[0])
            found.append((len(formed & set(column)), -len(prefix), -rank, form, prefix, has_header))
    count, _, _, form, prefix, has_header = max(found)
    num_ids = len(column) - has_header
    if count == 0:
        form = "integer" if all(map(_is_integer, column[has_header:])) else "stem"
        return form, "", has_header, "the look of the sample's ids, none is a test image's"
    return form, prefix, has_header, f"{count:,} of {num_ids:,} ids of the sample are so formed"


def _formed(form: IdForm, prefix: str, image_ids: Sequence[str]) -> set[str]:
    if form == "integer" and prefix:
        return set()
    submission = SubmissionFormat(id=form, id_prefix=prefix)
    formed = set()
    for image_id in image_ids:
        try:
            formed.add(submission_id(submission, image_id))
        except DataError:  # a name that is no number, or not printable
            continue
    return formed


def _is_integer(text: str) -> bool:
    return text.isascii() and text.isdigit() and str(int(text)) == text


def _add_positive(section: Section, sample: ForeignList, column: str, answer: Answer) -> None:
    classes = answer.classes
    place = ClassLookup(classes).find(column)
    if place is not None:
        section.found("positive", classes[place], f"the second column of {sample.name}")
    else:
        section.guess("positive", classes[1], f"the class whose probability it is, or {classes[0]}")


def _add_bytes(section: Section, sample: ForeignList) -> None:
    """Add what the sample's bytes tell and the defaults don't."""
    content = Path(sample.path).read_bytes()
    if sample.separator != ",":
        section.found("separator", sample.separator, f"between the columns of {sample.name}")
    ending = "crlf" if b"\r\n" in content else "any"
    why = "ends its lines with CRLF" if ending == "crlf" else "ends its lines with LF"
    section.found("line_ending", ending, f"{sample.name} {why}")
    encoding = _encoding(content)
    if encoding != "utf-8":
        section.found("encoding", encoding, f"the bytes of {sample.name}")


def _encoding(content: bytes) -> str:
    if content.startswith(b"\xef\xbb\xbf"):
        return "utf-8-sig"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "gb18030"
    return "utf-8"


def _sum_to_1(rows: Sequence[Sequence[str]]) -> bool:
    try:
        sums = [sum(map(float, row[1:])) for row in rows]
    except ValueError:
        return False
    return all(abs(total - 1) < SUM_TOLERANCE for total in sums)
