"""What is said about experiment files is what they are: the schema, the page, the heads."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config.experiment_files import json_schema, load_experiments
from pipeline.config.strict import built_in_names, locate_toml

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "experiments.md").read_text(encoding="utf-8")
SHIPPED = built_in_names("experiments")
SCHEMA = "python -m pipeline.config.experiment_files > docs/experiment.schema.json"
TABLES = {
    "## The experiment": "Experiment",
    "## `[model]`": "ModelConfig",
    "## `[images]`": "ImageConfig",
    "## `[views]`": "ViewConfig",
    "## `[head]`": "HeadConfig",
    "## `[train]`": "TrainConfig",
    "### `[train.optimizer]`": "OptimizerConfig",
    "### `[train.schedule]`": "ScheduleConfig",
    "### `[train.loss]`": "LossConfig",
    "### `[train.mixing]`": "MixingConfig",
    "## `[data]`": "DataConfig",
    "## `[tune]`": "Parameter",
}


def rows(heading: str) -> dict[str, str]:
    """Return the page's table of keys below a heading: what is said of each."""
    section = PAGE.partition(f"\n{heading}\n")[2].partition("\n#")[0]
    table = section.partition("| key | what it says |")[2].partition("\n\n")[0]
    lines = [line for line in table.splitlines() if line.startswith("| `")]
    return {key: line for line in lines for key in re.findall("`([^`]+)`", line.split(" | ")[0])}


def test_shipped_experiments_are_the_documented_ones():
    section = PAGE.partition("\n## Shipped\n")[2].partition("\n## ")[0]
    firsts = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    assert {name for first in firsts for name in re.findall("`([^`]+)`", first)} == set(SHIPPED)


def test_json_schema_for_editors_is_current():
    written = json.loads((DOCS / "experiment.schema.json").read_text(encoding="utf-8"))
    assert written == json_schema(), f"run '{SCHEMA}'"


def test_json_schema_is_printed_by_its_command():
    command = [sys.executable, *SCHEMA.partition(" > ")[0].split()[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == json_schema()


def test_every_key_has_a_description():
    schema = json_schema()
    tables = {"Experiment": schema, **schema["$defs"]}
    undescribed = [
        f"{name}.{key}"
        for name, table in tables.items()
        for key, field in table.get("properties", {}).items()
        if not field.get("description")
    ]
    assert undescribed == []


@pytest.mark.parametrize("heading", TABLES)
def test_documented_keys_of_a_table_are_those_that_it_has(heading):
    schema = json_schema()
    properties = ({"Experiment": schema} | schema["$defs"])[TABLES[heading]]["properties"]
    tables = set(re.findall(r"^##+ `\[(?:train\.)?(\w+)\]`", PAGE, re.MULTILINE))
    assert sorted(rows(heading)) == sorted(properties.keys() - tables)


@pytest.mark.parametrize("heading", TABLES)
def test_documented_choices_of_a_key_are_those_that_it_has(heading):
    schema = json_schema()
    properties = ({"Experiment": schema} | schema["$defs"])[TABLES[heading]]["properties"]
    missing = [
        f"{key}: {choice}"
        for key, row in rows(heading).items()
        for choice in properties[key].get("enum", [])
        if f'"{choice}"' not in row
    ]
    assert missing == []


def test_documented_defaults_are_those_that_keys_have():
    schema = json_schema()
    tables = {"Experiment": schema, **schema["$defs"]}
    wrong = [
        f"{heading} {key}: {row}"
        for heading, name in TABLES.items()
        for key, row in rows(heading).items()
        if (default := tables[name]["properties"][key].get("default")) is not None
        and not isinstance(default, dict | list)
        and f"`{json.dumps(default)}`" not in row.rpartition(" | ")[2]
    ]
    assert wrong == []


def test_whole_example_of_the_page_loads(tmp_path):
    example = PAGE.partition("\n## A whole example\n")[2].partition("```toml\n")[2]
    path = tmp_path / "gentle.toml"
    path.write_text(example.partition("```")[0], encoding="utf-8")
    names = [one.name for one in load_experiments(str(path), [])]
    assert names == ["gentle-light", "gentle-medium"]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_file_begins_with_its_schema_command_hardware_time_and_score(name):
    path = locate_toml(name, "experiments")
    directive, *head = path.read_text(encoding="utf-8").splitlines()[:5]
    assert (path.parent / directive.removeprefix("#:schema ")).resolve() == (
        DOCS / "experiment.schema.json"
    )
    pairs = [re.fullmatch(r"# (\w+): +(\S.+)", line) for line in head]
    assert [pair and pair[1] for pair in pairs] == ["Command", "Hardware", "Time", "Score"]
    assert re.fullmatch(rf"# Command:  pipeline train [a-z0-9-]+ --experiment {name}", head[0])
