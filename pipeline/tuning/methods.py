"""Methods for many trials: probes that learn from the same features read them once."""

from collections import OrderedDict

from pipeline.config import Experiment, HeadConfig
from pipeline.training.methods import Method, build_method
from pipeline.training.probe import Probe
from pipeline.training.tables import Tables
from pipeline.tuning.search import Search

# Features of a view take 5 MB per 2,000 images and 1,280 numbers; a set of views has a few.
MAX_SETS = 4


class SharedMethods:
    """Builds what fits a trial's folds, keeping the last probes' features in memory.

    Args:
        search: The competition and its files.
        tables: The images of every trial.
    """

    def __init__(self, search: Search, tables: Tables) -> None:
        self._search = search
        self._tables = tables
        self._probes: OrderedDict[str, Probe] = OrderedDict()

    def build(self, experiment: Experiment) -> Method:
        """Return what fits the folds of an experiment; see `build_method`."""
        if experiment.method != "probe":
            return self._make(experiment)
        key = experiment.model_copy(update={"head": HeadConfig()}).model_dump_json()
        if key not in self._probes:
            probe = self._make(experiment)
            assert isinstance(probe, Probe)
            self._probes[key] = probe
        self._probes.move_to_end(key)
        while len(self._probes) > MAX_SETS:
            self._probes.popitem(last=False)
        return self._probes[key].with_head(experiment.head)

    def _make(self, experiment: Experiment) -> Method:
        search = self._search
        return build_method(search.paths, search.competition, experiment, self._tables)
