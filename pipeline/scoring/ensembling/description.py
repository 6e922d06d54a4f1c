"""What `metrics.json` says of an ensemble, besides its scores."""

from collections.abc import Sequence
from typing import Any

from pipeline.scoring.comparison import Comparison
from pipeline.scoring.ensembling.build import Built
from pipeline.scoring.ensembling.members import Member


def describe_ensemble(built: Built, members: Sequence[Member]) -> dict[str, Any]:
    """Describe the methods, the members and the calibration.

    Args:
        built: The ensemble.
        members: What it was built of, pruned ones included.
    """
    kept = [members[index] for index in built.kept]
    lacks: Sequence[Comparison | None] = built.lacks or [None]
    return {
        "method": built.method,
        "methods": [one.record() for one in built.methods],
        "members": [
            {
                "name": member.name,
                "experiments": list(member.experiments),
                "copies": list(member.copies),
                "weight": round(float(weight), 6),
                "without": None if lack is None else lack.record(),
                "helps": lack is None or lack.verdict == "worse",
            }
            for member, weight, lack in zip(kept, built.weights, lacks, strict=True)
        ],
        "pruned": [member.name for member in members if member not in kept],
        "calibration": built.recalibration.record(),
    }
