"""What drawn images are called, and so as what they are encoded."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath
from string import ascii_letters, digits

import numpy as np

from pipeline.competition import Competition
from pipeline.images.drawing.layout import find_batched
from pipeline.schema.synthetic import Synthetic


def name_train_images(
    competition: Competition,
    synthetic: Synthetic,
    targets: Sequence[int],
    rng: np.random.Generator,
) -> list[str]:
    """Name the training images; counted per class where the template names the class."""
    template = synthetic.name_template
    if template is None:
        return [random_name(competition, rng) for _ in targets]
    names, counts = [], Counter[str]()
    for target in targets:
        label = competition.classes[target] if "{label" in template else ""
        index = counts[label]
        names.append(template.format(label=label, index=index, number=index + 1))
        counts[label] += 1
    return names


def name_test_images(
    competition: Competition, synthetic: Synthetic, rng: np.random.Generator
) -> list[str]:
    """Name the test images."""
    template = synthetic.test_name_template
    if template is None and competition.submission.id == "integer":
        template = "{index}" + suffix_of(competition)
    if template is None:
        return [random_name(competition, rng) for _ in range(synthetic.num_test)]
    indices = range(synthetic.num_test)
    return [template.format(label="", index=index, number=index + 1) for index in indices]


def random_name(competition: Competition, rng: np.random.Generator) -> str:
    """Name an image by 32 random letters."""
    return "".join(rng.choice(list(ascii_letters + digits), 32)) + suffix_of(competition)


def suffix_of(competition: Competition) -> str:
    """Tell the images' suffix by what the competition's file says of names; `.jpg` by default."""
    if find_batched(competition):
        return ".png"
    template = competition.synthetic and competition.synthetic.name_template
    lists = (competition.train.labels, competition.test.csv)
    extensions = [getattr(listing, "extension", "") for listing in lists]
    return PurePosixPath(template or "").suffix or next(filter(None, extensions), ".jpg")
