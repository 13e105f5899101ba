"""Published sets of other layouts, places, types and splits become sets of decr's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image

from decr.dataset.layouts import list_pairs
from decr.dataset.pairs import PairFolder, read_pairs
from decr.errors import DecrWarning, OutputError
from decr.sets.import_set import import_set
from decr.sets.upkeep import verify_set
from tests.dataset.two_dates import write
from tests.sets.built import contents
from tests.sets.made_published import (
    QUICK,
    SIDE,
    clouded,
    cuhk,
    ground,
    lines,
    png,
    run,
)


def test_a_flat_set_is_split_by_its_list_or_by_decr(tmp_path: Path) -> None:
    root = tmp_path / "RICE1"
    for number in range(12):
        clear = ground(number)[:3]
        png(root / "cloudy_image" / f"{number}.png", clouded(clear, 9))
        png(root / "ground_truth" / f"{number}.png", clear)
    done = run(root, "-o", tmp_path / "hash", "--layout", "rice", "--detector", "threshold")
    assert done.exit_code == 0, done.output
    assert "by a hash of names: the set has none" in done.stdout
    assert "the set states none" in (tmp_path / "hash" / "README.md").read_text()
    (root / "test_list.txt").write_text("3.png\r\n5.png\r\n")
    done = run(root, "-o", tmp_path / "list", "--layout", "rice", "--detector", "threshold")
    assert "split: 10/2 (train/test), as in test_list.txt" in done.stdout
    card = (tmp_path / "list" / "README.md").read_text()
    assert "| RICE1 | Google Earth | not stated | not stated | 10/2 (train/test) |" in card
    pairs = list_pairs(tmp_path / "list", "manifest")
    assert sorted(p.clear.stem for p in pairs if p.split == "test") == ["3", "5"]


@pytest.mark.parametrize(("layout", "name"), [("t-cloud", "T-Cloud"), ("whu", "WHU")])
def test_sets_of_other_layouts_are_imported_with_their_published_split(
    tmp_path: Path, layout: str, name: str
) -> None:
    root = tmp_path / name
    for split, numbers in (("train", range(3)), ("test", range(7, 9))):
        for number in numbers:
            clear = ground(number)[:3]
            png(root / split / "cloud" / f"{number}.jpg", clouded(clear, 20))
            png(root / split / "label" / f"{number}.jpg", clear)
    done = run(root, "-o", tmp_path / "set", "--layout", layout, "--detector", "threshold")
    assert done.exit_code == 0, done.output
    assert "split: 3/2 (train/test), as published" in done.stdout
    assert "| Landsat 8 |" in (tmp_path / "set" / "README.md").read_text()
    assert verify_set(tmp_path / "set").problems == []


def placed(root: Path, dated: bool) -> Path:
    """GeoTIFF pairs with a place, and dates if wanted."""
    for number in range(3):
        clear = ground(number).astype(np.uint16)
        transform = Affine(0.5, 0, 5e5 + 100 * number, 0, -0.5, 4e6)
        for side, day in (("cloudy", 3), ("clear", 14)):
            path = root / "train" / side / f"{number}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            dn = clouded(clear, 9) if side == "cloudy" else clear
            tags = {"ACQUISITIONDATETIME": f"2024-05-{day:02}T03:00:00Z"} if dated else {}
            write(path, dn, transform=transform, **tags)
    return root


def test_places_and_dates_are_told_where_the_files_have_them(tmp_path: Path) -> None:
    pystac = pytest.importorskip("pystac")
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "set"
    import_set(placed(tmp_path / "mine", True), out, "folders", QUICK)
    assert parquet.read_table(out / "chips.parquet").num_rows == 3
    collection = pystac.Collection.from_file(str(out / "stac" / "collection.json"))
    collection.validate()
    items = list(collection.get_items())
    assert [item.id for item in items] == ["train_0", "train_1", "train_2"]
    for item in items:
        item.validate()
        assert Path(item.assets["clear"].get_absolute_href()).is_file()
    assert "| 2024-05-03 to 2024-05-14 |" in (out / "README.md").read_text()
    undated = tmp_path / "undated"
    import_set(placed(tmp_path / "other", False), undated, "folders", QUICK)
    assert (undated / "chips.parquet").is_file()
    assert not (undated / "stac").exists()
    card = (undated / "README.md").read_text()
    assert "No `stac/`: the images do not say when they were taken." in card


def test_what_lies_beside_an_image_goes_with_it(tmp_path: Path) -> None:
    """A mask, and the place on the ground of a PNG."""
    root = cuhk(tmp_path / "CUHK-CR1", {"train/1": ground(1), "test/2": ground(2)})
    image = root / "train" / "cloud" / "1.png"
    valid = np.ones((SIDE, SIDE), bool)
    valid[:8] = False
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(image, "r+") as file:
        file.transform, file.crs = Affine(0.5, 0, 5e5, 0, -0.5, 4e6), "EPSG:32650"
        file.write_mask(valid)
    image.with_suffix(".txt").write_text("not the image's")
    out = tmp_path / "set"
    import_set(root, out, "cuhk", QUICK)
    with rasterio.open(out / "train" / "cloudy" / "1.png") as file:
        assert file.transform == Affine(0.5, 0, 5e5, 0, -0.5, 4e6)
        assert file.crs.to_epsg() == 32650
        np.testing.assert_array_equal(file.dataset_mask() > 0, valid)
    assert verify_set(out).problems == []
    listed = {line[66:] for line in (out / "SHA256SUMS").read_text().splitlines()}
    assert listed == {*contents(out)} - {"SHA256SUMS"}
    beside = {name for name in listed if name.startswith("train/cloudy/1.")}
    assert beside == {f"train/cloudy/1.png{suffix}" for suffix in ("", ".aux.xml", ".msk")}
    mask = image.with_name("1.png.msk")
    mask.write_bytes(mask.read_bytes() + b" ")
    with pytest.raises(OutputError, match="not made from these images"):
        import_set(root, out, "cuhk", QUICK)


def test_bands_of_two_orders_and_alpha_of_one_side_stay_apart(tmp_path: Path) -> None:
    root, order = tmp_path / "mine", ("blue", "green", "red")
    clear = ground(1)[:3]
    cloudy, alpha = clouded(clear, 9), np.full((1, SIDE, SIDE), 255, np.uint8)
    png(root / "train" / "cloudy" / "b.png", np.concatenate([cloudy, alpha]))
    png(root / "train" / "clear" / "b.png", clear)
    write(root / "train" / "cloudy" / "a.tif", cloudy[::-1], order)
    write(root / "train" / "clear" / "a.tif", clear, order[::-1])
    out = tmp_path / "set"
    import_set(root, out, "folders", QUICK)
    rgb = ("red", "green", "blue")
    theirs, ours = (
        read_pairs(PairFolder(folder, layout, gsd_m=0.5), rgb)
        for folder, layout in ((root, "folders"), (out, "manifest"))
    )
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.cloudy, other.cloudy)
        np.testing.assert_array_equal(one.clear, other.clear)
    assert verify_set(out).problems == []


def test_masks_of_the_user_count(tmp_path: Path) -> None:
    root = cuhk(tmp_path / "CUHK-CR1", {"train/1": ground(1), "test/2": ground(2)})
    for name in ("train/1", "test/2"):
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[:16] = 255
        path = tmp_path / "masks" / f"{name}.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(mask).save(path)
    done = run(root, "-o", tmp_path / "set", "--detector", f"file:{tmp_path / 'masks'}")
    assert done.exit_code == 0, done.output
    assert [e["ccp"] for e in lines(tmp_path / "set")] == [0.25, 0.25]
    assert [e["about"]["clear_ccp"] for e in lines(tmp_path / "set")] == [None, None]


@pytest.mark.parametrize(("dtype", "white"), [("uint16", 2047), ("float32", 1)])
def test_numbers_not_of_8_bits_are_seen_in_one_range_of_the_whole_set(
    dtype: str, white: int, tmp_path: Path
) -> None:
    root = tmp_path / "WHU"
    for number, rows in enumerate((0, 9, 40)):
        clear = ground(number).astype(np.uint16) * 6
        cloudy = clear.copy()
        cloudy[:, :rows] = 1900
        if number == 0:
            cloudy[:, -1, -1] = 65535  # saturated
        for side, dn in (("cloud", cloudy), ("label", clear)):
            (root / "train" / side).mkdir(parents=True, exist_ok=True)
            write(root / "train" / side / f"{number}.tif", (dn / 2047 * white).astype(dtype))
    for name, stated in (("set", ()), ("stated", ("--range", f"0,{white}"))):
        done = run(
            root, "-o", tmp_path / name, "--layout", "whu", "--detector", "threshold", *stated
        )
        assert done.exit_code == 0, done.output
        said = (
            f"DN range: 0 to {white} for {dtype}, for 99.9 % of the numbers of the whole set; state"
        )
        assert (said in done.stdout) is (name == "set")
    figures = [(e["ccp"], e["about"]["clear_ccp"]) for e in lines(tmp_path / "set")]
    assert figures == [(e["ccp"], e["about"]["clear_ccp"]) for e in lines(tmp_path / "stated")]
    assert max(clear for _, clear in figures) < 0.05
    assert f"| DN range | 0 to {white} for {dtype}" in (tmp_path / "set" / "README.md").read_text()


def twice(root: Path, groups: int, split: str = "") -> Path:
    """Places seen on two dates that look unlike; nothing else says that they are one."""
    for number in range(2 * groups):
        clear = ground(number)[:, :32, :32]
        transform = Affine(0.5, 0, 5e5 + 100 * (number // 2), 0, -0.5, 4e6)
        for side, dn in (("cloudy", clouded(clear, 9)), ("clear", clear)):
            (root / split / side).mkdir(parents=True, exist_ok=True)
            write(root / split / side / f"{number % 2}_{number // 2}.tif", dn, transform=transform)
    return root


def test_images_of_one_ground_are_on_one_side_where_the_set_has_no_split(tmp_path: Path) -> None:
    done = run(twice(tmp_path / "mine", 6), "-o", tmp_path / "set", "--detector", "threshold")
    assert done.exit_code == 0, done.output
    assert "split: 10/2 (train/test), by ground, which images share" in done.stdout
    sides = {e["about"]["name"]: e["split"] for e in lines(tmp_path / "set")}
    assert all(sides[f"0_{place}"] == sides[f"1_{place}"] for place in range(6))
    assert verify_set(tmp_path / "set").problems == []
    card = (tmp_path / "set" / "README.md").read_text()
    assert "by decr, images that share ground on one side: the set states none" in card
    with pytest.warns(DecrWarning, match="all 2 pairs are for training: their images lie on one"):
        import_set(twice(tmp_path / "one", 1), tmp_path / "alone", None, QUICK)


def test_a_published_split_that_parts_one_ground_is_told(tmp_path: Path) -> None:
    root = twice(twice(tmp_path / "mine", 2, "train"), 1, "test")
    done = run(root, "-o", tmp_path / "set", "--detector", "threshold")
    assert done.exit_code == 0, done.output
    said = "2 images held out of training share ground with training images"
    assert f"ground: {said}" in done.stdout
    assert f"By their places, {said}." in (tmp_path / "set" / "README.md").read_text()


def test_the_name_of_a_split_as_published_is_no_part_of_our_files(tmp_path: Path) -> None:
    root = tmp_path / "CUHK-CR1"
    for split in ("train", "Validation"):
        png(root / split / "label" / "a.png", ground(len(split))[:3])
        png(root / split / "cloud" / "a.png", clouded(ground(len(split)), 9)[:3])
    import_set(root, tmp_path / "set", "cuhk-cr", QUICK)
    assert [entry["clear"] for entry in lines(tmp_path / "set")] == [
        "train/clear/a.png", "val/clear/a.png",
    ]  # fmt: skip
