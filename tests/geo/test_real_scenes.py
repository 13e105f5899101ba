"""Every GeoTIFF of the real data opens, with the right bands and valid pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from decr.geo.fourth import is_alpha_by_default
from decr.geo.reader import reader
from decr.geo.scene import open_scene

REAL = {
    "deepforest/test_tiled.tif": ("red green blue", "none"),
    "rasterio/RGB.byte.tif": ("red green blue", "nodata"),
    "rasterio/RGBA.uint16.tif": ("blue green red alpha", "alpha"),
    "rasterio/all-nodata.tif": ("blue green red nir", "nodata"),
    "rasterio/rotated.tif": ("pan", "none"),
    "rasterio/test_esri_wkt.tif": ("pan", "none"),
    "rio-tiler/201404_13SED190110_201404_0x1500m_CL_1_alpha.tif": ("red green blue alpha", "alpha"),
    "rio-tiler/201404_13SED190110_201404_0x1500m_CL_1_extmask.tif": (
        "red green blue", "per_dataset",
    ),
    "rio-tiler/201404_13SED190110_201404_0x1500m_CL_1_mask.tif": ("red green blue", "per_dataset"),
    "rio-tiler/201404_13SED190110_201404_0x1500m_CL_1_nodata.tif": ("red green blue", "nodata"),
    "rio-tiler/cog_dateline.tif": ("pan", "none"),
    "rio-tiler/cog_gcps.tif": ("pan", "none"),
    "rio-tiler/cog_hirise_mars.tif": ("red green blue", "none"),
    "rio-tiler/mosaic_cog1.tif": ("red green blue", "nodata"),
    "rio-tiler/pix4d_alpha_nodata.tif": ("red green blue alpha", "alpha"),
    "rioxarray/test_rpcs.tif": ("pan", "nodata"),
    "spacenet/RGB-PanSharpen_AOI_2_Vegas_img0.tif": ("red green blue alpha", "alpha"),
    "spacenet/sample_geotiff.tif": ("pan", "nodata"),
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_a_real_scene_has_the_roles_pixels_and_means_that_are_known_of_it(
    shared: Path, name: str
) -> None:
    path = shared / "data" / "scenes_geotiff" / name
    if not path.exists():
        pytest.skip(f"real data absent: {path}")
    scene = open_scene(path)
    assert (" ".join(scene.bands.roles), scene.mask_kind) == REAL[name]
    with reader(scene) as source:
        dn, valid = source.read(scene.grid.window)
        mean, count = source.read_coarse(scene.grid.coarsened(8).window, 8)
    assert count.sum() == valid.sum()
    with rasterio.open(path) as dataset:
        expected = dataset.read([i + 1 for i in scene.bands.data_indices])
        gdal_valid = dataset.dataset_mask() != 0
    np.testing.assert_array_equal(dn, expected)
    if scene.mask_kind != "nodata":
        np.testing.assert_array_equal(valid, gdal_valid)
    else:
        # GDAL calls a pixel valid if any band is; here all must be.
        assert not (valid & ~gdal_valid).any()
    if valid.any():
        assert dn.min() <= mean[:, count > 0].min() <= mean.max() <= dn.max()
    # Only the control points and the ground tell sizes; bare and RPC-only files say nothing.
    unknown = name in ("rioxarray/test_rpcs.tif", "rasterio/rotated.tif")
    assert (scene.grid.gsd_m is None) == unknown


def test_every_real_scene_is_listed(shared: Path) -> None:
    folder = shared / "data" / "scenes_geotiff"
    if not folder.is_dir():
        pytest.skip(f"real data absent: {folder}")
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*.tif")}
    assert found == set(REAL)


def test_real_near_infrared_that_gdal_calls_alpha_is_told_from_transparency(shared: Path) -> None:
    found: dict[str, list[str]] = {"nir": [], "alpha": []}
    for path in sorted((shared / "data").rglob("*.tif")):
        with rasterio.open(path) as dataset:
            if not is_alpha_by_default(dataset):
                continue
        scene = open_scene(path)
        assert scene.bands.roles[:3] == ("red", "green", "blue")
        assert len(scene.guesses) == (scene.bands.roles[3] == "nir")
        found[scene.bands.roles[3]].append(path.relative_to(shared / "data").parts[0])
    if not found["nir"] or not found["alpha"]:
        pytest.skip(f"real data absent: no images of both kinds in {shared / 'data'}")
    assert {*found["nir"]} == {"clear_highres_nir"}
    assert {*found["alpha"]} == {"scenes_geotiff"}
