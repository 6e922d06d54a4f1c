"""Serve the page to this machine's browser, and write the corrections that are decided there."""

import hmac
import io
import json
import secrets
import sys
import webbrowser
from dataclasses import dataclass, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
from PIL import Image

from pipeline.config.competition import Competition
from pipeline.console import result, say
from pipeline.data.corrections import DROP, RELABEL
from pipeline.errors import ConfigError, DataError
from pipeline.images.working_copy import ImageRows, WorkingCopies
from pipeline.reports.page.build_page import build_sections, page_title, render
from pipeline.reports.page.report_data import read_report_data
from pipeline.reports.page.review_deck import ReviewDeck, as_decided, saved_row
from pipeline.store.paths import Paths
from pipeline.store.tables import SUSPECT_COLUMNS, load_train, write_for_people

HOST = "127.0.0.1"
FULL_PX = 1600  # the short side of an image in full
MAX_BODY = 10_000_000


def run(
    paths: Paths, competition: Competition, typed: str, port: int = 0, *, opens: bool = True
) -> None:
    """Serve the page until Ctrl-C; every decision is written at once.

    Reads what `report` reads, the images that are opened, and the decisions of earlier reviews.

    Writes artifacts/COMPETITION/report/corrections.csv; prints the page's address, which holds a
    random token.

    Fails as `report` does, if no label is in doubt, the decisions' file is damaged (DataError),
    images have several labels, or the port is taken (ConfigError).

    Args:
        paths: The competition's files.
        competition: Its name, classes and metric.
        typed: The competition as the user names it on the command line, for commands on the page.
        port: To listen on; 0 for any that is free.
        opens: Whether to open the page in the browser.
    """
    if competition.has_several:
        raise ConfigError(
            f"review: must be of images with one class each, those of {competition.name} have "
            "several labels"
        )
    with make_server(paths, competition, typed, port) as server:
        result(server.address)
        say(f"review {competition.name}: open the address; Ctrl-C ends it")
        if opens:
            webbrowser.open(server.address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say(f"review {competition.name}: {server.desk.told()}")


@dataclass
class Desk:
    """What lies before the reviewer: the page, its cards and the file that is written.

    Attributes:
        paths: The competition's files.
        page: The page, whose deck holds the cards.
        deck: The cards, as the file has them decided.
        train: Rows of `train.csv`.
        num_corrected: How many images the file drops or relabels.
    """

    paths: Paths
    page: bytes
    deck: ReviewDeck
    train: pd.DataFrame
    num_corrected: int = 0

    def image(self, number: int) -> bytes:
        """Encode a card's image in full; whatever the file is, what leaves is a WebP."""
        image_id = self.deck.cards[number].image_id
        rows = self.train[self.train["image_id"] == image_id]
        (row,) = ImageRows(rows)
        buffer = io.BytesIO()
        pixels = WorkingCopies(self.paths, FULL_PX).read(row)
        Image.fromarray(pixels).save(buffer, "WEBP", quality=90)
        return buffer.getvalue()

    def save(self, decisions: Any) -> str:
        """Write decisions, `[[card, action, class or None], ...]`; returns a line about it.

        Raises:
            ValueError: They are no such list.
        """
        rows = [saved_row(self.deck, *decision) for decision in decisions]
        if len({row[0] for row in rows}) < len(rows):
            raise ValueError("an image is decided twice")
        table = pd.DataFrame([*rows, *self.deck.carried], columns=pd.Index(SUSPECT_COLUMNS))
        write_for_people(table, self.paths.corrections_csv)
        self.num_corrected = int((table["action"] != "").sum())
        return self.told()

    def told(self) -> str:
        """Say what was written, and the command that it is for."""
        if not self.num_corrected:
            return f"nothing is corrected. {self.deck.take_back}".strip()
        path = self.paths.corrections_csv
        return f"{path}: {self.num_corrected:,} corrections; run '{self.deck.command} {path}'"


class Handler(BaseHTTPRequestHandler):
    """Answers who knows the token, calls this host by its name, and comes from its own page."""

    server: "ReviewServer"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with the page, or the image of a card by its number."""
        name = self._asked()
        if name == "":
            self._reply(HTTPStatus.OK, self.server.desk.page, "text/html; charset=utf-8")
        elif name and name.startswith("image/") and name[6:].isascii() and name[6:].isdecimal():
            self._send_image(int(name[6:]))
        elif name is not None:
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such page")

    def do_POST(self) -> None:
        """Write decisions."""
        origin = self.headers.get("Origin")
        length = self.headers.get("Content-Length", "")
        self.close_connection = True  # an unread body would be taken for the next request
        if self._asked() is None:
            return
        if origin is not None and origin not in self.server.origins:
            self._refuse(HTTPStatus.FORBIDDEN, "the page must be this server's own")
        elif self.path != f"/{self.server.token}/corrections":
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such page")
        elif self.headers.get("Content-Type") != "application/json":
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "must be JSON")
        elif not (length.isascii() and length.isdecimal()) or int(length) > MAX_BODY:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "must be short")
        else:
            self._save(self.rfile.read(int(length)))

    def _asked(self) -> str | None:
        """Return the path below the token; None where the request was refused."""
        if self.headers.get("Host", "") not in self.server.hosts:
            self._refuse(HTTPStatus.FORBIDDEN, "the host must be this machine's")
            return None
        _, token, name = [*urlsplit(self.path).path.split("/", 2), "", ""][:3]
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self._refuse(HTTPStatus.FORBIDDEN, "the address must hold the token")
            return None
        return name

    def _send_image(self, number: int) -> None:
        try:
            self._reply(HTTPStatus.OK, self.server.desk.image(number), "image/webp")
        except (IndexError, ValueError, DataError) as error:
            self._refuse(HTTPStatus.NOT_FOUND, str(error))

    def _save(self, body: bytes) -> None:
        try:
            told = self.server.desk.save(json.loads(body))
        except (ValueError, TypeError, RecursionError) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        else:
            self._reply(HTTPStatus.OK, told.encode(), "text/plain; charset=utf-8")

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self._reply(status, reason.encode(), "text/plain; charset=utf-8")

    def _reply(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": "frame-ancestors 'none'",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing of single requests."""


class ReviewServer(ThreadingHTTPServer):
    """A server that this machine alone reaches.

    Attributes:
        desk: What it serves.
        token: Without which nothing is answered.
    """

    daemon_threads = True

    def __init__(self, port: int, token: str, desk: Desk) -> None:
        super().__init__((HOST, port), Handler)
        self.desk = desk
        self.token = token
        self.hosts = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}
        self.origins = {f"http://{host}" for host in self.hosts}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that left before its answer came."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def address(self) -> str:
        """The page's address."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"


def make_server(paths: Paths, competition: Competition, typed: str, port: int = 0) -> ReviewServer:
    """Build the page and bind the port; see `run` for arguments and errors."""
    data = read_report_data(paths, competition, typed)
    sections = build_sections(data)
    decks = [block for one in sections for block in one.blocks if isinstance(block, ReviewDeck)]
    if not decks:
        raise DataError(
            f"{competition.name}: some label must be in doubt, none is; run 'pipeline train "
            f"{competition.name}' if nothing is trained yet"
        )
    token = secrets.token_urlsafe(24)
    train = load_train(paths)
    deck = replace(as_decided(decks[0], paths, train), key=f"{decks[0].key} {token}")
    served = [
        replace(one, blocks=[deck if block is decks[0] else block for block in one.blocks])
        for one in sections
    ]
    page = render(page_title(competition), served, is_served=True).encode()
    num = sum(card.action in (DROP, RELABEL) for card in deck.cards) + len(deck.carried)
    try:
        return ReviewServer(port, token, Desk(paths, page, deck, train, num))
    except OSError as error:
        raise ConfigError(
            f"--port {port}: must be free ({error.strerror}); leave it out"
        ) from error
