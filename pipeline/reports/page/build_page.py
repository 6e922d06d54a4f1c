"""Build the page as one HTML file that needs no network and no other file."""

import base64
import hashlib
from collections.abc import Callable
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.config.competition import Competition
from pipeline.console import progress
from pipeline.reports.page.blocks import Section
from pipeline.reports.page.report_data import ReportData
from pipeline.reports.page.sections import (
    class_scores,
    contributions,
    dataset_audit,
    experiment_scores,
    feature_map,
    fold_split,
    label_review,
    predicted_probabilities,
    summary,
    training_course,
)

# In the order of the page. Each builds its sections, none where there is nothing to show.
SECTIONS: tuple[Callable[[ReportData], list[Section]], ...] = (
    summary.build,
    experiment_scores.build,
    class_scores.build,
    label_review.build,
    fold_split.build,
    predicted_probabilities.build,
    dataset_audit.build,
    training_course.build,
    contributions.build,
    feature_map.build,
    summary.build_again,
)
# Those that make sense where not each image has one class and an answer of its own.
OTHER_SECTIONS = (
    summary.build,
    experiment_scores.build,
    dataset_audit.build,
    training_course.build,
    contributions.build,
    summary.build_again,
)
_TEMPLATES = "pipeline.reports.page"


def build_page(data: ReportData) -> str:
    """Build the page of a competition, as HTML."""
    return render(page_title(data.competition), build_sections(data))


def page_title(competition: Competition) -> str:
    """Return the page's heading."""
    return f"{competition.name}: {competition.title}"


def build_sections(data: ReportData) -> list[Section]:
    """Build all sections, in the order of the page."""
    sections = []
    builders = SECTIONS if data.competition.is_by_class else OTHER_SECTIONS
    with progress(f"report {data.competition.name}", len(builders), "section") as advance:
        for build in builders:
            sections += build(data)
            advance(1)
    return sections


def render(title: str, sections: list[Section], *, is_served: bool = False) -> str:
    """Render sections as HTML; whatever text they hold is escaped.

    Should one slip through nevertheless: the page's policy lets a browser run its own script alone
    and fetch nothing at all.

    Args:
        title: Of the page.
        sections: In their order.
        is_served: Whether `pipeline review` serves it: then it may ask its own server for images,
            and send decisions there.
    """
    environment = Environment(
        loader=PackageLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = _template("page.js") + _template("review.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    own = "img-src data: 'self'; connect-src 'self'" if is_served else "img-src data:"
    inline = f"style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return environment.get_template("page.html").render(
        title=title,
        sections=sections,
        titles={one.id: one.title for one in sections},
        style=Markup(_template("page.css")),
        script=Markup(script),
        policy=f"default-src 'none'; {own}; {inline}",
        served="yes" if is_served else "",
    )


def _template(name: str) -> str:
    return (resources.files(_TEMPLATES) / "templates" / name).read_text(encoding="utf-8")
