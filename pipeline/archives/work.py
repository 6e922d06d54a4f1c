"""What a download has to bring, from where, and the places it stands at until all is whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.archives.sources import Source, is_url
from pipeline.competition import Competition
from pipeline.files.atomic import PARTIAL_SUFFIX
from pipeline.files.freshness import Stamp, read_stamp
from pipeline.paths import Paths


@dataclass(frozen=True)
class Work:
    """What to bring, from where, and the places it stands at until all of it is whole."""

    paths: Paths
    competition: Competition
    source: str | None
    candidates: Mapping[str, tuple[Source, ...]]

    @property
    def is_drawn(self) -> bool:
        """Whether the archives are drawn rather than brought."""
        return self.competition.synthetic is not None and self.source is None

    @property
    def incoming_dir(self) -> Path:
        """Archives under way; only what is fetched is worth keeping after a failure."""
        if not self.is_drawn and (self.source is None or is_url(self.source)):
            return fetched_dir(self.paths)
        return self.paths.data_dir / f".archives{PARTIAL_SUFFIX}"

    @property
    def images_dir(self) -> Path:
        """Images under way."""
        return self.paths.data_dir / f".images{PARTIAL_SUFFIX}"

    @property
    def truth_csv(self) -> Path:
        """There only where the truth becomes known, by drawing or by unpacking."""
        return self.paths.data_dir / f".truth.csv{PARTIAL_SUFFIX}"

    def accepted_sources(self) -> dict[str, Any]:
        """Give the recorded sources, by archive, that this run would take as well."""
        recorded = read_stamp(self.paths.download_stamp)
        sources = recorded["inputs"].get("sources", {}) if recorded else {}
        return {
            name: sources[name]
            for name, candidates in self.candidates.items()
            if name in sources
            and (self.source is None or sources[name] in [one.record for one in candidates])
        }

    def offers_more(self, accepted: Mapping[str, Any]) -> bool:
        """Whether the folder holds an optional archive that wasn't there before."""
        return any(
            candidates and not candidates[0].is_url and name not in accepted
            for name, candidates in self.candidates.items()
        )

    def stamp(self, sources: Mapping[str, Any]) -> Stamp:
        """Name all that the outputs depend on; the archives' sha256 are the outputs' digests."""
        fields = {"archives", "synthetic"}
        if self.competition.synthetic is not None:
            fields |= {"classes", "train", "test"}  # they shape what is drawn
        if any(archive.format == "cifar-batches" for archive in self.competition.archives):
            fields |= {"classes"}  # they name the folders
        described = self.competition.model_dump(mode="json", include=fields)
        return Stamp(self.paths.download_stamp, inputs={**described, "sources": dict(sources)})


@dataclass(frozen=True)
class Whole:
    """A whole archive: where it stands for now, and the record of where it is from.

    Of a folder that is read in place, the place is where it is from.
    """

    place: Path
    source: dict[str, Any]

    @property
    def is_folder(self) -> bool:
        """Whether it was unpacked by others and is read in place."""
        return self.place.is_dir()


def fetched_dir(paths: Paths) -> Path:
    """Where what came over the network stays after a failure."""
    return paths.data_dir / ".fetched"
