"""Make the pictures of the report pages from the sample scene, with a headless Chromium.

``python docs/make_report_pictures.py [--pages FOLDER] [--out FOLDER]``

Takes as long as `decr declouds` on the sample scene. Needs chromium, chromium-browser or
google-chrome on the path, and the extra "test".
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

from decr.cloud.change import INVALID, cloudy_cells  # noqa: E402
from decr.config import DecloudConfig  # noqa: E402
from decr.geo.gdal import gdal_environment  # noqa: E402
from decr.geo.quicklook import quicklook, quicklook_px, shown_bands, stretched  # noqa: E402
from decr.pipeline.declouds import declouds, survey_and_plan  # noqa: E402
from decr.pipeline.engine import local_engine  # noqa: E402
from decr.pipeline.prepare import prepare  # noqa: E402
from decr.report.page import ccp_page  # noqa: E402
from decr.report.restoration import restoration_page  # noqa: E402
from decr.report.values import CcpReport, SceneReport, TileCcp  # noqa: E402
from tests.report.browser import NAMES, Tab, chromium, find_chromium  # noqa: E402

SCENE = ROOT / "sample_scenes" / "meadowbrook_cloudy.tif"
TILE_PX = 128
WIDTH_PX = 1000


def ccp_of_sample() -> str:
    """The page of the sample scene's cloud coverage, by decr's own detector."""
    with gdal_environment(), local_engine() as engine:
        prepared = prepare(str(SCENE), DecloudConfig())
        change, _ = survey_and_plan(prepared, engine)
        scene, survey = prepared.scene, change.survey
        px = quicklook_px(scene.grid)
        look = quicklook(scene, px, shown_bands(scene.bands))
    cells = np.asarray(survey.stored)
    # The scene is a whole number of cells, and all of it is valid.
    cloudy = np.kron(cloudy_cells(cells, prepared.config.threshold), np.ones((survey.k,) * 2, bool))
    assert cloudy.shape == (scene.grid.height, scene.grid.width)
    assert not (cells == INVALID).any()
    mask = cloudy[px // 2 :: px, px // 2 :: px]
    tiles = [
        TileCcp(
            r, c, TILE_PX, TILE_PX, int(cloudy[r : r + TILE_PX, c : c + TILE_PX].sum()), TILE_PX**2
        )
        for r in range(0, scene.grid.height, TILE_PX)
        for c in range(0, scene.grid.width, TILE_PX)
    ]
    shown = SceneReport(
        SCENE.name,
        scene.grid.height,
        scene.grid.width,
        survey.cloudy_px,
        survey.valid_px,
        tiles=tiles,
        quicklook=stretched(look, cloudy=mask)[0],
        overlay=mask.astype(np.uint8),
        facts={"CRS": "EPSG:32650", "GSD": "0.5 m"},
    )
    facts = {
        "Detector": prepared.detector.name,
        "Threshold": f"{prepared.config.threshold:g}",
        "Detector GSD": f"{prepared.detector.gsd_m:g} m",
    }
    return ccp_page(CcpReport(SCENE.name, [shown], facts))


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
    executable = find_chromium()
    if executable is None:
        raise SystemExit(f"none of {', '.join(NAMES)} is installed")
    with tempfile.TemporaryDirectory() as scratch, chromium(executable) as tab:
        folder = options.pages or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        pages = {"report_ccp": (ccp_of_sample(), 920)}
        pages["report_restoration"] = (restoration_of_sample(Path(scratch)), 1180)
        for name, (page, height) in pages.items():
            (folder / f"{name}.html").write_text(page, encoding="utf-8")
            data = picture(tab, folder / f"{name}.html", height)
            (options.out / f"{name}.png").write_bytes(data)
            print(f"{name}.png: {len(data) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
