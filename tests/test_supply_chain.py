"""What is installed is pinned and hashed, all of it, on every platform."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PIN = re.compile(r"^([a-z0-9.-]+)==(\S+)( ; [^\\]+)?((?: \\\n    --hash=sha256:[0-9a-f]{64})*)$")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
INSTALLED = [*PROJECT["project"]["dependencies"], *EXTRAS["dev"], *EXTRAS["weights"]]


def locked() -> dict[str, tuple[str, int]]:
    """Read the lock: version and number of hashes by name."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    pins = [PIN.match(entry) for entry in re.split(r"\n(?=\S)", text.strip())]
    assert all(pins), "an entry is no pin with hashes"
    return {pin[1]: (pin[2], pin[4].count("--hash")) for pin in pins if pin}


def test_every_pin_has_hashes():
    without = [name for name, (_, num_hashes) in locked().items() if not num_hashes]
    assert without == []
    assert len(locked()) > 100


def test_pins_serve_several_platforms():
    assert locked()["torch"][1] >= 8  # Linux of two kinds, macOS, Windows; several Pythons


@pytest.mark.parametrize("named", INSTALLED)
def test_what_the_project_names_is_locked_in_a_version_that_it_takes(named):
    requirement = Requirement(named)
    version, _ = locked()[canonicalize_name(requirement.name)]
    assert version in requirement.specifier, "run 'make lock'"


def test_nothing_is_installed_unhashed_or_built():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    installs = re.findall(r"pip install (.*)", makefile)
    assert installs == [
        "--require-hashes --only-binary :all: --requirement $(VENV)/requirements.lock",
        "--no-deps --no-build-isolation --editable .",
    ]
