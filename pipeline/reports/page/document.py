"""The page as one file of HTML that needs nothing else: no network, no other file."""

import base64
import hashlib
from collections.abc import Callable
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.console import progress
from pipeline.reports.page.blocks import Section
from pipeline.reports.page.evidence import Evidence
from pipeline.reports.page.sections import (
    ablations,
    classes,
    confusion,
    curves,
    data,
    ensemble,
    experiments,
    features,
    folds,
    mistakes,
    reliability,
    summary,
    test_predictions,
    tuning,
)

# In the order of the page. Each makes its sections of the evidence, none where it has nothing.
SECTIONS: tuple[Callable[[Evidence], list[Section]], ...] = (
    summary.build,
    data.build,
    folds.build,
    experiments.build,
    curves.build,
    confusion.build,
    classes.build,
    reliability.build,
    mistakes.build,
    features.build,
    ensemble.build,
    tuning.build,
    ablations.build,
    test_predictions.build,
)
_TEMPLATES = "pipeline.reports.page"


def build_page(evidence: Evidence) -> str:
    """Make the page of what was found."""
    title = f"{evidence.competition.name}: {evidence.competition.title}"
    return render(title, build_sections(evidence))


def build_sections(evidence: Evidence) -> list[Section]:
    """Make all sections, in the order of the page."""
    sections = []
    with progress(f"report {evidence.competition.name}", len(SECTIONS), "section") as advance:
        for build in SECTIONS:
            sections += build(evidence)
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
