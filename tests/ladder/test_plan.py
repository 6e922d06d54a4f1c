"""Plans: the shipped ones, those of one's own, and what is refused."""

from pathlib import Path

import pytest

from pipeline.config.competition import load_competition
from pipeline.config.strict import built_in_names, locate_toml
from pipeline.errors import ConfigError
from pipeline.ladder.plan import list_jobs, load_plan
from tests import tiny

DEMO = load_competition("demo")
RUNG = '[[rungs]]\nname = "{}"\nexperiments = {}\nadds = "something"\n'


def write(folder: Path, *rungs: str) -> str:
    path = folder / "mine.toml"
    path.write_text("\n".join(rungs), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", built_in_names("plans"))
def test_every_shipped_plan_begins_with_what_needs_no_hub_and_says_what_rungs_add(name):
    plan = load_plan(name)
    jobs = list_jobs(plan, DEMO)
    assert jobs[0].experiment.method == "probe"
    assert jobs[0].experiment.model.weights == "package"
    assert all(len(rung.adds) > 10 for rung in plan.rungs)


def test_there_is_a_plan_for_every_kind_of_device():
    assert {"cpu", "cuda", "mps"} <= set(built_in_names("plans"))


def test_a_rung_with_seeds_trains_each_experiment_with_each_under_a_name_of_its_own(tmp_path):
    tiny.write_toml(tmp_path / "one.toml")
    plan = load_plan(write(tmp_path, RUNG.format("a", '["one.toml"]') + "seeds = [1, 2]\n"))
    jobs = list_jobs(plan, DEMO)
    assert [(job.name, job.experiment.seed) for job in jobs] == [("one-seed1", 1), ("one-seed2", 2)]
    source = str(tmp_path / "one.toml")
    assert jobs[1].words == (
        "--experiment", source, "--set", "name=one-seed2", "--set", "seed=2",
    )  # fmt: skip


def test_a_file_of_variants_stands_for_all_of_them(tmp_path):
    jobs = list_jobs(load_plan(write(tmp_path, RUNG.format("a", '["large-probe"]'))), DEMO)
    assert [job.words for job in jobs] == [
        ("--experiment", f"large-probe-lite{number}") for number in range(3)
    ]


def test_trainings_are_those_that_the_competition_allows(tmp_path):
    """Or what `train` makes of them would never be found again."""
    tiny.write_toml(tmp_path / "one.toml")
    plan = load_plan(write(tmp_path, RUNG.format("a", '["one.toml"]')))
    unmirrored = DEMO.model_copy(update={"horizontal_flip": False})
    flips = [list_jobs(plan, one)[0].experiment.views.horizontal_flip for one in (DEMO, unmirrored)]
    assert flips == [True, False]


def test_a_training_of_some_images_cannot_be_blended_so_it_is_refused(tmp_path):
    tiny.write_toml(tmp_path / "few.toml", "[data]\nlimit = 20\n")
    plan = load_plan(write(tmp_path, RUNG.format("a", '["few.toml"]')))
    with pytest.raises(ConfigError, match="of all images, as they are blended, 'few' is of data"):
        list_jobs(plan, DEMO)


def test_an_experiment_of_two_rungs_is_trained_and_counted_once(tmp_path):
    rungs = RUNG.format("a", '["lite0-probe"]'), RUNG.format("b", '["lite0-probe", "lite1-probe"]')
    jobs = list_jobs(load_plan(write(tmp_path, *rungs)), DEMO)
    names = [(job.rung.name, job.name) for job in jobs]
    assert names == [("a", "lite0-probe"), ("b", "lite1-probe")]


@pytest.mark.parametrize("name", ["run", "run-a"])
def test_an_experiment_that_is_called_as_a_blend_is_refused(tmp_path, name):
    tiny.write_toml(tmp_path / f"{name}.toml")
    plan = load_plan(write(tmp_path, RUNG.format("a", f'["{name}.toml"]')))
    with pytest.raises(ConfigError, match=f"as a blend of the run is, '{name}' is; rename it"):
        list_jobs(plan, DEMO)


def test_two_experiments_of_one_name_are_refused(tmp_path):
    (tmp_path / "sub").mkdir()
    tiny.write_toml(tmp_path / "one.toml")
    tiny.write_toml(tmp_path / "sub" / "one.toml", "seed = 1\n")
    plan = load_plan(write(tmp_path, RUNG.format("a", '["one.toml", "sub/one.toml"]')))
    with pytest.raises(ConfigError, match="names of their own, two that differ are 'one'"):
        list_jobs(plan, DEMO)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RUNG.format("a", '["x"]') * 2, "rungs must differ in name"),
        (RUNG.format("a", "[]"), "at least 1 item"),
        (RUNG.format("a", '["x"]') + "seed = 1\n", "unknown key 'rungs.0.seed'"),
        ("", "key 'rungs' is missing"),
    ],
)
def test_a_faulty_plan_is_refused_in_one_line(text, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        load_plan(write(tmp_path, text))


def test_a_plan_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(ConfigError, match="gpu: must be one of cpu, cuda, mps or the path"):
        load_plan("gpu")


def test_a_competition_names_its_plan_relative_to_its_own_file(tmp_path):
    text = locate_toml("demo", "competitions").read_text(encoding="utf-8")
    path = tmp_path / "mine.toml"
    path.write_text(text + 'plan = "rungs.toml"\n', encoding="utf-8")
    assert load_competition(str(path)).experiments.plan == str(tmp_path / "rungs.toml")
    assert load_competition("demo").experiments.plan is None
