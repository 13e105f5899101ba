"""Frames around a scene that hold no data, and are not said to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import decr
from decr.config import CcpConfig, DecloudConfig
from decr.errors import DecrWarning
from decr.geo.frame import doubt_of_frame
from decr.geo.scene import open_scene
from decr.pipeline.prepare import prepare
from tests.geo.scene_files import coded, write
from tests.pipeline.scenes import same


def framed(path: Path, number: int, dtype: str = "uint16", **options: Any) -> Path:
    """A scene of which the lower right is empty."""
    pixels = coded(4, 300, 400, dtype)
    rows, cols = np.indices((300, 400))
    pixels[:, rows + cols > 550] = number
    return write(path, pixels, **options)


@pytest.mark.parametrize(
    ("number", "dtype", "nodata", "told"),
    [
        (0, "uint16", None, True),
        (0, "uint16", 65535, True),
        (0, "uint8", None, True),
        (-9999, "int16", None, True),
        (0, "float32", None, True),
        (0, "uint16", 0, False),
        (65535, "uint16", None, False),
    ],
)
def test_a_frame_that_counts_as_data_is_told(
    tmp_path: Path, number: int, dtype: str, nodata: int | None, told: bool
) -> None:
    scene = framed(tmp_path / "s.tif", number, dtype, nodata=nodata)
    words = doubt_of_frame(open_scene(scene))
    assert (words is not None) == told
    assert words is None or f"all bands are {number}, and nothing says" in words
    assert words is None or f"rio edit-info --nodata {number}, or" in words


def test_a_frame_that_a_mask_leaves_out_and_one_dark_band_are_none(tmp_path: Path) -> None:
    rows, cols = np.indices((300, 400))
    mask = np.where(rows + cols > 550, 0, 255).astype("uint8")
    assert doubt_of_frame(open_scene(framed(tmp_path / "m.tif", 0, mask=mask))) is None
    pixels = coded(4, 300, 400)
    pixels[:3, 200:] = 0
    assert doubt_of_frame(open_scene(write(tmp_path / "d.tif", pixels))) is None


def test_both_verbs_tell_of_a_frame(tmp_path: Path) -> None:
    scene = framed(tmp_path / "s.tif", 0)
    with pytest.warns(DecrWarning, match=r"s\.tif: at a corner all bands are 0"):
        prepare(str(scene), DecloudConfig(detector="threshold"), same())
    with pytest.warns(DecrWarning, match=r"s\.tif: at a corner all bands are 0"):
        decr.ccp(scene, CcpConfig(detector="threshold"))
