import pytest

from pipeline.config.competition import load_competition
from pipeline.scoring.metrics import rank_results
from pipeline.store.results import Result


@pytest.mark.parametrize(("metric", "names"), [("accuracy", "cab"), ("log_loss", "abc")])
def test_the_best_result_in_the_competition_s_metric_is_first(metric: str, names: str) -> None:
    competition = load_competition("demo").model_copy(update={"metric": metric})
    scores = {"a": 0.5, "b": 0.5, "c": 0.75}
    results = [Result(name, {}, {"oof_score": score}) for name, score in scores.items()]
    assert "".join(one.name for one in rank_results(competition, results)) == names


def test_results_that_were_scored_by_another_metric_come_last():
    competition = load_competition("demo")
    metrics = {"a": {}, "b": {"metric": "log_loss"}, "c": {"metric": "accuracy"}}
    scores = {"a": 0.5, "b": 0.9, "c": 0.75}
    results = [Result(name, {}, {"oof_score": scores[name], **metrics[name]}) for name in scores]
    assert "".join(one.name for one in rank_results(competition, results)) == "cab"
