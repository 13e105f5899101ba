"""Pixels without data: given one number in little time and room."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from decr.geo import quicklook as quicklook_module
from decr.geo import reader as reader_module
from decr.geo.missing import blank, range_of
from decr.geo.opening import DTYPES
from decr.geo.quicklook import quicklook
from decr.geo.reader import reader
from decr.geo.scene import Scene, open_scene
from tests.geo.scene_files import coded, write

SHAPE = (3, 1024, 1024)
"""One piece of a scene."""


@given(
    st.data(),
    arrays.array_shapes(min_dims=3, max_dims=3, max_side=9),
    st.sampled_from(DTYPES),
    st.sampled_from([0, 250, None]),
)
def test_pixels_that_are_not_valid_get_the_number_and_others_stay(
    data: st.DataObject, shape: tuple[int, int, int], dtype: str, number: float | None
) -> None:
    planes = data.draw(arrays.arrays(dtype, shape))
    valid = data.draw(arrays.arrays(bool, shape[1:]))
    number = range_of(planes.dtype)[1] if number is None else number
    expected = planes.copy()
    expected[:, ~valid] = number
    blank(planes, valid, number)
    assert planes.tobytes() == expected.tobytes()


def _coarse(scene: Scene) -> None:
    with reader(scene) as source:
        source.read_coarse(scene.grid.coarsened(8).window, 8, darkest=True)


def _quicklook(scene: Scene) -> None:
    quicklook(scene, 8, (0, 1, 2))


def bytes_per_px(work: Callable[[], Any]) -> float:
    """What the work takes at its peak."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / (SHAPE[1] * SHAPE[2])
    finally:
        tracemalloc.stop()


def _scene(path: Path, valid_rows: int) -> Scene:
    pixels = coded(*SHAPE, "uint8")
    pixels[:, valid_rows:] = 0
    return open_scene(str(write(path, pixels, nodata=0, tiled=True)), "r,g,b")


@pytest.mark.parametrize("look", [_coarse, _quicklook])
def test_scenes_with_wide_nodata_take_no_more_room(
    tmp_path: Path, look: Callable[[Scene], None]
) -> None:
    full, wide = (_scene(tmp_path / f"{rows}.tif", rows) for rows in (SHAPE[1], 100))
    assert bytes_per_px(lambda: look(wide)) < bytes_per_px(lambda: look(full)) + 1


@pytest.mark.parametrize("look", [_coarse, _quicklook])
def test_where_nothing_is_valid_nothing_is_summed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: Callable[[Scene], None]
) -> None:
    summed = []
    for module in (reader_module, quicklook_module):
        sums = module.cell_sums
        monkeypatch.setattr(
            module, "cell_sums", lambda *of, sums=sums: (summed.append(of), sums(*of))[1]
        )
    look(_scene(tmp_path / "none.tif", 0))
    assert not summed
    look(_scene(tmp_path / "some.tif", 100))
    assert summed
