"""Make one page of all that is known about a competition."""

from pathlib import Path
from typing import Any

from pipeline.config.competition import Competition
from pipeline.console import result, say
from pipeline.ladder.course import load_course
from pipeline.reports.page.build_page import build_page
from pipeline.reports.page.report_data import read_report_data
from pipeline.store.atomic import write_text
from pipeline.store.freshness import Stamp, digest, fingerprint
from pipeline.store.paths import Paths

PACKAGE = Path(__file__).parents[1]
CODE_SUFFIXES = {".py", ".html", ".css", ".js"}


def run(paths: Paths, competition: Competition, typed: str) -> None:
    """Make the page, unless it is up to date.

    Reads what the other stages wrote, and the images that are shown.

    Writes artifacts/COMPETITION/report/index.html; prints its path.

    Fails if the tables are missing, damaged or don't belong together or an image can't be read any
    more (DataError), or a result's files are damaged (ArtifactError).

    Args:
        paths: The competition's files.
        competition: Its name, classes and metric.
        typed: The competition as the user names it on the command line, for commands on the page.
    """
    title = f"report {competition.name}"
    stamp = Stamp(paths.report_stamp, _inputs(paths, competition, typed))
    if stamp.is_fresh():
        say(f"{title}: up to date")
    else:
        page = build_page(read_report_data(paths, competition, typed))
        write_text(paths.report_html, page)
        stamp.write([paths.report_html])
        say(f"{title}: {len(page.encode()) / 1e6:.1f} MB, opens in any browser")
    result(str(paths.report_html))


def _inputs(paths: Paths, competition: Competition, typed: str) -> dict[str, Any]:
    """Digest all files that the page is made from, and the code that makes it."""
    tables = [
        paths.train_csv,
        paths.test_csv,
        paths.audit_json,
        paths.audit_csv,
        paths.folds_csv,
        paths.folds_stamp,
        paths.submission_log,
        paths.corrections_csv,
        *paths.list_submissions(),
    ]
    stamps = [
        *paths.artifacts_dir.glob("[!.]*/stamp.json"),
        *paths.artifacts_dir.glob("*/tuning.json"),
        *paths.artifacts_dir.glob("*/tta.json"),
        *paths.artifacts_dir.glob("ablations/*/stamp.json"),
    ]
    files = {path.relative_to(paths.root).as_posix(): digest(path) for path in [*tables, *stamps]}
    course = load_course(paths)
    steps = [*course.reached, *course.attempts] if course else []
    return {
        "files": dict(sorted(files.items())),
        "course": fingerprint([one.model_dump(mode="json") for one in steps]),
        "competition": fingerprint(competition.model_dump(mode="json")),
        "typed": typed,
        "code": _code(),
    }


def _code() -> str:
    """Digest the package's code and templates: another version of them may make another page."""
    files = sorted(path for path in PACKAGE.rglob("*") if path.suffix in CODE_SUFFIXES)
    return fingerprint([(path.relative_to(PACKAGE).as_posix(), digest(path)) for path in files])
