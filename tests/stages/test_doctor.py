import re
import socket

import pytest
import torch

from pipeline.config.strict import built_in_names
from pipeline.models.weights_source import PACKAGES
from pipeline.stages import doctor


@pytest.fixture
def closed_url():
    """An address of this machine where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def test_doctor_tells_of_everything_and_writes_nothing(tmp_path, monkeypatch, capsys, closed_url):
    monkeypatch.setenv("HF_ENDPOINT", closed_url)
    monkeypatch.setitem(PACKAGES, "timm/test_resnet", "no_such_weights_package")
    doctor.run(tmp_path / "not" / "yet")
    out = " ".join(capsys.readouterr().out.split())
    for name in ("python", "device", "cores", "memory", "disk", *built_in_names("competitions")):
        assert name in out
    assert torch.__version__.partition("+")[0] in out
    assert "not downloaded" in out
    assert "pipinstallno-such-weights-package" in re.sub(r"[│\s]", "", out)
    assert f"hub {closed_url}" in out
    assert "not reachable" in out
    assert list(tmp_path.iterdir()) == []


def test_a_hub_that_answers_is_reachable(closed_url):
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert (
            doctor._check_reachable(f"http://127.0.0.1:{server.getsockname()[1]}/x") == "reachable"
        )
    assert doctor._check_reachable(closed_url).startswith("not reachable (")
