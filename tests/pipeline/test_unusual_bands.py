"""Whole runs on scenes whose bands say little, or each something else of missing pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.shutil import copy as gdal_copy

from decr.config import DecloudConfig
from decr.errors import DecrWarning
from decr.geo.metadata import compare_metadata
from decr.geo.reader import reader
from decr.geo.scene import open_scene
from decr.pipeline.declouds import declouds
from decr.pipeline.engine import local_engine
from decr.pipeline.first_pass import plan_scene
from decr.pipeline.prepare import prepare
from tests.pipeline.scenes import cloudy_pixels, darker, read, write_scene

FAST: dict[str, Any] = {"detector": "threshold", "tile_px": 64, "overlap_px": 16}
FULL = DecloudConfig(**FAST, full=True)


def test_near_infrared_that_is_called_alpha_is_restored_and_stays_called_so(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(40, 200, (4, 300, 260)).astype(np.uint8)
    pixels[3, 100:200, 100:200] = 0  # water
    scene = write_scene(tmp_path / "s.tif", pixels, names=None)
    out, known = tmp_path / "o.tif", tmp_path / "k.tif"
    with pytest.warns(DecrWarning, match=r"calls its fourth band alpha.*--bands r,g,b,n") as told:
        result = declouds(scene, out, FULL, restorer=darker())
    assert len([w for w in told if "alpha" in str(w.message)]) == 1
    after = read(out)
    # Darker than black is black: of water only colours can change.
    assert (after != pixels)[:3, 100:200, 100:200].mean() > 0.9
    assert (after != pixels)[3][pixels[3] > 0].mean() > 0.9
    assert result.skipped == 0
    assert compare_metadata(scene, out) == []
    with pytest.warns(DecrWarning, match="alpha"):
        assert plan_scene(scene, DecloudConfig(**FAST)).bands == ("red", "green", "blue", "nir")
    declouds(scene, known, DecloudConfig(**FAST, full=True, bands="r,g,b,n"), restorer=darker())
    np.testing.assert_array_equal(read(known), after)


def _by_band(folder: Path) -> tuple[Path, np.ndarray]:
    """A virtual raster whose nodata is 0, 7, none and 9999, and (H, W) which pixels hold data."""
    pixels = cloudy_pixels(300, 260)
    pixels[0, :40] = 0
    pixels[1, 40:70] = 7
    pixels[3, 70:100] = 9999
    pixels[2, 150:160] = 0  # neither a number of its own nor in another band
    valid = np.ones((300, 260), bool)
    valid[:100] = False
    scene = folder / "s.vrt"
    gdal_copy(str(write_scene(folder / "s.tif", pixels)), str(scene), driver="VRT")
    _say_nodata(scene, {1: 0, 2: 7, 4: 9999})
    assert open_scene(scene).nodata == (0, 7, None, 9999)
    return scene, valid


def _say_nodata(scene: Path, values: dict[int, int]) -> None:
    """Write nodata by band, from 1, into a virtual raster that has none."""
    text = scene.read_text()
    for band, value in values.items():
        start = text.index(">", text.index(f'band="{band}"')) + 1
        text = f"{text[:start]}<NoDataValue>{value}</NoDataValue>{text[start:]}"
    scene.write_text(text)


def test_where_nodata_differs_by_band_a_mask_says_what_is_missing(tmp_path: Path) -> None:
    scene, valid = _by_band(tmp_path)
    out = tmp_path / "o.tif"
    with pytest.warns(DecrWarning) as told:
        declouds(scene, out, FULL, restorer=darker())
    words = [str(warning.message) for warning in told]
    assert any("nodata differs by band (0, 7, none, 9999)" in word for word in words)
    after = read(out)
    with rasterio.open(out) as file:
        assert file.nodatavals == (None,) * 4
        np.testing.assert_array_equal(file.dataset_mask() != 0, valid)
    written = open_scene(out)
    with reader(written) as source:
        np.testing.assert_array_equal(source.valid(written.grid.window), valid)
    changed = (after != read(scene)).any(axis=0)
    assert changed[valid].mean() > 0.9
    assert not changed[~valid].any()
    # decr's own copy of it has its mask and nothing else to say.
    again = tmp_path / "a.tif"
    declouds(out, again, FULL, restorer=darker())
    assert compare_metadata(out, again) == []


@pytest.mark.parametrize("masked", [1, 4])
def test_where_bands_have_masks_of_their_own_one_mask_says_what_is_missing(
    tmp_path: Path, masked: int
) -> None:
    scene, out = tmp_path / "s.vrt", tmp_path / "o.tif"
    valid = np.ones((1, 200, 300), np.uint8) * 255
    valid[:, 150:, 200:] = 0
    write_scene(tmp_path / "m.tif", valid, names=None)
    gdal_copy(write_scene(tmp_path / "s.tif", cloudy_pixels(200, 300)), scene, driver="VRT")
    gdal_copy(tmp_path / "m.tif", tmp_path / "m.vrt", driver="VRT")
    text = (tmp_path / "m.vrt").read_text()
    band = text[text.index("<VRTRasterBand") : text.index("</VRTDataset>")]
    end = "</VRTRasterBand>"
    with_mask = scene.read_text().replace(end, f"<MaskBand>{band}</MaskBand>{end}", masked)
    scene.write_text(with_mask)
    with pytest.warns(DecrWarning, match="bands have masks of their own"):
        declouds(scene, out, FULL, restorer=darker())
    with rasterio.open(out) as file:
        np.testing.assert_array_equal(file.dataset_mask(), valid[0])
    changed = (read(out) != read(scene)).any(axis=0)
    assert not changed[valid[0] == 0].any()


def test_near_infrared_called_alpha_keeps_overviews_under_a_mask(tmp_path: Path) -> None:
    """Nodata on one band alone asks for a mask, and the fourth band is called alpha."""
    pixels = np.random.default_rng(0).integers(40, 200, (4, 1100, 1100)).astype(np.uint8)
    pixels[3, :400, :400] = 0  # water
    pixels[0, 600:, 600:] = 0  # missing
    scene, out = tmp_path / "s.vrt", tmp_path / "o.tif"
    gdal_copy(str(write_scene(tmp_path / "s.tif", pixels, names=None)), str(scene), driver="VRT")
    _say_nodata(scene, {1: 0})
    config = DecloudConfig(detector="threshold", tile_px=256, overlap_px=64, bands="r,g,b,n")
    with pytest.warns(DecrWarning) as told:
        declouds(scene, out, config, restorer=darker())
    assert any("nodata differs by band" in str(warning.message) for warning in told)
    written = open_scene(out, "r,g,b,n")
    with reader(written) as source:
        valid = source.valid(written.grid.window)
    np.testing.assert_array_equal(valid, pixels[0] > 0)
    with rasterio.open(out, overview_level=0) as half:
        water = half.read(window=((5, 190), (5, 190)))
    assert water[:3].min() >= 40
    assert not water[3].any()


def test_that_nodata_differs_is_told_before_any_work(tmp_path: Path) -> None:
    scene, _ = _by_band(tmp_path)
    with local_engine() as engine, pytest.warns(DecrWarning, match="nodata differs by band"):
        prepare(str(scene), FULL, darker(), engine)
