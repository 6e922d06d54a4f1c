"""The page as one file of HTML that needs nothing else: no network, no other file."""

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
    confusions,
    dataset_audit,
    ensemble_weights,
    experiment_scores,
    feature_map,
    fold_scores,
    summary,
    test_predictions,
    training_curves,
    tuning_trials,
    worst_mistakes,
)

# In the order of the page. Each makes its sections of the data, none where it has nothing.
SECTIONS: tuple[Callable[[ReportData], list[Section]], ...] = (
    summary.build,
    dataset_audit.build,
    fold_scores.build,
    experiment_scores.build,
    training_curves.build,
    confusions.build,
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
    """Make the page of what was found."""
    title = f"{data.competition.name}: {data.competition.title}"
    return render(title, build_sections(data))


def build_sections(data: ReportData) -> list[Section]:
    """Make all sections, in the order of the page."""
    sections = []
    with progress(f"report {data.competition.name}", len(SECTIONS), "section") as advance:
        for build in SECTIONS:
            sections += build(data)
            advance(1)
    return sections


def render(title: str, sections: list[Section]) -> str:
    """Turn sections into HTML; whatever text they hold shows as it is and can't act.

    A browser is told to run the page's own script alone and to fetch nothing at all, should a text
    slip through nevertheless.
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
