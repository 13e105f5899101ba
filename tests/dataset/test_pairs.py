"""Tests of real pairs: read as stored, refused when they do not fit, cut alike on both sides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from decr.dataset import pairs as module
from decr.dataset.changed import changed
from decr.dataset.pairs import PairFolder, PairImage, large_enough, pair_crop, read_pairs
from decr.dataset.samples import drawer
from decr.errors import DatasetError, DecrWarning, SceneError
from tests.dataset.made_pairs import BGRN, RGB, moved, pixels, put, put_png


def pair(side: int = 40, gain: float = 1.0, weight: float = 1.0) -> PairImage:
    """Codes each pixel by its place; the cloudy side is the clear one plus 1000."""
    clear = np.arange(3 * side * side).reshape(3, side, side).astype(np.float32)
    return PairImage("p", clear * gain + 1000, clear * gain, RGB, 0.5, 1e6, weight)


def test_geotiffs_are_read_by_the_role_of_their_bands(tmp_path: Path) -> None:
    cloudy, clear = pixels(0), pixels(1)
    put(tmp_path, "cloudy/a.tif", cloudy)
    put(tmp_path, "clear/a.tif", clear)
    [found] = read_pairs(PairFolder(tmp_path, split="all", weight=2.0), RGB)
    np.testing.assert_array_equal(found.cloudy, cloudy[[2, 1, 0]])
    np.testing.assert_array_equal(found.clear, clear[[2, 1, 0]])
    assert (found.name, found.bands, found.gsd_m, found.white, found.weight) == (
        "a", RGB, pytest.approx(0.5, abs=1e-3), 255.0, 2.0
    )  # fmt: skip
    assert found.clear.dtype == np.uint8


def test_cuhk_takes_the_first_channel_of_the_near_infrared(tmp_path: Path) -> None:
    root = tmp_path / "CUHK-CR1"
    sides: dict[str, NDArray[Any]] = {}
    for n, name in enumerate(("cloud", "label", "nir/cloud", "nir/label")):
        sides[name] = pixels(n, bands=3)
        put_png(root, f"train/{name}/1.png", sides[name])
    [found] = read_pairs(PairFolder(root, "cuhk"), ("nir", *RGB))
    np.testing.assert_array_equal(found.cloudy[0], sides["nir/cloud"][0])
    np.testing.assert_array_equal(found.cloudy[1:], sides["cloud"])
    np.testing.assert_array_equal(found.clear[0], sides["nir/label"][0])
    np.testing.assert_array_equal(found.clear[1:], sides["label"])
    assert (found.gsd_m, found.white) == (0.5, 255.0)
    [only] = read_pairs(PairFolder(root, "cuhk"), ("nir",))
    np.testing.assert_array_equal(only.clear, sides["nir/label"][:1])
    put_png(root, "train/nir/label/1.png", pixels(9, bands=3, height=20))
    with pytest.raises(DatasetError, match=r"nir/label/1\.png: differs from .*in size or type"):
        read_pairs(PairFolder(root, "cuhk"), BGRN)


def test_pairs_without_a_band_are_passed_over(tmp_path: Path) -> None:
    for side in ("cloudy", "clear"):
        put_png(tmp_path, f"{side}/rgb.png", pixels(0, bands=3))
        put(tmp_path, f"{side}/four.tif", pixels(0))
    both = PairFolder(tmp_path, split="all")
    want = "1 of 2 pairs is passed over, for want of the bands blue, green, red, nir: rgb"
    with pytest.warns(DecrWarning, match=want):
        assert [p.name for p in read_pairs(both, BGRN)] == ["four"]
    assert [p.name for p in read_pairs(both, RGB)] == ["four", "rgb"]


def test_a_folder_states_what_files_do_not(tmp_path: Path) -> None:
    for side in ("cloudy", "clear"):
        put_png(tmp_path, f"{side}/a.png", pixels(0))
    folder = PairFolder(tmp_path, bands="n,r,g,b", gsd_m=2.0, white=200.0, split="all")
    [found] = read_pairs(folder, BGRN)
    np.testing.assert_array_equal(found.clear, pixels(0)[[3, 2, 1, 0]])
    assert (found.gsd_m, found.white) == (2.0, 200.0)
    with pytest.raises(DatasetError, match=r"a\.png has 4; .* \(bands of a whole set may"):
        read_pairs(PairFolder(tmp_path, bands="r,g,b", split="all"), RGB)


def test_a_manifest_states_it_per_pair(tmp_path: Path) -> None:
    put(tmp_path, "y.tif", pixels(0, dtype="uint16"), names=None, transform=None, crs=None)
    put(tmp_path, "x.tif", pixels(1, dtype="uint16"), names=None, transform=None, crs=None)
    line = {"cloudy": "y.tif", "clear": "x.tif", "split": "test", "bands": "r,g,b,n",
            "gsd_m": 0.75, "white": 1500}  # fmt: skip
    (tmp_path / "pairs.jsonl").write_text(json.dumps(line))
    [found] = read_pairs(PairFolder(tmp_path, "manifest", split="test"), BGRN)
    np.testing.assert_array_equal(found.cloudy, pixels(0, dtype="uint16")[[2, 1, 0, 3]])
    assert (found.gsd_m, found.white) == (0.75, 1500.0)
    with pytest.raises(
        DatasetError, match=r"has split 'train' \(splits there: test\); choose"
    ) as told:
        read_pairs(PairFolder(tmp_path, "manifest"), BGRN)
    assert str(told.value).endswith("choose one of them or all (--split)")


def test_only_the_pixels_valid_on_both_sides_are_kept(tmp_path: Path) -> None:
    cloudy, clear = pixels(0), pixels(1)
    cloudy[:, :4] = 0
    clear[:, :, -5:] = 0
    put(tmp_path, "cloudy/a.tif", cloudy, nodata=0)
    put(tmp_path, "clear/a.tif", clear, nodata=0)
    put(tmp_path, "cloudy/b.tif", pixels(0) * 0, nodata=0)
    put(tmp_path, "clear/b.tif", pixels(1), nodata=0)
    with pytest.warns(DecrWarning) as caught:
        [found] = read_pairs(PairFolder(tmp_path, split="all"), BGRN)
    assert [str(warning.message).partition(": ")[2] for warning in caught] == [
        "1 of 2 pairs is passed over, for want of a pixel that is valid on both sides: b",
        "1 of 2 pairs is cut to a rectangle that is valid on both sides: a",
    ]
    np.testing.assert_array_equal(found.cloudy, cloudy[:, 4:, :-5])
    np.testing.assert_array_equal(found.clear, clear[:, 4:, :-5])


@pytest.mark.parametrize(
    ("image", "more", "said"),
    [
        (pixels(1, height=23), {}, "has 24 x 30 pixels but .* has 23 x 30; cut both"),
        (pixels(1, dtype="uint16"), {}, "holds uint8 but .* uint16 numbers; store both"),
        (pixels(1), {"transform": moved(2.0)}, "not lie on one grid; warp"),
        (pixels(1), {"crs": "EPSG:32651"}, "not lie on one grid; warp"),
    ],
)
def test_sides_that_do_not_fit_are_refused(
    tmp_path: Path, image: NDArray[Any], more: dict[str, Any], said: str
) -> None:
    put(tmp_path, "cloudy/a.tif", pixels(0))
    put(tmp_path, "clear/a.tif", image, **more)
    with pytest.raises(DatasetError, match=f"a.tif.*{said}"):
        read_pairs(PairFolder(tmp_path, split="all"), BGRN)


def test_grids_that_differ_by_rounding_fit(tmp_path: Path) -> None:
    put(tmp_path, "cloudy/a.tif", pixels(0))
    put(tmp_path, "clear/a.tif", pixels(1), transform=moved(0.01))
    assert len(read_pairs(PairFolder(tmp_path, split="all"), BGRN)) == 1


def test_damaged_files_and_sets_too_large_for_memory_are_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "cloudy/a.tif", pixels(0))
    put(tmp_path, "clear/a.tif", pixels(1))
    monkeypatch.setattr(module, "MOST_BYTES", 2 * 4 * 24 * 30)
    assert len(read_pairs(PairFolder(tmp_path, split="all"), BGRN)) == 1
    monkeypatch.setattr(module, "MOST_BYTES", 2 * 4 * 24 * 30 - 1)
    with pytest.raises(DatasetError, match=r"1 pairs would take .* GiB of memory, more than"):
        read_pairs(PairFolder(tmp_path, split="all"), BGRN)
    (tmp_path / "clear/a.tif").write_bytes(b"II*\0")
    with pytest.raises(SceneError, match="not a raster"):
        read_pairs(PairFolder(tmp_path, split="all"), BGRN)


@given(seed=st.integers(0, 10_000), size_px=st.sampled_from([8, 20]), shrink=st.integers(1, 2))
@settings(max_examples=40)
def test_both_sides_of_a_sample_show_one_ground(seed: int, size_px: int, shrink: int) -> None:
    sample = pair_crop(np.random.default_rng(seed), pair(), RGB, size_px, shrink)
    again = pair_crop(np.random.default_rng(seed), pair(), RGB, size_px, shrink)
    np.testing.assert_array_equal(sample.cloudy, again.cloudy)
    assert sample.cloudy.shape == sample.clear.shape == (3, size_px, size_px)
    assert sample.cloudy.dtype == sample.clear.dtype == np.float32
    # The two sides differ by 1000 of a white of 1e6 everywhere; unit is twice as wide.
    np.testing.assert_allclose(sample.cloudy - sample.clear, 2e-3, atol=1e-6)
    assert np.abs(sample.clear).max() <= 1


def test_samples_come_in_all_orientations_and_places() -> None:
    rng = np.random.default_rng(0)
    whole = {pair_crop(rng, pair(8), RGB, 8).clear.tobytes() for _ in range(200)}
    assert len(whole) == 8
    corners = {float(pair_crop(rng, pair(9), RGB, 8).clear.min()) for _ in range(100)}
    assert len(corners) == 4


def test_shrinking_takes_means_of_whole_cells() -> None:
    sample = pair_crop(np.random.default_rng(0), pair(16), ("green",), 8, 2)
    cells = pair(16).clear[1].reshape(8, 2, 8, 2).mean((1, 3)) / 1e6 * 2 - 1
    np.testing.assert_allclose(np.sort(sample.clear.ravel()), np.sort(cells.ravel()), atol=1e-6)


def test_white_saturates_and_small_pairs_are_not_drawn() -> None:
    bright = PairImage("b", np.full((3, 8, 8), 300), np.full((3, 8, 8), 100), RGB, None, 200.0)
    assert large_enough([pair(7), bright], 8) == [bright]
    sample = pair_crop(np.random.default_rng(0), bright, RGB, 8)
    assert (sample.cloudy == 1.0).all()
    assert (sample.clear == 0.0).all()
    assert sample.cloud_mask.all()
    with pytest.raises(DatasetError, match=r"crops of 18 pixels \(the largest of 2 has 8\)"):
        large_enough([pair(7), bright], 18)
    with pytest.raises(DatasetError, match=r"the largest of 0 has 0"):
        large_enough([], 9)


def test_heavy_pairs_are_drawn_more_often() -> None:
    rng = np.random.default_rng(0)
    draw = drawer([one.area for one in (pair(), pair(weight=9.0))])
    assert 0.8 < np.mean([draw(rng) for _ in range(200)]) < 0.98


def test_the_mask_is_of_clouds_and_shadows_not_of_noise_or_season() -> None:
    rng = np.random.default_rng(0)
    clear = rng.uniform(0.2, 0.4, (3, 60, 60)).astype(np.float32)
    cloudy = clear + rng.normal(0, 0.03, clear.shape).astype(np.float32)
    cloudy[:, 10:20, 10:20] += 0.3
    cloudy[:, 40:50, 40:50] -= 0.18
    cloudy[0, :, 25:35] += 0.1
    cloudy[2, :, 25:35] -= 0.1
    mask = changed(cloudy, clear)
    assert mask.dtype == bool
    truth = np.zeros((60, 60), bool)
    truth[10:20, 10:20] = truth[40:50, 40:50] = True
    assert mask[truth].all()
    # The mean over 3 x 3 pixels may reach one pixel further.
    assert mask.sum() <= 2 * 12 * 12
    assert not mask[:, 25:35].any()


def test_samples_of_real_pairs_hold_some_cloud_that_is_bright(shared: Path) -> None:
    folder = PairFolder(shared / "data/pairs_rice2_512", gsd_m=30.0, split="all")
    found = read_pairs(folder, RGB)
    assert [p.name for p in found] == ["163", "164", "165"]
    rng = np.random.default_rng(0)
    samples = [pair_crop(rng, one, RGB, 256, 2) for one in found * 2]
    shares = [float(s.cloud_mask.mean()) for s in samples]
    assert all(0.05 < share < 0.6 for share in shares), shares
    assert all(s.cloudy.max() > s.clear.max() for s in samples)
