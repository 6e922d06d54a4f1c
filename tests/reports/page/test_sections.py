"""The numbers of the page's sections, each against where they come from."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from pipeline.reports.page.blocks import Charts, Commands, Facts, Gallery, Hint, Paragraph, Table
from pipeline.reports.page.report_data import ReportData
from pipeline.reports.page.sections import (
    ablation_results,
    class_scores,
    ensemble_weights,
    experiment_scores,
    feature_map,
    fold_split,
    summary,
    tuning_trials,
    worst_mistakes,
)
from pipeline.scoring.oof import find_suspects
from pipeline.store.predictions import load_predictions
from pipeline.store.tables import load_folds, load_record, load_test, load_train


def blocks(sections, kind):
    """List the blocks of one kind, over all these sections."""
    return [block for section in sections for block in section.blocks if isinstance(block, kind)]


def section(project, name):
    """Return a section of the project's page."""
    (found,) = [one for one in project.sections if one.id == name]
    return found


def rows(shown: Table) -> dict[str, list[float | str]]:
    """Return what a table's cells are sorted by, by the row's name."""
    return {row[0].text: [cell.value for cell in row[1:]] for row in shown.rows}


def table(project, name, caption):
    """Return the rows of a section's only table whose caption holds these words."""
    tables = blocks([section(project, name)], Table)
    (found,) = [one for one in tables if caption in one.caption]
    return rows(found)


def without(data: ReportData, **changes: Any) -> ReportData:
    return dataclasses.replace(data, **changes)


@pytest.fixture
def best(project):
    return project.data.best


def test_the_summary_tells_the_best_result_as_its_metrics_do(project, best):
    metrics = json.loads(
        project.paths.experiment(best.result.name).metrics.read_text(encoding="utf-8")
    )
    facts = dict(blocks([section(project, "summary")], Facts)[0].pairs)
    low, high = metrics["oof_interval_95"]
    assert facts["best result"] == best.result.name
    assert facts["accuracy, out of fold"] == f"{metrics['oof_score']:.4f}"
    assert facts["95 % interval"] == f"{low:.4f} to {high:.4f}"


def test_the_best_result_is_the_one_with_the_best_score(project, best):
    scores = [one.metrics["oof_score"] for one in project.data.results]
    assert best.result.metrics["oof_score"] == max(scores)
    assert scores == sorted(scores, reverse=True)
    names = {one.name for one in project.data.results}
    assert names == {"probe", "probe-tuned", "finetune", "ensemble"}


def test_the_commands_that_lead_to_the_best_result_are_named(project):
    ensemble_first = [one for one in project.data.results if one.is_ensemble]
    best = dataclasses.replace(project.data.best, result=ensemble_first[0])
    built = summary.build(without(project.data, best=best, typed="my.toml"))
    lines = list(blocks(built, Commands)[0].lines)
    assert lines[0] == "pipeline download my.toml"
    assert set(lines[3:-2]) == {
        "pipeline train my.toml --experiment finetune",
        "pipeline train my.toml --experiment probe",
        "pipeline tune my.toml --experiment probe.toml --trials 3",
    }
    members = "--experiment finetune --experiment probe --experiment probe-tuned"
    assert lines[-2:] == [
        f"pipeline ensemble my.toml --name ensemble {members}",
        "pipeline submit my.toml --experiment ensemble",
    ]


def test_an_older_search_is_made_again_by_its_name_alone(project, best, monkeypatch):
    monkeypatch.setattr(summary, "read_stamp", lambda _: {"inputs": {"num_trials": 3}})
    tuned = next(one for one in project.data.results if one.name == "probe-tuned")
    built = summary.build(without(project.data, best=dataclasses.replace(best, result=tuned)))
    lines = blocks(built, Commands)[0].lines
    assert lines[3] == "pipeline tune demo --experiment probe --trials 3"


def test_the_page_does_not_tell_where_the_project_lies(project):
    assert str(project.paths.root) not in project.html


def test_submissions_are_listed_with_our_score(project):
    listed = table(project, "summary", "Submissions")
    score = next(one for one in project.data.results if one.is_ensemble).metrics["oof_score"]
    assert listed["ensemble"][0] == "ensemble.csv"
    assert listed["ensemble"][2] == score
    assert str(listed["ensemble"][-1]).startswith("there now")


def test_class_counts_are_those_of_the_training_table(project):
    counts = load_train(project.paths)["label"].value_counts().to_dict()
    listed = table(project, "data", "Training images per class")
    assert {name: row[0] for name, row in listed.items()} == counts


def test_findings_are_counted_as_in_the_audit(project):
    audit = json.loads(project.paths.audit_json.read_text(encoding="utf-8"))
    listed = table(project, "data", "Odd files")
    assert {kind: row[0] for kind, row in listed.items()} == audit["findings"]
    assert all(row[1] for row in listed.values())  # every kind is explained


def test_a_twin_is_shown_beside_its_training_image(project):
    galleries = blocks([section(project, "data")], Gallery)
    (twins,) = [one for one in galleries if "train-test twins" in one.caption]
    assert all({"train", "test"} == {line[:5].rstrip(":,") for line in card.lines}
               for card in twins.cards)  # fmt: skip
    assert all(len(card.pictures) >= 2 for card in twins.cards)


def test_every_class_has_a_sheet_of_its_own_images(project):
    (sheet,) = [one for one in blocks(project.sections, Gallery) if "each class" in
                one.caption]  # fmt: skip
    label_by_id = load_train(project.paths).set_index("image_id")["label"]
    for name, card in zip(project.competition.classes, sheet.cards, strict=True):
        assert card.title.startswith(f"{name}, ")
        assert {label_by_id[one.alt.removeprefix("image ")] for one in card.pictures} == {name}


def test_folds_are_counted_as_in_their_table(project):
    listed = table(project, "folds", "Sizes of the folds")
    sizes = load_folds(project.paths)["fold"].value_counts()
    assert {name: row[0] for name, row in listed.items()} == {
        str(fold): size for fold, size in sizes.items()
    }
    per_class = table(project, "folds", "per class and fold")
    assert sum(sum(map(float, row)) for row in per_class.values()) == sizes.sum()


def test_the_experiments_table_holds_scores_costs_and_differences(project):
    listed = table(project, "experiments", "Results")
    metrics = project.data.results[0].metrics
    score, spread, loss, error, parameters, _, _ = listed[project.data.results[0].name]
    assert (score, loss) == (metrics["oof_score"], metrics["log_loss"])
    assert spread == pytest.approx(np.std(metrics["fold_scores"], ddof=1))
    assert 0 <= float(error) <= 1
    assert float(parameters) > 0
    assert "method=finetune" in str(listed["finetune"][-1])
    assert "train.epochs=2" in str(listed["finetune"][-1])
    assert "views" not in str(listed["probe"][-1])  # left as it is by default
    seconds = sum(
        load_record(path)["seconds"].iloc[-1]
        for path in project.paths.experiment("finetune").experiment_dir.glob("fold*/history.csv")
    )
    assert listed["finetune"][-2] == pytest.approx(seconds)


def test_parameters_are_counted_with_the_head_and_added_up_for_ensembles(project):
    listed = table(project, "experiments", "Results")
    num = {name: float(row[4]) for name, row in listed.items()}
    assert num["ensemble"] == pytest.approx(num["probe"] + num["probe-tuned"] + num["finetune"])


def test_what_was_trained_over_other_folds_is_named_and_left_out(project):
    data = without(project.data, results=(), left_out={"old": "its folds changed"})
    texts = [one.text for one in blocks(experiment_scores.build(data), Paragraph)]
    assert texts == ["old is left out: its folds changed"]


def test_curves_end_as_the_histories_do(project):
    listed = table(project, "curves", "The end of each training")
    last = [
        load_record(path).iloc[-1]["val_loss"]
        for path in project.paths.experiment("finetune").experiment_dir.glob("fold*/history.csv")
    ]
    assert listed["finetune"][2] == pytest.approx(np.mean(last))
    charts = section(project, "curves").blocks[0].charts
    assert [one.picture.alt for one in charts] == [
        "learning curves of finetune, loss and accuracy by epoch"
    ]


def test_confusion_counts_equal_scikit_learns(project, best):
    expected = confusion_matrix(best.targets, best.probs.argmax(axis=1))
    listed = table(project, "confusion", "Confusion matrix: ")
    assert np.array_equal(np.array(list(listed.values())), expected)


def test_the_most_frequent_confusion_is_shown_by_a_mistaken_image(project, best):
    gallery = blocks([section(project, "confusion")], Gallery)[0]
    listed = table(project, "confusion", "the most frequent first")
    counts = [row[1] for row in listed.values()]
    assert counts == sorted(counts, reverse=True)
    names = project.competition.classes
    true, wrong = gallery.cards[0].title.partition(":")[0].split(" taken for ")
    image_id = gallery.cards[0].pictures[0].alt.removeprefix("image ")
    row = project.data.train["image_id"].tolist().index(image_id)
    assert names[best.targets[row]] == true
    assert names[best.probs[row].argmax()] == wrong


def test_precision_recall_and_f1_equal_scikit_learns(project, best):
    listed = table(project, "classes", "Precision")
    expected = precision_recall_fscore_support(
        best.targets, best.probs.argmax(axis=1), zero_division=0
    )
    for number, name in enumerate(project.competition.classes):
        assert listed[name][:4] == pytest.approx([float(one[number]) for one in expected])


def test_every_image_is_in_a_bin_of_the_reliability_table(project, best):
    listed = table(project, "reliability", "Reliability")
    assert sum(float(row[0]) for row in listed.values()) == len(best.targets)


def test_worst_mistakes_are_mistakes_and_the_worst_come_first(best):
    found = worst_mistakes.worst_mistakes(best)
    own = best.probs[np.arange(len(best.targets)), best.targets]
    is_wrong = best.probs.argmax(axis=1) != best.targets
    assert is_wrong[found].all()
    assert (np.diff(own[found]) >= 0).all()
    assert len(found) == min(worst_mistakes.MAX_SHOWN, is_wrong.sum())
    assert own[found].max() <= own[is_wrong & ~np.isin(np.arange(len(own)), found)].min(initial=1)


def test_suspects_are_those_of_confident_learning(project, best):
    gallery = blocks([section(project, "suspects")], Gallery)[0]
    expected = find_suspects(best.probs, best.targets)
    ids = project.data.train["image_id"].iloc[expected["row"]]
    assert [card.lines[-1] for card in gallery.cards] == ids.head(24).tolist()


def test_mistakes_stand_beside_two_maps(project):
    gallery = blocks([section(project, "mistakes")], Gallery)[0]
    for card in gallery.cards:
        own, other = card.title.removeprefix("labelled ").split(", predicted ")
        assert [one.label for one in card.pictures] == ["as seen", f"for {other}", f"for {own}"]
        assert len({one.uri for one in card.pictures}) == 3


def test_features_of_a_fine_tuned_network_are_of_the_fold_it_held_out(project, best):
    tuned = next(one for one in project.data.results if one.name == "finetune")
    data = without(project.data, best=dataclasses.replace(best, trained=tuned))
    found = feature_map.build(data)
    text, charts = blocks(found, Paragraph)[0].text, blocks(found, Charts)[0].charts
    num = (load_folds(project.paths)["fold"] == 0).sum()
    assert "fold 0 of finetune" in text
    captions = [chart.picture.alt for chart in charts]
    assert captions == [
        "t-SNE of features, coloured by class",
        "t-SNE of features, mistakes marked",
    ]
    assert f"{num} randomly drawn" in text


def test_features_of_a_probe_are_of_its_frozen_trunk(project, best):
    probe = next(one for one in project.data.results if one.name == "probe")
    data = without(project.data, best=dataclasses.replace(best, trained=probe))
    text = blocks(feature_map.build(data), Paragraph)[0].text
    assert "the frozen trunk of probe" in text


def test_members_weigh_what_the_ensemble_says(project):
    listed = table(project, "ensemble", "Members of ensemble")
    metrics = next(one for one in project.data.results if one.is_ensemble).metrics
    assert {name: row[1] for name, row in listed.items()} == {
        member["name"]: member["weight"] for member in metrics["members"]
    }


def test_trials_are_those_of_the_search(project):
    listed = table(project, "tuning", "The best trials of probe-tuned")
    trials = load_record(project.paths.experiment("probe-tuned").trials)
    complete = trials[trials["state"] == "complete"]
    assert [float(row[0]) for row in listed.values()] == complete["value"].tolist()


def test_test_shares_are_those_of_the_predictions(project, best):
    listed = table(project, "test", "Class shares")
    stored = load_predictions(project.paths.experiment(best.result.name).test, "x")
    readable = load_test(project.paths).query("width > 0")["image_id"].tolist()
    chosen = [stored.image_ids.index(name) for name in readable]
    counts = np.bincount(stored.probs[chosen].argmax(axis=1), minlength=2)
    assert [row[2] for row in listed.values()] == counts.tolist()
    prior = np.bincount(best.targets) / len(best.targets)
    assert [row[0] for row in listed.values()] == pytest.approx(prior.tolist())


@pytest.mark.parametrize(
    ("build", "stage"),
    [
        (summary.build, "pipeline train demo"),
        (experiment_scores.build, "pipeline train demo"),
    ],
)
def test_before_any_training_the_page_names_the_command(project, build, stage):
    data = without(project.data, results=(), best=None, left_out={})
    assert stage in [hint.command for hint in blocks(build(data), Hint)]


@pytest.mark.parametrize(
    ("build", "command"),
    [
        (ensemble_weights.build, "pipeline ensemble demo"),
        (tuning_trials.build, "pipeline tune demo"),
        (ablation_results.build, "pipeline ablate demo --experiment probe"),
    ],
)
def test_what_was_not_done_is_named_with_its_command(project, best, build, command):
    probe = next(one for one in project.data.results if one.name == "probe")
    alone = dataclasses.replace(best, result=probe, trained=probe)
    data = without(project.data, results=(probe,), best=alone)
    assert [hint.command for hint in blocks(build(data), Hint)] == [command]


def test_without_checkpoints_mistakes_are_shown_without_maps(project, best):
    data = without(project.data, best=dataclasses.replace(best, trained=None))
    found = worst_mistakes.build(data)
    assert blocks(found, Hint)[0].text.startswith("Where a network looks can't be shown")
    gallery = blocks(found, Gallery)[0]
    assert all(len(card.pictures) == 1 for card in gallery.cards)


def test_without_folds_the_page_names_the_command(project):
    data = without(project.data, folds=None, results=(), best=None)
    assert [hint.command for hint in blocks(fold_split.build(data), Hint)] == [
        "pipeline folds demo"
    ]
    assert class_scores.build(data) == []
