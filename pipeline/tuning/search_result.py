"""Select a study's best trial, and compare it with the experiment as it stands."""

from dataclasses import dataclass

from optuna.study import Study
from optuna.trial import FrozenTrial

from pipeline.config.experiment import Experiment
from pipeline.errors import ArtifactError
from pipeline.scoring.comparison import Comparison, compare_folds
from pipeline.tuning.search import Search
from pipeline.tuning.study import BASELINE
from pipeline.tuning.trials import FOLD_SCORES, completed_trials, failure_reason, taken_trials


@dataclass(frozen=True)
class SearchResult:
    """The best trial of a study, beside the experiment as it stands.

    Attributes:
        best: The best of the trials that went through all folds; of equal ones the first.
        baseline: The trial of the experiment as it stands; None where that failed.
        tuned: The experiment with the best trial's values, `<name>-tuned`.
    """

    best: FrozenTrial
    baseline: FrozenTrial | None
    tuned: Experiment

    @property
    def is_baseline(self) -> bool:
        """Whether the best trial has the experiment's own values."""
        return self.baseline is not None and self.baseline.params == self.best.params

    def comparison(self, metric: str) -> Comparison | None:
        """Compare the best trial's folds with the baseline's; None where there is none, or one."""
        if self.baseline is None or len(self.best.user_attrs[FOLD_SCORES]) < 2:
            return None
        scores = (one.user_attrs[FOLD_SCORES] for one in (self.baseline, self.best))
        return compare_folds(metric, *scores)


def select_best_trial(study: Study, search: Search) -> SearchResult:
    """Select the best of the trials that went through all folds.

    Raises:
        ArtifactError: No trial went through all folds.
    """
    trials = completed_trials(study)
    if not trials:
        if not taken_trials(study):
            raise ArtifactError(
                f"study '{search.study_name}': a trial must have gone through all folds, none was "
                "begun; run the same command with a longer --timeout and some --trials"
            )
        reasons = [reason for reason in map(failure_reason, study.trials) if reason]
        raise ArtifactError(
            f"study '{search.study_name}': a trial must have gone through all folds, none of "
            f"{len(study.trials)} did; the last: {reasons[-1] if reasons else 'not run'}; "
            "mend that, then run the same command with more --trials"
        )
    sign = 1 if study.direction.name == "MAXIMIZE" else -1
    best = max(trials, key=lambda one: (sign * (one.value or 0.0), -one.number))
    baseline = next((one for one in trials if one.user_attrs.get(BASELINE)), None)
    name = f"{search.experiment.name}-tuned"
    own = {"name": name, "description": f"{search.experiment.description}; tuned".lstrip("; ")}
    return SearchResult(best, baseline, search.experiment.changed({**own, **best.params}, name))


def format_result(found: SearchResult, search: Search, num_trials: int) -> str:
    """Format in one line the search's gain; one within the folds' noise is called "can't tell"."""
    metric = search.competition.metric
    best, baseline = found.best, found.baseline
    if found.is_baseline:
        return (
            f"{search.title}: nothing better found in {num_trials} trials than the experiment as "
            f"it stands, {metric} {best.value:.4f}; {found.tuned.name} has its values, and an "
            "ensemble counts the two once"
        )
    line = f"{search.title}: best of {num_trials} trials, number {best.number}: {metric} "
    line += f"{best.value:.4f}"
    if baseline is None:
        return f"{line}; the experiment as it stands failed, so there is nothing to compare with"
    line += f", as it stands {baseline.value:.4f}"
    comparison = found.comparison(metric)
    if comparison is None:
        return f"{line}; one fold shows no noise: can't tell"
    num_folds = len(best.user_attrs[FOLD_SCORES])
    return (
        f"{line}; mean difference {comparison}, a 95 % t interval over {num_folds} folds: "
        f"{comparison.verdict} (chosen on these folds, so it flatters a little)"
    )
