"""Published sets become sets of decr's own: bytes, splits, copies."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cli.main import main
from decr.coverage.many import ccp_scenes
from decr.dataset.layouts import LAYOUTS, list_pairs
from decr.dataset.pairs import PairFolder, read_pairs
from decr.dataset.published import facts_of
from decr.errors import OutputError
from decr.sets.copies import copies_of
from decr.sets.import_set import import_set
from decr.sets.upkeep import stats_of, verify_set
from decr.training.folders import recipe_from_folders
from tests.sets.built import contents, kill_when
from tests.sets.made_published import (
    ALL,
    QUICK,
    cuhk,
    ground,
    images,
    lines,
    run,
)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cuhk(tmp_path_factory.mktemp("published") / "CUHK-CR1", images())


@pytest.fixture(scope="module")
def out(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imported") / "set"
    import_set(published, folder, "cuhk-cr", QUICK)
    return folder


def test_images_are_copied_byte_for_byte_and_the_split_is_kept(published: Path, out: Path) -> None:
    sides = {"cloudy": "cloud", "clear": "label", "cloudy_nir": "nir/cloud",
             "clear_nir": "nir/label"}  # fmt: skip
    entries = lines(out)
    assert len(entries) == 12
    for entry in entries:
        split, stem = entry["about"]["name"].split("/")
        assert entry["split"] == split
        for key, side in sides.items():
            assert entry[key] == f"{split}/{key}/{stem}.png"
            source = published / split / side / f"{stem}.png"
            assert (out / entry[key]).read_bytes() == source.read_bytes()
    assert not any("STAC" in p.name or p.name in ("stac", "chips.parquet") for p in out.iterdir())


def test_the_set_is_whole_for_every_tool_that_reads_sets(out: Path, tmp_path: Path) -> None:
    checked = verify_set(out)
    assert (checked.pairs, checked.sums, checked.problems) == (12, True, [])
    listed = {line[66:] for line in (out / "SHA256SUMS").read_text().splitlines()}
    assert listed == {*contents(out)} - {"SHA256SUMS"}
    assert stats_of(out)["bands"] == {"red, green, blue, nir": 12}
    assert stats_of(out)["splits"] == {"test": 4, "train": 8}
    assert stats_of(out)["ccp"]["known"] == 12
    sheet = tmp_path / "sheet.html"
    viewed = CliRunner().invoke(main, ["dataset", "view", str(out), "-o", str(sheet)])
    assert viewed.exit_code == 0, viewed.output
    assert sheet.read_text().count('class="layer"') == 12
    # Copies in the published set and in ours are the same.
    ours = {
        frozenset(Path(name).stem for name in (c.first, c.second)) for c in copies_of(out).copies
    }
    assert ours == {frozenset(pair) for pair in ("17", ("2", "20"), ("3", "21"), ("21", "22"))}


@pytest.mark.parametrize("bands", [ALL, ("nir", "green")])
def test_training_reads_what_it_reads_of_the_published_set(
    published: Path, out: Path, bands: tuple[str, ...]
) -> None:
    theirs = read_pairs(PairFolder(published, "cuhk", split="test"), bands)
    ours = read_pairs(PairFolder(out, "manifest", split="test"), bands)
    assert len(ours) == len(theirs) == 4
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.cloudy, other.cloudy)
        np.testing.assert_array_equal(one.clear, other.clear)
        assert (one.gsd_m, one.white) == (other.gsd_m, other.white) == (0.5, 255.0)
    recipe = recipe_from_folders("reference", name="mine", pairs=[out])
    assert set(recipe.bands) == set(ALL)


def test_ccp_is_that_of_decr_ccp(published: Path, out: Path) -> None:
    found = {o.source.name: o.result for o in ccp_scenes([str(published)], QUICK)}
    for entry in lines(out):
        source = entry["about"]["source"]["cloudy"]
        result = found[source.removesuffix(".png")]
        assert result is not None
        assert entry["ccp"] == pytest.approx(result.ccp, abs=1e-6)
        with Image.open(out / entry["about"]["mask"]) as mask:
            assert (np.asarray(mask) == 1).mean() == pytest.approx(result.ccp, abs=1e-6)
    assert len({entry["ccp"] for entry in lines(out)}) > 6


def test_copies_are_counted_and_named_in_the_card(out: Path) -> None:
    card = (out / "README.md").read_text()
    assert "12 pairs, 8/4 (train/test)" in card
    assert "3 of 4 test images copy a training image (1 exactly, 2 nearly)" in card
    assert "4 copies among 12 images (1 within test, 1 within train, 2 across splits)" in card
    assert "| test/20 | train/2 | exact |" in card
    assert "| test/21 | train/3 | near, " in card
    # An exact copy of a near copy was not compared itself, but shows the same.
    assert "| test/22 | train/3 | near, " in card
    for fact in ("Jilin-1", "at most 17 days", "64 x 64 px", "0.5 m", "red, green, blue, nir"):
        assert fact in card
    assert "No `chips.parquet`: the images have no map coordinates." in card
    assert "No `stac/`: the images have no map coordinates." in card
    with (out / "copies.csv").open(newline="") as file:
        kinds = {(c["first"], c["second"]): c["kind"] for c in csv.DictReader(file)}
    assert kinds[("train/1", "train/7")] == "exact"
    assert kinds[("test/21", "test/22")] == "exact"
    assert kinds[("train/3", "test/21")] == "near"


def test_of_a_set_that_only_lies_as_cuhk_does_nothing_is_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = cuhk(tmp_path / "mine", {f"train/{n}": ground(n) for n in range(2)})
    done = run(root, "-o", tmp_path / "set", "--layout", "cuhk-cr", "--detector", "threshold")
    assert done.exit_code == 0, done.output
    card = (tmp_path / "set" / "README.md").read_text()
    row = "| mine | not stated | not stated | not stated | 2 (train) | 64 x 64 px | not stated |"
    assert row in card
    assert card.count("not stated") == 5
    assert "Images are those of the folder, byte for byte." in card
    assert "publish" not in card
    assert {line["gsd_m"] for line in lines(tmp_path / "set")} == {None}
    assert stats_of(root)["gsd"] == {"unknown": 2}
    assert [p.gsd_m for p in read_pairs(PairFolder(root, "cuhk", split="all"), ALL)] == [None] * 2
    # As many pairs as were published, or the name, are what can be told; a set of decr's is none.
    monkeypatch.setattr("decr.dataset.published._CUHK", (("1", 2, ("cr1",)),))
    assert facts_of(root, "cuhk") == LAYOUTS["cuhk"]
    assert facts_of(cuhk(tmp_path / "my_CR1", {}), "cuhk") == LAYOUTS["cuhk"]
    (root / "simulation.json").write_text("{}")
    assert facts_of(root, "cuhk").gsd_m is None
    exported = cuhk(tmp_path / "built" / "cuhk-cr", {f"train/{n}": ground(n) for n in range(2)})
    assert facts_of(exported, "cuhk").source == "Jilin-1"
    (tmp_path / "built" / "pairs.jsonl").write_text("")
    assert facts_of(exported, "cuhk").source == ""


def test_copies_are_left_out_on_request(published: Path, tmp_path: Path) -> None:
    done = run(published, "-o", tmp_path / "set", "--detector", "threshold", "--drop-duplicates")
    assert done.exit_code == 0, done.output
    assert "split: 8/1 (train/test), as published" in done.stdout
    assert (
        "left out: 1 exact duplicate, 2 near duplicate; there were 8/4 (train/test)" in done.stdout
    )
    assert [e["about"]["name"] for e in lines(tmp_path / "set") if e["split"] == "test"] == [
        "test/23"
    ]
    assert copies_of(tmp_path / "set").leaked == {}
    with (tmp_path / "set" / "chips.csv").open(newline="") as file:
        reasons = {c["chip"]: c["reason"] for c in csv.DictReader(file) if c["reason"]}
    assert reasons == {
        "test/20": "exact duplicate", "test/21": "near duplicate", "test/22": "near duplicate",
    }  # fmt: skip


def test_counts_are_printed_as_sets_are_quoted(tmp_path: Path) -> None:
    found = {f"train/{n}": ground(n)[:, :32, :32] for n in range(27)}
    found |= {f"test/{n}": ground(n)[:, :32, :32] for n in range(100, 107)}
    done = run(
        cuhk(tmp_path / "CUHK-CR2", found), "-o", tmp_path / "set", "--detector", "threshold"
    )
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[:2] == [
        f"{tmp_path / 'set'}: 34 pairs",
        "split: 27/7 (train/test), as published",
    ]


def test_croissant_reads_the_pairs(out: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    found = list(mlcroissant.Dataset(str(out / "croissant.json")).records("chips"))
    assert [r["chips/clear_nir"].decode() for r in found] == [e["clear_nir"] for e in lines(out)]


def test_a_rerun_leaves_a_whole_set_and_refuses_another(
    published: Path, out: Path, tmp_path: Path
) -> None:
    before = contents(out)
    assert len(import_set(published, out, None, QUICK).entries) == 12
    assert contents(out) == before
    with pytest.raises(OutputError, match="not made from these images with these options"):
        import_set(published, out, None, QUICK, drop_duplicates=True)
    import_set(published, tmp_path / "again", None, QUICK)
    assert contents(tmp_path / "again") == before
    victim = tmp_path / "again" / "train" / "clear" / "0.png"
    victim.write_bytes(victim.read_bytes()[:-5])
    with pytest.raises(OutputError, match=r"0\.png is missing or differs"):
        import_set(published, tmp_path / "again", None, QUICK)


def test_after_kill_9_the_same_command_makes_the_same_bytes(
    published: Path, out: Path, tmp_path: Path
) -> None:
    folder, work = tmp_path / "set", tmp_path / "set.decr-work"
    command = [sys.executable, "-m", "cli", "dataset", "import", str(published), "-o", str(folder),
               "--detector", "threshold", "-q"]  # fmt: skip
    kill_when(command, work / "journal.jsonl", 3)
    assert not folder.exists()
    import_set(published, folder, "cuhk", QUICK)
    assert contents(folder) == contents(out)
    assert not work.exists()


def test_a_finished_pair_that_is_damaged_is_copied_again(
    published: Path, out: Path, tmp_path: Path
) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("writing", 3):
            raise KeyboardInterrupt

    folder = tmp_path / "set"
    with pytest.raises(KeyboardInterrupt):
        import_set(published, folder, "cuhk", QUICK, on_progress=stop)
    work = tmp_path / "set.decr-work"
    next(work.glob("*/clear/*.png")).write_bytes(b"")
    for pair in list_pairs(published, "cuhk"):
        torn = work / "scratch" / "clouds" / f"{pair.name}_mask.tif"
        torn.parent.mkdir(parents=True, exist_ok=True)
        torn.write_bytes(bytes(500))
    import_set(published, folder, "cuhk", QUICK)
    assert contents(folder) == contents(out)
