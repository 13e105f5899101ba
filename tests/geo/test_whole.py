"""Rasters of which something is missing are found before they get their names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decr.errors import OutputError
from decr.geo.grid import Window
from decr.geo.layers import is_ours, layer_writer
from decr.geo.whole import Sums, check_whole, sum_of
from tests.geo.full_disk import cut, files_up_to
from tests.geo.test_layers import GRID, LAYER

NOISE = np.random.default_rng(0).integers(0, 256, (2, 700, 1100)).astype(np.uint8)
LEFT = Window(0, 0, 700, 512)


def written(out: Path) -> Sums:
    """Noise under two windows."""
    with layer_writer(out, GRID, LAYER) as writer:
        for window in (LEFT, Window(0, 512, 700, 588)):
            writer.write(window, NOISE[(slice(None), *window.slices())])
    return writer.sums


@pytest.fixture(scope="module")
def raster(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Sums]:
    out = tmp_path_factory.mktemp("whole") / "mask.tif"
    sums = written(out)
    return out.read_bytes(), sums


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_what_is_cut_anywhere_is_not_whole(
    raster: tuple[bytes, Sums], tmp_path_factory: pytest.TempPathFactory, share: float
) -> None:
    data, sums = raster
    file = tmp_path_factory.mktemp("cut") / "mask.tif"
    file.write_bytes(data)
    check_whole(file, sums, {"DECR": LAYER.tags})
    cut(file, share)
    with pytest.raises(OSError, match="cannot be read back"):
        check_whole(file, sums, {"DECR": LAYER.tags})


def test_other_pixels_and_absent_tags_are_not_what_was_written(tmp_path: Path) -> None:
    out = tmp_path / "mask.tif"
    sums = written(out)
    with pytest.raises(OSError, match="cannot be read back"):
        check_whole(out, sums | {LEFT: sum_of(NOISE[:, :, 1:513])}, {})
    with pytest.raises(OSError, match="cannot be read back"):
        check_whole(out, sums, {"DECR": {"ANOTHER": "tag"}})


def test_a_tag_without_text_is_none(tmp_path: Path) -> None:
    """GDAL drops it: a model of another package need not say its version."""
    out = tmp_path / "mask.tif"
    with layer_writer(
        out, GRID, replace(LAYER, tags={"DECR": "1", "VERSION": "", "MODEL": " "})
    ) as writer:
        writer.write(LEFT, NOISE[(slice(None), *LEFT.slices())])
    assert is_ours(out)


@pytest.mark.parametrize("missing", [1, 100, 500, 8_000, 400_000])
def test_a_full_disk_leaves_no_raster_and_one_error(
    raster: tuple[bytes, Sums], tmp_path: Path, missing: int
) -> None:
    """Also where GDAL says nothing, as of the last bytes, which it writes when it closes."""
    data, _ = raster
    out = tmp_path / "mask.tif"
    with (
        pytest.raises(OutputError, match=r"mask\.tif: cannot be written: .* free space"),
        files_up_to(len(data) - missing),
    ):
        written(out)
    assert list(tmp_path.iterdir()) == []
    written(out)
    assert out.read_bytes() == data


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.999])
def test_what_a_full_disk_left_of_ours_is_replaced(
    raster: tuple[bytes, Sums], tmp_path: Path, share: float
) -> None:
    data, _ = raster
    out = tmp_path / "mask.tif"
    out.write_bytes(data[: int(len(data) * share)])
    written(out)
    assert out.read_bytes() == data


def test_what_is_left_of_anothers_is_not(tmp_path: Path) -> None:
    out = tmp_path / "mask.tif"
    out.write_bytes(b"II*\0\x08\0\0\0" + bytes(5000))
    before = out.read_bytes()
    assert not is_ours(out)
    with pytest.raises(OutputError, match="not made by decr"):
        written(out)
    assert out.read_bytes() == before
