"""Ten checks on one GPU, one after the other, and the table of what they found.

    python -m benchmarks.gpu [--parts NAME,...] [--minutes 12] [--out FOLDER] [--dry]

Every part is a process of its own with a limit of its own: one that crashes or hangs costs no
other, and what it had found until then counts. No part is begun that no time is left for. FOLDER
gets `gpu.json` and `gpu.md`, whose table is that of `docs/performance.md`. `--dry` runs the same on
a CPU at sizes that tell nothing.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from benchmarks import gpu_folds, gpu_steps
from benchmarks.gpu_setting import Part, Row, Setting
from pipeline.console import result

# Every part and its seconds at most, in running order: what is worth most comes first.
PARTS: dict[str, tuple[Part, int]] = {
    "preflight": (gpu_steps.preflight, 60),
    "waits": (gpu_steps.waits, 90),
    "steps": (gpu_steps.steps, 120),
    "input": (gpu_folds.readers, 90),
    "fold": (gpu_folds.whole_fold, 150),
    "memory": (gpu_steps.memory, 90),
    "resume": (gpu_folds.resumed, 120),
    "features": (gpu_folds.features, 90),
    "compile": (gpu_steps.compiled, 180),
    "tests": (gpu_folds.marked_tests, 300),
}
LEAST_SECONDS = 15.0


def run_part(name: str, file: Path, *, is_dry: bool) -> None:
    """Run one part in this process, and write each line once it is found."""
    part, _ = PARTS[name]
    with file.open("w", encoding="utf-8") as rows, tempfile.TemporaryDirectory() as folder:
        for row in part(Setting(Path(folder), is_dry)):
            rows.write(json.dumps(asdict(row)) + "\n")
            rows.flush()


def watch(name: str, folder: Path, limit: float, *, is_dry: bool) -> Iterator[Row]:
    """Run one part in another process, and yield what it found within its limit."""
    file = folder / f"{name}.jsonl"
    file.touch()
    command = [sys.executable, "-m", "benchmarks.gpu", "--parts", name, "--rows", str(file)]
    process = subprocess.Popen([*command, *(["--dry"] if is_dry else [])], start_new_session=True)
    begun = time.monotonic()
    try:
        code: int | None = process.wait(limit)
    except subprocess.TimeoutExpired:
        code = None
    with suppress(ProcessLookupError):  # readers, and whoever else is left of it
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    took = time.monotonic() - begun
    yield from (Row(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines())
    how = "was stopped by its limit" if code is None else f"exit code {code}"
    yield Row("the part itself", f"{how} after {took:.0f} s", "ends", code == 0)


def check(names: Sequence[str], seconds: float, *, is_dry: bool) -> dict[str, list[Row]]:
    """Run parts, as far as time is left for them."""
    end = time.monotonic() + seconds
    found: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            limit = min(PARTS[name][1], end - time.monotonic())
            if limit < LEAST_SECONDS:
                found[name] = [Row("the part itself", "no time was left", "ends", is_right=False)]
                continue
            found[name] = []
            for row in watch(name, Path(folder), limit, is_dry=is_dry):
                found[name].append(row)
                result(f"{name}: {row.what}: {row.found} {row.verdict}".rstrip())
    return found


def table(found: dict[str, list[Row]]) -> str:
    """Lay the rows out as Markdown."""
    lines = ["| part | what | found | goal | |", "|---|---|---|---|---|"]
    for name, rows in found.items():
        lines += [f"| {name} | {r.what} | {r.found} | {r.goal} | {r.verdict} |" for r in rows]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--parts", default=",".join(PARTS), help="names with commas between them")
    parser.add_argument("--minutes", type=float, default=12.0, help="for all of them")
    parser.add_argument("--out", type=Path, default=Path("gpu"), help="where the table goes")
    parser.add_argument("--dry", action="store_true", help="tiny sizes on the CPU")
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)  # of a part's process
    given = parser.parse_args(arguments)
    names = given.parts.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"--parts: must be of {', '.join(PARTS)}, is {', '.join(unknown)}")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command does
    if given.dry:
        os.environ["ACCELERATE_USE_CPU"] = "true"
    if given.rows:
        run_part(names[0], given.rows, is_dry=given.dry)
        return
    found = check(names, 60 * given.minutes, is_dry=given.dry)
    given.out.mkdir(parents=True, exist_ok=True)
    plain = {name: [asdict(row) for row in rows] for name, rows in found.items()}
    (given.out / "gpu.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    (given.out / "gpu.md").write_text(table(found), encoding="utf-8")
    wrong = sum(row.is_right is False for rows in found.values() for row in rows)
    result(f"{wrong} lines aren't as they should be; {given.out / 'gpu.md'}")


if __name__ == "__main__":
    main()
