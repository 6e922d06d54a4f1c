"""Stands in for kaggle.com: the official client talks to it as to a proxy, on any free port."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SERVICES = ("competitions.CompetitionApiService", "security.OAuthService")


@dataclass
class StandIn:
    """What was sent, and what is answered.

    `refusals` are error answers by the method's name; what `lost` names is done and its answer
    lost; what `odd` names is answered with other bytes than data; what `hanging` names never is.
    `verdicts` are told one after the other, the last one for good. `others` were sent before, and
    `data` is the zip of all that the competition gives.
    """

    uploads: list[bytes] = field(default_factory=list)
    descriptions: list[tuple[str, str]] = field(default_factory=list)
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    odd: dict[str, bytes] = field(default_factory=dict)
    hanging: set[str] = field(default_factory=set)
    others: list[dict[str, Any]] = field(default_factory=lambda: [{"ref": 6, "status": "ERROR"}])
    data: bytes = b""
    ended: threading.Event = field(default_factory=threading.Event)
    verdicts: list[dict[str, str]] = field(
        default_factory=lambda: [{"status": "COMPLETE", "publicScore": "0.93"}]
    )
    port: int = 0

    def environment(self, folder: Path) -> dict[str, str]:
        """Tell the client, in another process, to come here."""
        url = f"http://127.0.0.1:{self.port}"
        return {
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "KAGGLE_USERNAME": "somebody",
            "KAGGLE_KEY": "key",
            "KAGGLE_CONFIG_DIR": str(folder),
            "HOME": str(folder),
            "http_proxy": url,
            "HTTP_PROXY": url,
            "no_proxy": "",
            "NO_PROXY": "",
        }

    def answer(self, method: str, request: dict[str, Any]) -> dict[str, Any]:
        if method == "StartSubmissionUpload":
            return {"token": "token", "createUrl": "http://localhost/upload"}
        if method == "CreateSubmission":
            described = (request["competitionName"], request["submissionDescription"])
            self.descriptions.append(described)
            return {"message": "Successfully submitted", "ref": 7}
        if method == "IntrospectToken":
            return {"active": True, "username": "somebody"}
        assert method == "ListSubmissions", method
        listed = list(self.others)
        if self.descriptions:
            verdict = self.verdicts.pop(0) if len(self.verdicts) > 1 else self.verdicts[0]
            listed.append({"ref": 7, "description": self.descriptions[-1][1]} | verdict)
        size = request.get("pageSize", 20)
        start = (max(request.get("page", 1), 1) - 1) * size
        return {"submissions": listed[start : start + size]}


@contextmanager
def serve() -> Iterator[StandIn]:
    """Run the stand-in for the time of a test."""
    stand_in = StandIn()
    handler = type("Handler", (_Handler,), {"stand_in": stand_in})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    stand_in.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield stand_in
    finally:
        stand_in.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    stand_in: StandIn

    def do_POST(self) -> None:
        request = json.loads(self._content())
        service, _, method = self.path.rpartition("/")
        assert service.endswith(SERVICES), self.path
        if method in self.stand_in.hanging:
            self.stand_in.ended.wait()
        elif method in self.stand_in.odd:
            self._say(200, "text/html", self.stand_in.odd[method])
        elif method in self.stand_in.refusals:
            code, message = self.stand_in.refusals[method]
            self._reply(code, {"code": code, "message": message})
        elif method == "DownloadDataFiles":
            self._say(302, "text/plain", b"", Location="http://localhost/all.zip?key=x")
        else:
            answer = self.stand_in.answer(method, request)
            is_lost = method in self.stand_in.lost
            self._reply(504 if is_lost else 200, {} if is_lost else answer)

    def do_PUT(self) -> None:
        content = self._content()
        if "upload" in self.stand_in.refusals:
            return self._reply(self.stand_in.refusals["upload"][0], {})
        self.stand_in.uploads.append(content)
        return self._reply(200, {})

    def do_GET(self) -> None:
        if "GET" in self.stand_in.hanging:
            self.stand_in.ended.wait()
        self._say(200, "application/zip", self.stand_in.data)

    def _content(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def _reply(self, status: int, answer: dict[str, Any]) -> None:
        self._say(status, "application/json", json.dumps(answer).encode())

    def _say(self, status: int, kind: str, body: bytes, **headers: str) -> None:
        self.send_response(status)
        headers |= {"Content-Type": kind, "Content-Length": str(len(body))}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
