"""The packages that are installed fit together, and can be listed."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_installed_packages_fit_together() -> None:
    command = [sys.executable, "-m", "pip", "check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_list_of_packages_is_cyclonedx_and_needs_no_network(tmp_path: Path) -> None:
    out = tmp_path / "sbom.json"
    command = ["-m", "cyclonedx_py", "environment", "--output-reproducible", "--output-file"]
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    subprocess.run([sys.executable, *command, str(out), sys.executable], env=nowhere, check=True)
    listed = json.loads(out.read_text(encoding="utf-8"))
    assert listed["bomFormat"] == "CycloneDX"
    assert {"torch", "pillow", "numpy"} <= {part["name"] for part in listed["components"]}
