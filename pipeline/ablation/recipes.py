"""One experiment with several recipes of augmentation and several seeds."""

from collections.abc import Sequence
from typing import get_args

from pipeline.config.experiment import Experiment, ViewConfig
from pipeline.config.strict import did_you_mean
from pipeline.errors import ConfigError

RECIPES: tuple[str, ...] = get_args(ViewConfig.model_fields["recipe"].annotation)


def read_recipes(text: str) -> list[str]:
    """Read names with commas between them.

    Raises:
        ConfigError: There is no such recipe, only one is named, or one twice.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in RECIPES:
            hint = did_you_mean(name, RECIPES)
            raise ConfigError(
                f"--recipes {text}: must be of {', '.join(RECIPES)}, '{name}' isn't{hint}"
            )
    if len(names) < 2 or len(set(names)) < len(names):
        raise ConfigError(
            f"--recipes {text}: must be two or more, each once; the first is what the others are "
            "compared with"
        )
    return names


def recipe_variants(
    experiment: Experiment, recipes: Sequence[str], num_seeds: int
) -> dict[str, list[Experiment]]:
    """Return the experiments to be trained: by recipe, one per seed from its own on.

    Raises:
        ConfigError: The experiment draws no augmented views, or "custom" is asked of one without
            transforms.
    """
    if experiment.method == "probe" and not experiment.views.num_augmented:
        raise ConfigError(
            f"experiment '{experiment.name}': views.num_augmented must be 1 at least, is 0: "
            "all recipes would be the same"
        )
    seeds = range(experiment.seed, experiment.seed + num_seeds)
    return {recipe: [_variant(experiment, recipe, seed) for seed in seeds] for recipe in recipes}


def _variant(experiment: Experiment, recipe: str, seed: int) -> Experiment:
    changes = {
        "name": f"{experiment.name}-{recipe}-seed{seed}",
        "seed": seed,
        "views.recipe": recipe,
    }
    if recipe != "custom":
        changes["views.transforms"] = []
    return experiment.changed(changes, f"--recipes {recipe}")
