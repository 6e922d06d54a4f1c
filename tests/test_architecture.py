"""Holds the code to the layers of docs/architecture.md, by reading its imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pipeline

PACKAGE = Path(pipeline.__file__).parent
# Whoever stands higher may import what stands lower, never the other way round.
LEVELS = {
    "cli": 4,
    "__main__": 5,
    "stages": 3,
    "training": 2,
    "tuning": 2,
    "ablation": 2,
    "studies": 2,
    "inference": 2,
    "reports": 2,
    "preparing": 2,
    "inspecting": 2,
    "models": 1,
    "images": 1,
    "scoring": 1,
    "archives": 1,
}
HEAVY = {"torch", "torchvision", "timm", "accelerate"}
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
    if path != PACKAGE / "__init__.py"
}
LIGHT_STAGES = [
    "folds", "ensemble", "suspects", "submit", "validate", "grade", "prepare", "status", "download",
    "score", "check_overlap", "init", "report",
]  # fmt: skip


def imports(path: Path) -> set[str]:
    """Return the dotted names of all that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def own_imports(path: Path) -> set[str]:
    """Return the modules of this package that a file imports, relative to it."""
    names = {name.removeprefix("pipeline.") for name in imports(path)}
    return {name for name in names if name in MODULES}


def top(module: str) -> str:
    return module.partition(".")[0]


def level(module: str) -> int:
    return LEVELS.get(top(module), 0)


def test_modules_are_found():
    assert {"cli", "strict", "stages.train", "scoring.oof", "images.drawing.pen"} <= set(MODULES)
    assert "training.probe" in own_imports(MODULES["training.methods"])


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_downwards(module):
    upwards = [name for name in own_imports(MODULES[module]) if level(name) > level(module)]
    assert upwards == []


@pytest.mark.parametrize("module", sorted(name for name in MODULES if level(name) == 1))
def test_neighbours_of_one_level_do_not_know_each_other(module):
    others = [
        name
        for name in own_imports(MODULES[module])
        if level(name) == 1 and top(name) != top(module)
    ]
    assert others == []


@pytest.mark.parametrize("module", sorted(name for name in MODULES if name.startswith("stages.")))
def test_no_stage_imports_another(module):
    assert [name for name in own_imports(MODULES[module]) if name.startswith("stages.")] == []


@pytest.mark.parametrize("module", sorted(name for name in MODULES if top(name) == "scoring"))
def test_scoring_imports_neither_torch_nor_training(module):
    assert not {top(name) for name in imports(MODULES[module])} & HEAVY
    assert not {top(name) for name in own_imports(MODULES[module])} & {"training", "models"}


COMMANDS = ["cli.data", "cli.experiments", "cli.answers", "cli.overview"]


def test_each_command_imports_its_stage_alone_and_only_when_called():
    trees = [ast.parse(MODULES[name].read_text(encoding="utf-8")) for name in COMMANDS]
    commands = {
        node.name: {
            alias.name
            for inner in ast.walk(node)
            if isinstance(inner, ast.ImportFrom) and inner.module == "pipeline.stages"
            for alias in inner.names
        }
        for tree in trees
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }
    stages = {name.removeprefix("stages.") for name in MODULES if name.startswith("stages.")}
    assert commands == {stage: {stage} for stage in stages}


@pytest.mark.parametrize("module", sorted(name for name in MODULES if top(name) == "cli"))
def test_command_line_imports_nothing_heavy_before_a_command_is_called(module):
    body = ast.parse(MODULES[module].read_text(encoding="utf-8")).body
    names = {node.module or "" for node in body if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in body if isinstance(node, ast.Import) for alias in node.names}
    ours = {name for name in names if top(name) == "pipeline"}
    assert not {name for name in ours if not f"{name}.".startswith("pipeline.cli.")} - {
        "pipeline.errors",
        "pipeline.machine",
    }


def loaded(code: str) -> set[str]:
    """Run code in a fresh interpreter; return the packages that it has loaded at its end."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("import_", ["from pipeline.stages import " + ", ".join(LIGHT_STAGES)])
def test_stages_without_a_network_never_load_torch(import_):
    packages = loaded(import_)
    assert {"pandas", "pipeline"} <= packages
    assert not packages & HEAVY


def test_help_loads_nothing_heavy():
    code = """
import sys
from pipeline.cli import main
sys.argv = ["pipeline", "--help"]
try:
    main()
except SystemExit as end:
    assert not end.code
"""
    packages = loaded(code)
    assert {"typer", "pipeline"} <= packages
    assert not packages & (HEAVY | {"pandas", "numpy", "sklearn", "scipy", "cv2", "pydantic"})
