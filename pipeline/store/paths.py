"""Every file name of the project, from (root, competition, experiment, fold)."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FoldPaths:
    """Files of one fold of an experiment, below `artifacts/<competition>/<experiment>/fold<k>`."""

    fold_dir: Path

    @property
    def checkpoint(self) -> Path:
        """Weights of what was learned; of several snapshots the last one's."""
        return self.fold_dir / "checkpoint.safetensors"

    def snapshot(self, number: int) -> Path:
        """Weights of an earlier snapshot, counted from 0."""
        return self.fold_dir / f"snapshot{number}.safetensors"

    @property
    def history(self) -> Path:
        """One row per step or epoch of the training."""
        return self.fold_dir / "history.csv"

    @property
    def oof(self) -> Path:
        """Probabilities of the held-out fold."""
        return self.fold_dir / "oof.npz"

    @property
    def test(self) -> Path:
        """Probabilities of the test images."""
        return self.fold_dir / "test.npz"

    @property
    def training_state(self) -> Path:
        """What an unfinished training goes on from; gone once the fold is done."""
        return self.fold_dir / "training.pt"

    @property
    def training_history(self) -> Path:
        """The history of an unfinished training so far; gone once the fold is done."""
        return self.fold_dir / "training.csv"

    @property
    def stamp(self) -> Path:
        """Written last: what the fold was made from."""
        return self.fold_dir / "stamp.json"

    @property
    def lock(self) -> Path:
        """Held while the fold is trained."""
        return self.fold_dir.with_name(f".{self.fold_dir.name}.lock")


@dataclass(frozen=True)
class ExperimentPaths:
    """Files of one experiment, below `artifacts/<competition>/<experiment>`."""

    experiment_dir: Path

    @property
    def config(self) -> Path:
        """The complete configuration, defaults included."""
        return self.experiment_dir / "config.json"

    @property
    def environment(self) -> Path:
        """Commit, versions and device."""
        return self.experiment_dir / "environment.json"

    @property
    def metrics(self) -> Path:
        """Scores with their intervals; exists only when every fold is done."""
        return self.experiment_dir / "metrics.json"

    @property
    def oof(self) -> Path:
        """Out-of-fold probabilities of every training image."""
        return self.experiment_dir / "oof.npz"

    @property
    def test(self) -> Path:
        """Probabilities of the test images, averaged over the folds."""
        return self.experiment_dir / "test.npz"

    @property
    def preview(self) -> Path:
        """Contact sheet of augmented images."""
        return self.experiment_dir / "preview.png"

    @property
    def tta(self) -> Path:
        """What test-time views earn and cost."""
        return self.experiment_dir / "tta.json"

    @property
    def best_toml(self) -> Path:
        """What a search found best, as an experiment's file."""
        return self.experiment_dir / "best.toml"

    @property
    def trials(self) -> Path:
        """Every trial of a search, the best first."""
        return self.experiment_dir / "trials.csv"

    def tuning_picture(self, what: str) -> Path:
        """A picture of a search: history, parallel_coordinate, param_importances or slice."""
        return self.experiment_dir / f"tuning_{what}.png"

    @property
    def tuning_stamp(self) -> Path:
        """Written last by `tune`: the trials that its pictures and tables show."""
        return self.experiment_dir / "tuning.json"

    @property
    def stamp(self) -> Path:
        """Written last: what the experiment's results were made from."""
        return self.experiment_dir / "stamp.json"

    @property
    def reliability(self) -> Path:
        """Reliability diagram of an ensemble."""
        return self.experiment_dir / "reliability.png"

    @property
    def suspects(self) -> Path:
        """Training images whose label the OOF predictions contradict."""
        return self.experiment_dir / "suspects.csv"

    @property
    def lock(self) -> Path:
        """Held while the experiment's own files are written."""
        return self.experiment_dir.with_name(f".{self.experiment_dir.name}.lock")

    def fold(self, fold: int) -> FoldPaths:
        """Paths of one fold, counted from 0."""
        return FoldPaths(self.experiment_dir / f"fold{fold}")


@dataclass(frozen=True)
class AblationPaths:
    """Files of an ablation, below `artifacts/<competition>/ablations/<experiment>`."""

    ablation_dir: Path

    def training(self, recipe: str, seed: int) -> ExperimentPaths:
        """Paths of one training, laid out as an experiment's."""
        return ExperimentPaths(self.ablation_dir / f"{recipe}-seed{seed}")

    @property
    def record(self) -> Path:
        """Every number with its interval and verdict."""
        return self.ablation_dir / "ablation.json"

    @property
    def table(self) -> Path:
        """The same, a row per recipe."""
        return self.ablation_dir / "ablation.csv"

    @property
    def curves(self) -> Path:
        """Points of the curves: ROC, precision and recall, net benefit."""
        return self.ablation_dir / "curves.csv"

    def picture(self, what: str) -> Path:
        """A picture: differences, curves, tsne or gaps."""
        return self.ablation_dir / f"{what}.png"

    @property
    def stamp(self) -> Path:
        """Written last: the trainings that were compared."""
        return self.ablation_dir / "stamp.json"


@dataclass(frozen=True)
class StudyPaths:
    """Files of a study of networks, below `artifacts/<competition>/studies/<experiment>`."""

    study_dir: Path
    name: str

    @property
    def picture(self) -> Path:
        """The figure, as in the paper."""
        return self.study_dir / f"{self.name}.png"

    @property
    def table(self) -> Path:
        """The figure's numbers."""
        return self.study_dir / f"{self.name}.csv"

    @property
    def stamp(self) -> Path:
        """Written last: the trainings that are shown."""
        return self.study_dir / f"{self.name}.json"


@dataclass(frozen=True)
class Paths:
    """Files of one competition below the project's root."""

    root: Path
    competition: str

    @property
    def data_dir(self) -> Path:
        """Everything about the competition's images."""
        return self.root / "data" / self.competition

    @property
    def archives_dir(self) -> Path:
        """Archives and lists as they came, read-only."""
        return self.data_dir / "archives"

    @property
    def images_dir(self) -> Path:
        """Archives unpacked, one folder each, read-only."""
        return self.data_dir / "images"

    @property
    def download_stamp(self) -> Path:
        """Written last by `download`: names, sources and sha256 of the archives."""
        return self.data_dir / "download.json"

    @property
    def resolution_json(self) -> Path:
        """Class names and header, where the competition's file leaves them to the data."""
        return self.data_dir / "resolved.json"

    @property
    def train_csv(self) -> Path:
        """One row per labelled, readable image."""
        return self.data_dir / "train.csv"

    @property
    def test_csv(self) -> Path:
        """One row per test image, unreadable ones included."""
        return self.data_dir / "test.csv"

    @property
    def audit_json(self) -> Path:
        """What is odd about the images, counted."""
        return self.data_dir / "audit.json"

    @property
    def audit_csv(self) -> Path:
        """What is odd about the images, one row per finding."""
        return self.data_dir / "audit.csv"

    @property
    def overlap_csv(self) -> Path:
        """Test images found in another folder by `check-overlap`."""
        return self.data_dir / "overlap.csv"

    @property
    def prepare_stamp(self) -> Path:
        """Written last by `prepare`."""
        return self.data_dir / "prepare.json"

    @property
    def truth_csv(self) -> Path:
        """Labels of the test images; `download` writes it where the archives tell them."""
        return self.data_dir / "truth.csv"

    @property
    def cache_dir(self) -> Path:
        """Decoded images, kept as long as there is room; may be deleted at any time."""
        return self.data_dir / ".cache"

    @property
    def cache_lock(self) -> Path:
        """Held while decoded images are cached."""
        return self.cache_dir / ".lock"

    @property
    def data_lock(self) -> Path:
        """Held by `download` and `prepare`."""
        return self.data_dir / ".lock"

    @property
    def folds_csv(self) -> Path:
        """The frozen fold of every training image."""
        return self.root / "folds" / f"{self.competition}.csv"

    @property
    def folds_stamp(self) -> Path:
        """Written last by `folds`: the number of folds, the seed and the table they split."""
        return self.root / "folds" / f"{self.competition}.json"

    @property
    def folds_lock(self) -> Path:
        """Held by `folds`."""
        return self.root / "folds" / f".{self.competition}.lock"

    @property
    def artifacts_dir(self) -> Path:
        """Everything learned for the competition, one folder per experiment."""
        return self.root / "artifacts" / self.competition

    @property
    def features_dir(self) -> Path:
        """Cached features of frozen trunks, each file named after what it was made from."""
        return self.artifacts_dir / ".features"

    @property
    def studies_dir(self) -> Path:
        """Optuna's studies, a journal and a lock each; a journal is the memory of its study."""
        return self.artifacts_dir / ".studies"

    @property
    def report_html(self) -> Path:
        """The page about all of it."""
        return self.artifacts_dir / "report" / "index.html"

    @property
    def report_stamp(self) -> Path:
        """Written last by `report`: what the page shows."""
        return self.report_html.with_name("report.json")

    def study_journal(self, study: str) -> Path:
        """Every trial of a study, where no database keeps them."""
        return self.studies_dir / f"{study}.log"

    def study_lock(self, study: str) -> Path:
        """Held while a worker takes its next trial."""
        return self.studies_dir / f".{study}.lock"

    def study_journal_lock(self, study: str) -> Path:
        """Held while a line is added to a journal."""
        return self.studies_dir / f".{study}.log.lock"

    def experiment(self, name: str) -> ExperimentPaths:
        """Paths of one experiment or ensemble."""
        return ExperimentPaths(self.artifacts_dir / name)

    def ablation(self, experiment: str) -> AblationPaths:
        """Paths of the comparison of an experiment's recipes."""
        return AblationPaths(self.artifacts_dir / "ablations" / experiment)

    def study(self, experiment: str, name: str) -> StudyPaths:
        """Paths of the study `degradation` or `responses` of an experiment's networks."""
        return StudyPaths(self.artifacts_dir / "studies" / experiment, name)

    def submission(self, experiment: str) -> Path:
        """The CSV for the judge."""
        return self.root / "submissions" / self.competition / f"{experiment}.csv"

    @property
    def submission_log(self) -> Path:
        """Every file that `submit` wrote, with its scores; no experiment may be named "log"."""
        return self.submission("log")

    @property
    def submission_lock(self) -> Path:
        """Held while a submission or its score is written down."""
        return self.root / "submissions" / f".{self.competition}.lock"

    def list_submissions(self) -> list[Path]:
        """List the CSVs for the judge that are there, by name."""
        found = self.submission_log.parent.glob("*.csv")
        return sorted(path for path in found if path != self.submission_log)


def competitions_with_log(root: Path) -> list[Paths]:
    """List the competitions, by name, of which files were submitted from a root."""
    logs = sorted((root / "submissions").glob("*/log.csv"))
    return [Paths(root, log.parent.name) for log in logs]
