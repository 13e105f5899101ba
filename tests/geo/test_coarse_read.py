"""Means over cells: right for any window and chunk size, from full resolution, in bounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import decr.geo.scene as scene_module
from decr.geo.grid import Window
from decr.geo.scene import open_scene, reader
from tests.geo.scene_files import BGRN, NORTH_UP, UTM, coded, write


def brute_force(
    array: np.ndarray, valid: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means, least and numbers of valid pixels by cell."""
    height, width = (-(-n // k) for n in valid.shape)
    count = np.zeros((height, width), dtype=int)
    mean, least = np.zeros((2, len(array), height, width))
    for i, j in np.ndindex(height, width):
        cell = (slice(i * k, i * k + k), slice(j * k, j * k + k))
        good = valid[cell]
        count[i, j] = good.sum()
        if good.any():
            mean[:, i, j] = [band[cell][good].astype(float).mean() for band in array]
            least[:, i, j] = [band[cell][good].min() for band in array]
    return mean, least, count


@pytest.fixture(scope="module")
def holed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    array = np.random.default_rng(1).integers(1, 4000, (4, 61, 83)).astype(np.uint16)
    array[:, 10:31, 20:47] = 0
    array[2, ::7, ::5] = 0
    return write(
        tmp_path_factory.mktemp("holed") / "a.tif", array, nodata=0, tiled=True,
        blockxsize=32, blockysize=16,
    )  # fmt: skip


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), k=st.integers(1, 20), strip=st.sampled_from([1, 3000, 40_000, 2**26]))
def test_coarse_means(
    holed: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject, k: int, strip: int
) -> None:
    monkeypatch.setattr(scene_module, "_STRIP_BYTES", strip)
    scene = open_scene(holed)
    whole = scene.grid.coarsened(k).window
    row = data.draw(st.integers(0, whole.height - 1))
    col = data.draw(st.integers(0, whole.width - 1))
    window = Window(
        row, col,
        data.draw(st.integers(1, whole.height - row)),
        data.draw(st.integers(1, whole.width - col)),
    )  # fmt: skip
    with reader(scene) as source:
        dn, valid = source.read(scene.grid.window)
        mean, count = source.read_coarse(window, k, (3, 1))
        both, again = source.read_coarse(window, k, (3, 1), darkest=True)
    expected, least, number = brute_force(dn[[3, 1]], valid, k)
    np.testing.assert_array_equal(count, again)
    np.testing.assert_array_equal(both[:2], mean)
    np.testing.assert_array_equal(both[2:], least[:, *window.slices()])
    assert (mean.dtype, count.dtype) == (np.float32, np.int32)
    np.testing.assert_array_equal(count, number[window.slices()])
    np.testing.assert_allclose(mean, expected[:, *window.slices()], rtol=1e-6)
    assert (mean[:, count == 0] == 0).all()


def test_coarse_floats_ignore_missing(tmp_path: Path) -> None:
    array = coded(4, 20, 20, "float32")
    array[:, :10] = np.nan
    array[1, 12, 12] = np.inf
    scene = open_scene(write(tmp_path / "a.tif", array))
    with reader(scene) as source:
        mean, count = source.read_coarse(Window(0, 0, 2, 2), 10, darkest=True)
    assert count.tolist() == [[0, 0], [100, 99]]
    assert np.isfinite(mean).all()
    assert (mean[:, 0] == 0).all()
    assert (mean[4:] <= mean[:4]).all()


def test_coarse_ignores_overviews(tmp_path: Path) -> None:
    array = coded(4, 64, 64)
    path = write(tmp_path / "a.tif", array)
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4])
    zeros = np.zeros_like(array)
    with rasterio.open(path, "r+", overview_level=0) as overview:
        overview.write(zeros[:, :32, :32])
    scene = open_scene(path)
    with reader(scene) as source:
        mean, _ = source.read_coarse(Window(0, 0, 16, 16), 4)
    np.testing.assert_allclose(mean, brute_force(array, np.ones((64, 64), bool), 4)[0], rtol=1e-6)


def test_coarse_chunks_follow_blocks_and_fit_memory(tmp_path: Path) -> None:
    path = tmp_path / "big.tif"
    profile = {"driver": "GTiff", "count": 4, "height": 30_000, "width": 50_000, "dtype": "uint16"}
    with rasterio.open(
        path, "w", **profile, tiled=True, blockxsize=512, blockysize=512, sparse_ok=True,
        crs=UTM, transform=NORTH_UP,
    ) as dataset:  # fmt: skip
        dataset.descriptions = BGRN
    scene = open_scene(path)
    with reader(scene) as source:
        whole = scene.grid.coarsened(16).window
        chunks = list(source._chunks(whole, 16))
    assert sum(chunk.area for chunk in chunks) == whole.area
    for chunk in chunks:
        assert chunk.scaled(16).area * 4 * 2 <= 64 * 2**20
        assert chunk.row * 16 % 512 == 0
        assert chunk.col * 16 % 512 == 0
