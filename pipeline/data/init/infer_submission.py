"""Infer the format of a submission from a sample submission."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pipeline.config.class_names import ClassLookup
from pipeline.config.submission_table import IdForm, LabelForm, SubmissionFormat
from pipeline.data.init.answered_together import LabelRows
from pipeline.data.init.draft import Section
from pipeline.data.init.infer_answer import Answer, infer_answer
from pipeline.data.init.label_values import LabelSource
from pipeline.data.init.user_lists import ForeignList, doubt_of_shift, has_header_row
from pipeline.data.init.words import words_of
from pipeline.data.joining import NameJoin, join_names
from pipeline.data.split_folders import is_image_name
from pipeline.errors import DataError
from pipeline.store.foreign import detect_encoding
from pipeline.submission.writer import submission_id

ID_FORMS: tuple[IdForm, ...] = ("integer", "stem", "file_name", "path")
ASK = "no sample submission was given, compare the judge's page"
SEVERAL = "an image may have several labels"
USUAL = '"index", "probability", "probabilities"'
OTHERS = {
    "labels": '"probabilities"',
    "probabilities": "no other, with such names",
    "number": "no other, where target is one",
}
SUM_TOLERANCE = 1e-3
MOST_EXAMPLES = 10  # rows of a sample that is likely to be an example, where more images are there
SHARE_OF_EXAMPLES = 0.5
MOST_LOOKED_AT = 1000
COMMA = re.compile(r"-?\d+,\d+")  # a number as some countries write it
WORD_END = re.compile(r"[^_./ -]*$")  # of what ids have in common, what may be of the first ones


class ListedIds(NamedTuple):
    """What a list calls the images of a split.

    Attributes:
        name: The list.
        ids: What it calls them.
        image_ids: The images.
    """

    name: str
    ids: Sequence[str]
    image_ids: Sequence[str]


class ToldIds(NamedTuple):
    """How the judge's ids are formed, where something else than their look tells.

    Attributes:
        form: Their form.
        why: What it was inferred from.
        is_certain: Whether nothing speaks against it.
    """

    form: IdForm
    why: str
    is_certain: bool = True


def without_sample(
    test_ids: Sequence[str], labels: LabelSource, listed: ListedIds | None = None
) -> tuple[Section, Answer]:
    """Guess the usual, for want of a sample.

    Args:
        test_ids: image_ids of the test images.
        labels: Where the labels stand.
        listed: A list, after which the ids are likely to be formed.
    """
    section = Section("[submission]")
    forms: tuple[IdForm, ...] = ("integer", "file_name", "path")
    why = ASK
    if listed is not None:
        form, _, _, is_known = _ids(listed.ids, listed.image_ids)
        forms = (form, *forms) if is_known else forms
        why = f"as in {listed.name}; {ASK}" if is_known else ASK
    apart = [form for form in forms if len(_formed(form, "", test_ids)) == len(test_ids) > 0]
    section.guess("id", (*apart, "file_name")[0], why)
    label: LabelForm = "number" if labels.number_why else "name"
    if labels.several_why:
        label = "probabilities" if any(" " in name for name in labels.classes) else "labels"
    section.guess("label", label, f"{ASK}; else {OTHERS.get(label, USUAL)}")
    if label == "probabilities":
        section.found("rows_sum_to_1", value=False, why=SEVERAL)
    section.guess("has_header", value=True, why=ASK)
    section.unknown("columns", ["id", "label"], "the header's columns, if they are others")
    section.unknown("sample", "sample_submission.csv", "the judge's sample, if there is one")
    return section, Answer(label, is_certain=False, why=ASK, classes=labels.classes)


def from_sample(
    label_rows: LabelRows, test_ids: Sequence[str], labels: LabelSource, told: ToldIds | None
) -> tuple[Section, Answer]:
    """Read the form of a submission off a sample.

    Args:
        label_rows: The sample.
        test_ids: image_ids of the test images, those left out that have labels; none where they
            aren't known; answers where images are answered together.
        labels: Where the labels stand, and which classes there are.
        told: How the ids are formed, if something says so.
    """
    arranged = label_rows.sample
    sample = arranged.table
    has_header = has_header_row(sample, 0, NameJoin(test_ids))
    form, prefix, why, is_known = _ids(sample.column(0)[has_header:], test_ids)
    if told is not None:
        form, prefix, why, is_known = told.form, "", told.why, told.is_certain
    rows = sample.rows[has_header:]
    answer = (
        Answer("label_rows", is_certain=True, why=labels.several_why, classes=labels.classes)
        if label_rows.row_id
        else _doubt_commas(infer_answer(sample, rows, labels), rows)
    )
    section = Section("[submission]")
    (section.found if is_known or not test_ids else section.guess)("id", form, why)
    if prefix:
        section.found("id_prefix", prefix, f"what stands before the ids of {sample.name}")
    _add_answer(section, label_rows, answer, has_header=has_header)
    _add_rows(section, label_rows, len(rows), len(test_ids))
    _add_bytes(section, sample)
    if answer.label == "probabilities" and (labels.several_why or not _sum_to_1(rows)):
        why = SEVERAL if labels.several_why else f"the rows of {sample.name} don't"
        section.found("rows_sum_to_1", value=False, why=why)
    return section, answer


def _add_answer(
    section: Section, label_rows: LabelRows, answer: Answer, *, has_header: bool
) -> None:
    """Add the form of an answer, and the header above it."""
    sample = label_rows.sample.table
    (section.found if answer.is_certain else section.guess)("label", answer.label, answer.why)
    if label_rows.row_id:
        section.found("row_id", label_rows.row_id, f"the ids of {sample.name}")
    if answer.label == "names":
        most = max(len(row[1].split(" ")) for row in sample.rows[has_header:])
        section.found("top_k", most, f"the longest list of classes in {sample.name}")
    if answer.label == "probability":
        _add_positive(section, sample, sample.rows[0][1] if has_header else "", answer)
    if has_header:
        columns = sample.rows[0] if answer.label != "probabilities" else sample.rows[0][:1]
        section.found("columns", columns, f"the first line of {sample.name}")
    section.found("has_header", bool(has_header), f"the first line of {sample.name}")


def _doubt_commas(answer: Answer, rows: Sequence[Sequence[str]]) -> Answer:
    """Doubt answers that are written with commas as no submission is."""
    if not any(COMMA.fullmatch(field) for row in rows[:MOST_LOOKED_AT] for field in row[1:]):
        return answer
    why_not = f"{answer.why}; numbers have commas there, in the submission they have points"
    return replace(answer, is_certain=False, why=why_not)


def _add_rows(section: Section, label_rows: LabelRows, num_rows: int, num_images: int) -> None:
    """Add what the rows are: all or an example, and what stands in one."""
    arranged = label_rows.sample
    name = arranged.table.name
    if num_rows >= num_images and label_rows.is_whole:
        section.found("sample", name, "ids and their order are those of the sample")
    else:
        least = max(MOST_EXAMPLES, SHARE_OF_EXAMPLES * num_images)
        is_example = num_rows <= least or not label_rows.is_whole
        why = f"{name} has {num_rows:,} rows, {num_images:,} test images are there"
        why = why if label_rows.is_whole else f"{name} lacks rows of labels"
        section.found("sample", name, "the form of a submission is that of the sample")
        section.guess("sample_rows", "some" if is_example else "all", why)
    if arranged.layout != ("id", "label"):
        section.found("layout", list(arranged.layout), f"the columns of {name}, left to right")
    if arranged.row_column:
        section.found("row_column", arranged.row_column, f"the first line of {name}")
    if label_rows.row_id:
        section.found("order", "any", "lines of labels may stand in any order")
        return
    section.unknown("order", "any", "the order that is written is demanded; whether any will do")


def _ids(ids: Sequence[str], test_ids: Sequence[str]) -> tuple[IdForm, str, str, bool]:
    """Tell form and prefix by how many of the sample's ids the test images have.

    Returns:
        Form, prefix, what they were told by, and whether the ids are the test images' for certain.
    """
    found = []
    last, common = ids[-1] if ids else "", _common_start(ids)
    for prefix in sorted({"", last[: last.rfind("/") + 1], WORD_END.sub("", common)}):
        for rank, form in enumerate(ID_FORMS):
            formed = _formed(form, prefix, test_ids)
            found.append((len(formed & set(ids)), -len(prefix), -rank, form, prefix))
    count, _, _, form, prefix = max(found)
    if count:
        why = f"{count:,} of {len(ids):,} ids of the sample are so formed"
        shift = doubt_of_shift(ids, test_ids)
        return form, prefix, f"{why}; or {shift}" if shift else why, not shift
    num_joined = len(join_names(ids, NameJoin(test_ids)).images)
    why = "the look of the sample's ids, none is a test image's"
    if num_joined:
        why = (
            f"{num_joined:,} of {len(ids):,} ids of the sample are test images', written otherwise"
        )
    return _by_look(ids), "", why, bool(num_joined)


def _common_start(ids: Sequence[str]) -> str:
    low, high = min(ids, default=""), max(ids, default="")
    places = (
        number for number, pair in enumerate(zip(low, high, strict=False)) if len({*pair}) > 1
    )
    return low[: next(places, len(low))]


def _by_look(ids: Sequence[str]) -> IdForm:
    """Tell the form of ids that no image has."""
    if all(is_image_name(PurePosixPath(one)) for one in ids):
        return "path" if any("/" in one for one in ids) else "file_name"
    return "integer" if all(map(_is_integer, ids)) else "stem"


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
    words = set(words_of(column))
    named = [one for one, name in enumerate(classes) if words and set(words_of(name)) <= words]
    if place is None and len(named) == 1 and words_of(classes[named[0]]):
        why = f"'{column}' names it, the second column of {sample.name}"
        section.guess("positive", classes[named[0]], why)
    elif place is not None:
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
    encoding = detect_encoding(content).name
    if encoding in ("utf-8-sig", "gb18030"):
        section.found("encoding", encoding, f"the bytes of {sample.name}")


def _sum_to_1(rows: Sequence[Sequence[str]]) -> bool:
    try:
        sums = [sum(float(field.replace(",", ".")) for field in row[1:]) for row in rows]
    except ValueError:
        return False
    return all(abs(total - 1) < SUM_TOLERANCE for total in sums)
