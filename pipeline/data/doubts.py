"""Say in one line each what in a competition's data may not mean what its file says."""

from collections.abc import Sequence

from pipeline.config.class_names import as_integer, classes_of_columns, places_of_columns
from pipeline.config.competition import Competition
from pipeline.data.labels import LabelledImages
from pipeline.data.sample import Sample
from pipeline.data.split_folders import ImageFile

MOST_SHOWN = 3
# Strays are common; a larger share of labels that are lost comes of a mistake.
MOST_LOST = 0.01


def find_doubts(competition: Competition, sample: Sample | None) -> list[str]:
    """Compare the answers that will be written with the class names and the sample.

    Args:
        competition: With its classes and columns filled in.
        sample: Its sample, if there is one.
    """
    found = [_of_places(competition)]
    if sample is not None:
        of_answers = competition.submission.label != "probabilities"
        found.append((_of_answers if of_answers else _of_columns)(competition, sample))
    return [doubt for doubt in found if doubt]


def _of_places(competition: Competition) -> str:
    """Doubt that classes which are numbers are answered by other numbers, their places."""
    numbers = [as_integer(name) for name in competition.classes]
    are_places = numbers == list(range(len(numbers)))
    if competition.submission.label != "index" or None in numbers or are_places:
        return ""
    return (
        f"the classes are the numbers {_shown(competition.classes)}, the submission will answer "
        "their places, counted from 0; if the judge wants the numbers, set [submission] label = "
        '"name"'
    )


def _of_columns(competition: Competition, sample: Sample) -> str:
    names, classes = sample.columns[1:], competition.classes
    if classes_of_columns(names, classes) or places_of_columns(names) or not names:
        return ""
    pairs = [f"'{name}' for {label}" for name, label in zip(names, classes, strict=True)]
    return (
        f"{sample.path}: the columns aren't called as the classes and are taken in their order, "
        f"{', '.join(pairs[:MOST_SHOWN])}; compare the order of classes"
    )


def _of_answers(competition: Competition, sample: Sample) -> str:
    label, classes = competition.submission.label, competition.classes
    places = {str(number) for number in range(len(classes))}
    odd = sorted(sample.answers - (places if label == "index" else set(classes)))
    if label == "probability" or not odd:
        return ""
    wanted = f"places of classes, as 0 for {classes[0]}" if label == "index" else "class names"
    return (
        f"{sample.path}: answers {_shown(odd)}, the submission will answer {wanted}"
        f"{'' if label == 'index' else f', as {_shown(classes)}'}; compare [submission] label"
    )


def doubt_about_labels(labelled: LabelledImages, num_images: int) -> list[str]:
    """Say if more than strays is lost where labels and training images are joined."""
    lost = {
        f"of {num_images:,} training images aren't in the list of labels": labelled.unlabelled,
        f"of {num_images:,} training images have two labels": labelled.contradictory,
        f"of {num_images:,} training images have an empty label": labelled.empty,
        "names in the list of labels are of no file, or of several": labelled.missing,
    }
    return [
        f"labels: {len(names):,} {what} and aren't trained on, the first is '{names[0]}'; "
        "audit.csv names all"
        for what, names in lost.items()
        if len(names) > MOST_LOST * num_images
    ]


def doubt_about_rows(sample: Sample, num_asked: int, unlisted: Sequence[ImageFile]) -> list[str]:
    """Say if a sample leaves test images out: it may be an example of a few rows.

    Args:
        sample: The sample.
        num_asked: How many images it asks for.
        unlisted: The test images that it doesn't ask for, and that have no label either.
    """
    if not unlisted:
        return []
    return [
        f"{sample.path}: asks for {num_asked:,} images, not for {len(unlisted):,} more in the test "
        f"folders, as '{unlisted[0].image_id}'; if it is an example of a few rows, set "
        '[submission] sample_rows = "some"'
    ]


def _shown(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:MOST_SHOWN])) + ", ..." * (len(names) > MOST_SHOWN)
