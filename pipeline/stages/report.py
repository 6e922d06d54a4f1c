"""Put everything that is known about a competition on one page."""

from importlib import resources
from typing import Any

from pipeline.competition import Competition
from pipeline.console import result, say
from pipeline.files.atomic import write_text
from pipeline.files.freshness import Stamp, digest, fingerprint
from pipeline.paths import Paths
from pipeline.reports.page.document import build_page
from pipeline.reports.page.evidence import gather


def run(paths: Paths, competition: Competition, typed: str) -> None:
    """Read what the other stages wrote; write artifacts/COMPETITION/report/index.html.

    Args:
        paths: The competition's files.
        competition: What it is.
        typed: How the user names it on the command line, for commands on the page.

    Raises:
        DataError: The tables are missing, damaged or don't belong together, or an image can't be
            read any more.
        ArtifactError: A result's files are damaged.
    """
    title = f"report {competition.name}"
    stamp = Stamp(paths.report_stamp, _inputs(paths, competition, typed))
    if stamp.is_fresh():
        say(f"{title}: up to date")
    else:
        page = build_page(gather(paths, competition, typed))
        write_text(paths.report_html, page)
        stamp.write([paths.report_html])
        say(f"{title}: {len(page.encode()) / 1e6:.1f} MB, opens in any browser")
    result(str(paths.report_html))


def _inputs(paths: Paths, competition: Competition, typed: str) -> dict[str, Any]:
    """Digest everything that the page is made from, the code that makes it included."""
    tables = [
        paths.train_csv,
        paths.test_csv,
        paths.audit_json,
        paths.audit_csv,
        paths.folds_csv,
        paths.folds_stamp,
        paths.submission_log,
        *paths.list_submissions(),
    ]
    stamps = [
        *paths.artifacts_dir.glob("[!.]*/stamp.json"),
        *paths.artifacts_dir.glob("*/tuning.json"),
        *paths.artifacts_dir.glob("ablations/*/stamp.json"),
    ]
    files = {path.relative_to(paths.root).as_posix(): digest(path) for path in [*tables, *stamps]}
    return {
        "files": dict(sorted(files.items())),
        "competition": fingerprint(competition.model_dump(mode="json")),
        "typed": typed,
        "code": _code(),
    }


def _code() -> str:
    """Digest the sections and templates: a new version of them makes a new page."""
    folder = resources.files("pipeline.reports")
    texts = [
        (entry.name, entry.read_text(encoding="utf-8"))
        for place in (folder, *(folder.joinpath("page", *below) for below in _FOLDERS))
        for entry in sorted(place.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith((".py", ".html", ".css", ".js"))
    ]
    return fingerprint(texts)


_FOLDERS: tuple[tuple[str, ...], ...] = ((), ("sections",), ("templates",))
