"""Tests of decr.geo.quicklook: small pictures are means, with one stretch, of bounded size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from decr.geo import pieces
from decr.geo.bands import Bands
from decr.geo.grid import PixelGrid
from decr.geo.quicklook import (
    LONGEST_PX,
    NO_DATA_GREY,
    look_px_of,
    quicklook,
    shown_bands,
    stretched,
)
from decr.geo.reader import reader
from decr.geo.scene import open_scene
from tests.pipeline.scenes import cloudy_pixels, write_scene


@pytest.mark.parametrize("size", [1, 1023, 1024, 1025, 2048, 300_000])
def test_a_quicklook_is_as_large_as_it_may_be(size: int) -> None:
    px = look_px_of(PixelGrid(7, size, Affine.identity(), None))
    assert -(-size // px) <= LONGEST_PX
    assert px == 1 or -(-size // (px - 1)) > LONGEST_PX


def test_its_pixels_are_means_of_valid_pixels(tmp_path: Path) -> None:
    pixels = cloudy_pixels(50, 70)
    pixels[:, :9, :] = 0
    scene = open_scene(str(write_scene(tmp_path / "s.tif", pixels, nodata=0)))
    mean, valid = quicklook(scene, 4, shown_bands(scene.bands))
    assert mean.shape == (3, 13, 18)
    assert not valid[:2].any()
    assert valid[2:].all()
    red = pixels[2].astype(float)
    assert mean[0, 5, 5] == pytest.approx(red[20:24, 20:24].mean())
    assert mean[0, 2, 5] == pytest.approx(red[9:12, 20:24].mean())  # its first row has no data


def test_its_pixels_may_lie_in_many_storage_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "_BYTES", 20_000)
    pixels = cloudy_pixels(150, 170)
    pixels[:, :9, :30] = 0
    blocks = {"tiled": True, "blockxsize": 32, "blockysize": 16}
    scene = open_scene(str(write_scene(tmp_path / "s.tif", pixels, nodata=0, **blocks)))
    for k in (3, 37, 200):
        mean, valid = quicklook(scene, k, (2, 1, 0))
        with reader(scene) as source:
            expected, count = source.read_coarse(scene.grid.coarsened(k).window, k, (2, 1, 0))
        np.testing.assert_array_equal(mean, expected)
        np.testing.assert_array_equal(valid, count > 0)


def test_one_band_is_shown_grey() -> None:
    assert shown_bands(Bands(("pan",))) == (0, 0, 0)
    assert shown_bands(Bands(("-", "nir"))) == (1, 1, 1)


def test_all_pictures_have_the_stretch_of_the_first() -> None:
    rng = np.random.default_rng(0)
    clear = rng.uniform(200, 900, (3, 20, 30)).astype(np.float32)
    cloudy = clear.copy()
    cloudy[:, :10] = 1900
    everywhere, some = np.ones((20, 30), bool), np.ones((20, 30), bool)
    some[:, 25:] = False
    after, before = stretched((clear, everywhere), (cloudy, some))
    assert after.shape == before.shape == (20, 30, 3)
    assert (after[10:, :25] == before[10:, :25]).all()
    assert (before[:10, :25] == 255).all()
    assert (before[:, 25:] == NO_DATA_GREY).all()
    assert after.max() < 255  # room above the ground, for thin cloud


def test_clouds_need_not_darken_the_ground() -> None:
    scene = np.random.default_rng(0).uniform(200, 900, (3, 20, 30)).astype(np.float32)
    cloudy = np.zeros((20, 30), bool)
    cloudy[:5] = True
    scene[:, cloudy] = 1900
    valid = np.ones((20, 30), bool)
    (dim,), (bright,) = stretched((scene, valid)), stretched((scene, valid), cloudy=cloudy)
    assert bright[5:].mean() > 1.3 * dim[5:].mean()
    assert (bright[:5] == 255).all()
    (all_cloud,) = stretched((scene, valid), cloudy=valid)
    assert (all_cloud == dim).all()


def test_flat_and_empty_pictures_can_be_stretched() -> None:
    flat = np.full((3, 4, 4), 7.0, np.float32)
    (picture,) = stretched((flat, np.ones((4, 4), bool)))
    assert (picture == picture[0, 0]).all()
    (nothing,) = stretched((flat, np.zeros((4, 4), bool)))
    assert (nothing == NO_DATA_GREY).all()
