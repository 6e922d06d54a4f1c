"""Draw and tabulate the trials of a study."""

import io
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from optuna.exceptions import ExperimentalWarning
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from optuna.visualization import matplotlib as plots
from rich.table import Table

from pipeline.store.atomic import write_bytes
from pipeline.tuning.trials import failure_reason

PICTURES: dict[str, Callable[[Study], Any]] = {
    "history": plots.plot_optimization_history,
    "parallel_coordinate": plots.plot_parallel_coordinate,
    "param_importances": plots.plot_param_importances,
    "slice": plots.plot_slice,
}


def save_pictures(study: Study, place: Callable[[str], Path]) -> list[Path]:
    """Save the pictures of a search: its course and the importance of parameters.

    Args:
        study: With one complete trial at least; importances need two of different values.
        place: Returns the file of a picture by its name.

    Returns:
        The files that were written.
    """
    values = {trial.value for trial in study.get_trials(states=(TrialState.COMPLETE,))}
    names = [name for name in PICTURES if name != "param_importances" or len(values) > 1]
    for name in names:
        _save(PICTURES[name], study, place(name))
    return [place(name) for name in names]


def _save(plot: Callable[[Study], Any], study: Study, path: Path) -> None:
    from matplotlib import pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter

    with mpl.rc_context({"backend": "agg"}), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.simplefilter("ignore", UserWarning)  # of layouts that are a little tight
        plot(study)
        figure = plt.gcf()
        for axes in figure.axes:
            for axis in (axes.xaxis, axes.yaxis):
                if axis.get_scale() == "log":  # else the labels of a narrow range overlap
                    axis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
                    axis.set_minor_formatter(NullFormatter())
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=120, bbox_inches="tight")
        plt.close("all")
    write_bytes(path, picture.getvalue())


def trials_table(study: Study) -> pd.DataFrame:
    """Tabulate the trials that ended: number, state, value, seconds, reason, and their values.

    Complete ones come first, the best of them at the top.
    """
    sign = -1 if study.direction.name == "MAXIMIZE" else 1
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]

    def rank(trial: FrozenTrial) -> tuple[bool, float, int]:
        is_complete = trial.state == TrialState.COMPLETE
        return not is_complete, sign * (trial.value or 0.0) if is_complete else 0.0, trial.number

    rows = [
        {
            "trial": trial.number,
            "state": trial.state.name.lower(),
            "value": trial.value if trial.state == TrialState.COMPLETE else None,
            "seconds": trial.user_attrs.get("seconds"),
            "reason": failure_reason(trial),
            **trial.params,
        }
        for trial in sorted(trials, key=rank)
    ]
    return pd.DataFrame(rows)


def best_trials(study: Study, metric: str, num: int = 5) -> Table:
    """Tabulate the best trials for the terminal."""
    trials = trials_table(study)
    keys = [str(name) for name in trials.columns[5:]]
    table = Table("trial", metric, "seconds", *keys, title=f"the best trials of {study.study_name}")
    for row in trials[trials["state"] == "complete"].head(num).to_dict("records"):
        values = (_short(row[key]) for key in keys)
        table.add_row(str(row["trial"]), f"{row['value']:.4f}", f"{row['seconds']:.1f}", *values)
    return table


def _short(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return "" if math.isnan(value) else f"{value:.3g}"  # empty: the parameter took no part
