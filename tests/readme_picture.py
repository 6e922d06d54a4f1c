"""Make the README's picture: python -m tests.readme_picture [ROOT], after `make all`.

Left the ranking with its intervals, right the three worst mistakes, both taken from the report of
the competition `demo`: its photos are drawn, so they may be shown.
"""

import io
import sys
from pathlib import Path

from PIL import Image

from pipeline.store.paths import Paths
from tests.browser import Seen, browser

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "report.png"

# Of the table only the columns that say how good. Copies of one image have the same probabilities
# and stand side by side: the first one will do.
ARRANGE = """
() => {
  const ranking = document.querySelector("#experiments");
  document.querySelectorAll(".example").forEach(one => one.remove());
  const [chart, table] = ranking.querySelectorAll("figure");
  const kept = [0, 1, 3];
  for (const row of table.querySelectorAll("tr")) {
    [...row.children].filter((cell, place) => !kept.includes(place)).forEach(cell => cell.remove());
  }
  const seen = new Set();
  const mistakes = [...document.querySelectorAll("#review .card")].filter(one => {
    one.hidden = false;
    one.querySelectorAll(".reason").forEach(reason => reason.remove());
    const odds = one.querySelector(".title").nextElementSibling.textContent;
    return one.dataset.reasons.includes("mistake") && !seen.has(odds) && seen.add(odds);
  });
  const halves = [
    ["Experiments, out of fold", chart.querySelector("img"), table.querySelector("table")],
    ["Worst mistakes", ...mistakes.slice(0, 3)],
  ];
  document.body.replaceChildren(...halves.map(([title, ...parts]) => {
    const half = document.createElement("div");
    const heading = document.createElement("h2");
    heading.textContent = title;
    half.append(heading, ...parts);
    half.className = "gallery";
    return half;
  }));
}
"""
STYLE = """
body {
  display: grid; grid-template-columns: auto auto; gap: 2rem; padding: 1rem 1.2rem;
  width: max-content;
}
body > .gallery { display: flex; flex-direction: column; gap: .7rem; margin: 0; }
h2 { margin: 0; }
th button::after { content: ""; }
li { display: grid; grid-template: repeat(3, min-content) / 19rem max-content; gap: 0 .9rem; }
.pictures { flex-wrap: nowrap; grid-row: 1 / 4; }
"""


def take(page: Path, picture: Path) -> None:
    """Write the picture of a report's page, light, at twice the size for fine screens."""
    with browser() as started:
        context = started.new_context(
            viewport={"width": 1200, "height": 800}, color_scheme="light", device_scale_factor=2
        )
        seen = Seen(context.new_page(), page)
        seen.page.evaluate(ARRANGE)
        seen.page.add_style_tag(content=STYLE)
        taken = seen.page.locator("body").screenshot()
        context.close()
    # 256 colours are a third of the bytes.
    image = Image.open(io.BytesIO(taken)).convert("RGB").quantize(256)
    image.save(picture, optimize=True)


if __name__ == "__main__":
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    take(Paths(root, "demo").report_html.resolve(), PICTURE)
