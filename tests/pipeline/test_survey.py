"""Tests of the survey's scale, how many scene pixels a cell has, and of what a mask gives it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from decr.cloud.detector import threshold_detector
from decr.config import DecloudConfig
from decr.geo import pieces
from decr.geo.scene import open_scene
from decr.pipeline.engine import local_engine
from decr.pipeline.prepare import prepare
from decr.pipeline.survey import MaskSource, survey_factor, survey_scene
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


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), piece_bytes=st.sampled_from([1, 3 * 10**5, 10**9]))
def test_a_mask_is_counted_by_pixels_and_touches_its_cells(seed: int, piece_bytes: int) -> None:
    """Whatever is read at a time; sides that cells do not divide, and pixels without data."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(1, 255, (4, 517, 530)).astype(np.uint8)
    pixels[:, rng.random((517, 530)) < 0.1] = 0
    marked = (rng.random((517, 530)) < 0.01).astype(np.uint8)
    valid = pixels.all(axis=0)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "_BYTES", piece_bytes)
        scene = write_scene(Path(folder) / "s.tif", pixels, nodata=0)
        mask = write_scene(Path(folder) / "m.tif", marked[None], names=None)
        prepared = prepare(str(scene), DecloudConfig(cloud_mask=mask, detector="threshold"))
        with local_engine() as engine:
            survey = survey_scene(
                prepared.scene,
                prepared.detector_radiometry,
                DETECTOR,
                8,
                0.5,
                engine,
                mask=MaskSource(mask),
            )
    assert (survey.cloudy_px, survey.valid_px) == (int((marked & valid).sum()), int(valid.sum()))
    padded = np.pad(np.stack([marked, valid]), ((0, 0), (0, 3), (0, 6)))
    touched, seen = padded.reshape(2, 65, 8, 67, 8).any(axis=(2, 4))
    np.testing.assert_array_equal(survey.stored, np.where(seen, 250 * touched, 255))
