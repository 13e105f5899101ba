"""Tests of chips: which places of which images a set is made of, and what is refused."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from rasterio.transform import array_bounds

from decr.dataset.chips import Chip, apart, chip_grid, choose_chips, open_sources
from decr.dataset.write_pairs import (
    plan_pairs,
    simulate_pairs,
)
from decr.errors import BandError, DatasetError, DecrWarning, SceneError
from tests.dataset.simulated import SIZE, ground, options
from tests.pipeline.scenes import GRID, write_scene


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
