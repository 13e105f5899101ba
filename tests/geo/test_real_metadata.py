"""Real scenes go through the writer with every pixel and every word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rio_cogeo import cog_validate

from decr.geo.grid import Window
from decr.geo.metadata import compare_metadata
from decr.geo.output import write_cog
from decr.geo.overlay import Patch

SCENES = [
    "scenes_geotiff/deepforest/test_tiled.tif",
    "scenes_geotiff/rasterio/RGB.byte.tif",
    "scenes_geotiff/rasterio/RGBA.uint16.tif",
    "scenes_geotiff/rasterio/all-nodata.tif",
    "scenes_geotiff/rasterio/rotated.tif",
    "scenes_geotiff/rasterio/test_esri_wkt.tif",
    "scenes_geotiff/rio-tiler/201404_13SED190110_201404_0x1500m_CL_1_alpha.tif",
    "scenes_geotiff/rio-tiler/201404_13SED190110_201404_0x1500m_CL_1_extmask.tif",
    "scenes_geotiff/rio-tiler/201404_13SED190110_201404_0x1500m_CL_1_mask.tif",
    "scenes_geotiff/rio-tiler/201404_13SED190110_201404_0x1500m_CL_1_nodata.tif",
    "scenes_geotiff/rio-tiler/cog_dateline.tif",
    "scenes_geotiff/rio-tiler/cog_gcps.tif",
    "scenes_geotiff/rio-tiler/cog_hirise_mars.tif",
    "scenes_geotiff/rio-tiler/mosaic_cog1.tif",
    "scenes_geotiff/rio-tiler/pix4d_alpha_nodata.tif",
    "scenes_geotiff/rioxarray/test_rpcs.tif",
    "scenes_geotiff/spacenet/RGB-PanSharpen_AOI_2_Vegas_img0.tif",
    "scenes_geotiff/spacenet/sample_geotiff.tif",
    "clear_highres/naip_1m_rgbn/m_3607717_sw_18_1_20160620_subset.tif",
    "clear_highres/neon_rgb_0p1m/OSBS_029.tif",
    "clear_highres/oam_banepa_rgb/OAM-386694-220246-19.tif",
    "clear_highres/swissimage_rgb_0p5m/1091-322_00.tif",
    "clear_multitemporal_naip_5m/m_4709963_se_14_1_20090818.tif",
    "clear_multitemporal_naip_5m/m_4709963_se_14_1_20120731.tif",
    "clear_multitemporal_naip_5m/m_4709963_se_14_1_20150926.tif",
    "clear_multitemporal_naip_5m/m_4709963_se_14_1_20180716.tif",
    "cloud_masks_l8biome/images/Barren_00_0214.tif",
]


@pytest.mark.parametrize("name", SCENES)
def test_a_patched_scene_keeps_everything_else(shared: Path, tmp_path: Path, name: str) -> None:
    source, out, work = shared / "data" / name, tmp_path / "out.tif", tmp_path / "work"
    if not source.exists():
        pytest.skip(f"real data absent: no {source}")
    work.mkdir()
    beside = sorted(source.parent.iterdir())
    before = source.read_bytes()
    with rasterio.open(source) as file:
        expected, mask = file.read(), file.dataset_mask()
    height, width = expected.shape[1:]
    # Off-centre, not aligned to any block, all bands but the last (which may be alpha).
    row, col = height // 3, width // 5
    bands = tuple(range(max(1, len(expected) - 1)))
    shape = (max(1, height // 4), max(1, width // 2))
    pixels = expected[: len(bands), row : row + shape[0], col : col + shape[1]] // 2 + 3
    with rasterio.open(
        work / "patch.tif",
        "w",
        driver="GTiff",
        count=len(bands),
        height=shape[0],
        width=shape[1],
        dtype=expected.dtype,
    ) as file:
        file.write(pixels)
    patch = Patch(work / "patch.tif", Window(row, col, *shape), bands)
    write_cog(str(source), [patch], out, {"SEED": "0"}, work)

    window = (slice(len(bands)), slice(row, row + shape[0]), slice(col, col + shape[1]))
    with rasterio.open(source) as a, rasterio.open(out) as b:
        expected[window] = pixels
        np.testing.assert_array_equal(b.read(), expected)
        outside = np.ones(mask.shape, bool)
        outside[window[1:]] = False
        np.testing.assert_array_equal(b.dataset_mask()[outside], mask[outside])
        assert b.crs == a.crs
        assert b.tags(ns="DECR") == {"SEED": "0"}
    assert compare_metadata(source, out) == []
    valid, errors, warnings = cog_validate(out, strict=True)
    assert valid, (errors, warnings)
    assert source.read_bytes() == before
    assert sorted(source.parent.iterdir()) == beside
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.tif", "work"]
