"""Make the pictures of the report pages from the sample scene, with a headless Chromium.

``python docs/make_report_pictures.py [--pages FOLDER] [--out FOLDER]``

Takes as long as `decr declouds` on the sample scene. Needs chromium, chromium-browser,
google-chrome or PyQt6-WebEngine, and the extra "test".
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from PIL import Image  # noqa: E402

from decr.pipeline.declouds import declouds  # noqa: E402
from decr.report.restoration import restoration_page  # noqa: E402
from tests.report.browser import WANTED, Tab, chromium, find_chromium  # noqa: E402

SCENE = ROOT / "sample_scenes" / "meadowbrook_cloudy.tif"
TILE_PX = 128
WIDTH_PX = 1000


def ccp_of_sample(folder: Path) -> str:
    """The page that `decr ccp` writes of the sample scene."""
    command = [sys.executable, "-m", "cli", "ccp", str(SCENE), "-o", str(folder), "-q"]
    subprocess.run([*command, "--tile", str(TILE_PX)], check=True, cwd=ROOT)
    return (folder / "report.html").read_text(encoding="utf-8")


def restoration_of_sample(folder: Path) -> str:
    """The page that `decr declouds --report` writes of the sample scene."""
    pages: list[str] = []
    declouds(
        SCENE,
        folder / "meadowbrook_clear.tif",
        on_report=lambda _, report: pages.append(restoration_page(report)),
    )
    return pages[0]


def picture(tab: Tab, page: Path, height: int) -> bytes:
    """The top of a page as PNG; 256 colours are enough for a picture in the documentation."""
    tab.look(WIDTH_PX, 900)
    tab.open(page)
    sheet = Image.open(io.BytesIO(tab.picture(height))).convert("RGB")
    palette = sheet.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=2)
    buffer = io.BytesIO()
    sheet.quantize(palette=palette, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def main() -> None:
    """Write both pages, look at them, write both pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=Path, help="keep the pages in this folder")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures")
    options = parser.parse_args()
    command = find_chromium()
    if command is None:
        raise SystemExit(f"no browser: there must be {WANTED}")
    with tempfile.TemporaryDirectory() as scratch, chromium(command) as tab:
        folder = options.pages or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        pages = {"report_ccp": (ccp_of_sample(Path(scratch) / "ccp"), 920)}
        pages["report_restoration"] = (restoration_of_sample(Path(scratch)), 1180)
        for name, (page, height) in pages.items():
            (folder / f"{name}.html").write_text(page, encoding="utf-8")
            data = picture(tab, folder / f"{name}.html", height)
            (options.out / f"{name}.png").write_bytes(data)
            print(f"{name}.png: {len(data) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
