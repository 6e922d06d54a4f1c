"""Build the page as one HTML file that needs no network and no other file."""

import base64
import hashlib
from collections.abc import Callable
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.console import progress
from pipeline.reports.page.blocks import Section
from pipeline.reports.page.report_data import ReportData
from pipeline.reports.page.sections import (
    ablation_results,
    calibration_quality,
    class_scores,
    dataset_audit,
    ensemble_weights,
    experiment_scores,
    feature_map,
    fold_split,
    summary,
    test_predictions,
    training_curves,
    tuning_trials,
    worst_mistakes,
)

# In the order of the page. Each builds its sections, none where there is nothing to show.
SECTIONS: tuple[Callable[[ReportData], list[Section]], ...] = (
    summary.build,
    dataset_audit.build,
    fold_split.build,
    experiment_scores.build,
    training_curves.build,
    class_scores.build,
    calibration_quality.build,
    worst_mistakes.build,
    feature_map.build,
    ensemble_weights.build,
    tuning_trials.build,
    ablation_results.build,
    test_predictions.build,
)
_TEMPLATES = "pipeline.reports.page"


def build_page(data: ReportData) -> str:
    """Build the page of a competition, as HTML."""
    title = f"{data.competition.name}: {data.competition.title}"
    return render(title, build_sections(data))


def build_sections(data: ReportData) -> list[Section]:
    """Build all sections, in the order of the page."""
    sections = []
    with progress(f"report {data.competition.name}", len(SECTIONS), "section") as advance:
        for build in SECTIONS:
            sections += build(data)
            advance(1)
    return sections


def render(title: str, sections: list[Section]) -> str:
    """Render sections as HTML; whatever text they hold is escaped.

    Should one slip through nevertheless: the page's policy lets a browser run its own script alone
    and fetch nothing at all.
    """
    environment = Environment(
        loader=PackageLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = _template("page.js")
    digest = hashlib.sha256(script.encode()).digest()
    return environment.get_template("page.html").render(
        title=title,
        sections=sections,
        style=Markup(_template("page.css")),
        script=Markup(script),
        script_sha256=base64.b64encode(digest).decode("ascii"),
    )


def _template(name: str) -> str:
    return (resources.files(_TEMPLATES) / "templates" / name).read_text(encoding="utf-8")
