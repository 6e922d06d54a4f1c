"""What a user may have in a folder, and the competition's file that `init` makes of it."""

from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.config.competition import Competition, load_competition
from pipeline.data.init.file_roles import GivenPaths
from pipeline.data.resolution import resolve
from pipeline.stages import download, init, prepare
from pipeline.store.paths import Paths


class Inferred:
    """A file that `init` wrote.

    Attributes:
        path: The file.
        competition: As it is read.
        text: As it is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.competition: Competition = load_competition(str(path))
        self.text = path.read_text("utf-8")

    def is_guess(self, key: str) -> bool:
        """Whether the comment above a key calls it a guess."""
        above = self.text.partition(f"\n{key} = ")[0].rpartition("\n")[2]
        return above.startswith("# guess: ")


def save_files(folder: Path, names: list[str], content: bytes = b"") -> None:
    """Leave files that are called like images; `init` opens none that has a suffix."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def save_list(folder: Path, name: str, *lines: str) -> None:
    """Write a list, a line each."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(f"{line}\n" for line in lines), "utf-8")


def infer(folder: Path, name: str = "mine") -> Inferred:
    """Run `init` on a folder."""
    out = folder.parent / f"{name}.toml"
    init.run(name, GivenPaths(), folder, out, force=True)
    return Inferred(out)


def save_pictures(folder: Path, names: list[str]) -> None:
    """Draw a picture of noise for each name, another one for every one of them."""
    for seed, name in enumerate(names):
        pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name)


def bring(inferred: Inferred, folder: Path) -> tuple[Paths, Competition]:
    """Download and prepare what lies in a folder."""
    paths = Paths(folder.parent / "root", inferred.competition.name)
    download.run(paths, inferred.competition, str(folder))
    prepare.run(paths, inferred.competition, workers=1)
    return paths, resolve(inferred.competition, paths)
