import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from pipeline.competition import Competition, json_schema, load_competition
from pipeline.config import load_experiment
from pipeline.errors import ConfigError
from pipeline.schema.archive import Archive
from pipeline.schema.submission import match_columns
from pipeline.strict import built_in_names, known_keys, locate_toml, parse

SHIPPED = built_in_names("competitions")
DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_competition_loads_and_names_shipped_experiments(name):
    competition = load_competition(name)
    assert competition.name == name
    assert competition.num_classes == len(competition.classes) != 1
    for experiment in (*competition.experiments.cpu, *competition.experiments.cuda):
        assert load_experiment(experiment, []).name == experiment


def test_shipped_competitions_are_the_documented_ones():
    documented = (DOCS / "competitions.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \|", documented, re.MULTILINE)) >= set(SHIPPED)


@pytest.mark.parametrize(
    ("path", "image_label"),
    [("cat_0.jpg", "cat"), ("dog.7.jpg", "dog"), ("cats/0.jpg", "cat"), ("x/dogs/1.jpg", "dog")],
)
def test_cat_dog_reads_labels_of_three_layouts(path, image_label):
    labels = load_competition("cat-dog").train.labels
    assert labels.source == "file_name"
    found = re.search(labels.pattern, path)
    assert found is not None
    assert found["label"] == image_label


FAULTS = [
    ('title = "Drawn', 'titel = "Drawn', "unknown key 'titel'; did you mean 'title'? (and 1 more)"),
    ('title = "Drawn', 'titl = 1\ntitle = "Drawn', "unknown key 'titl'; did you mean 'title'?"),
    ('title = "Drawn cats and dogs"', "", "key 'title' is missing"),
    (
        'metric = "accuracy"',
        'metric = "acuracy"',
        "'metric': input should be 'accuracy', 'log_loss', 'roc_auc', 'macro_f1', 'micro_f1', "
        "'quadratic_kappa' or 'mean_column_auc', got 'acuracy'",
    ),
    ('["cat", "dog"]', '["cat", "cat"]', "classes must differ from each other"),
    ('"dogs_cats_test.zip"', '"train.zip"', "archives must differ in name"),
    (
        '"dogs_cats_test.zip"',
        '"train.tar.gz"',
        "archives must differ in the folder that they are unpacked into",
    ),
    (
        'name = "train.zip"',
        'name = "train.tar"\nmd5 = "C58F"',
        "'archives.0.md5': string should match pattern '^[0-9a-f]{32}$', got 'C58F'",
    ),
    (
        '"dogs_cats_test.zip"',
        '"a.tar"\nformat = "cifar-batches"\n[[archives]]\nname = "b.tgz"\nformat = "cifar-batches"',
        "archives must name one file of 'cifar-batches' at most",
    ),
    (
        'name = "train.zip"',
        'name = "../train.zip"',
        "'archives.0.name': string should match pattern '^[A-Za-z0-9][A-Za-z0-9._-]*$', "
        "got '../train.zip'",
    ),
    (
        "num_train = 600",
        "num_trian = 600",
        "unknown key 'synthetic.num_trian'; did you mean 'synthetic.num_train'? (and 1 more)",
    ),
    (
        "num_train = 600",
        'num_train = "600"',
        "'synthetic.num_train': input should be a valid integer, got '600'",
    ),
    (
        "pattern = '(?:^|/)(?P<label>cat|dog)",
        "pattern = '(cat|dog)",
        "'train.labels.pattern': must hold a group (?P<label>...), got '(cat|dog)s?[._/][^/]*$'",
    ),
    ('source = "file_name", ', "", "key 'train.labels.source' is missing"),
    (
        'order = "ascending"',
        'order = "up"',
        "'submission.order': input should be 'any', 'ascending' or 'sample', got 'up'",
    ),
]


@pytest.mark.parametrize(("old", "new", "line"), FAULTS)
def test_a_fault_in_a_file_gives_its_one_line(tmp_path, old, new, line):
    text = locate_toml("demo", "competitions").read_text(encoding="utf-8")
    assert text.count(old) == 1
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"^mine\.toml: ") as caught:
        load_competition(str(path))
    assert str(caught.value) == f"mine.toml: {line}"


def test_a_pattern_that_is_no_expression_is_refused(tmp_path):
    text = locate_toml("demo", "competitions").read_text(encoding="utf-8")
    path = tmp_path / "mine.toml"
    path.write_text(text.replace("cat|dog)", "cat|dog"), encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"'train\.labels\.pattern': must be a regular expression"
    ):
        load_competition(str(path))


def test_batches_must_be_in_a_tar(tmp_path):
    text = locate_toml("cifar-10", "competitions").read_text(encoding="utf-8")
    path = tmp_path / "mine.toml"
    path.write_text(text.replace('.tar.gz"\nurls', '.zip"\nurls'), encoding="utf-8")
    message = (
        r"'archives\.0': must be a \.tar, \.tar\.gz or \.tgz where its format is 'cifar-batches'"
    )
    with pytest.raises(ConfigError, match=message):
        load_competition(str(path))


@pytest.mark.parametrize(
    ("name", "container", "stem"),
    [
        ("a.zip", "zip", "a"),
        ("a.b.TAR.GZ", "tar", "a.b"),
        ("a.tgz", "tar", "a"),
        ("a.tar", "tar", "a"),
        ("a.tar.bz2", "tar", "a"),
        ("a.txz", "tar", "a"),
        ("a.7z", "7z", "a"),
        ("a.gz", None, "a.gz"),
        ("list.txt", None, "list.txt"),
    ],
)
def test_name_of_an_archive_says_how_and_where_it_is_unpacked(name, container, stem):
    archive = Archive(name=name)
    assert (archive.container, archive.stem) == (container, stem)


def test_paths_of_experiments_are_relative_to_the_competition_file(tmp_path, monkeypatch):
    text = locate_toml("demo", "competitions").read_text(encoding="utf-8")
    absolute = tmp_path / "far" / "away.toml"
    names = f'cpu = ["own/small.toml", "lite0-probe", "{absolute.as_posix()}"]'
    text = re.sub(r"^cpu = .*$", names, text, flags=re.MULTILINE)
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    competition = load_competition("../mine.toml")
    own = str(tmp_path / "elsewhere" / ".." / "own" / "small.toml")
    found = [str(tmp_path / "elsewhere" / name) for name in competition.experiments.cpu]
    assert found[0] == own
    assert competition.experiments.cpu[1:] == ("lite0-probe", str(absolute))
    assert competition.experiments.cuda == tuple(tomllib.loads(text)["experiments"]["cuda"])


def a_competition(**changes: Any) -> Competition:
    """A made-up competition; a change `x__y` is of the key y in the table x."""
    values: dict[str, Any] = {
        "name": "pets",
        "title": "Pets",
        "classes": ["cat", "dog", "cow"],
        "archives": [{"name": "pets.zip"}],
        "train": {"folders": ["train"], "labels": {"source": "folder"}},
        "test": {"folders": ["test"]},
        "submission": {"id": "stem"},
        "experiments": {"cpu": ["a"], "cuda": ["a"]},
    }
    for key, value in changes.items():
        table, _, inner = key.partition("__")
        if inner:
            values[table] = values[table] | {inner: value}
        else:
            values[table] = value
    return parse(Competition, values, "pets.toml")


CONTRADICTIONS = {
    "a probability of no class": (
        {"submission__label": "probability"},
        "'submission': positive must name a class where label is 'probability', only there",
    ),
    "a probability of an unknown class": (
        {"classes": ["cat", "dog"], "submission__label": "probability",
         "submission__positive": "cow"},
        "submission.positive must be one of the classes, is 'cow'",
    ),
    "one probability of three classes": (
        {"submission__label": "probability", "submission__positive": "dog"},
        "classes must be 2 where one probability is asked for or the metric is 'roc_auc', are 3",
    ),
    "one ROC curve of three classes": (
        {"metric": "roc_auc"},
        "classes must be 2 where one probability is asked for or the metric is 'roc_auc', are 3",
    ),
    "three columns of labels": (
        {"submission__columns": ["id", "a", "b"]},
        "'submission': columns must be 2, an id's and a label's, are 3",
    ),
    "a column twice": (
        {"submission__columns": ["id", "id"]},
        "'submission': columns must differ from each other",
    ),
    "a column too few": (
        {"submission__label": "probabilities", "submission__columns": ["id", "cat", "dog"]},
        "submission.columns must be one column per class (3), all named after them or none, are "
        "2, 2 of them named after a class",
    ),
    "a misspelled column": (
        {"submission__label": "probabilities", "submission__columns": ["id", "cat", "dog", "cwo"]},
        "submission.columns must be one column per class (3), all named after them or none, are "
        "3, 2 of them named after a class, the first other one is 'cwo'",
    ),
    "the order of no sample": (
        {"submission__order": "sample"},
        "'submission': sample must name a file where order is 'sample'",
    ),
    "a prefix of integers": (
        {"submission__id": "integer", "submission__id_prefix": "x"},
        "'submission': id_prefix must be empty where id is 'integer'",
    ),
    "one folder of both splits": (
        {"test__folders": ["all", "train"]},
        "test.csv or submission.sample must list the test images where train and test share a "
        "folder, here 'train'",
    ),
    "unnamed classes of indices": (
        {"classes": "from_labels",
         "train__labels": {"source": "list_file", "file": "list.txt", "values": "index"}},
        "classes must be named where labels are indices, pictures are drawn or a file is of "
        "'cifar-batches'",
    ),
    "unnamed classes to be drawn": (
        {"classes": "from_labels", "synthetic": {"num_train": 2, "num_test": 2}},
        "classes must be named where labels are indices, pictures are drawn or a file is of "
        "'cifar-batches'",
    ),
    "a class name over two lines": (
        {"classes": ["cat", "dog\ncow"]},
        "classes must be printable text without spaces around it, 'dog\\ncow' isn't",
    ),
    "an empty class name": (
        {"classes": ["cat", ""]},
        "classes must be printable text without spaces around it, '' isn't",
    ),
    "a template with an unknown field": (
        {"synthetic": {"num_train": 2, "num_test": 2, "name_template": "{lable}.jpg"}},
        "'synthetic.name_template': must be a file name with no fields but {label}, {index}, "
        "{number}, got '{lable}.jpg'",
    ),
    "a template that is none": (
        {"synthetic": {"num_train": 2, "num_test": 2, "test_name_template": "{index"}},
        "'synthetic.test_name_template': must be a file name with no fields but {label}, "
        "{index}, {number}, got '{index'",
    ),
    "optional batches": (
        {"archives": [{"name": "a.tar", "format": "cifar-batches", "optional": True}]},
        "'archives.0': must not be optional where its format is 'cifar-batches'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_tables_that_contradict_each_other_are_refused_in_one_line(name):
    changes, line = CONTRADICTIONS[name]
    with pytest.raises(ConfigError) as caught:  # noqa: PT011 (the whole line is compared below)
        a_competition(**changes)
    assert str(caught.value) == f"pets.toml: {line}"


@pytest.mark.parametrize(
    ("classes", "problem"),
    [
        ("from_label", "must be a list of 2 names or more, or 'from_labels', got 'from_label'"),
        ([], "must be a list of 2 names or more, or 'from_labels', got []"),
        (["cat"], "must be a list of 2 names or more, or 'from_labels', got ['cat']"),
    ],
)
def test_classes_are_two_names_or_read_from_the_labels(classes, problem):
    with pytest.raises(ConfigError, match=f"'classes': {re.escape(problem)}"):
        a_competition(classes=classes)
    assert a_competition(classes="from_labels").classes == ()


def test_columns_are_id_and_label_or_the_classes_unless_they_are_named():
    assert a_competition().columns == ("id", "label")
    assert a_competition(submission__columns=["a", "b"]).columns == ("a", "b")
    of_classes = a_competition(submission__label="probabilities")
    assert of_classes.columns == ("id", "cat", "dog", "cow")
    named = a_competition(submission__label="probabilities", submission__columns=["image"])
    assert named.columns == ("image", "cat", "dog", "cow")


@pytest.mark.parametrize(
    ("names", "expected"),
    [(["dog", "cow", "cat"], (1, 2, 0)), (["p0", "p1", "p2"], (0, 1, 2))],
)
def test_columns_named_after_classes_stand_in_any_order_others_in_the_classes(names, expected):
    assert match_columns(names, ["cat", "dog", "cow"]) == expected
    submission = {"id": "stem", "label": "probabilities", "columns": ["id", *names]}
    assert a_competition(submission=submission).column_classes == expected


def test_a_key_of_a_nested_table_that_is_misspelled_is_guessed():
    csv = {"file": "test.csv", "id_colum": "id"}
    with pytest.raises(
        ConfigError, match=r"'test\.csv\.id_colum'; did you mean 'test\.csv\.id_col"
    ):
        a_competition(test__csv=csv)


SCHEMA = "python -m pipeline.competition > docs/competition.schema.json"


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
