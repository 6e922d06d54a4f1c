"""Labels decided in a real browser: on the page alone, and on the page that `review` serves."""

import json
import shutil
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

from pipeline.data.corrections import recorded_corrections
from pipeline.errors import ConfigError, DataError
from pipeline.reports.page.blocks import Findings
from pipeline.reports.page.build_page import render
from pipeline.reports.page.report_data import read_report_data
from pipeline.reports.page.review_deck import ReviewDeck, as_reviewed
from pipeline.reports.page.sections import label_review, summary
from pipeline.stages import folds, review, train
from pipeline.store.paths import Paths
from pipeline.store.tables import SUSPECT_COLUMNS, load_folds, load_train, read_table
from tests.browser import CHROMIUM, Seen, browser
from tests.needs import needs

with_browser = needs("chromium", is_there=CHROMIUM is not None)
# Ten cards: five dropped, three relabelled, two kept; the last two are taken back.
KEYS = "ddrdrdkdrk"
TAKEN_BACK = 2


@pytest.fixture(scope="module")
def started():
    with browser() as started:
        yield started


@pytest.fixture
def own(project, tmp_path, monkeypatch):
    """A copy of the project that a test may change; its page is built already."""
    monkeypatch.setattr(review, "build_sections", lambda _: project.sections)
    root = tmp_path / "root"
    shutil.copytree(project.paths.root, root)
    return Paths(root, project.competition.name), project.competition


@contextmanager
def serving(own):
    """Serve the page as `review` does, in a thread."""
    server = review.make_server(own[0], own[1], "demo")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def decide(page, keys):
    """Press keys, one for each card that can be corrected, from the first one on."""
    page.locator(".deck").focus()
    for key in keys:
        page.keyboard.press(key)


def undo(page, times):
    for _ in range(times):
        page.keyboard.press("u")


def progress(page):
    return page.locator(".deck .progress").inner_text()


def expected(page_cards):
    """Return what the keys that stand decide, by image."""
    kept = KEYS[: len(KEYS) - TAKEN_BACK]
    pairs = list(zip(page_cards, kept, strict=False))
    return (
        {card.image_id for card, key in pairs if key == "d"},
        {card.image_id for card, key in pairs if key == "r"},
        {card.image_id for card, key in pairs if key == "k"},
    )


def cards_in(sections):
    """List the cards that something can be decided on."""
    blocks = [block for one in sections for block in one.blocks]
    (deck,) = [block for block in blocks if isinstance(block, ReviewDeck)]
    return [card for card in deck.cards if card.label is not None]


def labels_line(paths, competition):
    """Return what the page says of labels in its first lines."""
    data = read_report_data(paths, competition, "demo")
    lines = next(block for one in summary.build(data) for block in one.blocks
                 if isinstance(block, Findings)).lines  # fmt: skip
    return next(line.text for line in lines if line.topic == "Labels")


def check_and_apply(own, cards, file):
    """Take the saved file, train anew, and see that the page counts what was decided."""
    paths, competition = own
    dropped, relabelled, kept = expected(cards)
    saved = read_table(file, SUSPECT_COLUMNS, "x").set_index("image_id")["action"]
    assert {name for name in saved.index if saved[name] == "keep"} == kept
    given = load_train(paths).set_index("image_id")["label"]
    folds.run(paths, competition, None, None, str(file))
    after = load_folds(paths).set_index("image_id")["label"]
    assert set(given.index) - set(after.index) == dropped
    assert {name for name in after.index if after[name] != given[name]} == relabelled
    train.run(paths, competition, [str(paths.root / "probe.toml")], [], [])
    counted = f"In effect: {len(dropped)} dropped"
    assert labels_line(paths, competition).startswith(counted)
    assert f"{len(relabelled)} relabelled" in labels_line(paths, competition)


@with_browser
def test_ten_cards_are_decided_by_keys_and_the_saved_file_is_taken_as_it_is(
    own, started, project, tmp_path
):
    path = tmp_path / "page.html"
    path.write_text(project.html, encoding="utf-8")
    context = started.new_context(viewport={"width": 1400, "height": 900})
    seen = Seen(context.new_page(), path)
    decide(seen.page, KEYS)
    undo(seen.page, TAKEN_BACK)
    before = progress(seen.page)
    assert "8 of" in before
    seen.page.reload()
    assert progress(seen.page).partition(".")[2] == before.partition(".")[2]
    with seen.page.expect_download() as download:
        seen.page.get_by_role("button", name="Save").click()
    saved = tmp_path / "corrections.csv"
    download.value.save_as(saved)
    assert download.value.suggested_filename == "corrections.csv"
    told = seen.page.locator(".told").inner_text()
    asked = "with the file's path: pipeline folds demo --corrections corrections.csv"
    assert told.endswith(f"{asked}, then: pipeline run demo")
    assert (seen.complaints, set(seen.requests) - {path.as_uri()}) == ([], set())
    context.close()
    check_and_apply(own, cards_in(project.sections), saved)


@with_browser
def test_review_writes_the_file_itself_at_every_decision(own, started, project):
    paths, _ = own
    with serving(own) as server:
        context = started.new_context(viewport={"width": 1400, "height": 900})
        page = context.new_page()
        complaints = []
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(server.address)
        assert page.get_by_text("The same with the images in full").count() == 0
        decide(page, KEYS)
        undo(page, TAKEN_BACK)
        before = progress(page)
        page.reload()
        assert progress(page).partition(".")[2] == before.partition(".")[2]
        page.get_by_role("button", name="Save").click()
        page.locator(".told", has_text="corrections; run").wait_for()
        with page.expect_response("**/image/*") as answer:
            page.locator(".card:visible .whole").click()
        assert answer.value.status == 200
        page.locator("dialog img").evaluate("image => image.decode()")
        assert complaints == []
        context.close()
    check_and_apply(own, cards_in(project.sections), paths.corrections_csv)


@pytest.mark.slow
@with_browser
def test_filters_search_and_buttons_do_what_they_say(started, project, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(project.html, encoding="utf-8")
    page = Seen(started.new_page(), path).page
    deck = page.locator(".deck")
    deck.locator("[name=reason]").select_option("unreadable")
    assert progress(page).startswith("Card 1 of 1.")
    assert deck.get_by_role("button", name="Drop").is_disabled()
    deck.locator("[name=reason]").select_option("")
    deck.locator("[name=search]").fill("no such image")
    assert progress(page).startswith("No card fits")
    deck.locator("[name=search]").fill("")
    name = page.locator(".card:visible").get_attribute("data-id")
    deck.locator("[name=target]").select_option("dog")
    deck.get_by_role("button", name="Relabel").click()
    label = page.locator(f".card[data-id='{name}']").get_attribute("data-label")
    is_dog = label == str(project.competition.classes.index("dog"))
    told = page.locator(".told").inner_text()
    assert told == (f"{name}: keep." if is_dog else f"{name}: relabel to dog.")
    deck.locator("[name=state]").select_option("decided")
    assert progress(page).startswith("Card 1 of 1.")
    page.keyboard.press("Escape")
    deck.get_by_role("button", name="Undo").click()
    assert page.locator(".told").inner_text() == f"Taken back: {name} is open."
    page.close()


@with_browser
def test_letters_typed_into_the_search_decide_nothing(started, project, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(project.html, encoding="utf-8")
    page = Seen(started.new_page(), path).page
    page.locator(".deck [name=search]").press_sequentially("dkr")
    assert "0 kept, 0 to drop, 0 to relabel" in progress(page)
    page.close()


def test_corrections_in_effect_stand_in_the_next_file_unless_they_are_taken_back(own, project):
    paths, competition = own
    first = cards_in(project.sections)[0]
    train_csv = load_train(paths).set_index("image_id")
    table = paths.root / "mine.csv"
    label = train_csv["label"][first.image_id]
    table.write_text(
        f"{','.join(SUSPECT_COLUMNS)}\n{first.image_id},{label},,,,drop\n", encoding="utf-8"
    )
    folds.run(paths, competition, None, None, str(table))
    data = read_report_data(paths, competition, "demo")
    cards = cards_in(label_review.build(data))
    (card,) = [one for one in cards if one.image_id == first.image_id]
    assert (card.action, card.reasons) == ("drop", ["decided"])
    assert competition.classes[card.label] == label
    recorded = recorded_corrections(paths)
    assert recorded is not None
    assert recorded.drop == [first.image_id]
    page = render("x", label_review.build(data))
    assert 'data-back="pipeline folds demo --corrections none"' in page


def ask(server, path, *, body=None, **headers):
    """Ask a server; return status and text."""
    request = urllib.request.Request(f"http://127.0.0.1:{server.server_port}{path}", data=body)
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.fixture
def server(own):
    with serving(own) as server:
        yield server


JSON = {"Content_Type": "application/json"}


def test_only_who_knows_the_token_is_answered(server):
    assert ask(server, f"/{server.token}/")[0] == 200
    for path in ("/", "/index.html", "/wrong/", f"/{server.token[:-1]}/", f"/x/{server.token}/"):
        assert ask(server, path)[0] == 403
    assert ask(server, "/wrong/corrections", body=b"[]", **JSON)[0] == 403
    assert not server.desk.paths.corrections_csv.exists()


def test_other_hosts_and_origins_are_refused(server):
    path = f"/{server.token}/corrections"
    assert ask(server, f"/{server.token}/", Host="evil.example")[0] == 403
    assert ask(server, path, body=b"[]", Origin="http://evil.example", **JSON)[0] == 403
    assert ask(server, path, body=b"[]", Origin="null", **JSON)[0] == 403
    assert ask(server, path, body=b"[]", Content_Type="text/plain")[0] == 415
    own = f"http://127.0.0.1:{server.server_port}"
    assert ask(server, path, body=b"[]", Origin=own, **JSON)[0] == 200


@pytest.mark.parametrize(
    "name", ["image/../../etc/passwd", "image/%2e%2e/x", "image/-1", "image/999", "image/", "x"]
)
def test_images_are_asked_for_by_number_and_nothing_else_is_there(server, name):
    assert ask(server, f"/{server.token}/{name}")[0] == 404


def test_an_image_is_sent_as_what_it_shows_never_as_its_file(server):
    status, content = ask(server, f"/{server.token}/image/0")
    assert (status, content[8:12]) == (200, b"WEBP")


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"{}x", b"3", b"[3]", b"[[0]]", b'[[0, "delete", null]]',
        b'[[999, "drop", null]]', b'[["0", "drop", null]]', b'[[0, "relabel", null]]',
        b'[[0, "relabel", 99]]', b'[[-1, "drop", null]]', b"[" * 9999,
        b'[[0, "drop", null], [0, "drop", null]]',
        b'[[0, "relabel", "dog"]]', b'[[0.5, "drop", null]]',
    ],
)  # fmt: skip
def test_what_is_no_list_of_decisions_is_refused_and_nothing_written(server, body):
    assert ask(server, f"/{server.token}/corrections", body=body, **JSON)[0] == 400
    assert not server.desk.paths.corrections_csv.exists()


@pytest.mark.slow
def test_an_earlier_review_is_gone_on_with_where_it_ended(own, monkeypatch):
    with serving(own) as first:
        decisions = [[0, "drop", None], [1, "keep", None]]
        body = json.dumps(decisions).encode()
        status, told = ask(first, f"/{first.token}/corrections", body=body, **JSON)
        assert (status, b"2 decided, 1 of them corrections" in told) == (200, True)
        assert told.endswith(b"', then 'pipeline run demo'")
        ids = [card.image_id for card in first.desk.file.deck.cards]
    monkeypatch.undo()
    again = cards_in(label_review.build(read_report_data(own[0], own[1], "demo")))
    decided = {card.image_id: (card.action, card.reasons) for card in again if card.action}
    assert decided == {ids[0]: ("drop", ["decided"]), ids[1]: ("keep", ["decided"])}
    assert again[0].image_id == ids[2]


def test_a_port_that_is_taken_is_told(own):
    paths, competition = own
    with (
        serving(own) as server,
        pytest.raises(ConfigError, match=r"--port \d+: must be free"),
    ):
        review.make_server(paths, competition, "demo", server.server_port)


def test_without_doubt_there_is_nothing_to_review(own, monkeypatch):
    monkeypatch.setattr(review, "build_sections", lambda _: [])
    with pytest.raises(DataError, match="some label must be in doubt"):
        review.make_server(own[0], own[1], "demo")


def test_the_stage_tells_the_address_and_ends_by_ctrl_c(own, capsys, monkeypatch):
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(review.ReviewServer, "serve_forever", interrupted)
    review.run(own[0], own[1], "demo")
    told = capsys.readouterr()
    assert opened == [told.out.strip()]
    assert told.out.startswith("http://127.0.0.1:")
    assert "0 looked at and kept, nothing to correct" in told.err


def post(server, decisions):
    """Send decisions as the page does; return status and text."""
    body = json.dumps(decisions).encode()
    status, told = ask(server, f"/{server.token}/corrections", body=body, **JSON)
    return status, told.decode()


def actions_in(paths):
    table = read_table(paths.corrections_csv, SUSPECT_COLUMNS, "x")
    return dict(zip(table["image_id"], table["action"], strict=True))


def test_two_reviews_at_once_keep_each_others_decisions(own):
    with serving(own) as first, serving(own) as second:
        ids = [card.image_id for card in first.desk.file.deck.cards]
        post(first, [[0, "drop", None], [1, "keep", None]])
        post(second, [[2, "drop", None]])
        post(first, [[1, "", None]])  # taken back
        assert actions_in(own[0]) == {ids[0]: "drop", ids[2]: "drop"}


def test_what_can_not_be_written_is_told(own):
    with serving(own) as server:
        own[0].corrections_csv.mkdir(parents=True)
        status, told = post(server, [[0, "drop", None]])
        assert status == 507
        assert "corrections.csv" in told
        assert "\n" not in told


def test_a_damaged_file_of_decisions_is_told_and_not_overwritten(own):
    with serving(own) as server:
        post(server, [[0, "drop", None]])
        own[0].corrections_csv.write_text("image_id\nx\n", encoding="utf-8")
        status, told = post(server, [[1, "drop", None]])
        assert (status, told.endswith("mend it, or move it away")) == (507, True)
        assert ask(server, f"/{server.token}/")[0] == 500
    assert own[0].corrections_csv.read_text(encoding="utf-8") == "image_id\nx\n"


def test_an_action_that_there_is_none_of_is_told_in_one_line(own):
    paths, competition = own
    row = f"{load_train(paths)['image_id'][0]},cat,dog,0.1,0.9,delete\n"
    paths.corrections_csv.parent.mkdir(exist_ok=True)
    paths.corrections_csv.write_text(",".join(SUSPECT_COLUMNS) + "\n" + row, encoding="utf-8")
    with pytest.raises(DataError, match=r"action must be empty or one of .*, is 'delete' of '"):
        review.make_server(paths, competition, "demo")


def test_a_relabelling_that_the_list_says_itself_by_now_is_a_label_that_was_kept(project):
    blocks = [block for one in project.sections for block in one.blocks]
    (deck,) = (block for block in blocks if isinstance(block, ReviewDeck))
    card = deck.cards[0]
    label = project.competition.classes[card.label]
    row = [card.image_id, label, label, "0.1", "0.9", "relabel"]
    first = as_reviewed(deck, {card.image_id: row}).cards[0]
    assert (first.action, first.chosen) == ("keep", None)


@pytest.mark.slow
def test_kept_labels_are_not_asked_for_again(own, project, monkeypatch):
    monkeypatch.undo()
    paths, competition = own
    cards = [card for card in cards_in(project.sections) if "suspect" in card.reasons]
    names = competition.classes
    rows = [f"{card.image_id},{names[card.label]},,,,keep\n" for card in cards]
    table = paths.root / "mine.csv"
    table.write_text(",".join(SUSPECT_COLUMNS) + "\n" + "".join(rows), encoding="utf-8")
    before = paths.folds_csv.read_bytes()
    folds.run(paths, competition, None, None, str(table))
    assert paths.folds_csv.read_bytes() == before
    again = cards_in(label_review.build(read_report_data(paths, competition, "demo")))
    assert not any("suspect" in card.reasons for card in again)
    kept = {card.image_id for card in again if (card.action, card.reasons) == ("keep", ["decided"])}
    assert kept == {card.image_id for card in cards}


@pytest.mark.slow
@with_browser
def test_another_browser_sees_what_is_decided_and_takes_nothing_back(own, started):
    with serving(own) as server:
        pages = []
        for _ in range(2):
            pages.append(started.new_context().new_page())
            pages[-1].goto(server.address)
        first, second = pages
        for page, keys in ((first, "dd"), (second, "")):
            decide(page, keys)
            page.get_by_role("button", name="Save").click()
            page.locator(".told", has_text="2 of them corrections; run").wait_for()
        second.reload()
        assert "2 to drop" in progress(second)
        undo(first, 1)
        first.get_by_role("button", name="Save").click()
        first.locator(".told", has_text="1 of them corrections; run").wait_for()
        second.reload()
        assert "1 to drop" in progress(second)
        for page in pages:
            page.context.close()


@pytest.mark.slow
@with_browser
def test_two_tabs_of_the_page_count_each_others_decisions(started, project, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(project.html, encoding="utf-8")
    context = started.new_context()
    first, second = (Seen(context.new_page(), path).page for _ in range(2))
    decide(first, "dd")
    second.locator(".progress", has_text="2 to drop").wait_for()
    decide(second, "u")
    first.locator(".progress", has_text="1 to drop").wait_for()
    context.close()


@pytest.mark.slow
@with_browser
def test_what_the_server_did_not_get_is_downloaded_or_sent_later(own, started, project, tmp_path):
    ids = [card.image_id for card in cards_in(project.sections)[:2]]
    context = started.new_context()
    page = context.new_page()
    with serving(own) as server:
        page.goto(server.address)
        decide(page, "d")
        context.set_offline(True)
        decide(page, "d")
        page.locator(".told", has_text="Not saved").wait_for()
        with page.expect_download() as download:
            page.get_by_role("button", name="Save").click()
        saved = tmp_path / "corrections.csv"
        download.value.save_as(saved)
        table = read_table(saved, SUSPECT_COLUMNS, "x")
        assert table["action"].tolist() == ["drop", "drop"]
        context.set_offline(False)
        page.reload()
        page.get_by_role("button", name="Save").click()
        page.locator(".told", has_text="2 of them corrections; run").wait_for()
        assert actions_in(own[0]) == dict.fromkeys(ids, "drop")
    context.close()


@pytest.mark.slow
@with_browser
def test_an_image_that_is_gone_opens_as_the_page_has_it(own, started):
    paths, _ = own
    with serving(own) as server:
        page = started.new_context().new_page()
        page.goto(server.address)
        shutil.rmtree(paths.images_dir)
        page.locator(".card:visible .whole").click()
        page.locator("dialog p", has_text="can't be read any more").wait_for()
        page.locator("dialog img").evaluate("image => image.decode()")
        page.keyboard.press("d")
        page.locator("dialog[open]").wait_for()
        assert "1 to drop" in progress(page)
        page.context.close()


@pytest.mark.slow
@with_browser
def test_keys_work_where_the_deck_is_seen_and_choose_the_class(started, project, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(project.html, encoding="utf-8")
    page = Seen(started.new_page(), path).page
    page.keyboard.press("d")
    assert "0 to drop" in progress(page)  # the deck isn't seen yet
    page.locator("nav a[href='#review']").click()
    page.keyboard.press("d")
    assert "1 to drop" in progress(page)
    card = page.locator(".card:visible")
    name, label = card.get_attribute("data-id"), int(card.get_attribute("data-label") or "")
    other = next(one for one in project.competition.classes
                 if one != project.competition.classes[label])  # fmt: skip
    page.keyboard.press("c")
    page.keyboard.type(other)
    page.keyboard.press("Enter")
    assert page.locator(".told").inner_text() == f"{name}: relabel to {other}."
    page.close()
