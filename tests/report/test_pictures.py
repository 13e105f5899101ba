"""Tests of decr.report.pictures and tilemap: colours mean what they should, sizes stay small."""

from __future__ import annotations

import numpy as np

from decr.report.pictures import (
    CLOUD,
    NO_DATA,
    THIN,
    cloud_layer,
    photograph,
    ramp,
    ramp_layer,
    weight_layer,
)
from decr.report.tilemap import MOST_READ, figure, painted
from decr.report.values import TileCcp
from tests.report.made import decoded


def rgba(uri: str) -> np.ndarray:
    return np.asarray(decoded(uri).convert("RGBA"))


def test_the_ramp_grows_lighter_all_the_way() -> None:
    lightness = ramp() @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) >= 0).all()
    assert lightness[-1] - lightness[0] > 150


def test_a_mask_is_tinted_with_a_full_outline() -> None:
    codes = np.zeros((40, 50), np.uint8)
    codes[10:30, 10:30], codes[:, 45:], codes[35:40, :5] = 1, 2, 3
    shown = rgba(cloud_layer(codes))
    assert shown[0, 0, 3] == 0
    assert tuple(shown[20, 20, :3]) == CLOUD
    assert 0 < shown[20, 20, 3] < 255
    assert tuple(shown[10, 20]) == (*CLOUD, 255)
    assert tuple(shown[0, 49, :3]) == NO_DATA
    assert tuple(shown[37, 1, :3]) == THIN


def test_the_border_of_a_picture_is_no_outline() -> None:
    shown = rgba(cloud_layer(np.ones((8, 8), np.uint8)))
    assert (shown[..., 3] < 255).all()


def test_weights_are_opacity() -> None:
    shown = rgba(weight_layer(np.array([[0, 128, 255]], np.uint8)))
    assert shown[0, 0, 3] == 0
    assert shown[0, 1, 3] == 96
    assert shown[0, 2, 3] == 191


def test_maps_show_nothing_where_nothing_is_known() -> None:
    shown = rgba(ramp_layer(np.array([[0, 255, 9]], np.uint8), np.array([[True, True, False]])))
    assert shown[0, 2, 3] == 0
    assert shown[0, 0, 3] == shown[0, 1, 3] == 255
    assert tuple(shown[0, 1, :3]) == tuple(ramp()[255])
    assert np.abs(shown[0, 0, :3].astype(int) - ramp()[0]).max() <= 2


def test_pictures_are_cut_down() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (900, 3000, 3)).astype(np.uint8)
    assert decoded(photograph(noise, 256)).size == (256, 77)
    assert max(decoded(cloud_layer(noise[..., 0] % 4, 256)).size) <= 256


def test_tiles_are_painted_where_they_lie() -> None:
    tiles = [
        TileCcp(0, 0, 60, 60, 0, 3600),
        TileCcp(0, 40, 60, 60, 3600, 3600),
        TileCcp(40, 0, 60, 100, 0, 0),
    ]
    values, shown = painted(tiles, 100, 100)
    assert values[10, 10] == 0
    assert values[10, 50] == values[10, 90] == 255  # the later one lies above
    assert shown[:40].all()
    assert not shown[40:].any()


def test_large_scenes_get_a_small_map() -> None:
    tiles = [TileCcp(r, 0, 1000, 300_000, r, 40_000) for r in range(0, 30_000, 1000)]
    values, shown = painted(tiles, 30_000, 300_000)
    assert values.shape == (51, 512)
    assert shown.all()
    # Still drawn if a tile is less than a pixel.
    assert painted([TileCcp(0, 0, 1, 1, 1, 1)], 9000, 9000)[1].sum() == 1


def test_numbers_of_too_many_tiles_are_left_out_and_that_is_said() -> None:
    few = [TileCcp(0, 0, 8, 8, 1, 64)]
    assert "[0,0,8,8,1,64]" in figure(few, 8, 8)
    many = figure(few * (MOST_READ + 1), 8, 8)
    assert "[0,0,8,8,1,64]" not in many
    assert f"More than {MOST_READ:,} tiles" in many
