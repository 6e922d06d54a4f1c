"""Name every file of the project, from (root, competition, experiment, fold)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, overload


class Below:
    """A file or folder of a fixed name below a folder that its owner has.

    Args:
        folder: The owner's attribute that holds the folder.
        name: Of the file, or the rest of its path; `{field}` stands for a field of the owner.
    """

    def __init__(self, folder: str, name: str) -> None:
        self._folder = folder
        self._name = name

    @overload
    def __get__(self, owner: None, kind: type) -> Self: ...
    @overload
    def __get__(self, owner: object, kind: type) -> Path: ...
    def __get__(self, owner: Any, kind: type) -> Self | Path:
        """Return the path; of the class itself this."""
        if owner is None:
            return self
        folder: Path = getattr(owner, self._folder)
        return folder / self._name.format(**vars(owner))


@dataclass(frozen=True)
class FoldPaths:
    """Files of one fold of an experiment, below `artifacts/<competition>/<experiment>/fold<k>`."""

    fold_dir: Path

    checkpoint = Below("fold_dir", "checkpoint.safetensors")
    """Weights of what was learned."""
    history = Below("fold_dir", "history.csv")
    """One row per step or epoch of the training."""
    oof = Below("fold_dir", "oof.npz")
    """Probabilities of the held-out fold."""
    test = Below("fold_dir", "test.npz")
    """Probabilities of the test images."""
    training_state = Below("fold_dir", "training.pt")
    """What an unfinished training goes on from; gone once the fold is done."""
    training_history = Below("fold_dir", "training.csv")
    """The history of an unfinished training so far; gone once the fold is done."""
    stamp = Below("fold_dir", "stamp.json")
    """Written last: what the fold was made from."""

    @property
    def lock(self) -> Path:
        """Held while the fold is trained."""
        return self.fold_dir.with_name(f".{self.fold_dir.name}.lock")


@dataclass(frozen=True)
class ExperimentPaths:
    """Files of one experiment, below `artifacts/<competition>/<experiment>`."""

    experiment_dir: Path

    config = Below("experiment_dir", "config.json")
    """The complete configuration, defaults included."""
    environment = Below("experiment_dir", "environment.json")
    """Commit, versions and device."""
    metrics = Below("experiment_dir", "metrics.json")
    """Scores with their intervals; exists only when every fold is done."""
    oof = Below("experiment_dir", "oof.npz")
    """Out-of-fold probabilities of every training image."""
    test = Below("experiment_dir", "test.npz")
    """Probabilities of the test images, averaged over the folds."""
    preview = Below("experiment_dir", "preview.png")
    """Contact sheet of augmented images."""
    tta = Below("experiment_dir", "tta.json")
    """What test-time views earn and cost."""
    best_toml = Below("experiment_dir", "best.toml")
    """What a search found best, as an experiment's file."""
    trials = Below("experiment_dir", "trials.csv")
    """Every trial of a search, the best first."""
    tuning_stamp = Below("experiment_dir", "tuning.json")
    """Written last by `tune`: the trials that its pictures and tables show."""
    stamp = Below("experiment_dir", "stamp.json")
    """Written last: what the experiment's results were made from."""
    reliability = Below("experiment_dir", "reliability.png")
    """Reliability diagram of an ensemble."""
    suspects = Below("experiment_dir", "suspects.csv")
    """Training images whose label the OOF predictions contradict."""

    def tuning_picture(self, what: str) -> Path:
        """A picture of a search: history, parallel_coordinate, param_importances or slice."""
        return self.experiment_dir / f"tuning_{what}.png"

    @property
    def lock(self) -> Path:
        """Held while the experiment's own files are written."""
        return self.experiment_dir.with_name(f".{self.experiment_dir.name}.lock")

    def log(self, fold: int) -> Path:
        """What the last training of a fold printed that was dealt to another process."""
        return self.log_of(f"fold{fold}")

    def log_of(self, job: str) -> Path:
        """What the last job of that name printed."""
        return self.experiment_dir.parent / ".logs" / f"{self.experiment_dir.name}-{job}.log"

    def fold(self, fold: int) -> FoldPaths:
        """Paths of one fold, counted from 0."""
        return FoldPaths(self.experiment_dir / f"fold{fold}")


@dataclass(frozen=True)
class AblationPaths:
    """Files of an ablation, below `artifacts/<competition>/ablations/<experiment>`."""

    ablation_dir: Path

    record = Below("ablation_dir", "ablation.json")
    """Every number with its interval and verdict."""
    table = Below("ablation_dir", "ablation.csv")
    """The same, a row per recipe."""
    curves = Below("ablation_dir", "curves.csv")
    """Points of the curves: ROC, precision and recall, net benefit."""
    stamp = Below("ablation_dir", "stamp.json")
    """Written last: the trainings that were compared."""

    def training(self, recipe: str, seed: int) -> ExperimentPaths:
        """Paths of one training, laid out as an experiment's."""
        return ExperimentPaths(self.ablation_dir / f"{recipe}-seed{seed}")

    def picture(self, what: str) -> Path:
        """A picture: differences, curves, tsne or gaps."""
        return self.ablation_dir / f"{what}.png"


@dataclass(frozen=True)
class Paths:
    """Files of one competition below the project's root."""

    root: Path
    competition: str

    data_dir = Below("root", "data/{competition}")
    """Everything about the competition's images."""
    archives_dir = Below("data_dir", "archives")
    """Archives and lists as they came, read-only."""
    images_dir = Below("data_dir", "images")
    """Archives unpacked, one folder each, read-only."""
    download_stamp = Below("data_dir", "download.json")
    """Written last by `download`: names, sources and sha256 of the archives."""
    resolution_json = Below("data_dir", "resolved.json")
    """Class names and header, where the competition's file leaves them to the data."""
    train_csv = Below("data_dir", "train.csv")
    """One row per labelled, readable image."""
    test_csv = Below("data_dir", "test.csv")
    """One row per test image, unreadable ones included."""
    given_folds_csv = Below("data_dir", "given_folds.csv")
    """The organiser's fold of every training image, where the competition's file names some."""
    audit_json = Below("data_dir", "audit.json")
    """What is odd about the images, counted."""
    audit_csv = Below("data_dir", "audit.csv")
    """What is odd about the images, one row per finding."""
    overlap_csv = Below("data_dir", "overlap.csv")
    """Test images found in another folder by `prepare --against`."""
    prepare_stamp = Below("data_dir", "prepare.json")
    """Written last by `prepare`."""
    truth_csv = Below("data_dir", "truth.csv")
    """Labels of the test images; `download` writes it where the archives tell them."""
    cache_dir = Below("data_dir", ".cache")
    """Decoded images, kept as long as there is room; may be deleted at any time."""
    cache_lock = Below("data_dir", ".cache/.lock")
    """Held while decoded images are cached."""
    data_lock = Below("data_dir", ".lock")
    """Held by `download` and `prepare`."""

    folds_csv = Below("root", "folds/{competition}.csv")
    """The frozen fold of every training image."""
    folds_stamp = Below("root", "folds/{competition}.json")
    """Written last by `folds`: the number of folds, the seed and the table they split."""
    folds_lock = Below("root", "folds/.{competition}.lock")
    """Held by `folds`."""

    artifacts_dir = Below("root", "artifacts/{competition}")
    """Everything learned for the competition, one folder per experiment."""
    features_dir = Below("artifacts_dir", ".features")
    """Cached features of frozen trunks, each file named after what it was made from."""
    studies_dir = Below("artifacts_dir", ".studies")
    """Optuna's studies, a journal and a lock each; a journal is the memory of its study."""
    report_html = Below("artifacts_dir", "report/index.html")
    """The page about all of it."""
    corrections_csv = Below("artifacts_dir", "report/corrections.csv")
    """What `review` decided about labels, for `folds --corrections`."""
    report_stamp = Below("artifacts_dir", "report/report.json")
    """Written last by `report`: what the page shows."""

    run_lock = Below("artifacts_dir", ".run.lock")
    """Held for as long as `run` climbs a plan."""
    run_json = Below("artifacts_dir", "run.json")
    """The course of `run`: which rung was reached when, with what score."""
    rates_json = Below("artifacts_dir", ".rates.json")
    """What trainings were measured to cost on which machine."""

    submissions_dir = Below("root", "submissions/{competition}")
    """The CSVs for the judge."""
    submission_log = Below("submissions_dir", "log.csv")
    """Every file that `submit` wrote, with its scores; no experiment may be named "log"."""
    submission_lock = Below("root", "submissions/.{competition}.lock")
    """Held while a submission or its score is written down."""

    def study_journal(self, study: str) -> Path:
        """Every trial of a study, where no database keeps them."""
        return self.studies_dir / f"{study}.log"

    def study_lock(self, study: str) -> Path:
        """Held while a worker takes its next trial."""
        return self.studies_dir / f".{study}.lock"

    def tuned_lock(self, experiment: str) -> Path:
        """Held while an experiment's best trial is selected, trained and written."""
        return self.studies_dir / f".{experiment}-tuned.result.lock"

    def study_journal_lock(self, study: str) -> Path:
        """Held while a line is added to a journal."""
        return self.studies_dir / f".{study}.log.lock"

    def experiment(self, name: str) -> ExperimentPaths:
        """Paths of one experiment or ensemble."""
        return ExperimentPaths(self.artifacts_dir / name)

    def ablation(self, experiment: str) -> AblationPaths:
        """Paths of the comparison of an experiment's recipes."""
        return AblationPaths(self.artifacts_dir / "ablations" / experiment)

    def submission(self, experiment: str) -> Path:
        """The CSV for the judge."""
        return self.submissions_dir / f"{experiment}.csv"

    def list_submissions(self) -> list[Path]:
        """List the CSVs for the judge that are there, by name."""
        found = self.submissions_dir.glob("*.csv")
        return sorted(path for path in found if path != self.submission_log)


def competitions_with_log(root: Path) -> list[Paths]:
    """List the competitions, by name, of which files were submitted from a root."""
    logs = sorted((root / "submissions").glob("*/log.csv"))
    return [Paths(root, log.parent.name) for log in logs]
