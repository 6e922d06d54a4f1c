"""Stands in for kaggle.com: the official client talks to it as to a proxy, on any free port."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SERVICE = "competitions.CompetitionApiService"


@dataclass
class StandIn:
    """What was sent, and what is answered.

    `refusals` are error answers by the method's name; what `lost` names is done and its answer
    lost; `verdicts` are told one after the other, the last one for good.
    """

    uploads: list[bytes] = field(default_factory=list)
    descriptions: list[tuple[str, str]] = field(default_factory=list)
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
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
        assert method == "ListSubmissions", method
        if not self.descriptions:
            return {"submissions": [{"ref": 6, "status": "ERROR"}]}
        verdict = self.verdicts.pop(0) if len(self.verdicts) > 1 else self.verdicts[0]
        ours = {"ref": 7, "description": self.descriptions[-1][1]}
        return {"submissions": [{"ref": 6, "status": "ERROR"}, ours | verdict]}


@contextmanager
def serve() -> Iterator[StandIn]:
    """Run the stand-in for the time of a test."""
    stand_in = StandIn()
    handler = type("Handler", (_Handler,), {"stand_in": stand_in})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    stand_in.port = server.server_port
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    stand_in: StandIn

    def do_POST(self) -> None:
        request = json.loads(self._content())
        service, _, method = self.path.rpartition("/")
        assert service.endswith(SERVICE), self.path
        if method in self.stand_in.refusals:
            code, message = self.stand_in.refusals[method]
            return self._reply(code, {"code": code, "message": message})
        answer = self.stand_in.answer(method, request)
        if method in self.stand_in.lost:
            return self._reply(504, {})
        return self._reply(200, answer)

    def do_PUT(self) -> None:
        content = self._content()
        if "upload" in self.stand_in.refusals:
            return self._reply(self.stand_in.refusals["upload"][0], {})
        self.stand_in.uploads.append(content)
        return self._reply(200, {})

    def _content(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def _reply(self, status: int, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
