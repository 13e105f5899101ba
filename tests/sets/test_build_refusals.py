"""What `decr dataset build` refuses, leaves out or warns of."""

from __future__ import annotations

import tarfile
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.warp import Resampling, reproject

from decr.config import CcpConfig
from decr.dataset.acquisitions import PairRow, open_pairs, read_rows
from decr.dataset.chip_rules import Limits
from decr.errors import (
    ConfigError,
    DatasetError,
    DecrError,
    DecrWarning,
    GridMismatchError,
)
from decr.sets.build import build_set, described
from tests.dataset.two_dates import BANDS, SHIFT, SIZE, UTM, TwoDates, write
from tests.sets.built import OPTIONS, QUICK, build, ccp, table

ROOT = Path(__file__).parents[2]


def test_too_many_days_and_too_large_a_shift_leave_nothing(dates: TwoDates, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="too many days apart"):
        build(dates, tmp_path / "a", QUICK, clear_date="2024-07-01")
    with pytest.raises(DatasetError, match=r"bad shift \(2\.7 px\)"):
        build(dates, tmp_path / "b", replace(QUICK, limits=Limits(max_shift_px=2)))
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()


def test_a_chip_that_lies_elsewhere_is_a_bad_shift(dates: TwoDates, tmp_path: Path) -> None:
    """Terrain moves one place by 3 px more than the rest."""
    with rasterio.open(dates.clear) as file:
        clear = file.read()
    part = np.s_[:, 3 * SIZE + 40 : 5 * SIZE, 100 : 3 * SIZE]
    moved = clear.copy()
    moved[part] = np.roll(clear, 3, axis=1)[part]
    folder = tmp_path / "in"
    folder.mkdir()
    path = write(folder / "clear.tif", moved, TIFFTAG_DATETIME="2024:05:14 03:05:00")
    out = tmp_path / "set"
    build(replace(dates, clear=path), out, QUICK)
    bad = {c for c, line in table(out).items() if line["reason"] == "bad shift"}
    assert bad == {f"cloudy_r{row:05}_c{col:05}" for row in (385, 513) for col in (133, 261)}


def test_a_narrow_clear_image_overlaps_too_little(dates: TwoDates, tmp_path: Path) -> None:
    with rasterio.open(dates.clear) as file:
        clear = file.read()
    folder = tmp_path / "in"
    folder.mkdir()
    path = write(folder / "clear.tif", clear[:, :, :420], TIFFTAG_DATETIME="2024:05:14 03:05:00")
    with rasterio.open(dates.masks / "clear.tif") as file:
        mask = file.read()[:, :, :420]
    masks = tmp_path / "masks"
    masks.mkdir()
    write(masks / "clear.tif", mask, ("-",), None)
    (masks / "cloudy.tif").write_bytes((dates.masks / "cloudy.tif").read_bytes())
    out = tmp_path / "set"
    build(TwoDates(dates.cloudy, path, masks), out, replace(QUICK, split="random"))
    for line in table(out).values():
        assert (line["reason"] == "low overlap") == (int(line["col"]) + SIZE > 420)


def test_an_overlap_that_the_shift_makes_too_narrow_is_no_overlap(
    dates: TwoDates, tmp_path: Path
) -> None:
    """Windows of 64 px fit before the clear image is shifted, and none after."""
    with rasterio.open(dates.clear) as file:
        clear = file.read()
    folder = tmp_path / "in"
    folder.mkdir()
    path = write(folder / "clear.tif", clear[:, :, :65], TIFFTAG_DATETIME="2024:05:14 03:05:00")
    masks = tmp_path / "masks"
    masks.mkdir()
    with rasterio.open(dates.masks / "clear.tif") as file:
        write(masks / "clear.tif", file.read()[:, :, :65], ("-",), None)
    (masks / "cloudy.tif").write_bytes((dates.masks / "cloudy.tif").read_bytes())
    with pytest.raises(DatasetError, match="low overlap"):
        build(TwoDates(dates.cloudy, path, masks), tmp_path / "set", replace(QUICK, split="random"))


def test_images_that_lie_on_one_another_lose_no_chip(dates: TwoDates, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with rasterio.open(dates.clear) as file:
        clear = file.read()[:, : 2 * SIZE, : 2 * SIZE]
    cloudy = clear.copy()
    cloudy[:, :90] = 1790  # a part of every chip of the upper row
    paths = [
        write(tmp_path / "in" / f"{side}.tif", image, TIFFTAG_DATETIME=f"2024:05:{day} 03:05:00")
        for side, image, day in (("cloudy", cloudy, "03"), ("clear", clear, "14"))
    ]
    masks = tmp_path / "masks"
    masks.mkdir()
    write(masks / "cloudy.tif", (cloudy[:1] == 1790).astype(np.uint8), ("-",), None)
    write(masks / "clear.tif", np.zeros((1, *clear.shape[1:]), np.uint8), ("-",), None)
    build(TwoDates(*paths, masks), tmp_path / "set", replace(QUICK, split="random"))
    chips = {(c["row"], c["col"], c["reason"]) for c in table(tmp_path / "set").values()}
    assert chips == {(row, col, "") for row in ("0", str(SIZE)) for col in ("0", str(SIZE))}


def test_a_scene_of_few_pixels_is_too_small_and_not_apart(dates: TwoDates, tmp_path: Path) -> None:
    paths = []
    (tmp_path / "in").mkdir()
    for path in (dates.cloudy, dates.clear):
        with rasterio.open(path) as file:
            part = file.read()[:, :63, :200]
            tags = {"TIFFTAG_DATETIME": file.tags()["TIFFTAG_DATETIME"]}
        paths.append(write(tmp_path / "in" / path.name, part, **tags))
    small = TwoDates(paths[0], paths[1], dates.masks)
    with pytest.raises(DatasetError, match=r"too small .*must cover 70 x 70 px at least"):
        build(small, tmp_path / "set", replace(QUICK, size_px=32))


def test_planted_duplicates_are_found_across_pairs(dates: TwoDates, tmp_path: Path) -> None:
    """A second pair shows the same ground again, once exactly and once a little brighter."""
    with rasterio.open(dates.clear) as file:
        clear = file.read()
    folder = tmp_path / "in"
    folder.mkdir()
    brighter = np.clip(clear * 1.1, 1, 2047).astype(np.uint16)
    write(folder / "brighter.tif", brighter, TIFFTAG_DATETIME="2024:05:14 03:05:00")
    (folder / "pairs.csv").write_text(
        "cloudy,clear,site,clear_date\n"
        f"{dates.cloudy},{dates.clear},meadow,\n"
        f"{dates.cloudy},{dates.clear},meadow,2024-05-13\n"
        f"{dates.cloudy},brighter.tif,meadow,\n"
    )
    (dates.masks / "brighter.tif").write_bytes((dates.masks / "clear.tif").read_bytes())
    try:
        rows = read_rows(folder / "pairs.csv")
        out = tmp_path / "set"
        built = build_set(rows, out, replace(QUICK, split="random"), ccp(dates))
    finally:
        (dates.masks / "brighter.tif").unlink()
    lines = table(out)
    first = {n.split("_r")[1] for n, c in lines.items() if c["pair"] == "cloudy_1" and c["split"]}
    assert len(first) == 23
    for pair, why in (("cloudy_2", "exact duplicate"), ("cloudy_3", "near duplicate")):
        own = {n.split("_r")[1]: c["reason"] for n, c in lines.items() if c["pair"] == pair}
        assert {place for place, reason in own.items() if reason == why} == first
    assert built.rejected["exact duplicate"] == built.rejected["near duplicate"] == 23
    assert {entry["about"]["pair"] for entry in built.entries} == {"cloudy_1"}
    assert "rejected: 67 chips" in described(built)


def test_another_grid_is_refused_unless_resampling_is_asked_for(
    dates: TwoDates, tmp_path: Path
) -> None:
    """The clear image in longitude and latitude, at about its own resolution."""
    folder = tmp_path / "in"
    (folder / "masks").mkdir(parents=True)
    for source, target, how in (
        (dates.clear, folder / "clear.tif", Resampling.cubic),
        (dates.masks / "clear.tif", folder / "masks" / "clear.tif", Resampling.nearest),
    ):
        with rasterio.open(source) as file:
            pixels, profile = file.read(), file.profile
        there = Affine(5.8e-6, 0, 116.99996, 0, -4.5e-6, 39.7500)
        shape = (len(pixels), 780, 840)
        warped = np.zeros(shape, pixels.dtype)
        reproject(
            pixels, warped, src_transform=profile["transform"], src_crs=UTM, dst_transform=there,
            dst_crs="EPSG:4326", resampling=how,
        )  # fmt: skip
        profile |= {
            "crs": "EPSG:4326", "transform": there, "height": shape[1], "width": shape[2],
        }  # fmt: skip
        with rasterio.open(target, "w", **profile) as file:
            file.write(warped)
            file.update_tags(TIFFTAG_DATETIME="2024:05:14 03:05:00")
            if len(pixels) == 4:
                file.descriptions = BANDS
    (folder / "masks" / "cloudy.tif").write_bytes((dates.masks / "cloudy.tif").read_bytes())
    there = TwoDates(dates.cloudy, folder / "clear.tif", folder / "masks")
    with pytest.raises(GridMismatchError, match="--resample"):
        build(there, tmp_path / "set")
    options = replace(QUICK, resample=True, split="random")
    built = build(there, tmp_path / "set", options)
    (told,) = built.acquisitions
    assert told["shift"]["rows"] == pytest.approx(SHIFT[0], abs=0.15)
    assert told["shift"]["cols"] == pytest.approx(SHIFT[1], abs=0.15)
    assert len(built.entries) >= 15


def test_a_place_of_one_block_is_for_training_with_a_warning(few: TwoDates, tmp_path: Path) -> None:
    wide = replace(QUICK, block_m=1e6)
    with pytest.warns(DecrWarning, match="smaller --block"):
        built = build(few, tmp_path / "set", wide)
    assert {entry["split"] for entry in built.entries} == {"train"}
    with pytest.warns(DecrWarning, match="too few; give more, or a larger --test-share"):
        build(few, tmp_path / "r", replace(QUICK, split="random", test_share=0.001))
    with pytest.raises(DatasetError, match="left to train on"):
        build(few, tmp_path / "b", replace(QUICK, buffer_m=1e4))
    assert not (tmp_path / "b").exists()


def test_one_mask_cannot_serve_two_images(dates: TwoDates, tmp_path: Path) -> None:
    config = CcpConfig(detector=f"file:{dates.masks / 'cloudy.tif'}")
    with pytest.raises(ConfigError, match="folder"):
        build_set([PairRow(dates.cloudy, dates.clear)], tmp_path / "set", OPTIONS, config)


def test_images_of_one_name_do_not_get_one_mask(dates: TwoDates, tmp_path: Path) -> None:
    (tmp_path / "june").mkdir()
    other = tmp_path / "june" / "clear.tif"
    other.write_bytes(dates.clear.read_bytes())
    rows = [PairRow(dates.cloudy, dates.clear), PairRow(dates.cloudy, other)]
    with pytest.raises(ConfigError, match=r"june/clear\.tif would both have the mask clear; give"):
        build_set(rows, tmp_path / "set", QUICK, ccp(dates))


def test_names_of_pairs_are_unique_and_keep_their_letters(dates: TwoDates, tmp_path: Path) -> None:
    rows = []
    for number, name in enumerate(("s", "S", "s_1", "測試", "實驗", "((")):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        (folder / f"{name}.tif").write_bytes(dates.cloudy.read_bytes())
        rows.append(PairRow(folder / f"{name}.tif", dates.clear))
    names = [pair.name for pair in open_pairs(rows)]
    assert names == ["s_1_", "S_2", "s_1", "測試", "實驗", "pair"]


def test_an_image_without_a_date_needs_one(few: TwoDates, tmp_path: Path) -> None:
    with rasterio.open(few.clear) as file:
        path = write(tmp_path / "clear.tif", file.read())
    with pytest.raises(DatasetError, match=r"--clear-date \(with --pairs, a column clear_date\)"):
        build(replace(few, clear=path), tmp_path / "set")
    built = build(replace(few, clear=path), tmp_path / "set", QUICK, clear_date="2024-05-14")
    assert built.acquisitions[0]["dates_from"] == ["tag TIFFTAG_DATETIME", "given"]


def test_a_truncated_image_is_one_error_and_leaves_no_set(dates: TwoDates, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    path = folder / "clear.tif"
    path.write_bytes(dates.clear.read_bytes()[:300000])
    with pytest.raises(DecrError, match=r"clear\.tif"):
        build(replace(dates, clear=path), tmp_path / "set", QUICK, clear_date="2024-05-14")
    assert not (tmp_path / "set").exists()


def test_one_image_cannot_be_both_sides(dates: TwoDates, tmp_path: Path) -> None:
    copy = tmp_path / "copy.tif"
    copy.write_bytes(dates.cloudy.read_bytes())
    for clear in (dates.cloudy, copy):
        row = PairRow(dates.cloudy, clear, clear_date="2024-05-14")
        with pytest.raises(DatasetError, match=rf"cloudy\.tif and .*{clear.name} are one image"):
            open_pairs([PairRow(dates.cloudy, dates.clear), row])


def test_two_images_of_one_archive_are_two(
    dates: TwoDates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("both.zip", "copy.zip"):
        with ZipFile(tmp_path / name, "w") as archive:
            for folder in ("may", "june"):
                archive.write(dates.cloudy, f"{folder}/{dates.cloudy.name}")
    with tarfile.open(tmp_path / "both.tar", "w") as tar:
        for image in (dates.cloudy, dates.clear):
            tar.add(image, image.name)
    cloudy = "/vsizip/both.zip/may/cloudy.tif"
    for one, other in (
        (cloudy, "/vsizip/both.zip/june/cloudy.tif"),
        (cloudy, "/vsizip/copy.zip/june/cloudy.tif"),
        ("/vsitar/both.tar/cloudy.tif", "/vsitar/both.tar/clear.tif"),
    ):
        (pair,) = open_pairs([PairRow(Path(one), Path(other))])
        assert (pair.cloudy.path, pair.clear.path) == (one, other)
    for other in (cloudy, "/vsizip/copy.zip/may/cloudy.tif"):
        with pytest.raises(DatasetError, match="are one image"):
            open_pairs([PairRow(Path(cloudy), Path(other))])
