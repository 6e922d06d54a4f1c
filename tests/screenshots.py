"""Takes the README's pictures of a report: python -m tests.screenshots [ROOT], after `make all`.

They show drawn photos only, so the competition is `demo`.
"""

import io
import sys
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import ViewportSize

from pipeline.store.paths import Paths
from tests.browser import Seen, browser

IMAGES = Path(__file__).parents[1] / "docs" / "images"
PICTURES: list[tuple[str, Literal["light", "dark"], int, int]] = [
    ("experiments", "dark", 1400, 760),
    ("mistakes", "light", 1200, 800),
]


def take(page: Path, images: Path) -> None:
    """Write report-SECTION.png to a folder, each a window with the section at its top."""
    with browser() as started:
        for section, scheme, width, height in PICTURES:
            size = ViewportSize(width=width, height=height)
            context = started.new_context(viewport=size, color_scheme=scheme)
            seen = Seen(context.new_page(), page)
            seen.page.locator(f"#{section}").evaluate("one => one.scrollIntoView()")
            picture = Image.open(io.BytesIO(seen.page.screenshot())).convert("RGB")
            # 256 colours are a third of the bytes.
            picture.quantize(256).save(images / f"report-{section}.png", optimize=True)
            context.close()


if __name__ == "__main__":
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    take(Paths(root, "demo").report_html.resolve(), IMAGES)
