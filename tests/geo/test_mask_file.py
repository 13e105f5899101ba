"""A user's cloud mask: what its numbers mean, where it has none, and where it ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS

from decr.errors import ConfigError, GridMismatchError
from decr.geo.grid import PixelGrid, Window
from decr.geo.mask_file import MaskClasses, doubt_of, open_mask
from decr.geo.opening import quiet
from decr.geo.scene import open_scene
from tests.geo.scene_files import NORTH_UP, UTM, coded, write

GRID = PixelGrid(200, 160, NORTH_UP, UTM)
ALL = MaskClasses()


def cloudy(path: Path, classes: MaskClasses = ALL) -> np.ndarray:
    with open_mask(path, GRID, classes) as mask:
        return mask.cloudy(Window(0, 0, 200, 160))


@pytest.mark.parametrize("nodata", [None, 0, 255])
def test_beyond_a_mask_nothing_is_cloudy(tmp_path: Path, nodata: int | None) -> None:
    numbers = np.zeros((1, 100, 100), np.uint8)
    numbers[0, :10] = 1
    found = cloudy(write(tmp_path / "m.tif", numbers, nodata=nodata))
    assert found[:10, :100].all()
    assert found.sum() == 1000


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_no_data_is_no_cloud(tmp_path: Path, dtype: str) -> None:
    nodata = 255 if dtype == "uint8" else np.nan
    numbers = np.zeros((1, 200, 160), dtype)
    numbers[0, :10], numbers[0, 100:] = 1, nodata
    found = cloudy(write(tmp_path / "m.tif", numbers, nodata=nodata))
    assert found[:10].all()
    assert found.sum() == 1600


def test_what_is_not_a_number_is_no_cloud(tmp_path: Path) -> None:
    numbers = np.full((1, 200, 160), np.nan, "float32")
    numbers[0, :10] = 1
    assert cloudy(write(tmp_path / "m.tif", numbers)).sum() == 1600


def test_a_mask_of_another_place_is_refused(tmp_path: Path) -> None:
    far = NORTH_UP @ Affine.translation(400, 0)
    path = write(tmp_path / "m.tif", np.ones((1, 200, 160), np.uint8), transform=far)
    with pytest.raises(GridMismatchError, match=r"m\.tif: the mask does not touch the scene"):
        cloudy(path)


def test_a_mask_with_south_at_the_top_lies_where_it_says(tmp_path: Path) -> None:
    numbers = np.zeros((1, 200, 160), np.uint8)
    numbers[0, -10:] = 1
    turned = NORTH_UP @ Affine.translation(0, 200) @ Affine.scale(1, -1)
    found = cloudy(write(tmp_path / "m.tif", numbers, transform=turned))
    assert found[:10].all()
    assert found.sum() == 1600


def test_a_mask_of_the_whole_disk_is_laid_over_the_scene(tmp_path: Path) -> None:
    disk = CRS.from_string("+proj=geos +h=35786023 +lon_0=117 +sweep=x +datum=WGS84")
    whole = Affine(110000, 0, -5.5e6, 0, -110000, 5.5e6)
    path = write(tmp_path / "m.tif", np.ones((1, 100, 100), np.uint8), crs=disk, transform=whole)
    assert cloudy(path).all()


def test_beyond_a_mask_is_no_number_of_it(tmp_path: Path) -> None:
    path = write(tmp_path / "m.tif", np.ones((1, 100, 160), np.uint8))
    assert not cloudy(path, MaskClasses((0,))).any()
    path = write(tmp_path / "n.tif", np.zeros((1, 100, 160), np.uint8))
    assert cloudy(path, MaskClasses((0,))).sum() == 16000


def test_a_class_that_is_nodata_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "m.tif", np.full((1, 200, 160), 255, np.uint8), nodata=255)
    with pytest.raises(ConfigError, match=r"m\.tif: 255 cannot mean cloud"):
        cloudy(path, MaskClasses((64, 255)))


def test_a_crs_that_leads_nowhere_is_one_error(tmp_path: Path) -> None:
    local = CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1]]')
    path = write(tmp_path / "m.tif", np.ones((1, 50, 50), np.uint8), crs=local)
    with pytest.raises(GridMismatchError, match=r"m\.tif: the mask cannot be laid"):
        cloudy(path)


def test_a_mask_without_a_crs_fits_by_shape_alone(tmp_path: Path) -> None:
    numbers = np.ones((1, 200, 160), np.uint8)
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        path = write(tmp_path / "m.tif", numbers, crs=None, transform=Affine.identity())
    assert cloudy(path).all()
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        small = write(tmp_path / "n.tif", numbers[:, :9], crs=None, transform=Affine.identity())
    with pytest.raises(GridMismatchError, match="9 x 160 px"):
        cloudy(small)


def test_a_crs_without_a_transform_places_no_scene(tmp_path: Path) -> None:
    """GDAL makes one up for a file that lies nowhere and says that its pixels are points."""
    with quiet():
        scene = write(tmp_path / "s.tif", coded(4, 200, 160), crs=None, transform=None)
        with rasterio.open(scene, "r+") as file:
            file.update_tags(AREA_OR_POINT="Point")
        with rasterio.open(scene) as file:
            assert file.crs is not None
    numbers = np.zeros((1, 200, 160), np.uint8)
    numbers[0, :10] = 1
    grid = open_scene(scene).grid
    with open_mask(write(tmp_path / "m.tif", numbers), grid, ALL) as mask:
        np.testing.assert_array_equal(mask.cloudy(grid.window), numbers[0] == 1)


def test_bands_of_a_mask_that_do_not_count_are_told(tmp_path: Path) -> None:
    """Planet's masks begin with a band of clear pixels, and a drawing may be blue."""
    drawn = np.zeros((4, 200, 160), np.uint8)
    drawn[:3, :120], drawn[3] = 255, 9
    colours = ("red", "green", "blue", "alpha")
    white = write(tmp_path / "w.tif", drawn, colours=colours, descriptions=())
    assert doubt_of(white, ALL, True) is None
    drawn[:2] = 0
    blue = write(tmp_path / "b.tif", drawn, colours=colours, descriptions=())
    words = doubt_of(blue, ALL, False)
    assert words is not None
    assert "b.tif: of its 3 bands, which differ, the first alone counts; take another" in words
    clear = np.stack([drawn[2] == 0, drawn[2] > 0]).astype("uint8")
    planet = write(tmp_path / "p.tif", clear, descriptions=("clear", "cloud"))
    words = doubt_of(planet, ALL, True)
    assert words is not None
    assert "of its 2 bands, which differ, the first (clear) alone counts" in words
    assert doubt_of(planet, MaskClasses((1,)), True) is None


def test_bands_of_a_mask_may_be_of_several_types(tmp_path: Path) -> None:
    numbers = np.zeros((1, 200, 160), np.uint8)
    numbers[0, :150] = 1
    write(tmp_path / "cloud.tif", numbers)
    write(tmp_path / "chance.tif", numbers.astype("float32") * 0.7)
    virtual = tmp_path / "m.vrt"
    bands = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{band}"><SimpleSource><SourceFilename '
        f'relativeToVRT="1">{name}.tif</SourceFilename></SimpleSource></VRTRasterBand>'
        for band, (name, kind) in enumerate({"cloud": "Byte", "chance": "Float32"}.items(), 1)
    )
    virtual.write_text(f'<VRTDataset rasterXSize="160" rasterYSize="200">{bands}</VRTDataset>')
    words = doubt_of(virtual, ALL, True)
    assert words is not None
    assert "m.vrt: of its 2 bands, which differ, the first alone counts" in words
