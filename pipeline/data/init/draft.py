"""Write a competition's TOML file line by line, each below what it was inferred from."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.config.strict import toml_value

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
