"""The hooks before a commit are what `make check` runs."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_hooks_run_what_make_check_runs():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    check = re.search(r"^check:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert check is not None
    wanted = [line.strip().replace("$(BIN)", ".venv/bin") for line in check[1].splitlines()]
    assert re.findall(r"entry: (.*)", hooks) == wanted
    assert len(wanted) == 3
