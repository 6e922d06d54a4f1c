"""Score test-time augmentation policies out of fold, with their cost."""

import json

from rich.table import Table

from pipeline.config.competition import Competition
from pipeline.console import progress, result, say
from pipeline.data.training_table import load_tables
from pipeline.inference.fold_models import FoldModels
from pipeline.inference.tta_policies import (
    allowed_policies,
    oof_by_view,
    recommend,
    record,
    score_policies,
)
from pipeline.scoring.targets import Judged
from pipeline.store.atomic import write_text
from pipeline.store.paths import Paths
from pipeline.store.results import load_probs
from pipeline.store.tables import ALWAYS_LEARNED


def run(paths: Paths, competition: Competition, experiment_name: str) -> None:
    """Score every policy on the training images, each predicted by the fold that held it out.

    Reads data/COMPETITION/train.csv and images, folds/COMPETITION.csv and the checkpoints of
    artifacts/COMPETITION/EXPERIMENT.

    Writes tta.json beside them; prints a table and the policy that pays.

    Fails if the tables are missing or an image can't be read any more (DataError), or the
    experiment isn't trained, is damaged, or was trained over other folds (ArtifactError).
    """
    tables = load_tables(paths)
    models = FoldModels(paths, competition, experiment_name)
    is_held = tables.folds["fold"] != ALWAYS_LEARNED
    train = tables.train[is_held].reset_index(drop=True)
    ids = train["image_id"].tolist()
    load_probs(paths, competition, experiment_name, "oof", ids)  # refuses what is stale
    with progress(f"tta {competition.name} {experiment_name}", len(ids)) as advance:
        folds = tables.folds["fold"].to_numpy()[is_held]
        by_view, seconds = oof_by_view(paths, models, train, folds, advance)
    judged = Judged(competition, tables.folds[is_held].reset_index(drop=True))
    policies = allowed_policies(models.experiment)
    scores = score_policies(competition.metric, judged.of, by_view, seconds, policies)
    table = Table("views", f"OOF {competition.metric}", "gain", "ms per image", "worth it")
    for one in scores:
        is_worth_it = "yes" if one.is_worth_it else "not beyond noise"
        table.add_row(one.name, str(one.score), one.gain, f"{one.milliseconds:.1f}", is_worth_it)
    result(table)
    out = paths.experiment(experiment_name).tta
    write_text(
        out, json.dumps(record(paths, competition, experiment_name, scores), indent=2) + "\n"
    )
    say(f"tta {competition.name} {experiment_name}: recommends {recommend(scores)} -> {out}")
