"""Commands of a run that work in the test's own process, and may be made to fail or be late."""

from dataclasses import dataclass, field
from typing import Any

from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.ladder.commands import Commands, Ending


@dataclass(frozen=True)
class Here(Commands):
    """Runs commands at once.

    Attributes:
        calls: The words of each, competition and root left out.
        endings: How those that hold a word end, without having been run.
    """

    calls: list[list[str]] = field(default_factory=list)
    endings: dict[str, Ending] = field(default_factory=dict)

    def run(self, command: str, *options: str, **_: Any) -> Ending:
        """See `Commands.run`."""
        self.calls.append([command, *options])
        for word, ending in self.endings.items():
            if word in (command, *options):
                return ending
        words = [command, self.typed, *options, "--root", str(self.root)]
        done = CliRunner().invoke(app, words)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return Ending(done.exit_code, 2.0, was_stopped=False)


STOPPED = Ending(130, 5.0, was_stopped=True)
FAILED = Ending(1, 5.0, was_stopped=False)
