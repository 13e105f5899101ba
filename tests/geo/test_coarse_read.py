"""Means over cells: right for any window and chunk size, from full resolution, in bounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decr.geo import pieces
from decr.geo.gdal import COARSE_CACHE_BYTES, gdal_environment
from decr.geo.grid import Window
from decr.geo.reader import reader
from decr.geo.scene import open_scene
from tests.geo.scene_files import coded, write


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
def test_coarse_pixels_are_means_counts_and_darkest_of_the_valid_ones(
    holed: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject, k: int, strip: int
) -> None:
    monkeypatch.setattr(pieces, "_BYTES", strip)
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


def test_coarse_means_are_of_full_resolution_whatever_overviews_hold(tmp_path: Path) -> None:
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


def test_coarse_pieces_follow_blocks_and_fit_memory() -> None:
    whole = Window(0, 0, 30_000 // 16, 50_000 // 16)
    found = list(pieces.along_blocks(whole, 16, (512, 512), 8, 4))
    assert sum(piece.area for piece in found) == whole.area
    for piece in found:
        assert piece.scaled(16).area * 4 * 2 <= 64 * 2**20
        assert piece.row * 16 % 512 == 0
        assert piece.col * 16 % 512 == 0


@pytest.mark.parametrize(
    "block", [(1, 9000), (16, 9000), (256, 256), (512, 512), (1024, 1024), (2048, 2048), (3, 7)]
)
def test_no_piece_of_a_scene_cuts_a_block(block: tuple[int, int]) -> None:
    scene = Window(0, 0, 7000, 9000)
    seen = np.zeros(scene.shape, np.uint8)
    for piece in pieces.whole_blocks(scene, block, 8):
        seen[piece.slices()] += 1
        assert piece.row % block[0] == 0
        assert piece.col % block[1] == 0
        assert piece.area <= 2048**2
    assert (seen == 1).all()


def test_blocks_too_large_for_memory_are_cut() -> None:
    found = list(pieces.whole_blocks(Window(0, 0, 9000, 9000), (9000, 9000), 8))
    assert max(piece.area for piece in found) <= 2048**2
    assert sum(piece.area for piece in found) == 9000**2


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="needs Linux's counters of reading")
def test_blocks_that_pieces_of_a_wide_window_share_are_decoded_once(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(1, 2**16, (4, 1100, 4700)).astype(np.uint16)
    path = write(
        tmp_path / "a.tif", array, tiled=True, blockxsize=512, blockysize=512, interleave="band"
    )
    with gdal_environment(COARSE_CACHE_BYTES), reader(open_scene(path)) as source:
        before = _bytes_read()
        source.read_coarse(source.scene.grid.coarsened(20).window, 20)
        assert _bytes_read() - before < 1.2 * path.stat().st_size


def _bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])
