"""The numbers of the page's sections, each against where they come from."""

import dataclasses
import inspect
import json
import math
import re
import shutil
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from pipeline.data import audit, catalog
from pipeline.ladder.course import Attempt, Course, Reached, save_course, utc_now
from pipeline.reports.page import build_page
from pipeline.reports.page.blocks import (
    Chart,
    Charts,
    Commands,
    Findings,
    Fold,
    Gallery,
    Hint,
    Paragraph,
    Row,
    Table,
)
from pipeline.reports.page.report_data import ReportData, read_report_data
from pipeline.reports.page.review_deck import ReviewDeck
from pipeline.reports.page.sections import (
    class_scores,
    contributions,
    dataset_audit,
    experiment_scores,
    feature_map,
    fold_split,
    label_review,
    predicted_probabilities,
    summary,
    training_course,
)
from pipeline.scoring.oof import find_suspects
from pipeline.store.freshness import file_sha256
from pipeline.store.paths import Paths
from pipeline.store.predictions import load_predictions
from pipeline.store.tables import load_folds, load_record, load_test, load_train

ABLATE = "pipeline ablate demo --experiment probe"


def unfolded(found):
    """List blocks and what is folded in them, in order."""
    return [
        inner
        for block in found
        for inner in [block, *(unfolded(block.blocks) if isinstance(block, Fold | Row) else [])]
    ]


def blocks(sections, kind):
    """List the blocks of one kind, over all these sections."""
    found = [block for section in sections for block in unfolded(section.blocks)]
    return [block for block in found if isinstance(block, kind)]


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


def findings(data):
    """List the lines at the top of the page."""
    return blocks(summary.build(data), Findings)[0].lines


def next_commands(data):
    """List the commands that the page advises, in order."""
    return [line.command for block in blocks(summary.build(data), Findings) for line in block.lines
            if line.topic == "Next"]  # fmt: skip


def deck(project):
    """Return the page's cards."""
    (found,) = blocks([section(project, "review")], ReviewDeck)
    return found


def without(data: ReportData, **changes: Any) -> ReportData:
    return dataclasses.replace(data, **changes)


@pytest.fixture
def best(project):
    return project.data.best


def test_the_summary_tells_the_best_result_as_its_metrics_do(project, best):
    metrics = json.loads(
        project.paths.experiment(best.result.name).metrics.read_text(encoding="utf-8")
    )
    lines = {line.topic: line for line in findings(project.data)}
    low, high = metrics["oof_interval_95"]
    text = f"accuracy {metrics['oof_score']:.4f} out of fold, {low:.4f} to {high:.4f} with 95 %"
    assert lines["Result"].text.startswith(best.result.name)
    assert text in lines["Result"].text
    assert list(lines) == ["Result", "Mistakes", "Labels", "Data", "Next"]


def test_the_best_result_is_the_one_with_the_best_score(project, best):
    scores = [one.metrics["oof_score"] for one in project.data.results]
    assert best.result.metrics["oof_score"] == max(scores)
    assert scores == sorted(scores, reverse=True)
    names = {one.name for one in project.data.results}
    assert names == {"probe", "probe-tuned", "finetune", "ensemble"}


def test_the_commands_that_lead_to_the_best_result_are_named(project):
    ensemble_first = [one for one in project.data.results if one.is_ensemble]
    best = dataclasses.replace(project.data.best, result=ensemble_first[0])
    built = summary.build_again(without(project.data, best=best, typed="my.toml"))
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
    changed = without(project.data, best=dataclasses.replace(best, result=tuned))
    built = summary.build_again(changed)
    lines = blocks(built, Commands)[0].lines
    assert lines[3] == "pipeline tune demo --experiment probe --trials 3"


def test_the_page_does_not_tell_where_the_project_lies(project):
    assert str(project.paths.root) not in project.html


def test_submissions_are_listed_with_our_score(project):
    listed = table(project, "experiments", "Submissions")
    score = next(one for one in project.data.results if one.is_ensemble).metrics["oof_score"]
    assert listed["ensemble"][0] == "ensemble.csv"
    assert listed["ensemble"][2:4] == ["accuracy", score]
    assert str(listed["ensemble"][-1]).startswith("there now")


def test_class_counts_are_those_of_the_training_table(project):
    counts = load_train(project.paths)["label"].value_counts().to_dict()
    listed = table(project, "data", "Training images per class")
    assert {name: row[0] for name, row in listed.items()} == counts


def test_shares_of_classes_are_of_the_images_where_these_have_several_labels(project):
    first, second = project.competition.classes
    labels = [f"|{first}|{second}|", *["||"] * (len(project.data.train) - 1)]
    data = without(
        project.data,
        competition=project.competition.model_copy(update={"target": "several_labels"}),
        train=project.data.train.assign(label=labels),
    )
    (counts,) = [one for one in blocks(dataset_audit.build(data), Table)
                 if "per class" in one.caption]  # fmt: skip
    assert [row[1] for row in rows(counts).values()] == [1 / len(data.taking_part)] * 2


def test_images_that_no_fold_holds_out_are_counted_and_shown_among_the_data(project):
    held, always = project.data.train.iloc[2:], project.data.train.iloc[:2].assign(label="rare")
    classes = (*project.competition.classes, "rare")
    data = without(
        project.data,
        competition=project.competition.model_copy(update={"classes": classes}),
        train=held,
        folds=project.data.folds.iloc[2:],
        always_learned=always,
    )
    line = next(one.text for one in findings(without(data, best=None)) if one.topic == "Data")
    assert line.startswith(f"{len(project.data.train)} training images of 3 classes")
    shown = dataset_audit.build(data)
    (counts,) = [one for one in blocks(shown, Table) if "per class" in one.caption]
    assert rows(counts)["rare"][0] == 2
    (sheet,) = [one for one in blocks(shown, Gallery) if "each class" in one.caption]
    assert [card.title for card in sheet.cards][-1] == "rare, 2 images"
    text = next(one.text for one in blocks(fold_split.build(without(data, best=None)), Paragraph))
    assert " 2 more are learned from in every fold." in text


def test_every_kind_of_finding_is_explained():
    told = re.findall(r'(?:\.add\(|^        \()\s*"([a-z-]+)"', catalog_and_audit(), re.MULTILINE)
    assert {"litter", "listed-without-label", "constant", "unreadable"} <= set(told)
    kinds = {*told, "not-an-image", "left-out"} - {"train", "test"}
    assert kinds <= set(dataset_audit.MEANINGS)


def catalog_and_audit():
    """Return the source of what notes findings."""
    return "\n".join(inspect.getsource(module) for module in (audit, catalog))


def test_of_numbers_and_several_labels_the_page_says_nothing_of_classes_and_shows_the_ensemble(
    project,
):
    one = next(one for one in project.data.results if one.is_ensemble)
    members = [member | {"without": {"metric": "rmse", "difference": 0.1, "interval": [0.0, 0.2]}}
               for member in one.metrics["members"]]  # fmt: skip
    result = dataclasses.replace(one, metrics=one.metrics | {"members": members, "methods": []})
    number = project.competition.model_copy(update={"target": "number"})
    data = without(project.data, competition=number, results=(result,), best=None)
    line = next(one.text for one in findings(data) if one.topic == "Data")
    assert "classes" not in line
    shown = contributions.build(data)
    assert [one.id for one in shown] == ["ensemble"]  # and nothing of recipes, which go by classes
    (listed,) = blocks(shown, Table)
    assert "rmse lost without it" in listed.headings
    assert contributions.build in build_page.OTHER_SECTIONS


def test_columns_without_anything_are_left_out(project):
    data = without(project.data, calibration_errors={})
    (listed,) = [one for one in blocks(experiment_scores.build(data), Table)
                 if one.caption.startswith("Results")]  # fmt: skip
    assert "ECE" not in [*listed.headings, *listed.caption.split()]
    assert {len(row) for row in listed.rows} == {len(listed.headings)}


def test_odd_files_of_whatever_kind_are_not_called_none(project):
    table = pd.DataFrame({"finding": ["constant"], "split": ["train"], "image_id": ["x"]})
    line = next(one.text for one in findings(without(project.data, findings=table, best=None))
                if one.topic == "Data")  # fmt: skip
    assert line.endswith("1 other findings.")


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
    score, spread, loss, error, parameters, _ = listed[project.data.results[0].name]
    assert (score, loss) == (metrics["oof_score"], metrics["log_loss"])
    assert spread == pytest.approx(np.std(metrics["fold_scores"], ddof=1))
    assert 0 <= float(error) <= 1
    assert float(parameters) > 0
    seconds = sum(
        load_record(path)["seconds"].iloc[-1]
        for path in project.paths.experiment("finetune").experiment_dir.glob("fold*/history.csv")
    )
    assert listed["finetune"][-1] == pytest.approx(seconds)


def test_settings_are_compared_where_results_differ(project):
    (shown,) = [one for one in blocks([section(project, "experiments")], Table) if one.compares]
    listed = rows(shown)
    names = list(shown.headings[1:])
    trained = [one.name for one in project.data.results if not one.is_ensemble]
    assert names == [*trained, "ensemble"]  # what is compared first has the same settings
    told = dict(zip(names, listed["method"], strict=True))
    assert (told["finetune"], told["probe"]) == ("finetune", "probe")
    assert dict(zip(names, listed["seed"], strict=True))["finetune"] == "1"
    assert all(len(set(row)) > 1 for row in listed.values())


def test_parameters_are_counted_with_the_head_and_added_up_for_ensembles(project):
    listed = table(project, "experiments", "Results")
    num = {name: float(row[4]) for name, row in listed.items()}
    # The search found nothing better: what it left is the probe again, and counts once.
    assert num["ensemble"] == pytest.approx(num["probe"] + num["finetune"])
    told = blocks([section(project, "ensemble")], Paragraph)[0].text
    assert "probe-tuned: the same as probe, counted once." in told


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
    charts = blocks([section(project, "curves")], Charts)[0].charts
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
    listed = table(project, "confusion", "Precision")
    expected = precision_recall_fscore_support(
        best.targets, best.probs.argmax(axis=1), zero_division=0
    )
    for number, name in enumerate(project.competition.classes):
        assert listed[name][:4] == pytest.approx([float(one[number]) for one in expected])


def test_every_image_is_in_a_bin_of_the_reliability_table(project, best):
    listed = table(project, "reliability", "Reliability")
    assert sum(float(row[0]) for row in listed.values()) == len(best.targets)


def test_worst_mistakes_are_mistakes_and_the_worst_come_first(best):
    found = label_review.worst_mistakes(best)
    own = best.probs[np.arange(len(best.targets)), best.targets]
    is_wrong = best.probs.argmax(axis=1) != best.targets
    assert is_wrong[found].all()
    assert (np.diff(own[found]) >= 0).all()
    assert len(found) == is_wrong.sum()


def test_suspects_are_those_of_confident_learning(project, best):
    expected = find_suspects(best.probs, best.targets)
    ids = project.data.train["image_id"].iloc[expected["row"]]
    shown = [card.image_id for card in deck(project).cards if "suspect" in card.reasons]
    assert sorted(shown) == sorted(ids.head(label_review.MOST_CARDS["suspect"]))


def test_a_card_knows_its_label_its_probabilities_and_the_maps_of_both_classes(project, best):
    names = project.competition.classes
    ids = project.data.train["image_id"].tolist()
    for card in deck(project).cards:
        if card.label is None:
            continue
        row = ids.index(card.image_id)
        assert card.label == best.targets[row]
        assert card.probs == tuple(
            f"{best.probs[row][i]:.4f}" for i in (card.label, card.suggested)
        )
        assert card.fold == project.data.folds["fold"].iloc[row]
        labels = [one.label for one in card.maps]
        assert labels == [f"for {names[card.suggested]}", f"for {names[card.label]}"]


def test_examples_beside_the_cards_are_sure_right_images_that_are_not_in_doubt(project, best):
    ids = project.data.train["image_id"].tolist()
    cards = deck(project).cards
    doubtful = {card.image_id for card in cards}
    assert deck(project).examples
    for index, picture in deck(project).examples.items():
        image_id = picture.alt.removeprefix("image ")
        row = ids.index(image_id)
        assert image_id not in doubtful
        assert best.targets[row] == best.probs[row].argmax() == index
        others = [best.probs[at][index] for at, target in enumerate(best.targets)
                  if target == index and ids[at] not in doubtful]  # fmt: skip
        assert best.probs[row][index] == max(others)
        assert picture.label == f"the surest {project.competition.classes[index]}"


def test_conflicting_copies_are_cards_that_show_each_other(project):
    train = project.data.train
    groups = train.groupby("group")["label"].nunique()
    conflicting = train[train["group"].isin(groups.index[groups > 1])]
    cards = {card.image_id: card for card in deck(project).cards if "conflict" in card.reasons}
    assert set(cards) == set(conflicting["image_id"])
    assert len(cards) >= 2
    for image_id, card in cards.items():
        group = train.set_index("image_id")["group"][image_id]
        others = set(train["image_id"][train["group"] == group]) - {image_id}
        told = " ".join(copy.label for copy in card.copies)
        assert all(f"fold {card.fold}: {other}" in told for other in others)


def test_unreadable_training_images_are_told_and_nothing_can_be_decided_on_them(project):
    audit = project.data.findings
    is_it = (audit["finding"] == "unreadable") & (audit["split"] == "train")
    cards = [card for card in deck(project).cards if "unreadable" in card.reasons]
    assert [card.image_id for card in cards] == audit["image_id"][is_it].tolist()
    assert all((card.label, card.whole) == (None, None) for card in cards)


def test_the_curves_of_two_classes_have_their_areas_and_thresholds(project, best):
    charts = blocks([section(project, "reliability")], Charts)[0].charts
    assert [chart.picture.alt.partition(" curve")[0] for chart in charts][:2] == [
        "ROC",
        "precision and recall",
    ]
    listed = table(project, "reliability", "threshold")
    predicted = best.probs[:, 1] >= 0.5
    assert listed["0.50"][1] == pytest.approx(predicted[best.targets == 1].mean())
    assert listed["0.50"][3] == pytest.approx((predicted == best.targets).mean())


def test_many_classes_without_a_metric_of_thresholds_have_no_roc(project, best):
    many = project.competition.model_copy(update={"classes": ("a", "b", "c")})
    probs = np.column_stack([best.probs, np.zeros(len(best.probs), dtype=np.float32)])
    data = without(project.data, competition=many, best=dataclasses.replace(best, probs=probs))
    shown = predicted_probabilities.build(data)[0]
    assert [one.picture.alt for one in blocks([shown], Chart)] == [
        "accuracy by confidence, and the images per bin"
    ]


def test_the_hardest_fold_is_named_with_its_mistakes(project, best):
    listed = table(project, "folds", "The folds of")
    fold = project.data.folds["fold"].to_numpy()
    is_wrong = best.probs.argmax(axis=1) != best.targets
    for one in np.unique(fold):
        assert listed[str(one)][2] == is_wrong[fold == one].sum()
    worst = max(np.unique(fold), key=lambda one: is_wrong[fold == one].mean())
    assert blocks([section(project, "folds")], Paragraph)[0].text.startswith(f"Fold {worst} is")


def test_the_run_shows_its_scores_over_time_and_minutes_against_those_predicted(project, tmp_path):
    paths = dataclasses.replace(project.paths, root=tmp_path)
    reached = Reached(
        rung="first", time=utc_now(), seconds=60, members=("probe",), score=0.8,
        interval=(0.7, 0.9), log_loss=0.5, source="probe", sha256="0" * 64,
    )  # fmt: skip
    attempt = Attempt(
        rung="first", experiment="probe", outcome="trained", predicted_seconds=90, seconds=60
    )
    course = Course(
        plan="cpu", metric="accuracy", folds_sha256="", reached=(reached,), attempts=(attempt,)
    )
    paths.folds_csv.parent.mkdir()
    paths.folds_csv.write_bytes(b"")
    folds_sha256 = file_sha256(paths.folds_csv)
    save_course(paths, course.model_copy(update={"folds_sha256": folds_sha256}))
    shown = training_course.build(without(project.data, paths=paths))
    assert blocks(shown, Chart)[0].picture.alt == "accuracy over the minutes of the run"
    (minutes,) = [one for one in blocks(shown, Table) if "predicted" in one.caption]
    assert [cell.text for cell in minutes.rows[0]][3:5] == ["1.5", "1.0"]


@pytest.mark.parametrize("text", ["", "[]", '{"reached": [{}], "attempts": [], "metric": "x"}'])
def test_a_run_of_another_version_is_left_out(project, tmp_path, text):
    paths = dataclasses.replace(project.paths, root=tmp_path)
    paths.artifacts_dir.mkdir(parents=True)
    (paths.artifacts_dir / "run.json").write_text(text, encoding="utf-8")
    assert blocks(training_course.build(without(project.data, paths=paths)), Chart) == []


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


def test_why_the_way_to_blend_was_taken_is_told(project):
    one = next(one for one in project.data.results if one.is_ensemble)

    def told(method, against, options="", baseline="stack"):
        tried = [
            {**entry, "against_fallback": against if entry["method"] == method else None}
            for entry in one.metrics["methods"]
            if entry["method"] in (method, baseline, "auto")
        ]
        changed = dataclasses.replace(
            one,
            config=one.config | {"method": method, "options": options},
            metrics=one.metrics | {"methods": tried},
        )
        built = contributions.build(without(project.data, results=(changed,)))
        return blocks(built, Paragraph)[0].text

    better = {"metric": "log_loss", "difference": -0.0035, "verdict": "better",
              "interval": [-0.0064, -0.0005]}  # fmt: skip
    assert "It was chosen of 2 ways, as it beats 'stack'" in told("mean", better)
    assert "beats 'calibrated'" in told("mean", better, baseline="calibrated")  # of before
    assert "-0.0035 [-0.0064, -0.0005]" in told("mean", better)
    assert "no other way was better beyond noise" in told("stack", None)
    assert "It " not in told("mean", better, "--method mean")


def test_a_search_of_one_complete_trial_has_no_chart(project, tmp_path):
    name = "probe-tuned"
    shutil.copytree(project.paths.root / "artifacts", tmp_path / "artifacts")
    paths = dataclasses.replace(project.paths, root=tmp_path)
    trials = load_record(paths.experiment(name).trials)
    trials.loc[1:, "state"] = "pruned"
    trials.to_csv(paths.experiment(name).trials, index=False)
    result = next(one for one in project.data.results if one.name == name)
    (shown,) = [one for one in training_course.build(without(project.data, paths=paths,
                results=(result,))) if one.id == "tuning"]  # fmt: skip
    assert blocks([shown], Chart) == []
    assert "All others ended early" in blocks([shown], Paragraph)[0].text


def test_trials_are_those_of_the_search(project):
    listed = table(project, "tuning", "The best trials of probe-tuned")
    assert len(blocks([section(project, "tuning")], Chart)) == 1  # three trials say little
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


def test_before_any_training_the_page_names_the_command(project):
    data = without(project.data, results=(), best=None, left_out={})
    assert next_commands(data)[0] == "pipeline train demo"
    assert [hint.command for hint in blocks(experiment_scores.build(data), Hint)] == [
        "pipeline train demo"
    ]


def test_the_next_step_is_the_most_urgent_one(project):
    assert (
        next_commands(project.data)
        == [
            "pipeline review demo",
            f"pipeline tta demo --experiment {project.data.best.trained.name}",
            "pipeline run demo --time-limit 2h",
            "pipeline log-score submissions/demo/ensemble.csv --public SCORE",
        ][: len(next_commands(project.data))]
    )
    without_folds = without(project.data, folds=None, results=(), best=None)
    assert next_commands(without_folds)[0] == "pipeline folds demo"
    stale = without(project.data, results=(), best=None, left_out={"tiny": "older"})
    assert next_commands(stale)[0] == "pipeline train demo --experiment tiny"
    with_blend = without(project.data, results=(), best=None, left_out={"ensemble": "", "tiny": ""})
    assert next_commands(with_blend)[0] == "pipeline train demo --experiment tiny"
    blend = without(project.data, results=(), best=None, left_out={"ensemble": "older"})
    assert next_commands(blend)[0].startswith("pipeline ensemble demo --name ensemble")


def test_commands_of_a_page_name_files_and_root_as_a_shell_takes_them(
    project, tmp_path, monkeypatch
):
    root = tmp_path / "my root"
    shutil.copytree(project.paths.root, root)
    row = [*project.data.train.loc[0, ["image_id", "label"]], "", "", "", "drop"]
    changed = without(project.data, paths=Paths(root, "demo"), reviewed={row[0]: row})
    data = without(changed, typed=f"demo --root '{root}'")
    file = root / "artifacts/demo/report/corrections.csv"
    assert next_commands(data)[0] == f"pipeline folds demo --root '{root}' --corrections '{file}'"
    csv = data.paths.submission("ensemble")
    assert data.in_a_command(csv) == f"'{csv}'"
    monkeypatch.setenv("PIPELINE_ROOT", str(root))
    asked = (
        'pipeline folds demo --corrections "$PIPELINE_ROOT"/artifacts/demo/report/corrections.csv'
    )
    assert next_commands(changed)[0] == asked


def test_decisions_of_a_review_that_are_not_in_effect_come_first(project):
    image_id, label = project.data.train.loc[0, ["image_id", "label"]]
    row = [image_id, label, "", "", "", "drop"]
    data = without(project.data, reviewed={image_id: row})
    asked = "pipeline folds demo --corrections artifacts/demo/report/corrections.csv"
    assert next_commands(data)[0] == asked
    kept = without(project.data, reviewed={image_id: [*row[:-1], "keep"]})
    assert asked not in next_commands(kept)


def test_labels_that_were_decided_are_neither_counted_nor_shown_as_doubtful(project):
    decided = frozenset(project.data.train["image_id"])
    data = without(project.data, decided=decided)
    line = next(one.text for one in blocks(summary.build(data), Findings)[0].lines
                if one.topic == "Labels")  # fmt: skip
    assert line.startswith("0 are contradicted by the predictions, 0 of them surely.")
    assert "pipeline review demo" not in next_commands(data)


def test_a_label_that_is_doubtful_for_two_reasons_is_looked_at_once(project, monkeypatch):
    in_conflict = label_review.conflicts(project.data)
    monkeypatch.setattr(summary, "_suspects", lambda *_: (set(), {in_conflict[0], "x"}, set()))
    (text,) = [line.text for line in findings(project.data) if line.topic == "Next"]
    assert text.startswith(f"Look at {len(in_conflict) + 1} labels")


@pytest.mark.parametrize(
    ("build", "command"),
    [
        (contributions.build, ["pipeline ensemble demo", ABLATE]),
        (training_course.build, ["pipeline tune demo"]),
    ],
)
def test_what_was_not_done_is_named_with_its_command(project, best, build, command):
    probe = next(one for one in project.data.results if one.name == "probe")
    alone = dataclasses.replace(best, result=probe, trained=probe)
    data = without(project.data, results=(probe,), best=alone)
    assert [hint.command for hint in blocks(build(data), Hint)] == command


def test_without_checkpoints_cards_have_no_maps(project, best):
    data = without(project.data, best=dataclasses.replace(best, trained=None))
    found = label_review.build(data)
    assert blocks(found, Hint)[0].text.startswith("Where a network looks can't be shown")
    (shown,) = blocks(found, ReviewDeck)
    assert not any(card.maps for card in shown.cards)
    assert sum(card.whole is not None for card in shown.cards) >= 2


def test_without_folds_the_page_names_the_command(project):
    data = without(project.data, folds=None, results=(), best=None)
    assert [hint.command for hint in blocks(fold_split.build(data), Hint)] == [
        "pipeline folds demo"
    ]
    assert class_scores.build(data) == []


def test_shares_that_differ_by_chance_are_told_as_such(project):
    (chart,) = [one for one in blocks([section(project, "test")], Charts)[0].charts
                if one.picture.alt.startswith("shares")]  # fmt: skip
    usual = float(re.findall(r"so many are ([0-9.]+)% by chance", chart.caption)[0])
    num = int((load_test(project.paths)["width"] > 0).sum())
    prior = np.bincount(project.data.best.targets) / len(project.data.best.targets)
    exact = sum(
        math.comb(num, hits)
        * prior[0] ** hits
        * prior[1] ** (num - hits)
        * abs(hits / num - prior[0])
        for hits in range(num + 1)
    )
    assert usual / 100 == pytest.approx(exact, abs=0.03)


def test_after_the_metric_changed_results_are_scored_by_the_new_one_and_it_is_said(project):
    by_loss = project.competition.model_copy(update={"metric": "log_loss"})
    data = read_report_data(project.paths, by_loss, "demo")
    assert {one.metrics["metric"] for one in data.results} == {"log_loss"}
    scores = [one.metrics["oof_score"] for one in data.results]
    assert scores == sorted(scores)
    assert all(one.metrics["oof_score"] == one.metrics["log_loss"] for one in data.results)
    said = [block.text for block in blocks(experiment_scores.build(data), Paragraph)]
    for one in data.results:
        assert any(text.startswith(f"{one.name} was made when accuracy was") for text in said)
    blend = next(one for one in data.results if one.is_ensemble)
    assert "methods" not in blend.metrics
    [tuned] = [text for text in map(str, blocks(training_course.build(data), Paragraph))
               if "trials" in text]  # fmt: skip
    assert "judged by accuracy out of fold" in tuned
    assert project.data.rescored == {}
