"""The page as a file: what it may hold, whatever it is told."""

import base64
import dataclasses
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from pipeline.reports.page.blocks import (
    Card,
    Commands,
    Facts,
    Finding,
    Findings,
    Fold,
    Gallery,
    Hint,
    Paragraph,
    Section,
    table,
)
from pipeline.reports.page.build_page import build_page, build_sections, render
from pipeline.reports.page.pictures import encode
from pipeline.reports.page.review_deck import ReviewCard, ReviewDeck

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}&amp;"
MAX_BYTES = 10_000_000


class Tags(HTMLParser):
    """Collects tags with their attributes, and the text of scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.fixture(scope="module")
def hostile():
    picture = encode(np.zeros((8, 8, 3), np.uint8), HOSTILE, 8, HOSTILE)
    blocks = [
        Paragraph(HOSTILE),
        Hint(HOSTILE, HOSTILE),
        Facts([(HOSTILE, HOSTILE)]),
        Commands([HOSTILE]),
        Gallery(HOSTILE, [Card([picture], HOSTILE, [HOSTILE])]),
        table(HOSTILE, [HOSTILE, "n"], [[HOSTILE, 1]]),
        table(HOSTILE, [HOSTILE], [[HOSTILE]], is_folded=True),
        Fold(HOSTILE, [Paragraph(HOSTILE)]),
        Findings([Finding(HOSTILE, HOSTILE, "one", HOSTILE)]),
        ReviewDeck(
            key=HOSTILE,
            classes=[HOSTILE, "b"],
            reasons={"suspect": HOSTILE},
            columns=[HOSTILE],
            cards=[
                ReviewCard(HOSTILE, 0, 1, ["suspect"], lines=[HOSTILE], whole=picture),
                ReviewCard(HOSTILE, None, None, ["suspect"], lines=[HOSTILE]),
            ],
            carried=[[HOSTILE]],
            command=HOSTILE,
        ),
    ]
    return Tags(render(HOSTILE, [Section("one", HOSTILE, blocks)]))


def test_hostile_names_are_shown_and_never_act(hostile):
    assert len(hostile.all("script")) == 1
    assert {attributes["src"][:5] for attributes in hostile.all("img")} == {"data:"}
    assert not [attributes for _, attributes in hostile.tags if set(attributes) & {"onerror"}]
    assert hostile.all("img")[0]["alt"] == HOSTILE
    assert sum(HOSTILE in text for text in hostile.texts) >= 16


def test_hostile_names_reach_the_deck_as_they_are(hostile):
    (deck,) = [one for _, one in hostile.tags if one.get("class") == "deck"]
    assert json.loads(deck["data-classes"]) == [HOSTILE, "b"]
    assert json.loads(deck["data-carried"]) == [[HOSTILE]]
    assert deck["data-command"] == HOSTILE
    cards = [one for _, one in hostile.tags if one.get("class") == "card"]
    assert [one["data-id"] for one in cards] == [HOSTILE, HOSTILE]


def test_a_browser_may_run_the_page_script_alone_and_fetch_nothing(project):
    tags = Tags(project.html)
    (policy,) = [one["content"] for one in tags.all("meta") if "http-equiv" in one]
    (script,) = re.findall(r"<script>(.*?)</script>", project.html, flags=re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'"
    )


def test_the_page_points_at_nothing_outside_itself(project):
    tags = Tags(project.html)
    links = [one["href"] for tag in ("a", "link") for one in tags.all(tag)]
    assert {link[0] for link in links} <= {"#", "d"}
    assert {link for link in links if link[0] == "d"} == {"data:,"}
    assert {one["src"].partition(",")[0] for one in tags.all("img")} <= {
        "data:image/svg+xml;base64",
        "data:image/webp;base64",
        "data:image/png;base64",
    }


def test_every_picture_says_what_it_shows(project):
    assert all(one["alt"] for one in Tags(project.html).all("img"))


def test_every_section_is_in_the_contents(project):
    tags = Tags(project.html)
    ids = [one["id"] for one in tags.all("section")]
    assert len(set(ids)) == len(ids) == 14
    assert [f"#{name}" for name in ids] == [one["href"] for one in tags.all("a")][1:15]


@pytest.mark.slow
def test_equal_evidence_makes_equal_pages(project):
    assert build_sections(project.data) == project.sections


def test_names_of_classes_are_no_formulas_and_no_tags(project):
    names = ("<b>a</b> $\\frac{", "</svg><script>alert(1)</script>")
    renamed = dict(zip(project.competition.classes, names, strict=True))
    data = dataclasses.replace(
        project.data,
        competition=project.competition.model_copy(update={"classes": names}),
        train=project.data.train.replace({"label": renamed}),
        folds=project.data.folds.replace({"label": renamed}),
        best=dataclasses.replace(project.data.best, trained=None),
    )
    tags = Tags(build_page(data))
    assert len(tags.all("script")) == 1
    assert not tags.all("b")
    assert sum(names[0] in text for text in tags.texts) > 3


def test_many_images_and_classes_make_no_large_page(many_classes):
    assert len(many_classes) < MAX_BYTES
