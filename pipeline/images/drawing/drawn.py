"""What was drawn: all that the archives and lists are made of."""

from dataclasses import dataclass, field

from pipeline.images.drawing.oddities import Key, Oddities


@dataclass
class Drawn:
    """Names, classes and files of the images, and what is odd about them."""

    train_names: list[str]
    test_names: list[str]
    train_targets: list[int]
    test_targets: list[int]
    odd: Oddities
    ghost_name: str = ""
    files: dict[Key, bytes] = field(default_factory=dict)
