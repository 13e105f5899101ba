"""The sample scenes: metadata, clouds exactly where the mask says, plausible spectra."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from decr.errors import DatasetError
from sample_scenes import make_scenes
from sample_scenes.canvas import Canvas, Label, Sun, light
from sample_scenes.paths import pixels_beside, smooth_path
from sample_scenes.structures import building

SCENES = Path(make_scenes.__file__).parent
ROOT = SCENES.parent


def read(path: Path) -> NDArray[np.uint16]:
    with rasterio.open(path) as source:
        dn: NDArray[np.uint16] = source.read()
    return dn


@pytest.fixture(scope="module")
def meadowbrook() -> make_scenes.Made:
    """The valley drawn anew, with its labels."""
    return make_scenes.make(make_scenes.MEADOWBROOK)


@pytest.fixture(scope="module")
def harbour_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("harbour")
    make_scenes.write_harbour(folder)
    return folder


def test_meadowbrook_has_the_metadata_of_a_delivery() -> None:
    with rasterio.open(SCENES / "meadowbrook_cloudy.tif") as source:
        assert (source.count, source.shape, source.dtypes[0]) == (4, (2048, 2048), "uint16")
        assert source.descriptions == ("blue", "green", "red", "nir")
        assert source.colorinterp[:3] == (ColorInterp.blue, ColorInterp.green, ColorInterp.red)
        assert source.crs.to_epsg() == 32650
        assert source.res == (0.5, 0.5)
        assert source.nodata is None
        tags, domain = source.tags(), source.tags(ns="ACQUISITION")
        assert source.profile["tiled"]
    assert tags["TIFFTAG_DATETIME"] == "2023:05:21 03:12:45"
    assert tags["ACQUISITION_SUN_AZIMUTH"] == domain["IMAGE_1.meanSunAz"] == "148.0"
    assert 0.35 <= float(tags["ACQUISITION_CLOUD_COVER"]) <= 0.45
    assert not list(SCENES.glob("*.IMD"))
    assert not list(SCENES.glob("*.aux.xml"))


def test_committed_scenes_are_small() -> None:
    committed = [p for p in SCENES.glob("*.tif") if p.name != "meadowbrook_clear.tif"]
    assert len(committed) == 4
    assert sum(path.stat().st_size for path in committed) < 15_000_000


def test_meadowbrook_is_part_cloudy_and_within_11_bits() -> None:
    mask, cloudy = (read(SCENES / f"meadowbrook_{n}.tif") for n in ("cloud_mask", "cloudy"))
    assert set(np.unique(mask)) == {0, 1}
    assert 0.35 <= mask.mean() <= 0.45
    assert cloudy.min() >= 1
    assert cloudy.max() <= 2047
    # A large part is free of clouds altogether.
    free = mask[0].reshape(32, 64, 32, 64).max(axis=(1, 3)) == 0
    assert free.mean() > 0.15


def test_committed_scene_is_what_the_generator_draws(meadowbrook: make_scenes.Made) -> None:
    mask = read(SCENES / "meadowbrook_cloud_mask.tif")[0] == 1
    cloudy = read(SCENES / "meadowbrook_cloudy.tif")
    off = np.abs(meadowbrook.clear.astype(int) - cloudy)[:, ~mask]
    # Another processor may round a few pixels the other way; a change of the code shows.
    assert (off > 1).mean() < 0.001


def test_cloudy_differs_from_clear_on_the_mask_only(meadowbrook: make_scenes.Made) -> None:
    changed = (meadowbrook.cloudy != meadowbrook.clear).any(axis=0)
    assert not changed[~meadowbrook.mask].any()
    # Rounding hides the change under the thinnest wisps.
    assert changed[meadowbrook.mask].mean() > 0.98
    under = meadowbrook.cloudy.astype(int) - meadowbrook.clear
    assert (under[0][meadowbrook.mask] > 60).mean() > 0.3, "hardly any clouds"
    assert (under[3][meadowbrook.mask] < -20).mean() > 0.1, "hardly any shadows"


def test_the_truth_is_the_scene_where_it_is_clear_and_the_made_ground_elsewhere(
    meadowbrook: make_scenes.Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cloudy", "cloud_mask"):
        (tmp_path / f"meadowbrook_{name}.tif").symlink_to(SCENES / f"meadowbrook_{name}.tif")
    monkeypatch.setattr(make_scenes, "make", lambda _: meadowbrook)
    path = make_scenes.truth(tmp_path)
    clear, cloudy = read(path), read(SCENES / "meadowbrook_cloudy.tif")
    mask = read(SCENES / "meadowbrook_cloud_mask.tif")[0] == 1
    np.testing.assert_array_equal(clear[:, ~mask], cloudy[:, ~mask])
    np.testing.assert_array_equal(clear[:, mask], meadowbrook.clear[:, mask])
    assert make_scenes.truth(tmp_path) == path


def test_truth_refuses_a_foreign_scene(
    meadowbrook: make_scenes.Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cloudy", "cloud_mask"):
        (tmp_path / f"meadowbrook_{name}.tif").symlink_to(SCENES / f"meadowbrook_{name}.tif")
    other = make_scenes.Made(
        np.roll(meadowbrook.clear, 5, axis=2),
        meadowbrook.cloudy,
        meadowbrook.mask,
        meadowbrook.label,
    )
    monkeypatch.setattr(make_scenes, "make", lambda _: other)
    with pytest.raises(DatasetError, match="differs from this generator"):
        make_scenes.truth(tmp_path)
    assert not (tmp_path / "meadowbrook_clear.tif").exists()


def test_spectra_are_plausible(meadowbrook: make_scenes.Made) -> None:
    index, label = make_scenes.ndvi(meadowbrook.clear), meadowbrook.label
    assert np.median(index[label == Label.CROP]) > 0.6
    # Wheel tracks and the soil between rows are fields, too.
    assert (index[label == Label.CROP] > 0.3).mean() > 0.9
    assert np.median(index[label == Label.WOOD]) > 0.6
    assert 0.05 < np.median(index[label == Label.SOIL]) < 0.3
    # Trees hang over the banks.
    assert (index[label == Label.WATER] < 0).mean() > 0.75
    assert np.median(index[label == Label.WATER]) < -0.2
    roads = meadowbrook.clear[:, label == Label.ROAD].astype(float)
    assert abs(np.median(roads[2] / roads[0]) - 1.0) < 0.3, "asphalt is grey"
    shares = np.bincount(label.ravel(), minlength=len(Label)) / label.size
    assert shares[[Label.CROP, Label.RIPE, Label.SOIL, Label.WOOD]].min() > 0.05
    assert shares[[Label.WATER, Label.ROAD, Label.ROOF]].min() > 0.005


@pytest.mark.parametrize("name", ["clear", "cloudy"])
def test_harbour_is_rotated_in_a_black_frame(name: str) -> None:
    with rasterio.open(SCENES / f"harbour_rotated_{name}.tif") as source:
        dn, transform = source.read(), source.transform
        assert (source.dtypes[0], source.nodata) == ("uint8", 0)
        assert source.descriptions == ("red", "green", "blue")
        assert source.crs.to_epsg() == 32633
    assert dn.shape == (3, 500, 600)
    assert abs(np.hypot(transform.a, transform.d) - 0.5) < 1e-9
    assert abs(np.degrees(np.arctan2(transform.d, transform.a)) - 14.0) < 1e-6
    empty = (dn == 0).all(axis=0)
    np.testing.assert_array_equal(empty, (dn == 0).any(axis=0))
    assert 0.2 < empty.mean() < 0.5
    assert all(empty[row, col] for row in (0, -1) for col in (0, -1))


def test_harbour_pair_shares_ground() -> None:
    clear, cloudy = (read(SCENES / f"harbour_rotated_{n}.tif") for n in ("clear", "cloudy"))
    valid = (clear > 0).all(axis=0)
    np.testing.assert_array_equal(valid, (cloudy > 0).all(axis=0))
    changed = (clear != cloudy).any(axis=0)[valid]
    assert 0.2 < changed.mean() < 0.5


def test_same_seed_same_bytes(harbour_folder: Path, tmp_path: Path) -> None:
    make_scenes.write_harbour(tmp_path)
    for path in sorted(harbour_folder.iterdir()):
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()


@pytest.mark.parametrize(("azimuth", "rows", "cols"), [(180, -1, 0), (90, 0, -1), (0, 1, 0)])
def test_shadows_fall_away_from_the_sun(azimuth: float, rows: int, cols: int) -> None:
    sun = Sun(azimuth_deg=azimuth, elevation_deg=45.0)
    assert np.allclose(sun.shadow_m(10.0), (10.0 * rows, 10.0 * cols), atol=1e-9)
    canvas = Canvas((80, 80), np.random.default_rng(0))
    canvas.albedo[:] = 0.3
    grey = np.full(4, 0.3, np.float32)
    building(canvas, (20.0, 20.0), (8.0, 8.0), 0.0, grey, eaves_m=6.0, pitch=0.0)
    image = light(canvas, sun)[3]
    # 6 m to either side of the wall: 3 m beyond it, in a shadow 6 m long or in the sun.
    shaded = image[40 + rows * 14, 40 + cols * 14]
    sunny = image[40 - rows * 14, 40 - cols * 14]
    assert shaded < 0.4 * sunny


def test_pixels_beside_a_straight_path_know_how_far_along_and_across_they_lie() -> None:
    canvas = Canvas((64, 64), np.random.default_rng(0))
    beside = pixels_beside(canvas, smooth_path([(-20.0, 10.25), (10.0, 10.25), (60.0, 10.25)]), 3.0)
    expected = (beside.rows + 0.5) * canvas.gsd_m - 10.25
    np.testing.assert_allclose(beside.across, expected, atol=1e-4)
    np.testing.assert_allclose(beside.along, (beside.cols + 0.5) * 0.5 + 20.0, atol=1e-3)
    assert set(beside.rows) == set(range(15, 26))


@pytest.fixture(scope="module")
def pictures() -> ModuleType:
    pytest.importorskip("matplotlib")
    spec = importlib.util.spec_from_file_location("make_pictures", ROOT / "docs/make_pictures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_panel_of_three_pictures_has_its_size_in_px_and_is_small(
    pictures: ModuleType, tmp_path: Path
) -> None:
    cloudy, clear = (SCENES / f"harbour_rotated_{n}.tif" for n in ("cloudy", "clear"))
    out = tmp_path / "new" / "panel.png"
    pictures.make_panel((cloudy, clear, clear), out, panel_px=200)
    with rasterio.open(out) as source:
        assert source.width == 3 * 240 + 16
        assert source.height == 228
    assert out.stat().st_size < 600_000


def test_picture_finds_bands_by_description(pictures: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    profile = {"driver": "GTiff", "width": 8, "height": 8, "count": 4, "dtype": "uint16"}
    transform = Affine(0.5, 0, 0, 0, -0.5, 0)
    with rasterio.open(path, "w", transform=transform, **profile) as target:
        target.write(np.arange(1, 5, dtype=np.uint16)[:, None, None] * np.ones((8, 8), np.uint16))
        target.descriptions = ("blue", "green", "red", "nir")
    rgb = pictures.read_rgb(path, None, 8)
    assert rgb.shape == (8, 8, 3)
    assert [float(v) for v in rgb[0, 0]] == [3.0, 2.0, 1.0]
