"""The page in a real browser: what its readers get."""

import json
from importlib import resources

import numpy as np
import pytest

from pipeline.reports.page.blocks import Section, table
from pipeline.reports.page.build_page import render
from pipeline.reports.page.pictures import encode
from pipeline.reports.page.review_deck import ReviewCard, ReviewDeck
from tests.browser import CHROMIUM, Seen, browser
from tests.needs import needs

pytestmark = needs("chromium", is_there=CHROMIUM is not None)
WIDTHS, SCHEMES = (375, 1400), ("light", "dark")
RESULTS = "table[aria-label^=Results]"
TALLEST_PX = 6_000  # of two classes, at 1,400 px
TALLEST_OF_MANY_PX = 12_000


@pytest.fixture(scope="module")
def started():
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def path(project, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(project.html, encoding="utf-8")
    return path


# The other widths and schemes are looked at by `make test-slow`.
SEEN = [
    pytest.param((width, scheme), marks=[pytest.mark.slow] * ((width, scheme) != (375, "dark")))
    for width in WIDTHS
    for scheme in SCHEMES
]


@pytest.fixture(params=SEEN, ids=str)
def seen(request, started, path):
    """The page at a width, light or dark."""
    width, scheme = request.param
    size = {"width": width, "height": 800}
    # axe is put into the page from outside, which the page's own policy forbids.
    context = started.new_context(viewport=size, color_scheme=scheme, bypass_csp=True)
    yield Seen(context.new_page(), path)
    context.close()


@pytest.fixture
def page(started, path):
    """The page as it is, its policy in force; no complaint may come up."""
    context = started.new_context(viewport={"width": 1400, "height": 800})
    seen = Seen(context.new_page(), path)
    yield seen.page
    assert (seen.complaints, seen.requests) == ([], [])
    context.close()


def test_nothing_is_fetched_and_every_picture_is_there(page):
    sizes = page.evaluate("[...document.images].map(one => one.complete && one.naturalWidth)")
    assert len(sizes) > 20
    assert all(sizes)


def test_scripts_that_are_not_the_pages_own_do_not_run(started, path):
    seen = Seen(started.new_page(), path)
    seen.page.evaluate("""() => {
        const script = document.createElement("script");
        script.textContent = "window.ran = true";
        document.body.append(script);
    }""")
    assert seen.page.evaluate("window.ran") is None
    assert "Content Security Policy" in seen.complaints[0]
    seen.page.close()


def column(page, number):
    """Return what the experiments table shows in a column, and how it says that it is sorted."""
    cells = page.locator(f"{RESULTS} tbody tr > :nth-child({number})")
    heading = page.locator(f"{RESULTS} thead th:nth-child({number})")
    return cells.all_inner_texts(), heading.get_attribute("aria-sort")


def test_a_click_sorts_the_experiments_and_another_one_reverses_them(page):
    before, _ = column(page, 4)
    page.locator(f"{RESULTS} thead th:nth-child(4) button").click()
    falling, sort = column(page, 4)
    assert (falling, sort) == (sorted(before, key=float, reverse=True), "descending")
    page.locator(f"{RESULTS} thead th:nth-child(4) button").click()
    rising, sort = column(page, 4)
    assert (rising, sort) == (sorted(before, key=float), "ascending")


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_the_keyboard_sorts_too_and_one_column_at_a_time(page, key):
    page.locator(f"{RESULTS} thead th:nth-child(4) button").click()
    button = page.locator(f"{RESULTS} thead th:nth-child(1) button")
    button.focus()
    page.keyboard.press(key)
    names, sort = column(page, 1)
    assert (names, sort) == (sorted(names), "ascending")
    assert page.locator(f"{RESULTS} th[aria-sort]").count() == 1


def test_tab_reaches_the_headings(page):
    page.locator("#experiments .scroll", has=page.locator(RESULTS)).focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "BUTTON"


def test_two_classes_need_no_long_way_down(page):
    assert page.evaluate("document.documentElement.scrollHeight") <= TALLEST_PX


def test_many_classes_need_no_long_way_either(started, many_classes, tmp_path):
    file = tmp_path / "many.html"
    file.write_text(many_classes, encoding="utf-8")
    context = started.new_context(viewport={"width": 1400, "height": 800})
    page = Seen(context.new_page(), file).page
    assert page.evaluate("document.documentElement.scrollHeight") <= TALLEST_OF_MANY_PX
    context.close()


def test_the_menu_marks_where_one_is(page):
    here = page.locator("nav a[aria-current]")
    page.set_viewport_size({"width": 1400, "height": 2000})  # where more than Findings is seen
    page.evaluate("scrollTo(0, 1); scrollTo(0, 0)")
    assert here.all_inner_texts() == ["Findings"]
    page.set_viewport_size({"width": 1400, "height": 800})
    page.evaluate("document.getElementById('data').scrollIntoView()")
    page.locator("nav a[href='#data'][aria-current]").wait_for()
    assert here.count() == 1
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.locator("nav a[href='#again'][aria-current]").wait_for()


def test_what_is_wider_than_a_phone_says_so(started, path):
    context = started.new_context(viewport={"width": 390, "height": 800})
    page = Seen(context.new_page(), path).page
    page.locator("#experiments .sideways").first.wait_for()
    wide = page.evaluate("""[...document.querySelectorAll(".scroll")]
        .filter(one => one.checkVisibility() && one.scrollWidth > one.clientWidth + 2)
        .map(one => one.previousElementSibling.checkVisibility())""")
    assert wide
    assert all(wide)
    context.close()


def test_two_results_are_compared_by_the_settings_in_which_they_differ(page):
    page.locator("#experiments summary", has_text="What changed").click()
    shown = page.locator("#experiments table.compare tbody tr:visible")
    first, second = page.locator("#experiments .choices select").all()
    first.select_option("probe")
    second.select_option("finetune")
    told = {row.locator("th").inner_text(): row.locator("td:visible").all_inner_texts()
            for row in shown.all()}  # fmt: skip
    assert sorted(told["method"]) == ["finetune", "probe"]
    assert all(one != other for one, other in told.values())
    second.select_option("probe")
    assert shown.count() == 0


def test_long_tables_show_twenty_rows_first(started, tmp_path):
    rows = [[f"r{number:02}", number] for number in range(30)]
    section = Section("one", "One", [table("Long", ["name", "n"], rows)])
    file = tmp_path / "long.html"
    file.write_text(render("long", [section]), encoding="utf-8")
    page = Seen(started.new_page(), file).page
    shown = page.locator("tbody tr:visible")
    assert shown.count() == 20
    page.locator("thead th:nth-child(2) button").click()
    assert shown.first.locator("th").inner_text() == "r29"
    assert shown.count() == 20
    page.get_by_role("button", name="Show all 30 rows").click()
    assert shown.count() == 30
    page.close()


def test_paper_shows_what_is_folded_and_every_card(started, path):
    context = started.new_context()
    page = Seen(context.new_page(), path).page
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    cards = page.locator(".card")
    assert cards.count() == page.locator(".card:visible").count() >= 2
    assert page.locator("nav").is_hidden()
    settings = page.locator("table.compare tbody tr:visible").all()
    assert settings
    assert all(len(set(row.locator("td:visible").all_inner_texts())) > 1 for row in settings)
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0
    context.close()


def test_paper_shows_wide_tables_whole(started, tmp_path):
    names = [f"a long class {number}" for number in range(16)]
    rows = [[name, *range(len(names))] for name in names]
    section = Section("one", "One", [table("Wide", ["true class", *names], rows)])
    file = tmp_path / "wide.html"
    file.write_text(render("wide", [section]), encoding="utf-8")
    context = started.new_context(viewport={"width": 720, "height": 1000})
    page = Seen(context.new_page(), file).page
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 720
    context.close()


def test_the_page_fits_any_width(seen):
    widths = seen.page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert widths[0] <= widths[1]


def test_axe_finds_nothing(seen):
    for details in seen.page.locator("details").all():
        details.evaluate("one => one.open = true")
    axe = resources.files("axe_playwright_python") / "axe.min.js"
    seen.page.evaluate(axe.read_text(encoding="utf-8"))
    found = seen.page.evaluate("axe.run(document)")
    told = [
        [one["id"], one["impact"], one["nodes"][0]["html"][:200]] for one in found["violations"]
    ]
    assert told == [], json.dumps(told, indent=1)
    assert len(found["passes"]) > 20


def test_charts_follow_the_scheme_of_the_page(started, path):
    """Text in charts is dark on light pages and light on dark ones."""
    shades = []
    for scheme in SCHEMES:
        context = started.new_context(color_scheme=scheme)
        chart = Seen(context.new_page(), path).page.locator("#experiments .chart img").first
        # The page's own colours at a place of text: draw the chart alone on a canvas.
        shades.append(
            chart.evaluate("""async (image) => {
                const canvas = document.createElement("canvas");
                canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
                const pen = canvas.getContext("2d");
                pen.drawImage(image, 0, 0);
                const data = pen.getImageData(0, 0, canvas.width, canvas.height).data;
                let sum = 0, count = 0;
                for (let at = 0; at < data.length; at += 4) {
                    const [r, g, b, a] = data.slice(at, at + 4);
                    if (a === 255 && Math.abs(r - b) < 20) { sum += g; count += 1; }
                }
                return sum / count;
            }""")
        )
        context.close()
    assert shades[0] < 90
    assert shades[1] > 160


@pytest.mark.parametrize("width", WIDTHS)
def test_names_of_whatever_length_push_nothing_out_of_the_page(started, tmp_path, width):
    names = ["x" * 150, "many words " * 15 + "end", "قطة سوداء", "\u2800"]
    cards = [ReviewCard(f"{name}.jpg", at, (at + 1) % 4, ["suspect"], lines=[name])
             for at, name in enumerate(names)]  # fmt: skip
    deck = ReviewDeck("key", names, {"suspect": "doubtful"}, ["image_id"], cards)
    file = tmp_path / "names.html"
    file.write_text(render("names", [Section("review", "Review", [deck])]), encoding="utf-8")
    page = started.new_page(viewport={"width": width, "height": 800})
    Seen(page, file)
    for _ in cards:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.get_by_role("button", name="Next").click()
    assert page.locator(".card:visible .labelled").inner_text().startswith("labelled U+2800")
    page.close()


def test_a_card_stands_beside_sure_images_of_its_class_and_of_the_one_chosen(started, tmp_path):
    names = ["cat", "dog", "fox"]
    pixels = np.zeros((8, 8, 3), np.uint8)
    examples = {at: encode(pixels, f"image {at}", 8, f"the surest {name}")
                for at, name in enumerate(names)}  # fmt: skip
    cards = [ReviewCard("a.jpg", 0, 1, ["suspect"]), ReviewCard("b.jpg", None, None, ["suspect"])]
    deck = ReviewDeck("key", names, {"suspect": "doubtful"}, ["image_id"], cards, examples=examples)
    file = tmp_path / "examples.html"
    file.write_text(render("x", [Section("review", "Review", [deck])]), encoding="utf-8")
    page = Seen(started.new_page(), file).page
    shown = page.locator(".card:visible .example")
    assert shown.all_inner_texts() == ["the surest dog", "the surest cat"]
    page.locator("[name=target]").select_option("fox")
    assert shown.all_inner_texts() == ["the surest fox", "the surest cat"]
    page.get_by_role("button", name="Next").click()
    assert shown.count() == 0
    page.close()
