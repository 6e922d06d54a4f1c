"""Hold every folder of the package to its layer (docs/architecture.md), by reading the imports."""

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pipeline

PACKAGE = Path(pipeline.__file__).parent
# From the ground up: a room imports only rooms that stand before it, so there is no circle either.
GROUND = ["errors", "reproducibility", "machine", "console", "config", "store"]
WORK = [
    "images", "scoring", "submission", "data", "models", "training", "inference", "tuning",
    "ablation", "ladder", "reports",
]  # fmt: skip
COMMANDS = ["stages", "cli", "__main__"]
ORDER = GROUND + WORK + COMMANDS
WITHOUT_TORCH = {*GROUND, "images", "scoring", "submission", "data"}
HEAVY = {"torch", "torchvision", "timm", "accelerate"}
MOST_FILES = 240
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
    if path != PACKAGE / "__init__.py"
}
LIGHT_STAGES = [
    "folds", "ensemble", "suspects", "submit", "validate", "grade", "prepare", "status", "download",
    "log_score", "init", "report",
    "review",
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


def own_imports(module: str) -> set[str]:
    """Return the modules of this package that a module imports, relative to it."""
    names = {name.removeprefix("pipeline.") for name in imports(MODULES[module])}
    return {name for name in names if name in MODULES}


def room(module: str) -> str:
    return module.partition(".")[0]


def test_every_module_is_found_and_stands_in_a_room_that_has_its_place():
    assert {"cli", "config.strict", "stages.train", "data.drawing.pen"} <= set(MODULES)
    assert "training.probe" in own_imports("training.methods")
    assert {room(module) for module in MODULES} == set(ORDER)


def test_rooms_import_only_what_stands_below_them():
    upwards = [
        f"{module} -> {name}"
        for module in MODULES
        for name in own_imports(module)
        if ORDER.index(room(name)) > ORDER.index(room(module))
    ]
    assert upwards == []


def test_modules_import_each_other_in_no_circle():
    waiting = {module: own_imports(module) - {module} for module in MODULES}
    while free := {module for module, needed in waiting.items() if not needed}:
        waiting = {name: needed - free for name, needed in waiting.items() if name not in free}
    assert waiting == {}


def test_rooms_that_do_without_networks_never_import_torch():
    heavy = [
        f"{module} -> {name}"
        for module in MODULES
        if room(module) in WITHOUT_TORCH
        for name in imports(MODULES[module])
        if room(name) in HEAVY
    ]
    assert heavy == []


def test_no_stage_imports_another():
    stages = [module for module in MODULES if module.startswith("stages.")]
    others = [
        f"{stage} -> {name}"
        for stage in stages
        for name in own_imports(stage)
        if name.startswith("stages.")
    ]
    assert others == []


def test_every_stage_says_what_it_reads_writes_and_fails_on():
    runs = {
        path.stem: node
        for module, path in MODULES.items()
        if module.startswith("stages.")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name == "run"
    }
    silent = [
        f"{stage}: {word}"
        for stage, run in runs.items()
        for word in ("Reads", "Writes", "Fails")
        if not re.search(rf"(^|[.] ){word} ", ast.get_docstring(run) or "", re.MULTILINE)
    ]
    assert silent == []
    assert {"prepare", "tune"} <= set(runs)


def test_file_names_are_unique_so_that_one_never_asks_which():
    names = Counter(path.name for path in MODULES.values() if not path.name.startswith("__"))
    twice = {name for name, count in names.items() if count > 1}
    assert twice == set()
    assert len(MODULES) <= MOST_FILES


def test_folders_of_tests_mirror_the_package():
    tests = Path(__file__).parent
    others = {"faults", "benchmarks"}
    folders = {
        path.parent.relative_to(tests)
        for path in tests.rglob("test_*.py")
        if path.parent != tests and path.parent.relative_to(tests).parts[0] not in others
    }
    assert [str(folder) for folder in folders if not (PACKAGE / folder).is_dir()] == []


def test_each_command_imports_its_stage_alone_and_only_when_called():
    trees = [
        ast.parse(path.read_text(encoding="utf-8"))
        for module, path in MODULES.items()
        if module.startswith("cli.")
    ]
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
    used = [names for names in commands.values() if names]
    assert all(len(names) == 1 for names in used)
    assert set().union(*used) == stages


def test_command_line_imports_nothing_heavy_before_a_command_is_called():
    heavy = []
    for module in (name for name in MODULES if room(name) == "cli"):
        body = ast.parse(MODULES[module].read_text(encoding="utf-8")).body
        names = {node.module or "" for node in body if isinstance(node, ast.ImportFrom)}
        names |= {one.name for node in body if isinstance(node, ast.Import) for one in node.names}
        ours = {name for name in names if room(name) == "pipeline"}
        allowed = {"pipeline", "pipeline.errors", "pipeline.machine"}
        heavy += [
            f"{module} -> {name}"
            for name in ours - allowed
            if not f"{name}.".startswith("pipeline.cli.")
        ]
    assert heavy == []


def loaded(code: str) -> set[str]:
    """Run code in a fresh interpreter; return the packages that it has loaded at its end."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_stages_without_a_network_never_load_torch():
    packages = loaded("from pipeline.stages import " + ", ".join(LIGHT_STAGES))
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
