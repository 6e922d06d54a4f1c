"""The lists of a drawn competition: labels, test images and the sample submission."""

from collections.abc import Iterable, Sequence

from pipeline.competition import Competition
from pipeline.images.drawing.drawn import Drawn
from pipeline.judging.judge_ids import submission_ids
from pipeline.schema.images import ImageList
from pipeline.schema.labels import CsvLabels, ListFileLabels, OneHotLabels


def draw_listings(competition: Competition, drawn: Drawn) -> dict[str, str]:
    """Write the lists that the competition's file names, by file name."""
    listings = {}
    labels = competition.train.labels
    if isinstance(labels, ListFileLabels | CsvLabels | OneHotLabels):
        listings[labels.file] = _labels(competition, labels, _listed(drawn))
    if competition.test.csv is not None:
        listings[competition.test.csv.file] = _test_images(competition.test.csv, drawn)
    if competition.submission.sample is not None:
        listings[competition.submission.sample] = _sample(competition, drawn)
    return listings


def _listed(drawn: Drawn) -> list[tuple[str, int]]:
    """Pair the names of the listed training images with their classes."""
    pairs = list(zip(drawn.train_names, drawn.train_targets, strict=True))
    rows = [pair for index, pair in enumerate(pairs) if index != drawn.odd.unlisted]
    if drawn.odd.has_ghost:
        rows.insert(len(rows) // 2, (drawn.ghost_name, 0))
    return rows


def _labels(
    competition: Competition,
    labels: ListFileLabels | CsvLabels | OneHotLabels,
    rows: Sequence[tuple[str, int]],
) -> str:
    if isinstance(labels, OneHotLabels):
        classes = range(competition.num_classes)
        header = [labels.id_column, *competition.classes]
        marks = [["1" if index == target else "0" for index in classes] for _, target in rows]
        ids = [name.removesuffix(labels.extension) for name, _ in rows]
        lines = ([name, *mark] for name, mark in zip(ids, marks, strict=True))
        return _table([header, *lines], labels.separator)
    is_name = labels.values == "name"
    values = [competition.classes[target] if is_name else str(target) for _, target in rows]
    if isinstance(labels, ListFileLabels):
        folder = competition.train.folders[0]
        pairs = [
            {"image": f"{folder}/{name}", "label": value, "other": "0"}
            for (name, _), value in zip(rows, values, strict=True)
        ]
        return _table(([pair[c] for c in labels.columns] for pair in pairs), labels.separator)
    ids = [name.removesuffix(labels.extension) for name, _ in rows]
    header = [labels.id_column, labels.label_column]
    return _table([header, *zip(ids, values, strict=True)], labels.separator)


def _test_images(listing: ImageList, drawn: Drawn) -> str:
    names = [[name.removesuffix(listing.extension)] for name in drawn.test_names]
    header = [[listing.id_column]] if listing.id_column is not None else []
    return _table([*header, *names], listing.separator)


def _sample(competition: Competition, drawn: Drawn) -> str:
    """Give every test image the same answer, in the order in which the images were drawn."""
    submission = competition.submission
    num_classes = competition.num_classes
    answer = {
        "index": ["0"],
        "name": [competition.classes[0]],
        "probability": ["0.5"],
        "probabilities": [str(1 / num_classes)] * num_classes,
    }[submission.label]
    rows = [[judge_id, *answer] for judge_id in submission_ids(submission, drawn.test_names)]
    header = [competition.columns] if submission.has_header else []
    return _table([*header, *rows], submission.separator)


def _table(rows: Iterable[Sequence[str]], separator: str = ",") -> str:
    return "".join(f"{separator.join(row)}\n" for row in rows)
