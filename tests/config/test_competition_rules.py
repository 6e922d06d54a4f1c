"""Tables of a competition's file that contradict each other, and what follows from others."""

import re
from typing import Any

import pytest

from pipeline.config.competition import Competition
from pipeline.config.strict import parse
from pipeline.config.submission_table import match_columns
from pipeline.errors import ConfigError


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


CONTRADICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "a range of classes": (
        {"range": [0, 1]},
        "target must be 'number' where there is a range, or no class",
    ),
    "a range that falls": ({"range": [5, 1]}, "'range': must ascend, is [5, 1], got [5, 1]"),
    "a number judged by accuracy": (
        {"target": "number", "classes": ["number"], "submission__label": "number"},
        "target, and submission.label, must be 'number' where the metric is 'rmse' or 'mae', and "
        "only there",
    ),
    "ordered classes judged by accuracy": (
        {"target": "ordered_classes"},
        "metric must be 'quadratic_kappa' where target is 'ordered_classes'",
    ),
    "ids of answers without answers": (
        {"submission__id": "answer"},
        "submission.id must be 'answer' where there are answers, only there",
    ),
    "the largest of classes": (
        {"answers": {"pattern": "(?P<answer>.)", "pool": "max"}, "submission__id": "answer"},
        "answers.pool must be 'mean' where neither one probability is asked for nor target is "
        "'several_labels'",
    ),
    "columns of answers without a list": (
        {"answers": {"columns": ["patient"]}, "submission__id": "answer"},
        "answers.columns must be of a list of labels with a header, and of a test.csv with an "
        "id_column",
    ),
    "answers of no group": (
        {"answers": {"pattern": "[0-9]+"}, "submission__id": "answer"},
        "'answers.pattern': must hold a group (?P<answer>...), got '[0-9]+'",
    ),
    "answers told twice": (
        {"answers": {"pattern": "(?P<answer>.)", "columns": ["a"]}, "submission__id": "answer"},
        "'answers': must have one of pattern and columns",
    ),
    "labels of answers in the names of folders": (
        {
            "answers": {"pattern": "(?P<answer>.)", "labelled": "answers"},
            "submission__id": "answer",
        },
        "labels must stand in a list where answers.labelled is 'answers'",
    ),
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
        "classes must be 2 where one probability is asked for or the metric is 'roc_auc' or "
        "'weighted_auc' or 'p_f1', are 3",
    ),
    "one ROC curve of three classes": (
        {"metric": "roc_auc"},
        "classes must be 2 where one probability is asked for or the metric is 'roc_auc' or "
        "'weighted_auc' or 'p_f1', are 3",
    ),
    "a metric of labels for images of one class": (
        {"metric": "sample_f1"},
        "target must be 'several_labels' where submission.label is 'labels' or 'label_rows' or the "
        "metric is 'sample_f1' or 'sample_f2' or 'micro_f2' or 'macro_f2' or 'weighted_log_loss'",
    ),
    "a metric of one class for several labels": (
        {"target": "several_labels", "metric": "quadratic_kappa"},
        "metric must be 'accuracy' or 'log_loss' or 'macro_f1' or 'micro_f1' or 'mean_column_auc' "
        "or 'sample_f1' or 'sample_f2' or 'micro_f2' or 'macro_f2' or 'weighted_log_loss' where "
        "target is 'several_labels', is 'quadratic_kappa'",
    ),
    "several labels in folders": (
        {"target": "several_labels", "submission__label": "labels"},
        "where target is 'several_labels', labels.source must be 'csv', 'one_hot' or 'label_rows', "
        "and submission.label 'labels', 'label_rows', or 'probabilities' with rows_sum_to_1 = "
        "false",
    ),
    "images in a plain file": (
        {"archives": [{"name": "a.json", "records": {"id": "id", "arrays": ["band"]}}]},
        "'archives.0': must be a zip, tar or 7z, of 'files', where it has records",
    ),
    "documents in a text": (
        {"archives": [{"name": "a.txt", "records": {"id": "id", "pictures": "imgs"}}]},
        "'archives.0': must be a zip, tar or 7z or .bson, of 'files', where it has records",
    ),
    "records of both kinds": (
        {"archives": [{"name": "a.zip", "records": {"id": "a", "pictures": "b", "arrays": ["c"]}}]},
        "'archives.0.records': must have one of arrays, of JSON, and pictures, of BSON",
    ),
    "probabilities of very many classes": (
        {"classes": list(map(str, range(10_001))), "metric": "log_loss"},
        "classes must be 10,000 at most, are 10,001, where probabilities are asked for, target "
        "isn't 'one_class', there are answers, or the metric isn't 'accuracy' or 'micro_f1' or "
        "'macro_f1' or 'map_at_3' or 'map_at_5' or 'map_at_10'",
    ),
    "lines of labels in an order": (
        {"target": "several_labels", "metric": "log_loss", "submission__label": "label_rows"},
        "'submission': order must be 'any' where label is 'label_rows'",
    ),
    "lines of labels without an image": (
        {"submission__row_id": "{label}"},
        "'submission.row_id': must hold {id} and {label} once each, got '{label}'",
    ),
    "lines of labels that name no classes": (
        {"classes": "from_labels", "target": "several_labels", "metric": "log_loss",
         "submission__label": "label_rows", "submission__order": "any",
         "train__labels": {"source": "one_hot", "file": "a.csv", "id_column": "id"}},
        "classes must be named where labels have lines of their own, or the metric is "
        "'weighted_log_loss', which tells the first apart",
    ),
    "as many classes as are likeliest, without a number": (
        {"submission__label": "names"},
        "'submission': top_k must be a number where label is 'names', only there",
    ),
    "names with spaces in a list": (
        {"classes": ["a cat", "dog"], "submission": {"id": "stem", "label": "names", "top_k": 2}},
        "classes must hold no spaces to be listed, 'a cat' does",
    ),
    "low rates of the first of two classes": (
        {"classes": ["cat", "dog"], "metric": "weighted_auc", "submission__label": "probability",
         "submission__positive": "cat"},
        "submission.positive must be the second of classes where the metric is 'weighted_auc', "
        "which tells them apart",
    ),
    "three columns of labels": (
        {"submission__columns": ["id", "a", "b"]},
        "'submission': columns must be 2, an id's and a label's, are 3",
    ),
    "a column twice": (
        {"submission__columns": ["id", "id"]},
        "'submission': columns must differ from each other",
    ),
    "a column over two lines": (
        {"submission__columns": ["id", "a\nb"]},
        "'submission': columns must be printable text without spaces around it, 'a\\nb' isn't",
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
    "an order that isn't the sample's": (
        {"submission": {"id": "stem", "sample": "sample.csv", "order": "ascending"}},
        "'submission': order must be 'any' or 'sample' where there is a sample",
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
    with pytest.raises(ConfigError, match=f"^{re.escape(f'pets.toml: {line}')}$"):
        a_competition(**changes)


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
