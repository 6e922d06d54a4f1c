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
from pipeline.errors import ConfigError, DataError
from pipeline.images.working_copy import ImageRows, WorkingCopies
from pipeline.reports.page.blocks import Hint, Section
from pipeline.reports.page.build_page import build_sections, page_title, render
from pipeline.reports.page.report_data import read_report_data
from pipeline.reports.page.review_deck import (
    ReviewDeck,
    ReviewFile,
    as_reviewed,
    decided_rows,
    emptied,
)
from pipeline.store.paths import Paths
from pipeline.store.tables import load_train

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
    images have not one class each, or the port is taken (ConfigError).

    Args:
        paths: The competition's files.
        competition: Its name, classes and metric.
        typed: The competition as the user names it on the command line, for commands on the page.
        port: To listen on; 0 for any that is free.
        opens: Whether to open the page in the browser.
    """
    competition.check_by_class("review")
    with make_server(paths, competition, typed, port) as server:
        result(server.address)
        say(f"review {competition.name}: open the address; Ctrl-C ends it")
        if opens:
            webbrowser.open(server.address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say(f"review {competition.name}: {server.desk.file.told()}")


@dataclass
class Desk:
    """What lies before the reviewer.

    Attributes:
        paths: The competition's files.
        title: Of the page.
        sections: Of the page; one of them holds the deck, nothing decided.
        train: Rows of `train.csv`.
        file: The decisions on the deck's cards.
    """

    paths: Paths
    title: str
    sections: list[Section]
    train: pd.DataFrame
    file: ReviewFile

    def page(self) -> bytes:
        """Render the page with what is decided by now, in whatever browser or command."""
        empty = self.file.deck
        deck = as_reviewed(empty, self.file.rows())
        sections = [
            replace(one, blocks=[deck if block is empty else block for block in one.blocks])
            for one in self.sections
        ]
        return render(self.title, sections, is_served=True).encode()

    def image(self, number: int) -> bytes:
        """Encode a card's image in full; whatever the file is, what leaves is a WebP."""
        image_id = self.file.deck.cards[number].image_id
        rows = self.train[self.train["image_id"] == image_id]
        (row,) = ImageRows(rows)
        buffer = io.BytesIO()
        pixels = WorkingCopies(self.paths, FULL_PX).read(row)
        Image.fromarray(pixels).save(buffer, "WEBP", quality=90)
        return buffer.getvalue()


class Handler(BaseHTTPRequestHandler):
    """Answers who knows the token, calls this host by its name, and comes from its own page."""

    server: "ReviewServer"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with the page, or the image of a card by its number."""
        name = self._asked()
        if name == "":
            self._send_page()
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

    def _send_page(self) -> None:
        try:
            page = self.server.desk.page()
        except DataError as error:  # of the file with the decisions
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
        else:
            self._reply(HTTPStatus.OK, page, "text/html; charset=utf-8")

    def _send_image(self, number: int) -> None:
        try:
            self._reply(HTTPStatus.OK, self.server.desk.image(number), "image/webp")
        except (IndexError, ValueError, DataError) as error:
            self._refuse(HTTPStatus.NOT_FOUND, str(error))

    def _save(self, body: bytes) -> None:
        try:
            told = self.server.desk.file.save(json.loads(body))
        except (ValueError, TypeError, IndexError, RecursionError) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except DataError as error:  # of a full or read-only disk, too
            self._refuse(HTTPStatus.INSUFFICIENT_STORAGE, str(error))
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
        desk: What it serves, once that is made.
        token: Without which nothing is answered.
    """

    daemon_threads = True
    desk: Desk

    def __init__(self, port: int, token: str) -> None:
        super().__init__((HOST, port), Handler)
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
    """Bind the port and build the page; see `run` for arguments and errors."""
    try:
        server = ReviewServer(port, secrets.token_urlsafe(24))
    except OSError as error:
        raise ConfigError(
            f"--port {port}: must be free ({error.strerror}); leave it out"
        ) from error
    try:
        server.desk = _desk(paths, competition, typed)
    except BaseException:
        server.server_close()
        raise
    return server


def _desk(paths: Paths, competition: Competition, typed: str) -> Desk:
    data = read_report_data(paths, competition, typed)
    sections = build_sections(data)
    decks = [block for one in sections for block in one.blocks if isinstance(block, ReviewDeck)]
    if not decks:
        raise DataError(
            f"{competition.name}: some label must be in doubt, none is; run 'pipeline train "
            f"{competition.name}' if nothing is trained yet"
        )
    deck, empty = decks[0], emptied(decks[0])
    here = data.command("review")  # which the page needn't name where it runs
    served = [
        replace(one, blocks=[empty if block is deck else block for block in one.blocks
                             if not (isinstance(block, Hint) and block.command == here)])
        for one in sections
    ]  # fmt: skip
    train = load_train(paths)
    file = ReviewFile(paths, empty, frozenset(train["image_id"]), decided_rows(deck))
    return Desk(paths, page_title(competition), served, train, file)
