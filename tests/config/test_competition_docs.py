"""What is said about competition files is what they are: the schema, the docs, the example."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config.competition import Competition, json_schema, load_competition
from pipeline.config.strict import built_in_names, known_keys, locate_toml

DOCS = Path(__file__).parents[2] / "docs"
SHIPPED = built_in_names("competitions")
SCHEMA = "python -m pipeline.config.competition > docs/competition.schema.json"


def test_shipped_competitions_are_the_documented_ones():
    documented = (DOCS / "competitions.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \|", documented, re.MULTILINE)) >= set(SHIPPED)


def test_json_schema_for_editors_is_current():
    written = json.loads((DOCS / "competition.schema.json").read_text(encoding="utf-8"))
    assert written == json_schema(), f"run '{SCHEMA}'"


def test_json_schema_is_printed_by_its_command():
    command = [sys.executable, *SCHEMA.partition(" > ")[0].split()[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == json_schema()


def test_every_key_has_a_description_and_is_documented():
    schema = json_schema()
    tables = [schema, *schema["$defs"].values()]
    fields = [(name, field) for table in tables for name, field in table["properties"].items()]
    undescribed = [name for name, field in fields if not field.get("description")]
    assert set(undescribed) == {"source"}  # it is what tells the tables of labels apart
    documented = (DOCS / "competitions.md").read_text(encoding="utf-8")
    keys = sorted({key.rpartition(".")[2] for key in known_keys(Competition)})
    assert [
        key for key in keys if f"`{key}`" not in documented and f"[{key}]" not in documented
    ] == []


TABLES = {
    "The competition": {"Competition"},
    "`[[archives]]`": {"Archive"},
    "`[train]` and `[test]`": {"TrainImages", "TestImages"},
    "`[submission]`": {"SubmissionFormat"},
    "`[synthetic]`": {"Synthetic"},
}


@pytest.mark.parametrize("heading", TABLES)
def test_documented_keys_of_a_table_are_those_that_it_has(heading):
    schema = json_schema()
    tables = schema["$defs"] | {"Competition": schema}
    keys = {key for name in TABLES[heading] for key in tables[name]["properties"]}
    if heading == "The competition":
        keys -= {"archives", "train", "test", "submission", "experiments", "synthetic"}
    documented = (DOCS / "competitions.md").read_text(encoding="utf-8")
    section = documented.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    table = section.partition("| key | what it says |")[2].partition("\n\n")[0]
    firsts = [row.partition(" | ")[0] for row in table.splitlines() if row.startswith("| `")]
    assert sorted(key for first in firsts for key in re.findall("`([^`]+)`", first)) == sorted(keys)


def test_documented_sources_of_labels_have_the_keys_that_are_named():
    documented = (DOCS / "competitions.md").read_text(encoding="utf-8")
    rows = re.findall(r'^\| `"([a-z_]+)"`[^|]*\|([^|]*)\|', documented, re.MULTILINE)
    labels = [table for table in json_schema()["$defs"].values() if "source" in table["properties"]]
    assert {source: set(re.findall("`([a-z_]+)`", keys)) for source, keys in rows} == {
        table["properties"]["source"]["const"]: table["properties"].keys() - {"source"}
        for table in labels
    }


def test_whole_example_of_the_documentation_loads(tmp_path):
    documented = (DOCS / "competitions.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?title = .*?)```", documented, re.DOTALL)
    path = tmp_path / "leaves.toml"
    path.write_text(example.rpartition("```toml\n")[2], encoding="utf-8")
    assert load_competition(str(path)).columns == ("photo", "birch", "maple", "oak")


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_file_names_the_schema(name):
    path = locate_toml(name, "competitions")
    directive, place = path.read_text(encoding="utf-8").splitlines()[0].split()
    assert directive == "#:schema"
    assert (path.parent / place).resolve() == DOCS / "competition.schema.json"
