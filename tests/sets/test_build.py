"""A set built of two simulated acquisitions of which everything is known."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from PIL import Image
from rasterio.warp import transform_bounds

from decr.dataset.acquisitions import PairRow
from decr.dataset.layouts import list_pairs, sniff_layout
from decr.dataset.pairs import PairFolder, read_pairs
from decr.errors import (
    OutputError,
)
from decr.sets.build import Built, build_set
from tests.dataset.two_dates import (
    BANDS,
    GAIN,
    GRID,
    OFFSET,
    SHIFT,
    SIZE,
    UTM,
    TwoDates,
)
from tests.sets.built import OPTIONS, QUICK, ROOT, build, ccp, contents, kill_when, table


@pytest.fixture(scope="module")
def out(dates: TwoDates, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "set"
    build(dates, folder)
    return folder


@pytest.fixture(scope="module")
def unmatched(dates: TwoDates, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Built]:
    """Another set, whose clear images keep their numbers and whose pair has a name and a source."""
    folder = tmp_path_factory.mktemp("unmatched") / "set"
    built = build(dates, folder, replace(QUICK, match=False), source="Jilin-1 KF01A", site="delta")
    return folder, built


def test_shift_gains_and_offsets_are_recovered(out: Path) -> None:
    (told,) = json.loads((out / "acquisitions.json").read_text())["acquisitions"]
    assert told["shift"]["rows"] == pytest.approx(SHIFT[0], abs=0.1)
    assert told["shift"]["cols"] == pytest.approx(SHIFT[1], abs=0.1)
    assert told["match"]["gain"] == pytest.approx(GAIN, rel=0.01)
    assert told["match"]["offset"] == pytest.approx(OFFSET, abs=3)
    assert min(told["match"]["correlation"]) > 0.9
    assert told["gap_days"] == pytest.approx(11, abs=0.01)
    # Sets of another fit are refused.
    assert json.loads((out / "build.json").read_text())["radiometry"] == "reduced major axis"


def test_chips_are_rejected_for_the_right_reasons(out: Path) -> None:
    # The lattice begins where both images have pixels: row 1, column 5.
    reasons = {
        (int(c["row"]) // SIZE, int(c["col"]) // SIZE): c["reason"] for c in table(out).values()
    }
    assert len(reasons) == 30
    expected = {(row, 5): "nodata" for row in range(5)}
    expected |= {(2, 0): "ground fully occluded", (2, 2): "clear image not clear"}
    buffered = "within the buffer of a test chip"
    found = {place: why for place, why in reasons.items() if why not in ("", buffered)}
    assert found == expected
    told = json.loads((out / "acquisitions.json").read_text())
    assert told["considered"] == 30
    counts = {why: list(reasons.values()).count(why) for why in {*reasons.values()} - {""}}
    assert told["rejected"] == counts
    assert counts[buffered] > 0


def test_subsets_and_ccp_are_those_of_the_simulated_sky(out: Path) -> None:
    entries = [json.loads(line) for line in (out / "pairs.jsonl").read_text().splitlines()]
    for entry in entries:
        about, row = entry["about"], entry["about"]["window"][0] // SIZE
        with rasterio.open(out / about["mask"]) as file:
            mask = file.read(1)
        assert entry["ccp"] == pytest.approx((mask == 1).mean(), abs=1e-6)
        if row == 0:
            assert about["subset"] == "thin"
            assert about["tau"] == pytest.approx(0.5, abs=0.05)
        if row == 1:
            assert about["subset"] == "thick"
            assert about["tau"] == pytest.approx(1.8, abs=0.1)
        if row == 4:
            assert (about["subset"], entry["ccp"]) == ("cloudless", 0)
    assert {entry["about"]["subset"] for entry in entries} == {"thin", "thick", "cloudless"}


def test_clear_chips_lie_on_the_cloudy_ones_and_look_like_them(out: Path) -> None:
    entries = [json.loads(line) for line in (out / "pairs.jsonl").read_text().splitlines()]
    for entry in entries:
        with (
            rasterio.open(out / entry["cloudy"]) as one,
            rasterio.open(out / entry["clear"]) as two,
        ):
            assert one.transform == two.transform
            row, col, *_ = entry["about"]["window"]
            assert one.transform == GRID @ Affine.translation(col, row)
            assert one.crs == two.crs == UTM
            assert one.descriptions == two.descriptions == BANDS
            cloudy, clear = one.read().astype(float), two.read().astype(float)
        if entry["about"]["subset"] == "cloudless" and row // SIZE == 4:
            # Noise of 3 DN in each, smoothed in one of them.
            assert np.median(np.abs(cloudy - clear)) < 4
            assert abs(np.mean(cloudy - clear)) < 1


def test_unmatched_clear_chips_keep_their_own_numbers(
    dates: TwoDates, unmatched: tuple[Path, Built]
) -> None:
    folder, built = unmatched
    with rasterio.open(dates.clear) as file:
        clear = file.read()
    for entry in built.entries:
        assert not entry["about"]["matched"]
        row, col, height, width = entry["about"]["window"]
        with rasterio.open(folder / entry["clear"]) as file:
            chip = file.read()
        # Away by 2.3 rows and -1.4 columns, so the means nearly agree.
        nearby = clear[:, row + 2 : row + height + 2, col - 1 : col + width - 1]
        assert chip.mean() == pytest.approx(nearby.mean(), rel=0.01)


def test_no_test_footprint_lies_within_the_buffer(out: Path) -> None:
    squares: dict[str, list[shapely.Geometry]] = {"train": [], "test": []}
    for line in (out / "pairs.jsonl").read_text().splitlines():
        entry = json.loads(line)
        with rasterio.open(out / entry["cloudy"]) as file:
            squares[entry["split"]].append(shapely.box(*file.bounds))
    assert squares["train"]
    assert squares["test"]
    for test in squares["test"]:
        assert min(shapely.distance(test, train) for train in squares["train"]) >= 30


def test_the_manifest_and_both_exports_are_read_back(out: Path) -> None:
    assert sniff_layout(out) == "manifest"
    stored = read_pairs(PairFolder(out, "manifest", split="all"), BANDS)
    exported = read_pairs(PairFolder(out / "cuhk-cr", "cuhk", split="all"), BANDS)
    rice = list_pairs(out / "rice", "rice1")
    assert len(stored) == len(exported) == len(rice) > 5
    for one, other in zip(stored, exported, strict=True):
        assert Path(one.name).name == Path(other.name).name
        for dn, dn8 in ((one.cloudy, other.cloudy), (one.clear, other.clear)):
            np.testing.assert_array_equal(np.rint(dn * (255 / 2047)), dn8)


@pytest.mark.parametrize(("export", "bands"), [("cuhk-cr", BANDS), ("rice", BANDS[2::-1])])
def test_exports_say_their_metres_per_pixel(out: Path, export: str, bands: tuple[str, ...]) -> None:
    folder = out / export
    assert sniff_layout(folder) == "manifest"
    own = {Path(e["cloudy"]).stem: e for e in map(json.loads, (out / "pairs.jsonl").open())}
    found = read_pairs(PairFolder(folder, "manifest", split="all"), bands)
    listed = list_pairs(folder, "manifest")
    assert {Path(pair.name).name for pair in found} == own.keys()
    for pair, file in zip(found, listed, strict=True):
        entry = own[Path(pair.name).name]
        assert (pair.gsd_m, pair.white) == (entry["gsd_m"], 255.0)
        assert (file.split, file.ccp) == (entry["split"], entry["ccp"])
    assert {*folder.rglob("*.png")} == {
        path
        for pair in listed
        for path in (pair.cloudy, pair.clear, pair.cloudy_nir, pair.clear_nir)
        if path is not None
    }
    assert (
        f"- `{export}/`: 8-bit PNG in that layout; metres per pixel are in its `pairs.jsonl`"
        in (out / "README.md").read_text()
    )


def plain_loader(root: Path, split: str) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Written from the description of the published layout alone, without decr."""
    found = []
    folder = root / split
    for name in sorted(p.name for p in (folder / "cloud").iterdir()):
        sides = []
        for side in ("cloud", "label"):
            rgb = np.asarray(Image.open(folder / side / name))
            nir = np.asarray(Image.open(folder / "nir" / side / name))
            assert rgb.shape == nir.shape == (SIZE, SIZE, 3)
            assert rgb.dtype == np.uint8
            sides.append(np.concatenate([rgb, nir[:, :, :1]], axis=2))
        found.append((name, *sides))
    return found


def test_a_loader_that_knows_only_the_published_layout_reads_the_export(out: Path) -> None:
    counts = {s: len(plain_loader(out / "cuhk-cr", s)) for s in ("train", "test")}
    print(f"{counts['train']}/{counts['test']}")
    entries = [json.loads(line) for line in (out / "pairs.jsonl").read_text().splitlines()]
    for split, count in counts.items():
        own = [e for e in entries if e["split"] == split]
        assert count == len(own) > 0
        for entry, (name, cloud, _) in zip(own, plain_loader(out / "cuhk-cr", split), strict=True):
            assert Path(entry["cloudy"]).stem == Path(name).stem
            with rasterio.open(out / entry["cloudy"]) as file:
                red = file.read(3)
            np.testing.assert_array_equal(cloud[:, :, 0], np.rint(red * (255 / 2047)))


def test_croissant_reads_the_pairs(out: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    dataset = mlcroissant.Dataset(str(out / "croissant.json"))
    records = [json.loads(line) for line in (out / "pairs.jsonl").read_text().splitlines()]
    found = list(dataset.records("chips"))
    assert len(found) == len(records)
    for record, line in zip(found, records, strict=True):
        assert record["chips/cloudy"].decode() == line["cloudy"]
        assert record["chips/ccp"] == pytest.approx(line["ccp"])


def test_stac_is_valid_and_leads_to_the_images(out: Path) -> None:
    pystac = pytest.importorskip("pystac")
    pytest.importorskip("jsonschema")
    collection = pystac.Collection.from_file(str(out / "stac" / "collection.json"))
    collection.validate()
    items = list(collection.get_items())
    records = [json.loads(line) for line in (out / "pairs.jsonl").read_text().splitlines()]
    assert [item.id for item in items] == [line["about"]["name"] for line in records]
    for item, line in zip(items, records, strict=True):
        item.validate()
        assert Path(item.assets["clear"].get_absolute_href()).resolve() == out / line["clear"]
        with rasterio.open(out / line["clear"]) as file:
            bounds = transform_bounds(file.crs, "OGC:CRS84", *file.bounds)
        assert item.bbox == pytest.approx(bounds, abs=1e-6)


def test_every_file_is_in_the_checksums_and_nothing_is_left_behind(out: Path) -> None:
    listed = {line[66:] for line in (out / "SHA256SUMS").read_text().splitlines()}
    assert listed == {*contents(out)} - {"SHA256SUMS"}
    assert {p.name for p in out.parent.iterdir()} == {"set"}
    names = {"README.md", "index.html", "histogram.svg", "chips.parquet", "croissant.json"}
    assert names <= listed


def test_the_card_has_the_columns_of_the_paper(out: Path, unmatched: tuple[Path, Built]) -> None:
    card = (out / "README.md").read_text()
    heading = "| site | source | dates | time gap | pairs | size | resolution | bands | km2 |"
    assert heading in card
    assert "cloudy = marked by the mask" in card
    count = sum(json.loads((out / "acquisitions.json").read_text())["rejected"].values())
    assert f"## Left out: {count} of 30 chips" in card
    row = card.splitlines()[card.splitlines().index(heading) + 2]
    assert "| not stated | 2024-05-03, 2024-05-14 | 11.0 days |" in row
    assert "| delta | Jilin-1 KF01A | 2024-05-03" in (unmatched[0] / "README.md").read_text()


def test_a_rerun_leaves_a_whole_set_and_refuses_a_damaged_one(
    dates: TwoDates, out: Path, tmp_path: Path
) -> None:
    before = contents(out)
    assert len(build(dates, out).entries) > 5
    assert contents(out) == before
    # In another folder, from copies of the images elsewhere: the same bytes.
    build(dates, tmp_path / "again")
    assert contents(tmp_path / "again") == before
    with pytest.raises(OutputError, match="not made from these images"):
        build(dates, out, replace(OPTIONS, seed=5))
    victim = tmp_path / "again" / "pairs.jsonl"
    victim.write_text(victim.read_text() + "\n")
    with pytest.raises(OutputError, match=r"pairs\.jsonl is missing or differs"):
        build(dates, tmp_path / "again")


def command(dates: TwoDates, out: Path) -> list[str]:
    return [
        sys.executable, "-m", "cli", "dataset", "build", str(dates.cloudy), str(dates.clear), "-o",
        str(out), "--size", str(SIZE), "--block", "100", "--buffer", "30", "--match", "--export",
        "cuhk-cr", "--export", "rice", "--detector", f"file:{dates.masks}", "-q",
    ]  # fmt: skip


def test_after_kill_9_the_same_command_makes_the_same_bytes(
    dates: TwoDates, out: Path, tmp_path: Path
) -> None:
    """Killed while measuring, and again while writing."""
    folder, work = tmp_path / "set", tmp_path / "set.decr-work"
    kill_when(command(dates, folder), work / "scratch" / "considered.jsonl", 6)
    assert not (work / "journal.jsonl").exists()
    kill_when(command(dates, folder), work / "journal.jsonl", 4)
    assert not folder.exists()
    done = subprocess.run(
        command(dates, folder), cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert "clear image off by +2.30 rows, -1.40 cols" in done.stdout
    assert contents(folder) == contents(out)
    assert not work.exists()


def test_finished_work_that_is_damaged_is_made_again(
    dates: TwoDates, out: Path, tmp_path: Path
) -> None:
    """Chips and masks of clouds that a power cut has left empty or of zeros."""

    def stop(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("writing", 4):
            raise KeyboardInterrupt

    folder, work = tmp_path / "set", tmp_path / "set.decr-work"
    row = PairRow(dates.cloudy, dates.clear)
    with pytest.raises(KeyboardInterrupt):
        build_set([row], folder, OPTIONS, ccp(dates), stop)
    chips = sorted(work.glob("*/cloudy/*.tif"))
    masks = sorted(work.glob("scratch/*/*_mask.tif"))
    assert (len(chips), len(masks)) == (4, 2)
    for file in (chips[1], masks[0]):
        file.write_bytes(b"")
    masks[1].write_bytes(bytes(masks[1].stat().st_size))
    build(dates, folder)
    assert contents(folder) == contents(out)
