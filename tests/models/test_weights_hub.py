"""Weights from a hub: a stand-in on this machine, spoken to over HTTP as the real one is."""

import hashlib
import multiprocessing
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save
from timm.models import PretrainedCfg

from pipeline.config.experiment import ModelConfig
from pipeline.data.archives.sources import RetryPolicy
from pipeline.errors import ArtifactError, ConfigError
from pipeline.models import hub, hub_address
from pipeline.models.hub import fetch, hub_repository
from pipeline.models.hub_address import Repository, endpoint
from pipeline.models.network import Network
from pipeline.models.registry import build_model, build_trunk

NAME = "timm/test_resnet"
REPOSITORY = "timm/test_resnet.r160_in1k"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SECONDS = 0.4


def trained() -> dict[str, torch.Tensor]:
    torch.manual_seed(99)
    return timm.create_model("test_resnet").state_dict()


@dataclass
class StandIn:
    """What the stand-in holds, how it behaves, and what it was asked."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    manner: str = "serves"
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    num_cut: int = 0  # so many of the next bodies end in their middle

    def content(self, path: str) -> bytes | None:
        """Find a file, by its revision or by the commit, which all revisions are at."""
        at_commit = {
            re.sub("/resolve/[^/]+/", f"/resolve/{COMMIT}/", key): key for key in self.files
        }
        return self.files.get(at_commit.get(path, path))


class Handler(BaseHTTPRequestHandler):
    stand_in: StandIn

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        stand_in = self.stand_in
        stand_in.asked.append(f"{self.command} {self.path}")
        stand_in.headers.append(dict(self.headers))
        if stand_in.manner == "hangs":
            stand_in.release.wait(5)
        elif stand_in.manner == "trickles":
            self._trickle()
        elif stand_in.manner.isdigit():
            self._head(int(stand_in.manner), 0)
        elif self.path.startswith("/storage/"):
            self._body(self.path.removeprefix("/storage"), {"ETag": '"storage"'})
        elif stand_in.content(self.path) is None:
            self._head(404, 0, {"X-Error-Code": "EntryNotFound"})
        elif stand_in.manner == "redirects":
            self._head(302, 0, self._names() | {"Location": f"/storage{self.path}"})
        else:
            self._body(self.path, self._names())

    def _trickle(self) -> None:
        """Keep the connection busy, so that no timeout of a socket ends it."""
        self.send_response(200)
        self.flush_headers()
        end = time.monotonic() + 10 * SECONDS
        while not self.stand_in.release.wait(SECONDS / 4) and time.monotonic() < end:
            self.wfile.write(b"X-Wait: longer\r\n")

    def _names(self) -> dict[str, str]:
        sha256 = hashlib.sha256(self.stand_in.content(self.path) or b"").hexdigest()
        if self.stand_in.manner == "lies":
            sha256 = "0" * 64
        commit = {"no mirror": "", "escapes": "../../.."}.get(self.stand_in.manner, COMMIT)
        return {"X-Repo-Commit": commit, "X-Linked-Etag": f'"{sha256}"', "ETag": '"another"'}

    def _body(self, path: str, names: dict[str, str]) -> None:
        content = self.stand_in.content(path) or b""
        start, status = 0, 200
        if self.headers.get("If-Range") == names["ETag"]:
            start, status = int(re.findall(r"\d+", self.headers["Range"])[0]), 206
            names["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        length = len(content) - start
        self._head(status, length, names)
        if self.command == "HEAD":
            return
        stand_in = self.stand_in
        is_asked_for_file = f"/resolve/{COMMIT}/" in path
        is_cut = stand_in.manner == "stalls" or (is_asked_for_file and stand_in.num_cut > 0)
        with suppress(ConnectionError):  # whoever asks first reads no more than the head
            self.wfile.write(content[start:][: length // 2] if is_cut else content[start:])
        if stand_in.manner == "stalls":
            stand_in.release.wait(5)
        stand_in.num_cut -= is_cut

    def _head(self, status: int, length: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and little patience."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub_address, "ANSWER_SECONDS", SECONDS)
    monkeypatch.setattr(hub, "RETRY_POLICY", RetryPolicy(3, 0.01, 0.02, SECONDS, SECONDS))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_TOKEN", "hf_a_token")
    return tmp_path / "cache"


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A hub that holds the weights of `timm/test_resnet`, named by HF_ENDPOINT."""
    state = StandIn()
    handler = type("OneHandler", (Handler,), {"stand_in": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        state.files[path_of("model.safetensors")] = save(trained())
        monkeypatch.setenv("HF_ENDPOINT", f"{state.url}/")
        yield state
        state.release.set()
        server.shutdown()
        thread.join()


def path_of(file: str, repository: str = REPOSITORY, revision: str = "main") -> str:
    return f"/{repository}/resolve/{revision}/{file}"


@pytest.fixture
def closed_url() -> str:
    """An address of this machine where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


def load(name: str = NAME, num_classes: int = 3) -> Network:
    return build_model(ModelConfig(name=name, weights="hub"), num_classes)


def assert_trunk_is_trained(network: Network) -> None:
    found = network.module.state_dict()
    for key, tensor in trained().items():
        assert network.is_head(key) or torch.equal(found[key], tensor), key


@pytest.mark.parametrize("manner", ["serves", "redirects"])
def test_weights_come_through_the_endpoint_of_this_moment(stand_in, manner, capsys):
    stand_in.manner = manner
    assert_trunk_is_trained(load())
    assert stand_in.asked[0] == f"GET {path_of('model.safetensors')}"
    assert len(stand_in.asked) == (4 if manner == "redirects" else 2)
    answered = zip(stand_in.asked, stand_in.headers, strict=True)
    at_hub = [headers for asked, headers in answered if "/storage/" not in asked]
    assert [one["Authorization"] for one in at_hub] == ["Bearer hf_a_token"] * 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"weights {NAME}: hub {REPOSITORY}, model.safetensors; its head of 1000 classes is "
        "dropped, one of 3 is drawn with seed 0"
    )


def test_what_is_in_the_cache_needs_no_network(stand_in, monkeypatch, closed_url):
    load()
    asked = len(stand_in.asked)
    monkeypatch.setenv("HF_ENDPOINT", closed_url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert_trunk_is_trained(load())
    assert len(stand_in.asked) == asked


def test_huggingface_hub_finds_what_was_downloaded(stand_in):
    path = fetch(hub_repository(NAME))
    found = huggingface_hub.hf_hub_download(REPOSITORY, path.name, local_files_only=True)
    assert found == str(path)
    assert path.read_bytes() == stand_in.files[path_of(path.name)]


def test_what_huggingface_hub_downloaded_is_found(stand_in, closed_url, monkeypatch):
    expected = huggingface_hub.hf_hub_download(
        REPOSITORY, "model.safetensors", endpoint=stand_in.url, etag_timeout=1
    )
    monkeypatch.setenv("HF_ENDPOINT", closed_url)
    assert str(fetch(hub_repository(NAME))) == expected


def test_the_trunks_digest_is_that_of_the_file(stand_in):
    trunk = build_trunk(ModelConfig(name=NAME, weights="hub"), seed=0)
    content = stand_in.files[path_of("model.safetensors")]
    assert trunk.weights_sha256 == hashlib.sha256(content).hexdigest()


def test_a_repository_without_safetensors_gives_its_pickle(stand_in, tmp_path):
    del stand_in.files[path_of("model.safetensors")]
    torch.save(trained(), tmp_path / "a.bin")
    stand_in.files[path_of("pytorch_model.bin")] = (tmp_path / "a.bin").read_bytes()
    assert_trunk_is_trained(load())


def test_a_repository_without_weights_is_one_line(stand_in):
    stand_in.files.clear()
    line = f"{REPOSITORY}: must hold model.safetensors or pytorch_model.bin in 'main', answers 404"
    with pytest.raises(ArtifactError, match=line):
        load()
    assert len(stand_in.asked) == 2


def test_a_hub_id_brings_its_own_network_and_weights(stand_in, monkeypatch):
    template = stand_in.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)  # read by timm
    config = b'{"architecture": "test_resnet", "num_classes": 1000}'
    stand_in.files[path_of("config.json", "me/mine", "v2")] = config
    stand_in.files[path_of("model.safetensors", "me/mine", "v2")] = save(trained())
    assert_trunk_is_trained(load("timm/hf-hub:me/mine@v2"))
    assert stand_in.asked[0] == f"GET {path_of('config.json', 'me/mine', 'v2')}"


def assert_three_ways_out(error: BaseException) -> None:
    text = str(error)
    assert len(text.splitlines()) == 1
    for way in ("HF_ENDPOINT to a mirror", "model.weights=PATH", "model.weights=package"):
        assert way in text


@pytest.mark.parametrize(
    ("name", "build"), [(NAME, build_model), ("timm/hf-hub:me/mine", build_trunk)]
)
@pytest.mark.parametrize("manner", ["hangs", "trickles"])
def test_a_hub_that_does_not_answer_is_given_up_after_one_attempt(stand_in, name, build, manner):
    stand_in.manner = manner
    start = time.monotonic()
    line = f"^{stand_in.url}: the hub must give .* of .*, doesn't .no answer within 0.4 s.; set"
    with pytest.raises(ArtifactError, match=line) as caught:
        build(ModelConfig(name=name, weights="hub"), 3)
    assert time.monotonic() - start < 5 * SECONDS
    assert_three_ways_out(caught.value)
    assert len(stand_in.asked) == 1


@pytest.mark.parametrize("build", [build_model, build_trunk])
def test_a_hub_is_asked_once_for_a_network_without_weights(stand_in, build):
    stand_in.manner = "hangs"
    with pytest.raises(ArtifactError, match=r"the hub must give config.json of me/mine") as caught:
        build(ModelConfig(name="timm/hf-hub:me/mine", weights="none"), 3)
    assert_three_ways_out(caught.value)
    assert len(stand_in.asked) == 1


def test_a_hub_that_refuses_is_one_line(monkeypatch, closed_url):
    monkeypatch.setenv("HF_ENDPOINT", closed_url)
    line = rf"^{closed_url}: the hub must .* \(\[Errno \d+\] Connection refused\); set"
    with pytest.raises(ArtifactError, match=line) as caught:
        load()
    assert_three_ways_out(caught.value)


def test_a_hub_without_a_name_is_one_line(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://no-such-host.invalid")
    monkeypatch.setattr(hub_address, "ANSWER_SECONDS", 5.0)
    with pytest.raises(ArtifactError, match=r"the hub must give .* of timm/") as caught:
        load()
    assert_three_ways_out(caught.value)


@pytest.mark.parametrize("manner", ["401", "429", "500", "503"])
def test_a_hub_that_answers_with_an_error_is_asked_once(stand_in, manner):
    stand_in.manner = manner
    with pytest.raises(ArtifactError, match=f"doesn't .it answers {manner} .*; set") as caught:
        load()
    assert_three_ways_out(caught.value)
    assert len(stand_in.asked) == 1


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()} - {hub.LOCK}


@pytest.mark.parametrize("manner", ["no mirror", "escapes"])
def test_what_names_no_commit_is_no_hub(stand_in, cache, manner):
    stand_in.manner = manner
    with pytest.raises(ArtifactError, match="its answer names no commit") as caught:
        load()
    assert_three_ways_out(caught.value)
    assert files_in(cache) == set()
    assert len(stand_in.asked) == 1


@pytest.mark.parametrize("manner", ["serves", "redirects"])
def test_a_download_that_breaks_off_goes_on_where_it_was(stand_in, cache, manner):
    stand_in.manner = manner
    stand_in.num_cut = 2
    assert_trunk_is_trained(load())
    length = len(stand_in.files[path_of("model.safetensors")])
    ranges = dict.fromkeys(one["Range"] for one in stand_in.headers if "Range" in one)
    first, second = (int(re.findall(r"\d+", one)[0]) for one in ranges)
    assert 0 < first < second < length
    assert files_in(cache) == {"model.safetensors", "main"}


def test_what_came_before_a_command_ended_is_not_fetched_again(stand_in, cache):
    stand_in.num_cut = 3
    with pytest.raises(ArtifactError, match="must be fetched within 3 attempts") as caught:
        load()
    assert_three_ways_out(caught.value)
    assert files_in(cache) == {"model.safetensors.part", "model.safetensors.part.json"}
    assert_trunk_is_trained(load())
    assert "Range" in stand_in.headers[-1]
    assert files_in(cache) == {"model.safetensors", "main"}


def test_a_download_that_stands_still_is_given_up(stand_in):
    stand_in.manner = "stalls"
    with pytest.raises(ArtifactError, match=r"within 3 attempts, .* .timed out") as caught:
        load()
    assert_three_ways_out(caught.value)


@pytest.mark.usefixtures("stand_in")
def test_a_download_that_is_too_large_is_left(cache, monkeypatch):
    monkeypatch.setattr(hub, "MAX_BYTES", 1000)
    with pytest.raises(ArtifactError, match="must have at most 1,000 bytes") as caught:
        load()
    assert_three_ways_out(caught.value)
    assert files_in(cache) == set()


@pytest.mark.faults
def test_of_several_processes_one_downloads(stand_in, cache, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        paths = set(pool.map(fetch, [hub_repository(NAME)] * 2))
    assert len(paths) == 1
    assert sum(COMMIT in asked for asked in stand_in.asked) == 1


def test_a_file_that_is_not_what_the_hub_announced_is_refused(stand_in, cache):
    stand_in.manner = "lies"
    with pytest.raises(ArtifactError, match=f"must have the sha256 {'0' * 64}, has [0-9a-f]{{64}}"):
        load()
    assert files_in(cache) == set()


def test_offline_mode_asks_nobody(stand_in, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ArtifactError, match=r"doesn't \(HF_HUB_OFFLINE is set\); set") as caught:
        load()
    assert_three_ways_out(caught.value)
    assert stand_in.asked == []


@pytest.mark.usefixtures("stand_in")
def test_a_cache_that_cannot_be_written_says_which_variable_to_set(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ArtifactError, match=r"must be writable for downloads.*; set HF_HOME"):
        load()


def test_tensors_without_a_place_in_timms_network_are_warned_of(stand_in, capsys):
    content = save(trained() | {"aux.weight": torch.zeros(2)})
    stand_in.files[path_of("model.safetensors")] = content
    assert_trunk_is_trained(load())
    warning = f"warning: weights {NAME}: hub {REPOSITORY}, model.safetensors holds 1 others, the"
    assert f"{warning} first is 'aux.weight'; not used" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "a/b/c", "a b/c", "../x"])
def test_an_impossible_hub_id_is_refused(stand_in, name):
    with pytest.raises(ConfigError, match=r"^model\.name: 'hf-hub:' must be followed by"):
        load(f"timm/hf-hub:{name}")
    assert stand_in.asked == []


@pytest.mark.parametrize("revision", ["../../../../x", "a/../../b", "/etc/x", "..", "-x", "a b"])
def test_a_revision_that_leads_out_of_the_cache_is_refused(revision):
    with pytest.raises(ConfigError, match="a revision must be a branch, tag or commit, is"):
        hub_repository(f"timm/hf-hub:owner/name@{revision}")
    assert hub_repository("timm/hf-hub:owner/name@v1.0/beta-2").revision == "v1.0/beta-2"


@pytest.mark.parametrize(
    "name", ["sample_resnet", "lenet", "plain18", "resnet18_cifar", "timm/beit3_giant_patch14_224"]
)
def test_a_network_without_weights_on_the_hub_is_refused(name):
    with pytest.raises(ConfigError, match=f"the hub must have weights for '{name}', timm knows of"):
        hub_repository(name)


def test_the_networks_here_take_timms_repositories_of_equal_tensors():
    for name, twin in hub.TWINS.items():
        assert hub_repository(name) == Repository(f"timm/{twin}")
        if name == "resnet50_attention":
            continue
        with torch.device("meta"):
            ours = build_model(ModelConfig(name=name, weights="none"), 1000).module.state_dict()
            timms = timm.create_model(twin).state_dict()
        assert {key: ours[key].shape for key in ours} == {key: timms[key].shape for key in timms}


def test_a_timm_network_takes_the_weights_that_timm_would():
    assert hub_repository("timm/resnet50") == Repository("timm/resnet50.a1_in1k")
    named = PretrainedCfg(hf_hub_id="a/b", hf_hub_filename="x.bin")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timm, "get_pretrained_cfg", lambda _: named)
        assert hub_repository("timm/any").files == ("x.safetensors", "x.bin")


def test_the_endpoint_is_the_hub_unless_a_mirror_is_named(monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert endpoint() == "https://huggingface.co"
    monkeypatch.setenv("HF_ENDPOINT", "https://hf-mirror.com/")
    assert endpoint() == "https://hf-mirror.com"
