import pytest

from pipeline.ablation.trainings import read_recipes, recipe_variants
from pipeline.errors import ConfigError
from tests import tiny

CUSTOM = {
    "recipe": "custom",
    "transforms": ({"name": "Resize", "height": 32, "width": 32},),
}


def test_experiments_differ_in_recipe_and_seed_alone():
    experiment = tiny.experiment(seed=4, head={"l2": 0.5})
    made = recipe_variants(experiment, ["none", "heavy"], 2)
    assert {recipe: [one.seed for one in seeds] for recipe, seeds in made.items()} == {
        "none": [4, 5], "heavy": [4, 5],
    }  # fmt: skip
    for recipe, seeds in made.items():
        for one in seeds:
            assert one.views.recipe == recipe
            same = {"name": "tiny", "seed": 4, "views.recipe": "light"}
            assert one.changed(same, "x") == experiment
    names = [one.name for seeds in made.values() for one in seeds]
    assert len(set(names)) == 4


def test_an_experiments_own_transforms_are_one_of_its_recipes():
    made = recipe_variants(tiny.experiment(views=CUSTOM), ["none", "custom"], 1)
    assert made["none"][0].views.transforms == ()
    assert made["custom"][0].views.transforms[0].name == "Resize"


def test_custom_without_transforms_is_refused():
    line = r"^--recipes custom: .*views.transforms must be given where views.recipe is 'custom'"
    with pytest.raises(ConfigError, match=line):
        recipe_variants(tiny.experiment(), ["none", "custom"], 1)


def test_a_probe_without_augmented_views_has_nothing_to_compare():
    line = r"^experiment 'tiny': views.num_augmented must be 1 at least, is 0"
    with pytest.raises(ConfigError, match=line):
        recipe_variants(tiny.experiment(views={"num_augmented": 0}), ["none", "light"], 1)


def test_names_are_read_and_faults_refused():
    assert read_recipes("none, heavy") == ["none", "heavy"]
    with pytest.raises(ConfigError, match=r"'hevy' is no recipe; did you mean 'heavy'\?"):
        read_recipes("none,hevy")
    for text in ("none", "none,light,none"):
        with pytest.raises(ConfigError, match=rf"^--recipes {text}: must be two or more, each"):
            read_recipes(text)
