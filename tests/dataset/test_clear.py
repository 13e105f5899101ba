"""Tests of reading imagery for training: what is taken, what is passed over, what is an error."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from decr.config import CcpConfig
from decr.coverage.many import ccp_scenes
from decr.dataset import inside as module
from decr.dataset.clear import (
    Folder,
    held_out,
    read_clear,
    read_labelled,
    tell,
)
from decr.dataset.inside import valid_inside
from decr.dataset.pairs import PairFolder
from decr.errors import ConfigError, DatasetError, DecrWarning
from tests.pipeline.scenes import write_scene

RGB = ("red", "green", "blue")


def pixels(bands: int = 4, height: int = 60, width: int = 80, dtype: str = "uint8") -> NDArray:
    return np.random.default_rng(0).integers(1, 200, (bands, height, width)).astype(dtype)


def largest(valid: NDArray[np.bool_], least_px: int) -> int:
    """Pixels of the largest valid rectangle, by trying all."""
    height, width = valid.shape
    sizes = [
        (bottom - top) * (right - left)
        for top in range(height)
        for bottom in range(top + least_px, height + 1)
        for left in range(width)
        for right in range(left + least_px, width + 1)
        if valid[top:bottom, left:right].all()
    ]
    return max(sizes, default=0)


@given(
    valid=arrays(np.bool_, st.tuples(st.integers(1, 8), st.integers(1, 8))),
    least_px=st.integers(1, 4),
)
def test_the_inside_is_the_largest_that_is_valid_and_large_enough(
    valid: NDArray[np.bool_], least_px: int
) -> None:
    rows, cols = valid_inside(valid, least_px)
    inside = valid[rows, cols]
    assert inside.all()
    assert inside.size == largest(valid, least_px)
    if valid.all() and min(valid.shape) >= least_px:
        assert inside.shape == valid.shape


def test_one_invalid_pixel_costs_no_more_than_it_must() -> None:
    valid = np.ones((512, 512), bool)
    valid[500, 256] = False
    assert valid_inside(valid, 64) == (slice(0, 500), slice(0, 512))


def test_the_inside_of_a_huge_image_is_found_in_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CELLS", 100)
    valid = np.ones((101, 97), bool)
    valid[0, 0] = valid[90, 40] = valid[100, 96] = False
    rows, cols = valid_inside(valid, 64)
    assert valid[rows, cols].all()
    assert (rows, cols) == (slice(0, 90), slice(1, 97))


def test_a_border_is_peeled_off_and_no_more() -> None:
    valid = np.zeros((40, 50), bool)
    valid[3:37, 5:49] = True
    assert valid_inside(valid, 8) == (slice(3, 37), slice(5, 49))


def test_a_strip_as_narrow_as_allowed_is_found_in_a_large_image() -> None:
    valid = np.zeros((2050, 2050), bool)
    valid[1:257] = valid[-1, -1] = True
    assert valid_inside(valid, 256) == (slice(1, 257), slice(0, 2050))


def test_images_whose_names_match_a_pattern_are_held_out() -> None:
    assert held_out("town_07.tif", ["*_07.*"])
    assert not held_out("town_08.tif", ["*_07.*", "lake*"])
    assert not held_out("town_07.tif", [])


def test_suffixes_of_patterns_are_those_of_files_or_left_out_for_pairs() -> None:
    # Names of images have suffixes, which a pattern's must match; names of pairs have none.
    assert not held_out("b.tif", ["b.png"])
    assert held_out("b.tif", ["*.tif"])
    assert held_out("train/b", ["b.png"])
    # Without its suffix this would hold out everything.
    for pattern in ("*.png", "train/*.png", "*?.PNG", ".png"):
        assert not held_out("train/b", [pattern])
    assert held_out("pair_04.TIF", ["pair_04"])
    assert held_out("train/pair_04", ["pair_04.TIF"])


def test_files_are_found_below_and_skipped_by_pattern(tmp_path: Path) -> None:
    for name in ("a.tif", "b.PNG", "notes.txt", "deep/c.tif", "deep/old/d.tif"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    names = [p.name for p in Folder(tmp_path).files()]
    assert names == ["a.tif", "b.PNG", "c.tif", "d.tif"]
    kept = Folder(tmp_path, skip=("b*", "/old/")).files()
    assert [p.name for p in kept] == ["a.tif", "c.tif"]


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no raster there"):
        Folder(tmp_path).files()


def test_clear_images_are_cut_to_what_is_valid(tmp_path: Path) -> None:
    dn = pixels()
    dn[:, :5] = 0
    write_scene(tmp_path / "scene.tif", dn, nodata=0)
    (image,) = read_clear(Folder(tmp_path), RGB, 32)
    assert image.name == "scene.tif"
    assert image.bands == ("blue", "green", "red", "nir")
    assert image.gsd_m == pytest.approx(0.5)
    assert image.white == 255.0
    np.testing.assert_array_equal(image.dn, dn[:, 5:])


def test_images_too_small_or_without_a_band_are_passed_over(tmp_path: Path) -> None:
    write_scene(tmp_path / "small.tif", pixels(height=20))
    write_scene(tmp_path / "grey.tif", pixels(bands=1), names=["pan"])
    write_scene(tmp_path / "good.tif", pixels())
    with pytest.warns(DecrWarning) as caught:
        images = read_clear(Folder(tmp_path), RGB, 32)
    assert [image.name for image in images] == ["good.tif"]
    said = [str(warning.message) for warning in caught]
    assert said == [
        f"{tmp_path}: 1 of 3 images is passed over, for want of the bands red, green, blue: "
        "grey.tif",
        f"{tmp_path}: 1 of 3 images is passed over, for want of 32 x 32 valid pixels: small.tif",
    ]


def test_images_of_which_much_is_cut_are_told_and_only_the_first_named(tmp_path: Path) -> None:
    dn = pixels(height=80)
    dn[:, 39:41] = 0
    for name in "abcd":
        write_scene(tmp_path / f"{name}.tif", dn, nodata=0)
    with pytest.warns(
        DecrWarning, match=r"4 of 4 .* less than half.*: a.tif, b.tif, c.tif, \.\.\."
    ):
        images = read_clear(Folder(tmp_path), RGB, 32)
    assert {image.dn.shape for image in images} == {(4, 39, 80)}


def test_what_the_folder_says_counts_more_than_the_file(tmp_path: Path) -> None:
    write_scene(tmp_path / "scene.tif", pixels(dtype="uint16"), names=None)
    folder = Folder(tmp_path, bands="r,g,b,n", gsd_m=0.25, white=2047.0)
    (image,) = read_clear(folder, RGB, 32)
    assert image.bands == ("red", "green", "blue", "nir")
    assert (image.gsd_m, image.white) == (0.25, 2047.0)


def test_a_white_far_below_the_image_is_told(tmp_path: Path) -> None:
    write_scene(tmp_path / "scene.tif", pixels(dtype="uint16"))
    with pytest.warns(DecrWarning, match=r"1 of 1 images is brighter .* \(white 100, up to"):
        read_clear(Folder(tmp_path, white=100.0), RGB, 32)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DecrWarning)
        assert read_clear(Folder(tmp_path, white=190.0), RGB, 32)
        # As snow: all of it a little brighter.
        write_scene(tmp_path / "scene.tif", 1200 + pixels(dtype="uint16") // 4)
        assert read_clear(Folder(tmp_path, white=1023.0), RGB, 32)
    with pytest.warns(DecrWarning, match=r"by more than a quarter, .* \(white 255, up to 12"):
        read_clear(Folder(tmp_path, white=255.0), RGB, 32)


def test_16_bits_need_a_white_level_and_a_grid_a_size(tmp_path: Path) -> None:
    write_scene(tmp_path / "scene.tif", pixels(dtype="uint16"))
    with pytest.raises(DatasetError, match="white level is unknown"):
        read_clear(Folder(tmp_path), RGB, 32)
    write_scene(tmp_path / "scene.tif", pixels(), transform=None, crs=None)
    with pytest.raises(DatasetError, match="GSD is unknown"):
        read_clear(Folder(tmp_path), RGB, 32)


def test_labels_are_read_with_their_images(tmp_path: Path) -> None:
    views, masks = tmp_path / "views", tmp_path / "masks"
    views.mkdir()
    masks.mkdir()
    dn = pixels(dtype="uint16")
    write_scene(views / "a.tif", dn)
    label = np.zeros((1, 60, 80), np.uint8)
    label[0, :10], label[0, 10:20] = 1, 2
    write_scene(masks / "a.tif", label, names=None)
    folder = Folder(views, white=100.0, masks=masks, cloudy_from=2)
    (image,) = read_labelled(folder)
    assert image.bands == ("blue", "green", "red", "nir")
    np.testing.assert_allclose(image.reflectance, np.clip(dn / 100, 0, 2), rtol=1e-6)
    np.testing.assert_array_equal(image.cloud_mask, label[0] >= 2)


def test_labels_of_8_bits_are_read_by_their_own_white(tmp_path: Path) -> None:
    for name in ("views", "masks"):
        (tmp_path / name).mkdir()
    write_scene(tmp_path / "views" / "a.tif", pixels())
    label = np.zeros((1, 60, 80), np.uint8)
    write_scene(tmp_path / "masks" / "a.tif", label, names=None)
    folder = Folder(tmp_path / "views", masks=tmp_path / "masks")
    for stated, white in ((None, 255), (100.0, 100), (2047.0, 255)):
        (image,) = read_labelled(replace(folder, white=stated))
        np.testing.assert_allclose(image.reflectance, np.clip(pixels() / white, 0, 2), rtol=1e-6)
    write_scene(tmp_path / "views" / "a.tif", pixels(dtype="uint16"))
    with pytest.raises(DatasetError, match=r"a\.tif: its white level is unknown; .*white in the"):
        read_labelled(folder)


def test_pixels_without_data_are_no_label(tmp_path: Path) -> None:
    views, masks = tmp_path / "views", tmp_path / "masks"
    views.mkdir()
    masks.mkdir()
    dn = pixels(dtype="uint16").astype(np.float32) / 200
    label = np.zeros((1, 60, 80), np.uint8)
    label[0, 20:30] = 1
    write_scene(views / "whole.tif", dn)
    write_scene(masks / "whole.tif", label, names=None, nodata=255)
    dn[:, :, :7] = -9999
    label[:, 50:] = 255
    write_scene(views / "edges.tif", dn, nodata=-9999)
    write_scene(masks / "edges.tif", label, names=None, nodata=255)
    write_scene(views / "none.tif", dn)
    write_scene(masks / "none.tif", label * 0 + 255, names=None, nodata=255)
    with pytest.warns(DecrWarning) as caught:
        edges, whole = read_labelled(Folder(views, masks=masks))
    assert [str(warning.message).partition(": ")[2] for warning in caught] == [
        "1 of 3 labelled images is passed over, for want of a pixel that is valid in it and in its "
        "mask: none.tif",
        "1 of 3 labelled images is cut to a rectangle that is valid in it and in its mask: "
        "edges.tif",
    ]
    assert whole.cloud_mask.shape == (60, 80)
    np.testing.assert_array_equal(edges.cloud_mask, whole.cloud_mask[:50, 7:])
    np.testing.assert_array_equal(edges.reflectance, whole.reflectance[:, :50, 7:])


@pytest.mark.parametrize(("cloudy_from", "rows"), [(1, 60), (2, 40)])
def test_nodata_of_0_is_clear_where_all_other_labels_are_cloud(
    tmp_path: Path, cloudy_from: int, rows: int
) -> None:
    label = np.zeros((1, 60, 80), np.uint8)
    label[0, 20:], label[0, 40:] = 1, 2
    for name, dn in (("views", pixels()), ("masks", label)):
        (tmp_path / name).mkdir()
        write_scene(tmp_path / name / "a.tif", dn, nodata=0, names=None)
    folder = Folder(
        tmp_path / "views", "b,g,r,n", masks=tmp_path / "masks", cloudy_from=cloudy_from
    )
    (image,) = read_labelled(folder)
    np.testing.assert_array_equal(image.cloud_mask, label[0, 60 - rows :] >= cloudy_from)


@pytest.mark.parametrize("cloudy_from", [1, 128])
@pytest.mark.parametrize("nodata", [0, 255])
@pytest.mark.parametrize("third", [False, True])
def test_nodata_that_is_all_of_a_class_is_a_label(
    tmp_path: Path, cloudy_from: int, nodata: int, third: bool
) -> None:
    """Masks of 0 and 255, of which one is declared as nodata, and a mask of it alone."""
    label = np.zeros((1, 60, 80), np.uint8)
    label[0, 20:] = 255
    other = np.full((1, 60, 80), nodata, np.uint8)
    if third:
        other[0, 30:], other[0, 40:] = 100, 200
    dn = pixels()
    dn[:, :, :8] = 0
    for name in ("views", "masks"):
        (tmp_path / name).mkdir()
    for name, mask in (("a.tif", label), ("b.tif", other)):
        write_scene(tmp_path / "views" / name, dn, nodata=0)
        write_scene(tmp_path / "masks" / name, mask, nodata=nodata, names=None)
    with pytest.warns(DecrWarning) as told:
        found = read_labelled(
            Folder(tmp_path / "views", masks=tmp_path / "masks", cloudy_from=cloudy_from)
        )
    doubts = [str(one.message) for one in told if "labelled by the nodata" in str(one.message)]
    # 100 and 200 are both classes if cloud begins at 128; 0 is clear anyway where it begins at 1.
    if (third and (cloudy_from == 128 or nodata == 255)) or (nodata, cloudy_from) == (0, 1):
        assert doubts == []
    else:
        assert len(doubts) == 1
        assert "2 of 2 labelled images are labelled by the nodata of its mask" in doubts[0]
        assert f"a.tif ({nodata}), b.tif ({nodata})" in doubts[0]
    if not third or (nodata, cloudy_from) == (0, 1):
        for image, mask in zip(found, (label, other), strict=True):
            np.testing.assert_array_equal(image.cloud_mask, mask[0, :, 8:] >= cloudy_from)
    elif cloudy_from == 128:
        assert found[0].cloud_mask.shape == ((40, 72) if nodata == 0 else (20, 72))
        assert found[1].cloud_mask.shape == (30, 72)


def test_a_mask_of_decr_is_a_label(tmp_path: Path) -> None:
    """What `decr ccp -o` writes has no label where the scene has no data."""
    views, masks = tmp_path / "views", tmp_path / "masks"
    views.mkdir()
    masks.mkdir()
    dn = pixels(3, 160, 200)
    dn[:, :, :60] = 0
    dn[:, 40:100, 100:180] = 250
    scene = write_scene(views / "a.tif", dn, names=RGB, nodata=0)
    (outcome,) = ccp_scenes([str(scene)], CcpConfig(detector="threshold"), masks)
    assert outcome.error is None
    (masks / "a_mask.tif").rename(masks / "a.tif")
    with pytest.warns(DecrWarning, match=r"labelled images is cut to a rectangle .*: a\.tif"):
        (image,) = read_labelled(Folder(views, masks=masks))
    assert image.cloud_mask.shape == (160, 140)
    assert 0 < image.cloud_mask.mean() < 1


def test_images_of_one_name_have_masks_of_their_own(tmp_path: Path) -> None:
    for value, place in enumerate(("a", "b")):
        for name, dn in (("views", pixels()), ("masks", np.full((1, 60, 80), value, np.uint8))):
            (tmp_path / name / place).mkdir(parents=True)
            write_scene(tmp_path / name / place / "x.tif", dn, names=None)
    found = read_labelled(Folder(tmp_path / "views", "b,g,r,n", masks=tmp_path / "masks"))
    assert [image.cloud_mask.mean() for image in found] == [0.0, 1.0]


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    for name in ("views", "masks"):
        (tmp_path / name).mkdir()
    write_scene(tmp_path / "views" / "a.tif", pixels())
    write_scene(tmp_path / "masks" / "a.tif", np.zeros((1, 30, 40), np.uint8), names=None)
    with pytest.raises(DatasetError, match=r"masks/a\.tif: has 40 x 30 pixels, .* 80 x 60"):
        read_labelled(Folder(tmp_path / "views", masks=tmp_path / "masks"))


def test_missing_masks_are_errors(tmp_path: Path) -> None:
    write_scene(tmp_path / "a.tif", pixels())
    with pytest.raises(DatasetError, match="needs a folder of masks"):
        read_labelled(Folder(tmp_path))
    with pytest.raises(DatasetError, match=r"mask of a\.tif is missing"):
        read_labelled(Folder(tmp_path, masks=tmp_path / "masks"))


@pytest.mark.parametrize("wrong", [0.0, -5.0, float("nan"), float("inf")])
def test_a_white_or_gsd_that_cannot_be_is_refused(wrong: float) -> None:
    for kind in (Folder, PairFolder):
        with pytest.raises(
            ConfigError, match=rf"^set: white is {wrong}; it must be a number above"
        ):
            kind(Path("set"), white=wrong)
        with pytest.raises(ConfigError, match=rf"^set: gsd is {wrong}; it must be a number above"):
            kind(Path("set"), gsd_m=wrong)


def test_folders_with_braces_in_their_names_are_told_as_they_are() -> None:
    with pytest.warns(DecrWarning, match=r"^p\{\}u\{0\}: 2 of 3 images are passed over: a, b$"):
        tell("p{}u{0}", "3 images", {"passed over": ["a", "b"]})
