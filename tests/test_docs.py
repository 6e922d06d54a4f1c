"""What the pages say is there is there: links, headings, files, pictures, messages, examples."""

import ast
import re
from pathlib import Path

import pytest

import pipeline
from pipeline.config.competition import load_competition
from tests.test_architecture import ORDER

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
PACKAGE = Path(pipeline.__file__).parent


def prose(page: Path) -> str:
    """Return a page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)


def anchors(page: Path) -> set[str]:
    """Return what links may name of a page: its headings, as GitHub and others write them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_files_and_headings_that_are_there(name):
    page = ROOT / name
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        place, _, heading = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        if "://" not in link and not (
            target.exists() and (not heading or heading in anchors(target))
        ):
            broken.append(link)
    assert broken == []


# A changelog tells of what was.
@pytest.mark.parametrize("name", [name for name in NAMES if name != "CHANGELOG.md"])
def test_python_files_that_a_page_names_are_there(name):
    files = [f"/{path.relative_to(ROOT).as_posix()}" for path in ROOT.glob("[bpte]*/**/*.py")]
    named = set(re.findall(r"[\w/]*\w\.py\b", (ROOT / name).read_text(encoding="utf-8")))
    named.discard("utils.py")  # what there mustn't be
    assert [
        one for one in named if not any(file.endswith(f"/{one.lstrip('/')}") for file in files)
    ] == []


def test_tree_of_the_architecture_has_every_room_at_its_place():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = re.findall(r"^  (\w+)/ ", page.partition("```")[2].partition("```")[0], re.MULTILINE)
    rooms = [room for room in reversed(ORDER) if (PACKAGE / room).is_dir()]
    assert listed == [*rooms, "competitions", "experiments", "plans"]


def test_every_picture_is_shown_by_a_page():
    shown = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    pictures = [path.name for path in (ROOT / "docs" / "images").iterdir()]
    assert [name for name in pictures if f"images/{name}" not in shown] == []


def test_messages_that_troubleshooting_quotes_are_those_of_the_tool():
    texts = {
        node.value
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    quoted = re.findall(r"`([^`]*…[^`]*)`", prose(ROOT / "docs" / "troubleshooting.md"))
    pieces = [piece.strip() for message in quoted for piece in re.split("…|; ", message)]
    assert len(pieces) > 40
    assert [one for one in pieces if not any(one in text for text in texts)] == []


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_example_of_a_competition_loads(name, tmp_path):
    (example,) = re.findall(
        r"```toml\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL
    )
    path = tmp_path / "leaves.toml"
    path.write_text(example, encoding="utf-8")
    assert load_competition(str(path)).classes == ("birch", "maple", "oak")
