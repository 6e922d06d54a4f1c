"""Write a competition's TOML file line by line, each below what it was inferred from."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.config.class_names import names_in
from pipeline.config.competition import MOST_DENSE
from pipeline.config.strict import toml_value
from pipeline.data.init.answered_together import Together
from pipeline.data.init.infer_answer import Answer
from pipeline.data.init.label_values import LabelSource
from pipeline.data.init.words import doubt_of_mirrors

WIDTH = 96
Certainty = Literal["found", "guess", "unknown"]


@dataclass(frozen=True)
class Line:
    """A key with its value, and why.

    Attributes:
        key: As it stands in its table.
        value: What TOML can say.
        why: What it was inferred from, or what else it may be.
        certainty: "found" in the data, a "guess" that nothing there contradicts, or "unknown":
            written as a comment.
    """

    key: str
    value: Any
    why: str
    certainty: Certainty = "found"


@dataclass
class Section:
    """A table of the file; the one without a name stands first."""

    name: str
    lines: list[Line] = field(default_factory=list)

    def found(self, key: str, value: Any, why: str) -> None:
        """Add what the data tell."""
        self.lines.append(Line(key, value, why))

    def guess(self, key: str, value: Any, why: str) -> None:
        """Add what the data don't tell, as it usually is."""
        self.lines.append(Line(key, value, why, "guess"))

    def unknown(self, key: str, value: Any, why: str) -> None:
        """Add as a comment what can't be guessed."""
        self.lines.append(Line(key, value, why, "unknown"))


def to_toml(begin: Iterable[str], sections: Iterable[Section]) -> str:
    """Write the file; each line stands below the comment that says where it is from."""
    blocks = ["".join(f"{line}\n" for line in begin)]
    for section in sections:
        title = f"\n{section.name}\n" if section.name else ""
        blocks.append(title + "".join(map(_written, section.lines)))
    return "".join(blocks)


def describe_line(section: Section, line: Line) -> str:
    """Format a line for the terminal: key, value and what it was inferred from."""
    table = section.name.strip("[]")
    key = f"{table}.{line.key}" if table else line.key
    value = toml_value(line.value)
    shown = value if len(value) <= WIDTH else f"{value[: WIDTH - 4]} ..."
    mark = {"found": "", "guess": "guess: ", "unknown": "not known: "}[line.certainty]
    return f"{key} = {shown}  <- {mark}{line.why}"


def _written(line: Line) -> str:
    why = f"# guess: {line.why}\n" if line.certainty == "guess" else f"# {line.why}\n"
    text = f"{line.key} = {toml_value(line.value)}\n"
    if len(text) > WIDTH and isinstance(line.value, list | tuple):
        rows = "".join(f"    {toml_value(one)},\n" for one in line.value)
        text = f"{line.key} = [\n{rows}]\n"
    return why + ("# " + text if line.certainty == "unknown" else text)


# The first table, and the last.

PROBES = ["lite0-probe", "lite1-probe", "lite2-probe"]
OF_VERY_MANY = ["lite0-lda"]  # classes, of which a regression's steps would take too much memory
MOST_WRITTEN = 1000  # classes
METRICS = {
    "name": ("accuracy", '"macro_f1", "micro_f1", "quadratic_kappa"'),
    "names": ("map_at_5", '"map_at_3", "map_at_10", "accuracy"'),
    "index": ("accuracy", '"macro_f1", "micro_f1", "quadratic_kappa"'),
    "probability": ("log_loss", '"roc_auc"'),
    "probabilities": ("log_loss", '"mean_column_auc", "accuracy"'),
    "number": ("rmse", '"mae"'),
}
METRICS_OF_SEVERAL = {
    "labels": ("sample_f1", '"micro_f1", "macro_f1", "sample_f2", "micro_f2", "macro_f2"'),
    "probabilities": ("mean_column_auc", '"log_loss", "macro_f1"'),
    "label_rows": ("log_loss", '"mean_column_auc", "weighted_log_loss"'),
}


def head_section(
    name: str,
    labels: LabelSource,
    answer: Answer,
    together: Together | None,
    names: Iterable[str],
) -> Section:
    """Write the file's first lines: title, metric, target, classes and what is answered together.

    Args:
        name: The competition's name.
        labels: Where the labels stand, and the classes.
        answer: The form of the answers.
        together: Which images are answered together, if some are.
        names: What folders and lists are called.
    """
    section = Section("")
    section.guess("title", name, "what people call it")
    section.unknown("url", "https://", "its page")
    section.unknown("kaggle", name, "its name in URLs of kaggle.com, for 'submit --to-kaggle'")
    metric, others = (METRICS_OF_SEVERAL if labels.several_why else METRICS)[answer.label]
    section.guess("metric", metric, f"usual for such answers; else {others}")
    _add_target(section, labels)
    if labels.number_why:
        section.unknown("range", [0, 100], "what the target can be, at least and at most")
    elif labels.classes:
        is_certain = labels.are_classes_certain and labels.is_certain
        add = section.found if is_certain else section.guess
        add("classes", _class_names(answer.classes or labels.classes, labels), labels.classes_why)
    else:
        section.guess("classes", "from_labels", "no labels were found")
    if together is not None:
        section.guess("answers", dict(together.keys), together.why)
    _add_mirrors(section, doubt_of_mirrors([name, *names], labels.classes))
    return section


def _add_target(section: Section, labels: LabelSource) -> None:
    """Say what is told of an image, where it is no class, or ask for it."""
    add = section.found if labels.is_target_certain else section.guess
    if labels.several_why:
        add("target", "several_labels", labels.several_why)
    elif labels.number_why:
        add("target", "number", labels.number_why)
    elif labels.may_be_ordered:
        why = "does the order of these numbers mean something? Then by quadratic_kappa"
        section.unknown("target", "ordered_classes", why)


def _class_names(classes: tuple[str, ...], labels: LabelSource) -> str | list[str]:
    """Write the classes, or where they are very many that they are the labels' own, sorted."""
    is_listed = labels.keys.get("source") in ("csv", "list_file", "coco")
    are_names = is_listed and not labels.are_numbers and "names" not in labels.keys
    are_sorted = classes == labels.classes == names_in(classes)
    is_long = len(classes) > MOST_WRITTEN and are_names and are_sorted
    return "from_labels" if is_long and not labels.several_why else list(classes)


def _add_mirrors(section: Section, doubt: str) -> None:
    """Ask whether mirrored images still show their class."""
    question = "does a mirrored image still show its class?"
    if doubt:
        section.guess("horizontal_flip", value=False, why=f"{doubt}: {question} Else true")
    else:
        why = f"{question} Not digits, letters, left or right; left out, 'train' tries it"
        section.unknown("horizontal_flip", value=False, why=why)


def experiments_section(num_classes: int) -> Section:
    """Name the experiments that so many classes allow."""
    section = Section("[experiments]")
    probes = OF_VERY_MANY if num_classes > MOST_DENSE else PROBES
    section.guess("cpu", probes, "what 'train' runs without a GPU")
    section.guess("cuda", probes, "what 'train' runs with one")
    return section
