"""Tests of real pairs: read as stored, refused when they do not fit, cut alike on both sides."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from decr.dataset import pairs as module
from decr.dataset.pairs import PairFolder, PairImage, changed, pair_sample, read_pairs
from decr.dataset.read_pair import Side, read_side
from decr.dataset.white import common_white, white_level
from decr.errors import DatasetError, DecrWarning, SceneError
from tests.pipeline.scenes import GRID, write_scene

BGRN = ("blue", "green", "red", "nir")
RGB = ("red", "green", "blue")


def pixels(
    seed: int,
    bands: int = 4,
    height: int = 24,
    width: int = 30,
    top: int = 200,
    dtype: str = "uint8",
) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(1, top, (bands, height, width)).astype(dtype)


def put(root: Path, name: str, image: NDArray[Any], **more: Any) -> Path:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    return write_scene(root / name, image, **more)


def put_png(root: Path, name: str, image: NDArray[Any]) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "PNG", "count": len(image), "dtype": image.dtype}
    with rasterio.open(
        root / name, "w", height=image.shape[1], width=image.shape[2], **profile
    ) as f:
        f.write(image)


def moved(px: float) -> Affine:
    """The scenes' grid, so many pixels further east."""
    return Affine(GRID.a, 0, GRID.c + px * GRID.a, 0, GRID.e, GRID.f)


def pair(side: int = 40, gain: float = 1.0, weight: float = 1.0) -> PairImage:
    """Codes each pixel by its place; the cloudy side is the clear one plus 1000."""
    clear = np.arange(3 * side * side).reshape(3, side, side).astype(np.float32)
    return PairImage("p", clear * gain + 1000, clear * gain, RGB, 0.5, 1e6, weight)


def test_geotiffs_are_read_by_the_role_of_their_bands(tmp_path: Path) -> None:
    cloudy, clear = pixels(0), pixels(1)
    put(tmp_path, "cloudy/a.tif", cloudy)
    put(tmp_path, "clear/a.tif", clear)
    [found] = read_pairs(PairFolder(tmp_path, split=None, weight=2.0), RGB)
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
    folder = PairFolder(tmp_path, bands="n,r,g,b", gsd_m=2.0, white=200.0, split=None)
    [found] = read_pairs(folder, BGRN)
    np.testing.assert_array_equal(found.clear, pixels(0)[[3, 2, 1, 0]])
    assert (found.gsd_m, found.white) == (2.0, 200.0)
    with pytest.raises(DatasetError, match=r"a\.png has 4; .* \(bands of a whole set may"):
        read_pairs(PairFolder(tmp_path, bands="r,g,b", split=None), RGB)


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
        [found] = read_pairs(PairFolder(tmp_path, split=None), BGRN)
    assert [str(warning.message).partition(": ")[2] for warning in caught] == [
        "1 of 2 pairs is passed over, for want of a pixel that is valid on both sides: b",
        "1 of 2 pairs is cut to a rectangle that is valid on both sides: a",
    ]
    np.testing.assert_array_equal(found.cloudy, cloudy[:, 4:, :-5])
    np.testing.assert_array_equal(found.clear, clear[:, 4:, :-5])


@pytest.mark.parametrize(("top", "white"), [(1000, 1023), (1024, 2047), (2047, 2047), (4095, 4095)])
def test_the_white_of_16_bit_sets_is_that_of_all_images(
    tmp_path: Path, top: int, white: float
) -> None:
    for n in range(3):
        dark, bright = pixels(n, dtype="uint16"), pixels(n, dtype="uint16")
        bright[0, 0, 0] = top if n == 1 else 300
        put(tmp_path, f"clear/{n}.tif", dark)
        put(tmp_path, f"cloudy/{n}.tif", bright)
    found = read_pairs(PairFolder(tmp_path, split=None), BGRN)
    assert [p.white for p in found] == [white] * 3


def put_splits(root: Path, tops: dict[str, int], dtype: str = "uint16") -> Path:
    """A set of folders train, val and the like of two pairs each, whose brightest pixels differ."""
    for split, top in tops.items():
        for n in range(2):
            cloudy = pixels(n, dtype=dtype)
            cloudy[0, 0, 0] = top
            put(root, f"{split}/cloudy/{n}.tif", cloudy)
            put(root, f"{split}/clear/{n}.tif", pixels(n + 2, dtype=dtype))
    return root


@pytest.mark.parametrize("bright", ["train", "val", "test"])
def test_a_guessed_white_is_that_of_all_splits(tmp_path: Path, bright: str) -> None:
    folder = put_splits(tmp_path, {"train": 1000, "val": 900, "test": 300, bright: 1900})
    for split in ("train", "val", "test", "all"):
        found = read_pairs(PairFolder(folder, split=split), BGRN)
        assert {p.white for p in found} == {2047.0}, split
    [known, again] = (PairFolder(folder, split=split) for split in ("train", "val"))
    assert {p.white for p in read_pairs(again, BGRN, read_pairs(known, BGRN))} == {2047.0}
    assert {p.white for p in read_pairs(replace(again, white=999.0), BGRN)} == {999.0}


@pytest.mark.parametrize(
    ("top", "dtype", "sides"),
    [
        (1900, "uint16", 12),  # all of the set, and then no more
        (2048, "uint16", 12),  # what needs more than 12 bits would be refused
        (200, "uint8", 4),
    ],
)
def test_to_guess_white_no_more_is_read_than_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, top: int, dtype: str, sides: int
) -> None:
    folder = put_splits(tmp_path, {"train": top, "val": 100, "test": 100}, dtype)
    read: list[Path] = []

    def counted(side: Side) -> Any:
        read.append(Path(side.scene.path))
        return read_side(side)

    monkeypatch.setattr(module, "read_side", counted)
    known = read_pairs(PairFolder(folder), BGRN)
    assert len(read) == len({*read}) == sides
    read.clear()
    found = read_pairs(PairFolder(folder, split="val"), BGRN, known)
    assert [path.relative_to(folder).parts[0] for path in read] == ["val"] * 4
    assert {p.white for p in found} == {p.white for p in known}


def test_a_set_whose_other_splits_are_too_bright_is_refused_whichever_is_read(
    tmp_path: Path,
) -> None:
    folder = put_splits(tmp_path, {"train": 3000, "test": 10000})
    for split in ("train", "test", "all"):
        with pytest.raises(DatasetError, match=r"test/cloudy/0\.tif: cannot tell .* up to 10000"):
            read_pairs(PairFolder(folder, split=split), BGRN)


def test_it_is_told_how_far_the_look_for_white_is(tmp_path: Path) -> None:
    folder, told = put_splits(tmp_path, {"train": 900, "test": 900}), list[tuple[str, int, int]]()
    read_pairs(PairFolder(folder), BGRN, on_progress=lambda *of: told.append(of))
    assert told == [("white", done, 2) for done in range(3)]
    read_pairs(PairFolder(folder, white=999.0), BGRN, on_progress=lambda *of: told.append(of))
    assert len(told) == 3


def test_only_pairs_of_its_type_and_bands_tell_a_sets_white(tmp_path: Path) -> None:
    folder = put_splits(tmp_path, {"train": 1000})
    put_splits(folder, {"val": 200}, "uint8")
    put(folder, "test/cloudy/grey.tif", pixels(0, 1, top=1900, dtype="uint16"), names=("pan",))
    put(folder, "test/clear/grey.tif", pixels(1, 1, top=1900, dtype="uint16"), names=("pan",))
    assert {p.white for p in read_pairs(PairFolder(folder), BGRN)} == {1023.0}
    assert {p.white for p in read_pairs(PairFolder(folder, split="val"), BGRN)} == {255.0}


def test_broken_pairs_of_other_splits_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = put_splits(tmp_path, {"train": 1900, "val": 300, "test": 300})
    asked = PairFolder(folder, split="test")
    with warnings.catch_warnings():
        warnings.simplefilter("error", DecrWarning)
        assert {p.white for p in read_pairs(asked, BGRN)} == {2047.0}
    put(folder, "val/clear/1.tif", pixels(1))  # 8 bits
    broken = folder / "train/cloudy/0.tif"
    broken.write_bytes(broken.read_bytes()[:3000])
    with pytest.warns(DecrWarning) as told:
        assert {p.white for p in read_pairs(asked, BGRN)} == {2047.0}  # of train/1
    (said,) = (str(one.message) for one in told)
    assert said.startswith(
        f"{folder}: 2 of 4 pairs of other splits are not looked at for the white"
    )
    for part in (
        "; --white",
        f"train/0 ({broken}",
        f"val/1 ({folder}/val/cloudy/1.tif holds uint16",
    ):
        assert part in said
    with warnings.catch_warnings():
        warnings.simplefilter("error", DecrWarning)
        assert {p.white for p in read_pairs(replace(asked, white=999.0), BGRN)} == {999.0}
    with pytest.raises(SceneError, match=r"train/cloudy/0\.tif"):
        read_pairs(replace(asked, split="train"), BGRN)
    for side in ("cloudy", "clear"):
        put(folder, f"val/{side}/2.tif", pixels(1, dtype="uint16"))
    monkeypatch.setattr(module, "MOST_BYTES", 2 * 2 * 4 * 24 * 30 * 2)  # of two pairs
    with pytest.warns(DecrWarning, match=r"3 of 5 pairs .*, val/2 \(after .* GiB\)"):
        read_pairs(asked, BGRN)


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_image_that_is_too_bright_is_named(tmp_path: Path, split: str) -> None:
    folder = put_splits(tmp_path, {"train": 900, "test": 900})
    hot = pixels(0, dtype="uint16")
    hot[0, 3, 3] = 65535
    path = put(folder, "train/clear/1.tif", hot)
    match = f"^{path}: cannot tell .* up to 65535; state white, .* \\(--white, or white in a recipe"
    with pytest.raises(DatasetError, match=match):
        read_pairs(PairFolder(folder, split=split), BGRN)


@given(
    st.lists(st.integers(1, 4095), min_size=1, max_size=6),
    st.lists(st.integers(1, 4095), max_size=6),
)
def test_white_is_the_same_whichever_pairs_are_asked_for(one: list[int], two: list[int]) -> None:
    pairs = [[(np.full((1, 2, 2), dn, np.uint16),) * 2 for dn in some] for some in (one, two)]
    here = Path("set")
    expected = white_level(here, [*pairs[0], *pairs[1]])
    assert common_white(here, pairs[0], pairs[1]) == expected
    if two:
        assert common_white(here, pairs[1], pairs[0]) == expected


def test_a_white_far_below_the_clear_images_is_told(tmp_path: Path) -> None:
    folder = put_splits(tmp_path, {"train": 1900})
    match = (
        r"2 of 2 pairs are brighter than white in more than a tenth .*; give the number .*: "
        r"train/0 \(white 100, up to 199\), train/1 \("
    )
    with pytest.warns(DecrWarning, match=match):
        read_pairs(PairFolder(folder, white=100.0), BGRN)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DecrWarning)
        assert read_pairs(PairFolder(folder, white=190.0), BGRN)  # clouds may be brighter
        assert read_pairs(PairFolder(folder), BGRN)


def test_white_that_cannot_be_told_must_be_stated(tmp_path: Path) -> None:
    for top, dtype in ((4096, "uint16"), (1, "float32")):
        one = np.full((1, 2, 2), top, dtype)
        with pytest.raises(DatasetError, match=f"white level of {dtype} images up to {top}; state"):
            white_level(tmp_path, [(one, one)])
    eight, sixteen = np.ones((1, 2, 2), np.uint8), np.ones((1, 2, 2), np.uint16)
    with pytest.raises(DatasetError, match="uint16 and uint8 images"):
        white_level(tmp_path, [(eight, eight), (sixteen, sixteen)])


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
        read_pairs(PairFolder(tmp_path, split=None), BGRN)


def test_grids_that_differ_by_rounding_fit(tmp_path: Path) -> None:
    put(tmp_path, "cloudy/a.tif", pixels(0))
    put(tmp_path, "clear/a.tif", pixels(1), transform=moved(0.01))
    assert len(read_pairs(PairFolder(tmp_path, split=None), BGRN)) == 1


def test_damaged_files_and_sets_too_large_for_memory_are_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "cloudy/a.tif", pixels(0))
    put(tmp_path, "clear/a.tif", pixels(1))
    monkeypatch.setattr(module, "MOST_BYTES", 2 * 4 * 24 * 30)
    assert len(read_pairs(PairFolder(tmp_path, split=None), BGRN)) == 1
    monkeypatch.setattr(module, "MOST_BYTES", 2 * 4 * 24 * 30 - 1)
    with pytest.raises(DatasetError, match=r"1 pairs would take .* GiB of memory, more than"):
        read_pairs(PairFolder(tmp_path, split=None), BGRN)
    (tmp_path / "clear/a.tif").write_bytes(b"II*\0")
    with pytest.raises(SceneError, match="not a raster"):
        read_pairs(PairFolder(tmp_path, split=None), BGRN)


@given(seed=st.integers(0, 10_000), size_px=st.sampled_from([8, 20]), shrink=st.integers(1, 2))
@settings(max_examples=40)
def test_both_sides_of_a_sample_show_one_ground(seed: int, size_px: int, shrink: int) -> None:
    sample = pair_sample(np.random.default_rng(seed), [pair()], RGB, size_px, shrink)
    again = pair_sample(np.random.default_rng(seed), [pair()], RGB, size_px, shrink)
    np.testing.assert_array_equal(sample.cloudy, again.cloudy)
    assert sample.cloudy.shape == sample.clear.shape == (3, size_px, size_px)
    assert sample.cloudy.dtype == sample.clear.dtype == np.float32
    # The two sides differ by 1000 of a white of 1e6 everywhere; unit is twice as wide.
    np.testing.assert_allclose(sample.cloudy - sample.clear, 2e-3, atol=1e-6)
    assert np.abs(sample.clear).max() <= 1


def test_samples_come_in_all_orientations_and_places() -> None:
    rng = np.random.default_rng(0)
    whole = {pair_sample(rng, [pair(8)], RGB, 8).clear.tobytes() for _ in range(200)}
    assert len(whole) == 8
    corners = {float(pair_sample(rng, [pair(9)], RGB, 8).clear.min()) for _ in range(100)}
    assert len(corners) == 4


def test_shrinking_takes_means_of_whole_cells() -> None:
    sample = pair_sample(np.random.default_rng(0), [pair(16)], ("green",), 8, 2)
    cells = pair(16).clear[1].reshape(8, 2, 8, 2).mean((1, 3)) / 1e6 * 2 - 1
    np.testing.assert_allclose(np.sort(sample.clear.ravel()), np.sort(cells.ravel()), atol=1e-6)


def test_white_saturates_and_small_pairs_are_not_drawn() -> None:
    bright = PairImage("b", np.full((3, 8, 8), 300), np.full((3, 8, 8), 100), RGB, None, 200.0)
    sample = pair_sample(np.random.default_rng(0), [pair(7), bright], RGB, 8)
    assert (sample.cloudy == 1.0).all()
    assert (sample.clear == 0.0).all()
    assert sample.cloud_mask.all()
    with pytest.raises(DatasetError, match=r"crops of 18 pixels \(the largest of 2 has 8\)"):
        pair_sample(np.random.default_rng(0), [pair(7), bright], RGB, 9, 2)
    with pytest.raises(DatasetError, match=r"the largest of 0 has 0"):
        pair_sample(np.random.default_rng(0), [], RGB, 9)


def test_heavy_pairs_are_drawn_more_often() -> None:
    rng = np.random.default_rng(0)
    both = [pair(), pair(gain=0.0, weight=9.0)]
    flat = [pair_sample(rng, both, RGB, 8).clear.std() == 0 for _ in range(200)]
    assert 0.8 < np.mean(flat) < 0.98


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
    folder = PairFolder(shared / "data/pairs_rice2_512", gsd_m=30.0, split=None)
    found = read_pairs(folder, RGB)
    assert [p.name for p in found] == ["163", "164", "165"]
    rng = np.random.default_rng(0)
    samples = [pair_sample(rng, found, RGB, 256, 2) for _ in range(6)]
    shares = [float(s.cloud_mask.mean()) for s in samples]
    assert all(0.05 < share < 0.6 for share in shares), shares
    assert all(s.cloudy.max() > s.clear.max() for s in samples)
