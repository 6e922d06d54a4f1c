"""A real web server on this machine whose every answer a test can spoil."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Website:
    """Files by path, what to do with the next requests, and what was asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    answers: list["Answer"] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    validators: dict[str, str] = field(default_factory=lambda: {"ETag": '"first"'})
    url: str = ""

    def ranges(self) -> list[str | None]:
        return [headers.get("Range") for _, headers in self.requests]


class Handler(BaseHTTPRequestHandler):
    site: Website

    def do_GET(self) -> None:
        self.site.requests.append((self.path, dict(self.headers)))
        answer = self.site.answers.pop(0) if self.site.answers else whole
        answer(self, self.site.files.get(self.path))

    def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


Answer = Callable[[Handler, bytes | None], None]


def whole(handler: Handler, content: bytes | None) -> None:
    """Answer as a good server does: ranges only of the version that If-Range names."""
    if content is None:
        return handler.reply(404, {}, b"no such file")
    validators = handler.site.validators
    wanted = re.match(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    if wanted is None or handler.headers.get("If-Range") not in validators.values():
        return handler.reply(200, validators, content)
    if int(wanted[1]) >= len(content):
        return handler.reply(416, {"Content-Range": f"bytes */{len(content)}"}, b"")
    return part_from(int(wanted[1]))(handler, content)


def part_from(start: int) -> Answer:
    def answer(handler: Handler, content: bytes | None) -> None:
        assert content is not None
        span = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        handler.reply(206, handler.site.validators | span, content[start:])

    return answer


def broken_off(after: int) -> Answer:
    def answer(handler: Handler, content: bytes | None) -> None:
        assert content is not None
        length = {"Content-Length": str(len(content))}
        handler.reply(200, handler.site.validators | length, content[:after])

    return answer


def without_range(handler: Handler, content: bytes | None) -> None:
    assert content is not None
    handler.reply(200, handler.site.validators, content)


def status(code: int, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, _: handler.reply(code, named, b"")


@contextmanager
def serve() -> Iterator[Website]:
    site = Website()
    handler = type("SiteHandler", (Handler,), {"site": site})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        site.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield site
        server.shutdown()
        thread.join()
