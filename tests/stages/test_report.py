"""The stage `report`: when it works, when it doesn't, and what it needs."""

import shutil

import pytest

from pipeline.errors import DataError
from pipeline.stages import report, train
from pipeline.store.atomic import write_text
from pipeline.store.paths import Paths
from pipeline.store.tables import load_folds, write_table
from tests import tiny


@pytest.fixture
def run(workspace, capsys):
    """Report, and return what was said."""

    def run():
        paths, competition = workspace
        report.run(paths, competition, "demo")
        captured = capsys.readouterr()
        assert captured.out == f"{paths.report_html}\n"
        return captured.err

    return run


def page(paths: Paths) -> str:
    return paths.report_html.read_text(encoding="utf-8")


def test_before_any_training_there_is_a_page_that_names_the_next_command(workspace, run):
    assert "opens in any browser" in run()
    assert "pipeline train demo" in page(workspace[0])
    assert 'id="confusion"' not in page(workspace[0])


def test_without_folds_they_are_the_next_command(workspace, run):
    workspace[0].folds_csv.unlink()
    run()
    assert "pipeline folds demo" in page(workspace[0])


def test_nothing_is_done_while_nothing_changes_and_all_of_it_once_something_does(workspace, run):
    paths, competition = workspace
    run()
    before = paths.report_html.stat().st_mtime_ns
    assert "report demo: up to date" in run()
    assert paths.report_html.stat().st_mtime_ns == before
    toml = tiny.write_toml(paths.root / "tiny.toml")
    train.run(paths, competition, [toml], [], [])
    assert "up to date" not in run()
    assert 'id="confusion"' in page(paths)
    paths.report_html.write_text("spoiled", encoding="utf-8")
    assert "up to date" not in run()
    write_table(load_folds(paths).assign(fold=lambda table: 1 - table["fold"]), paths.folds_csv)
    run()
    assert "tiny is left out: artifacts/demo/tiny/oof.npz: must be" in page(paths)
    assert "which changed since" in page(paths)


def test_views_that_were_tried_make_another_page(workspace, run):
    paths, competition = workspace
    train.run(paths, competition, [tiny.write_toml(paths.root / "tiny.toml")], [], [])
    run()
    tta = "pipeline tta demo --experiment tiny"
    assert tta in page(paths)
    write_text(paths.experiment("tiny").tta, "{}")
    assert "up to date" not in run()
    assert tta not in page(paths)


def test_other_code_makes_another_page(run, tmp_path, monkeypatch):
    package = tmp_path / "pipeline"
    shutil.copytree(report.PACKAGE, package)
    monkeypatch.setattr(report, "PACKAGE", package)
    run()
    assert "report demo: up to date" in run()
    for changed in ("inference/grad_cam.py", "reports/page/templates/page.css"):
        with (package / changed).open("a") as file:
            file.write("\n")
        assert "up to date" not in run()


def test_without_tables_nothing_is_written(workspace):
    paths, competition = workspace
    paths.train_csv.unlink()
    with pytest.raises(DataError, match=r"train\.csv: must exist, is missing; run 'pipeline prep"):
        report.run(paths, competition, "demo")
    assert not paths.report_html.exists()


def test_a_failure_leaves_the_page_as_it_was(workspace, run):
    paths = workspace[0]
    run()
    before = page(paths)
    image = next(path for path in paths.images_dir.rglob("*.jpg") if "cat" in path.name)
    for path in image.parent.iterdir():
        path.chmod(0o644)
        path.write_bytes(b"spoiled")
    paths.report_stamp.unlink()
    with pytest.raises(DataError, match="must be as it was prepared"):
        run()
    assert page(paths) == before
