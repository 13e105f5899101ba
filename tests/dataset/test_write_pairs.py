"""Tests of simulated sets on disk: same bytes however they were made, and true to their images."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.transform import array_bounds

from decr.dataset.chips import Chip, apart, chip_grid, choose_chips, open_sources
from decr.dataset.layouts import list_pairs
from decr.dataset.sky import PRESETS, Spread
from decr.dataset.write_pairs import (
    PairOptions,
    described,
    plan_pairs,
    simulate_pairs,
)
from decr.errors import BandError, ConfigError, DatasetError, DecrWarning, SceneError
from tests.pipeline.scenes import GRID, read, write_scene

SIZE = 32
ROOT = Path(__file__).parents[2]
PLACES = {"hill.tif": GRID, "lake.tif": GRID @ Affine.translation(3000, 0)}


def ground(height: int = 70, width: int = 100, seed: int = 0, most: int = 200) -> NDArray[Any]:
    """(4, height, width) uint8 noise, never 0."""
    return np.random.default_rng(seed).integers(1, most, (4, height, width)).astype(np.uint8)


def options(**changes: Any) -> PairOptions:
    return PairOptions(**{"size_px": SIZE, "skies": PRESETS["cuhk-cr2"], **changes})


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of every file by relative name."""
    return {
        f.relative_to(folder).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest()
        for f in folder.rglob("*")
        if f.is_file()
    }


def test_every_place_gives_a_pair_that_differs_only_where_sky_was_put(
    images: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "set"
    entries = simulate_pairs(images, out, options(truth=True))
    assert len(entries) == 10
    assert not (tmp_path / "set.decr-work").exists()
    for entry in entries:
        about = entry["about"]
        row, col, height, width = about["window"]
        source = read(tmp_path / about["source"])[:, row : row + height, col : col + width]
        clear, cloudy = read(out / entry["clear"]), read(out / entry["cloudy"])
        np.testing.assert_array_equal(clear, source)
        mask, thickness = read(out / about["mask"])[0], read(out / about["thickness"])[0]
        assert mask.mean() == pytest.approx(entry["ccp"], abs=1e-6)
        if not about["sky"]["shadow"]:
            np.testing.assert_array_equal(cloudy[:, thickness == 0], clear[:, thickness == 0])
        np.testing.assert_array_equal(mask == 1, thickness >= np.float32(0.12))
        thick = thickness > 3
        if thick.any():
            # Opaque cloud shows its own brightness, not the ground's.
            assert cloudy[:, thick].std() < clear[:, thick].std()


def test_chips_keep_their_place_on_the_ground_and_the_names_of_bands(
    images: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "set"
    for entry in simulate_pairs(images, out, options(truth=True)):
        row, col, *_ = entry["about"]["window"]
        for name in (entry["cloudy"], entry["clear"], entry["about"]["mask"]):
            with rasterio.open(out / name) as file:
                place = PLACES[entry["about"]["source"]]
                assert file.transform == place @ Affine.translation(col, row)
                assert file.crs.to_epsg() == 32650
        with rasterio.open(out / entry["cloudy"]) as file:
            assert file.descriptions == ("blue", "green", "red", "nir")
        assert entry["bands"] == "b,g,r,n"
        assert entry["gsd_m"] == pytest.approx(0.5)


def test_bytes_do_not_depend_on_the_order_of_images_or_on_company(
    images: list[Path], tmp_path: Path
) -> None:
    simulate_pairs(images, tmp_path / "one", options())
    simulate_pairs(images[::-1], tmp_path / "two", options())
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    simulate_pairs(images[1:], tmp_path / "alone", options())
    both, alone = contents(tmp_path / "one"), contents(tmp_path / "alone")
    pairs = {name: digest for name, digest in alone.items() if name.endswith("_0.tif")}
    assert len(pairs) == 8
    assert pairs.items() <= both.items()


def test_another_seed_gives_other_skies_over_the_same_ground(
    images: list[Path], tmp_path: Path
) -> None:
    one = simulate_pairs(images, tmp_path / "one", options())
    two = simulate_pairs(images, tmp_path / "two", options(seed=1))
    assert [e["clear"] for e in one] == [e["clear"] for e in two]
    assert all(a["about"]["sky"] != b["about"]["sky"] for a, b in zip(one, two, strict=True))


def test_checksums_hold_and_cover_every_file(images: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "set"
    simulate_pairs(images, out, options(truth=True))
    listed = dict(
        reversed(line.split("  ")) for line in (out / "SHA256SUMS").read_text().splitlines()
    )
    found = contents(out)
    assert found.pop("SHA256SUMS")
    assert listed == found


def test_borders_of_tenths_belong_to_the_bin_above() -> None:
    pairs = [{"ccp": ccp, "split": "train"} for ccp in (0.0, 0.3, 0.6, 0.7, 1.0)]
    assert described(pairs).endswith("by tenths 1 0 0 1 0 0 1 1 0 1")


def test_sixteen_bits_keep_their_range(tmp_path: Path) -> None:
    dn = ground().astype(np.uint16) * 10
    dn[0, 5, 5] = 2047
    image = write_scene(tmp_path / "scene.tif", dn)
    (entry,) = simulate_pairs([image], tmp_path / "set", options(count=1))
    assert entry["white"] == 2047
    cloudy = read(tmp_path / "set" / entry["cloudy"])
    assert cloudy.dtype == np.uint16
    assert cloudy.max() <= 2047
    declared = plan_pairs([image], options(white=4000.0))
    assert {chip.source.white for chip in declared} == {4000.0}
    bytes_too = write_scene(tmp_path / "bytes.tif", ground().astype(np.uint8))
    for white, taken in ((4000.0, 255.0), (200.0, 200.0)):
        chips = plan_pairs([bytes_too], options(white=white))
        assert {chip.source.white for chip in chips} == {taken}


def test_more_than_white_is_kept_on_clear_ground(tmp_path: Path) -> None:
    dn = ground().astype(np.uint16) * 10
    image = write_scene(tmp_path / "scene.tif", dn)
    clear_sky = replace(PRESETS["cuhk-cr2"], coverage=Spread(0.0, 0.0), shadow_share=0.0)
    for white in (500.0, 70000.0):
        out = tmp_path / f"set{white:g}"
        for entry in simulate_pairs([image], out, options(white=white, skies=clear_sky)):
            np.testing.assert_array_equal(read(out / entry["cloudy"]), read(out / entry["clear"]))
            assert entry["ccp"] == 0


@pytest.mark.parametrize(("layout", "known"), [("folders", "folders"), ("cuhk-cr", "cuhk")])
def test_layouts_are_those_that_are_read(
    images: list[Path], tmp_path: Path, layout: str, known: str
) -> None:
    out = tmp_path / "set"
    entries = simulate_pairs(images, out, options(layout=layout, count=30, truth=True))
    pairs = list_pairs(out, known)
    assert len(pairs) == 30
    assert {p.split for p in pairs} == {"train", "test"}
    assert {p.cloudy.relative_to(out).as_posix() for p in pairs} == {e["cloudy"] for e in entries}
    listed = list_pairs(out, "manifest")
    assert {p.cloudy.stem: p.ccp for p in listed} == {
        Path(e["cloudy"]).stem: e["ccp"] for e in entries
    }
    assert {p.split for p in listed} == {"train", "test"}
    assert [p.clear_nir for p in listed] == [
        p.clear_nir for p in sorted(pairs, key=lambda pair: pair.cloudy.as_posix())
    ]


def test_cuhk_files_are_rgb_and_infrared_of_eight_bits(tmp_path: Path) -> None:
    dn = ground().astype(np.uint16) * 20
    image = write_scene(tmp_path / "scene.tif", dn)
    out = tmp_path / "set"
    for entry in simulate_pairs([image], out, options(layout="cuhk-cr", white=4095.0)):
        row, col, height, width = entry["about"]["window"]
        source = dn[:, row : row + height, col : col + width]
        wanted = np.rint(source / 4095.0 * 255).astype(np.uint8)
        assert entry["clear"].endswith(".png")
        np.testing.assert_array_equal(read(out / entry["clear"]), wanted[[2, 1, 0]])
        nir = read(out / entry["clear_nir"])
        np.testing.assert_array_equal(nir, wanted[[3, 3, 3]])
        assert read(out / entry["cloudy_nir"]).dtype == np.uint8
        assert (entry["bands"], entry["white"]) == ("r,g,b", 255.0)


def test_count_chooses_and_repeats_places(images: list[Path]) -> None:
    sources = open_sources(images)
    few = choose_chips(sources, SIZE, 4, seed=1)
    assert len(few) == 4
    assert {c.name for c in few} < {c.name for c in choose_chips(sources, SIZE, 7, seed=1)}
    assert {c.name for c in few} != {c.name for c in choose_chips(sources, SIZE, 4, seed=2)}
    many = choose_chips(sources, SIZE, 23, seed=1)
    assert len({c.name for c in many}) == 23
    places = [(c.source.key, c.window) for c in many]
    assert {places.count(p) for p in places} == {2, 3}
    # All skies over one place stay on one side.
    assert len({(p, c.split(0.5)) for p, c in zip(places, many, strict=True)}) == 10


@pytest.mark.parametrize("shift", [0.0, 11.0])
def test_no_ground_is_on_both_sides_however_many_images_show_it(
    tmp_path: Path, shift: float
) -> None:
    """Of two years; the second on the same pixels, or on others."""
    grids = (GRID, GRID @ Affine.translation(shift, shift))
    files = [
        write_scene(tmp_path / f"town_{n}.tif", ground(512, 512, n), transform=grid)
        for n, grid in enumerate(grids)
    ]
    chips = choose_chips(open_sources(files), SIZE)
    boxes = {c: shapely.box(*array_bounds(SIZE, SIZE, chip_grid(c).transform)) for c in chips}

    def leaking(chips: list[Chip]) -> int:
        sides = {s: [boxes[c] for c in chips if c.split(0.3) == s] for s in ("train", "test")}
        assert all(sides.values())
        tree = shapely.STRtree(sides["test"])
        return sum(
            any(shapely.area(box & sides["test"][i]) > 1e-3 for i in tree.query(box))
            for box in sides["train"]
        )

    if shift:
        with pytest.warns(DecrWarning, match="share ground with chips of other images"):
            kept = apart(chips, 0.3)
        assert len(chips) > len(kept) > 0.7 * len(chips)
    else:
        kept = apart(chips, 0.3)
        assert kept == chips
    assert leaking(kept) == 0


def test_a_set_with_nothing_to_test_on_warns(tmp_path: Path) -> None:
    image = write_scene(tmp_path / "a.tif", ground(SIZE, SIZE))
    with pytest.warns(DecrWarning, match="all 1 pairs are for training: places of 4 x 4 chips"):
        plan_pairs([image], options(test_share=1e-9))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plan_pairs([image], options(test_share=1.0))
        plan_pairs([image], options(test_share=0.0))


def test_guesses_are_told_at_the_line_that_planned(tmp_path: Path) -> None:
    image = write_scene(tmp_path / "a.tif", ground(SIZE, SIZE), names=None)
    with pytest.warns(DecrWarning, match="calls its fourth band alpha") as told:
        plan_pairs([image], options(test_share=0.0))
    assert {w.filename for w in told} == {__file__}


def test_images_without_a_place_are_split_by_their_names(tmp_path: Path) -> None:
    files = [
        write_scene(tmp_path / f"{n}.tif", ground(256, 256, n), transform=None, crs=None)
        for n in range(4)
    ]
    chips = plan_pairs(files, options(gsd_m=0.5))
    places = {(c.source.key, c.window.row // 128, c.window.col // 128) for c in chips}
    assert len(places) == 16
    assert len({(c.source.key, c.window.row // 128, c.window.col // 128, c.split(0.5))
                for c in chips}) == 16  # fmt: skip


def test_missing_pixels_keep_chips_away(tmp_path: Path) -> None:
    dn = ground(64, 96)
    dn[:, 40, 40] = 0
    image = write_scene(tmp_path / "holed.tif", dn, nodata=0)
    corners = {(c.window.row, c.window.col) for c in plan_pairs([image], options())}
    assert corners == {(0, 0), (0, 32), (0, 64), (32, 0), (32, 64)}
    with pytest.raises(DatasetError, match=r"each of the 1 places in 1 images has missing pixels"):
        plan_pairs([image], options(size_px=64))


def test_same_names_in_two_folders_are_told_apart(tmp_path: Path) -> None:
    for year in ("2016", "2018"):
        (tmp_path / year).mkdir()
        write_scene(tmp_path / year / "a.tif", ground(seed=int(year)))
    keys = {s.key for s in open_sources([tmp_path / "2016", tmp_path / "2018" / "a.tif"])}
    assert keys == {"2016_a", "2018_a"}
    (tmp_path / "x" / "2016").mkdir(parents=True)
    write_scene(tmp_path / "x" / "2016" / "a.tif", ground())
    with pytest.raises(DatasetError, match="would get one name; rename"):
        open_sources([tmp_path / "2016", tmp_path / "x"])
    for name in ("測試", "實驗"):
        write_scene(tmp_path / "x" / f"{name}.tif", ground())
    foreign = sorted((tmp_path / "x").glob("*.tif"))
    assert {s.key for s in open_sources(foreign)} == {"測試", "實驗"}
    one = tmp_path / "2016" / "a.tif"
    assert len(open_sources([one, one, tmp_path / "2016"])) == 1


def test_what_cannot_be_used_is_said(tmp_path: Path) -> None:
    small = write_scene(tmp_path / "small.tif", ground(20, 90))
    with pytest.raises(DatasetError, match=r"32 px: .*small.tif, .*20 x 90 px; give a smaller"):
        plan_pairs([small], options())
    two = write_scene(tmp_path / "two.tif", ground()[:2], names=None)
    with pytest.raises(BandError, match=r"two.tif"):
        plan_pairs([two], options())
    with pytest.raises(BandError, match="bands blue, red; give images of 3 or 4"):
        plan_pairs([two], options(bands="b,r"))
    reals = write_scene(tmp_path / "reals.tif", ground().astype(np.float32))
    with pytest.raises(
        DatasetError, match=r"reals\.tif holds float32; convert .*-scale 0 1 0 10000"
    ):
        plan_pairs([reals], options())
    signed = write_scene(tmp_path / "signed.tif", ground().astype(np.int16))
    with pytest.raises(DatasetError, match=r"holds int16; .*numbers below 0 become 0"):
        plan_pairs([signed], options())
    black = write_scene(tmp_path / "black.tif", np.zeros((4, 70, 100), np.uint16))
    with pytest.raises(DatasetError, match=r"black\.tif holds nothing but 0; .*without -scale"):
        plan_pairs([black], options())
    constant = write_scene(tmp_path / "constant.tif", np.full((4, 70, 100), 999, np.uint16))
    with pytest.raises(DatasetError, match=r"constant\.tif holds nothing but 999; look at"):
        plan_pairs([constant], options())
    nowhere = write_scene(tmp_path / "nowhere.tif", ground(), transform=None, crs=None)
    with pytest.raises(DatasetError, match=r"nowhere\.tif does not say its pixel size; give --gsd"):
        plan_pairs([nowhere], options())
    assert plan_pairs([nowhere], options(gsd_m=0.7))[0].source.gsd_m == 0.7
    with pytest.raises(DatasetError, match=r"nowhere\.tif: its pixels are 1e-09 m large; skies"):
        plan_pairs([nowhere], options(gsd_m=1e-9))
    text = tmp_path / "text.tif"
    text.write_text("no image")
    with pytest.raises(SceneError, match=r"text\.tif"):
        plan_pairs([text], options())
    infrared = write_scene(tmp_path / "irc.tif", ground()[[3, 2, 1]], names=("nir", "red", "green"))
    with pytest.raises(BandError, match=r"irc\.tif lacks blue, which the layout cuhk-cr needs"):
        plan_pairs([infrared], options(layout="cuhk-cr"))
    assert plan_pairs([infrared], options())
    both = [
        write_scene(tmp_path / "rgbn.tif", ground()),
        write_scene(tmp_path / "rgb.tif", ground()[:3], names=("blue", "green", "red")),
    ]
    with pytest.raises(BandError, match=r"rgbn\.tif has near infrared and .*rgb\.tif has not"):
        plan_pairs(both, options(layout="cuhk-cr"))
    assert plan_pairs(both, options())
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no raster there"):
        plan_pairs([tmp_path / "empty"], options())


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("white", [None, 200.0])
@pytest.mark.parametrize(
    ("roof", "said"),
    [(0.7, "nothing but 0 to 1;"), (90.0, "0 to 8, and up to 90 in a few.* -a_nodata 0")],
)
def test_reflectance_that_became_black_is_refused(
    tmp_path: Path, dtype: str, white: float | None, roof: float, said: str
) -> None:
    """With a bright roof, too, and whatever white is said to be."""
    reflectance = np.random.default_rng(0).normal(0.2, 0.08, (4, 70, 100))
    reflectance[:, 30:34, 30:34] = roof
    path = write_scene(tmp_path / "c.tif", np.rint(np.clip(reflectance, 0, 99)).astype(dtype))
    match = rf"c\.tif holds {said}.*-ot UInt16 -scale 0 1 0 10000"
    with pytest.raises(DatasetError, match=match):
        plan_pairs([path], options(white=white))


@pytest.mark.parametrize("white", [None, 2047.0])
def test_dark_water_and_wide_empty_edges_are_no_black_images(
    tmp_path: Path, white: float | None
) -> None:
    rng, paths = np.random.default_rng(0), []
    water = rng.integers(5, 40, (4, 70, 100))  # of 11 bits
    empty = np.zeros((4, 70, 100))  # where no data is not marked
    empty[:, :32, :32] = rng.integers(50, 400, (4, 32, 32))
    for name, image in (("water", water), ("empty", empty)):
        paths.append(write_scene(tmp_path / f"{name}.tif", image.astype(np.uint16)))
    assert plan_pairs(paths, options(white=white))


def test_a_stated_pixel_size_is_for_images_that_do_not_say(tmp_path: Path) -> None:
    write_scene(tmp_path / "placed.tif", ground())
    write_scene(tmp_path / "nowhere.tif", ground(), transform=None, crs=None)
    sources = open_sources([tmp_path], gsd_m=5.0)
    assert {s.key: s.gsd_m for s in sources} == pytest.approx({"placed": 0.5, "nowhere": 5.0})


def test_a_set_among_the_images_is_none_of_them(images: list[Path], tmp_path: Path) -> None:
    simulate_pairs([tmp_path], tmp_path / "one", options())
    (tmp_path / "two.decr-work").mkdir()
    write_scene(tmp_path / "two.decr-work" / "chip.tif", ground())
    (tmp_path / "._hill.tif").write_bytes(b"AppleDouble")
    assert [s.key for s in open_sources([tmp_path])] == ["hill", "lake"]
    # So the same call finds its own set.
    simulate_pairs([tmp_path], tmp_path / "one", options())


def test_a_damaged_image_is_blamed_and_not_the_disk(tmp_path: Path) -> None:
    image = write_scene(tmp_path / "torn.tif", ground(200, 200))
    image.write_bytes(image.read_bytes()[:40_000])
    with pytest.raises(SceneError, match=r"torn\.tif"):
        simulate_pairs([image], tmp_path / "set", options())
    assert not (tmp_path / "set").exists()


def test_guessed_bands_are_told_once(tmp_path: Path) -> None:
    files = [
        write_scene(tmp_path / f"{n}.tif", ground(), names=None, photometric="minisblack")
        for n in "ab"
    ]
    with pytest.warns(DecrWarning, match=r"a.tif does not say .* \(and 1 more files like it\)"):
        open_sources(files)


@pytest.mark.parametrize(
    "changes",
    [
        {"size_px": 8},
        {"count": 0},
        {"count": 10**12},
        {"gsd_m": 0.0},
        {"white": -1.0},
        {"white": float("inf")},
        {"layout": "zip"},
        {"test_share": 1.5},
    ],
)
def test_impossible_options_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        options(**changes)


def test_the_summary_is_one_line_with_mean_and_histogram() -> None:
    entries = [{"ccp": ccp, "split": "train"} for ccp in (0.0, 0.05, 0.95, 1.0)]
    entries.append({"ccp": 0.5, "split": "test"})
    assert described(entries) == (
        "5 pairs (4 train, 1 test), CCP mean 0.500, by tenths 2 0 0 0 0 1 0 0 0 2"
    )


def test_the_manifest_tells_the_whole_sky(images: list[Path], tmp_path: Path) -> None:
    entries = simulate_pairs(images, tmp_path / "set", options(count=2, seed=9))
    lines = (tmp_path / "set" / "pairs.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == entries
    about = entries[0]["about"]
    assert about["seed"] == 9
    assert about["sky"]["kind"] in ("cumulus", "deck")
    # The share of cloud was chosen, and is met as closely as whole pixels allow.
    assert entries[0]["ccp"] == pytest.approx(about["sky"]["coverage"], abs=2 / SIZE**2)
