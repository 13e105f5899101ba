"""Arrays go to the file that the pipeline reads part by part, and are never held as a whole."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import decr
from decr.errors import SceneError
from decr.pipeline import array_parts
from decr.pipeline.array_parts import parts_of
from decr.pipeline.stored_array import stored
from tests.pipeline.scenes import cloudy_pixels, write_scene


def cut(draw: Any, total: int) -> tuple[int, ...]:
    """Sizes of chunks, some of them 0."""
    ends = sorted(draw(st.lists(st.integers(0, total), max_size=4)))
    return tuple(int(size) for size in np.diff([0, *ends, total]))


@given(st.data(), st.booleans(), st.sampled_from([1, 300, 10**9]))
@settings(max_examples=60, deadline=None)
def test_parts_make_up_the_array_whatever_its_chunks(data: Any, lazy: bool, most: int) -> None:
    shape = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 600), st.integers(1, 9)))
    pixels = np.arange(np.prod(shape), dtype="uint16").reshape(shape)
    chunks = tuple(cut(data.draw, size) for size in shape)
    held = dask.array.from_array(pixels, chunks) if lazy else pixels
    seen, made = np.zeros(shape, int), np.zeros_like(pixels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(array_parts, "_AT_ONCE_BYTES", most)
        patch.setattr(array_parts, "_STRIP_BYTES", most)
        for part, some in parts_of(xr.DataArray(held, dims=("band", "y", "x"))):
            made[part] = some
            seen[part] += 1
    assert (seen == 1).all()
    np.testing.assert_array_equal(made, pixels)


@pytest.mark.parametrize("how", ["memory", "file", "rows", "squares", "floats"])
def test_little_of_an_array_is_in_memory_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(array_parts, "_AT_ONCE_BYTES", 2**20)
    monkeypatch.setattr(array_parts, "_STRIP_BYTES", 2**20)
    path = write_scene(tmp_path / "s.tif", cloudy_pixels(1500, 2000), tiled=True, nodata=0)
    chunks = {
        "rows": {"y": 100},
        "squares": {"band": 1, "y": 200, "x": 300},
        "floats": {"y": 50},
    }
    array: Any = rioxarray.open_rasterio(path, chunks=chunks.get(how), masked=how == "floats")
    if how == "memory":
        array.load()
    stored(array[:, :9, :9], tmp_path)  # what is imported by then takes memory, too
    tracemalloc.start()
    try:
        file = stored(array, tmp_path)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < array.nbytes * 0.4
    assert array.variable._in_memory == (how == "memory")
    with rasterio.open(file) as written:
        np.testing.assert_array_equal(written.read(), array.values)


def test_each_chunk_is_computed_once(tmp_path: Path) -> None:
    calls: list[tuple[slice, ...]] = []

    def computed(block_info: Any = None) -> np.ndarray:
        calls.append(tuple(block_info[None]["chunk-location"]))
        return np.ones(block_info[None]["chunk-shape"], "uint16")

    lazy = dask.array.map_blocks(
        computed, chunks=((2, 2), (9,) * 5, (7, 8)), dtype="uint16", meta=np.array(0)
    )
    stored(xr.DataArray(lazy, dims=("band", "y", "x")), tmp_path)
    assert len(calls) == len(set(calls)) == 20


@pytest.mark.parametrize("chunks", [None, {"y": 50}])
def test_a_file_that_is_gone_when_its_array_is_read_is_told(
    tmp_path: Path, chunks: dict[str, int] | None
) -> None:
    path = write_scene(tmp_path / "s.tif", cloudy_pixels(200, 300))
    array = rioxarray.open_rasterio(path, chunks=chunks, cache=False)
    assert isinstance(array, xr.DataArray)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(SceneError, match=r"^the array cannot be read: .*; see that the files"):
        decr.ccp(array, decr.CcpConfig(detector="threshold"))
