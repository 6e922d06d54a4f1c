"""One command per stage, in running order: parse, call, print errors. Nothing else happens here.

A stage is imported inside its command, so that `--help` stays instant and only those that need
torch ever import it. A command is added by its function in one of the files here, its line of
GROUPS, and its stage.
"""

import atexit
import io
import os
import sys
from typing import NoReturn

from pipeline.cli import improve, look_and_check, main_to_folds, main_to_submission
from pipeline.cli.group import app
from pipeline.machine import end_with_parent, num_processes

__all__ = ["app", "main"]

# In running order, as `pipeline --help` lists them.
GROUPS = {
    "All of it": (main_to_submission.run,),
    "Main path, in this order": (
        main_to_folds.init,
        main_to_folds.download,
        main_to_folds.prepare,
        main_to_folds.folds,
        main_to_submission.train,
        main_to_submission.tune,
        main_to_submission.ensemble,
        main_to_submission.submit,
    ),
    "Look": (
        look_and_check.status,
        look_and_check.report,
        look_and_check.preview,
        look_and_check.models,
        look_and_check.doctor,
    ),
    "Improve": (improve.suspects, improve.review, improve.tta, improve.ablate, improve.predict),
    "Check and log": (look_and_check.validate, look_and_check.grade, look_and_check.log_score),
}
for name, commands in GROUPS.items():
    for command in commands:
        app.command(rich_help_panel=name)(command)


def main() -> None:
    """Entry point of the `pipeline` command."""
    # Read when torch is imported: threads that wait asleep leave the cores to decoding and to
    # other programs; spinning, they took half as long again beside one other busy process.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    end_with_parent()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # 猫 on a terminal that has no such letter
    try:
        app(prog_name="pipeline")
    except SystemExit as end:
        if num_processes() == 1:
            raise
        _leave(end.code)


def _leave(code: str | int | None) -> NoReturn:
    """End one of several processes that trained together, as it is.

    Threads that carried their messages may enter the interpreter while it is taken apart, and abort
    the process: once in some twenty trainings by two processes, with all results written.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))
