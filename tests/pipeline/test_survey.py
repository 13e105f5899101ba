"""Tests of the survey's scale: how many scene pixels a cell has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from decr.cloud.detector import threshold_detector
from decr.geo.scene import open_scene
from decr.pipeline.survey import survey_factor
from tests.pipeline.scenes import write_scene

DETECTOR = threshold_detector()


@pytest.mark.parametrize(
    ("gsd_m", "side", "factor"),
    [
        (0.5, 1024, 8),  # the detector's 4 m
        (0.5, 256, 4),  # else fewer than 64 cells
        (30.0, 256, 1),
        (None, 2048, 7),  # taken to have the model's 0.6 m
        (None, 512, 2),  # may be anything: 256 cells are kept
        (None, 256, 1),
        (None, 100, 1),
    ],
)
def test_cells_suit_detector_and_scene(
    tmp_path: Path, gsd_m: float | None, side: int, factor: int
) -> None:
    place = None if gsd_m is None else Affine(gsd_m, 0, 500_000, 0, -gsd_m, 4_000_000)
    scene = open_scene(
        str(
            write_scene(
                tmp_path / "s.tif",
                np.ones((4, side, side), np.uint8),
                transform=place,
                crs=None if gsd_m is None else "EPSG:32650",
            )
        )
    )
    assert survey_factor(scene, DETECTOR, 0.6) == factor
