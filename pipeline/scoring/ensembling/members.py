"""Group experiments that differ in nothing but their seed: they count as one member."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.store.freshness import fingerprint
from pipeline.store.predictions import FloatArray
from pipeline.store.results import Result

# Keys that may differ between trainings of one and the same experiment.
IGNORED_KEYS = {"name", "description", "seed"}


@dataclass(frozen=True)
class Member:
    """One experiment, or several trainings of it whose probabilities are averaged.

    Attributes:
        experiments: Their names, at least one.
        copies: Names of others that are one of these over again, and count once with it.
    """

    experiments: tuple[str, ...]
    copies: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The experiment's name; of several the first, and how many there are."""
        others = f" ({len(self.experiments)} seeds)" if len(self.experiments) > 1 else ""
        return self.experiments[0] + others

    def mean(self, by_experiment: Mapping[str, FloatArray]) -> FloatArray:
        """Average the experiments' probabilities, `(N, K)`."""
        probs = [by_experiment[name] for name in self.experiments]
        averaged: FloatArray = np.mean(probs, axis=0, dtype=np.float32)
        return averaged


def group_seeds(results: Sequence[Result]) -> list[Member]:
    """Group the experiments whose configs differ in nothing but the seed.

    Seeds of one experiment differ by luck alone. Weights fitted to each would be fitted to luck;
    their plain mean has less of it. One with the same seed, too, has nothing of its own to say.

    Args:
        results: The experiments; ensembles among them stand for themselves.

    Returns:
        Members in the order of their first experiments.
    """
    groups: dict[str, dict[int | None, list[str]]] = {}  # by the other keys' values, then by seed
    for result in results:
        config = {key: value for key, value in result.config.items() if key not in IGNORED_KEYS}
        key = result.name if result.is_ensemble else fingerprint(config)
        seed = result.config.get("seed")
        groups.setdefault(key, {}).setdefault(seed, []).append(result.name)
    return [
        Member(
            experiments=tuple(names[0] for names in by_seed.values()),
            copies=tuple(copy for names in by_seed.values() for copy in names[1:]),
        )
        for by_seed in groups.values()
    ]
