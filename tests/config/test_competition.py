import re
import tomllib

import pytest

from pipeline.config.archive_table import Archive
from pipeline.config.competition import load_competition
from pipeline.config.experiment_files import load_experiment
from pipeline.config.strict import built_in_names, locate_toml
from pipeline.errors import ConfigError
from pipeline.models.weights_source import has_packaged_weights

SHIPPED = built_in_names("competitions")


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_competition_loads_and_names_shipped_experiments(name):
    competition = load_competition(name)
    assert competition.name == name
    assert (len(competition.classes) == 1) == competition.is_number
    for experiment in (*competition.experiments.cpu, *competition.experiments.cuda):
        assert load_experiment(experiment, []).name == experiment


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_trained_by_default_needs_no_network(name):
    defaults = load_competition(name).experiments
    for experiment in (*defaults.cpu, *defaults.cuda):
        model = load_experiment(experiment, []).model
        assert model.weights == "package"
        assert has_packaged_weights(model.name)


def test_machines_with_a_gpu_fine_tune_for_cat_12_as_well():
    defaults = load_competition("cat-12").experiments
    assert defaults.cuda == (*defaults.cpu, "lite0-finetune")


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
        "'metric': input should be 'accuracy', 'log_loss', 'weighted_log_loss', 'roc_auc', "
        "'macro_f1', 'micro_f1', 'quadratic_kappa', 'mean_column_auc', 'weighted_auc', 'map_at_3', "
        "'map_at_5', "
        "'map_at_10', 'sample_f1', 'sample_f2', 'micro_f2', 'macro_f2', 'p_f1', 'rmse' or 'mae', "
        "got 'acuracy'",
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
        r"'archives.0.name': string should match pattern '^[^./\\\x00-\x1f][^/\\\x00-\x1f]*$', "
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


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("petfinder-pawpularity-score", "a number"),
        ("plant-pathology-2021-fgvc8", "several labels"),
        ("rsna-breast-cancer-detection", "an answer together with others"),
    ],
)
def test_what_goes_by_classes_says_what_images_have_instead(name, found):
    with pytest.raises(ConfigError, match=f"^suspects: must .* those of {name} have {found}$"):
        load_competition(name).check_by_class("suspects")
    load_competition("cat-12").check_by_class("suspects")
