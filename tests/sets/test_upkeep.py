"""Sets on disk: damage is found, copies are listed, sheets are written."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy import ndimage

from cli.main import main
from decr.dataset.duplicates import find_duplicates
from decr.sets.copies import copies_of
from decr.sets.upkeep import stats_of, verify_set, write_sheet
from tests.dataset.two_dates import BANDS, write


def picture(seed: int, side: int = 64) -> np.ndarray:
    """(4, side, side) uint16 of some ground."""
    rng = np.random.default_rng(seed)
    look = ndimage.gaussian_filter(rng.standard_normal((side, side)), 3)
    own = rng.standard_normal((4, side, side))
    return np.clip(500 + 150 * look / look.std() + 10 * own, 1, 2047).astype(np.uint16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six training and three test pairs; one of each kind of copy is planted."""
    ground = {f"train/{i}": picture(i) for i in range(6)} | {f"test/{i}": picture(i + 50) for i in
                                                            range(3)}  # fmt: skip
    ground["train/5"] = ground["train/1"].copy()
    ground["test/0"] = ground["train/2"].copy()
    ground["test/1"] = np.clip(ground["train/3"] * 1.2 + 7, 1, 2047).astype(np.uint16)
    root = tmp_path / "set"
    for name, clear in ground.items():
        split, stem = name.split("/")
        for side in ("cloudy", "clear"):
            (root / split / side).mkdir(parents=True, exist_ok=True)
        write(root / split / "clear" / f"{stem}.tif", clear)
        cloudy = clear.copy()
        cloudy[:, :20] = 1900
        write(root / split / "cloudy" / f"{stem}.tif", cloudy)
    return root


def test_planted_copies_are_listed_within_and_across_splits(folder: Path) -> None:
    found = copies_of(folder)
    assert found.images == 9
    named = {frozenset((c.first, c.second)): (c.exact, c.where) for c in found.copies}
    assert named == {
        frozenset(("train/1", "train/5")): (True, "train"),
        frozenset(("train/2", "test/0")): (True, "train/test"),
        frozenset(("train/3", "test/1")): (False, "train/test"),
    }
    done = CliRunner().invoke(main, ["dataset", "dedupe", str(folder)])
    assert done.exit_code == 0
    assert (
        "3 copies among 9 images (1 within train, 2 across splits); 2 of 3 test images copy a "
        "training image (1 exactly, 1 nearly)" in done.output
    )
    assert [(name, found.leaked[name].first) for name in sorted(found.leaked)] == [
        ("test/0", "train/2"),
        ("test/1", "train/3"),
    ]
    told = json.loads(CliRunner().invoke(main, ["dataset", "dedupe", str(folder), "--json"]).stdout)
    assert len(told["copies"]) == 3
    assert (told["held_out"], told["leaked"]) == (3, 2)


def test_none_of_500_distinct_chips_is_taken_for_a_copy_and_all_planted_ones_are() -> None:
    chips = [(f"c{i}", picture(i, 48)) for i in range(500)]
    rng = np.random.default_rng(0)
    exact = [(f"e{i}", chips[i][1].copy()) for i in range(20)]
    near = [
        (f"n{i}", (chips[i][1] * rng.uniform(0.7, 1.4) + rng.normal(0, 4, (4, 48, 48))))
        for i in range(100, 120)
    ]
    found = find_duplicates([*chips, *exact, *near])
    pairs = {(d.first, d.second): d.exact for d in found}
    assert pairs == {(f"c{i}", f"e{i}"): True for i in range(20)} | {
        (f"c{i}", f"n{i}"): False for i in range(100, 120)
    }


def test_a_whole_set_is_whole_and_damage_is_named(folder: Path) -> None:
    assert verify_set(folder).problems == []
    done = CliRunner().invoke(main, ["dataset", "verify", str(folder)])
    assert (done.exit_code, done.stdout) == (0, f"{folder}: 9 pairs are whole (no checksums)\n")
    damaged = folder / "train" / "cloudy" / "3.tif"
    damaged.write_bytes(damaged.read_bytes()[:2000])
    write(folder / "test" / "clear" / "2.tif", picture(3, 80))
    done = CliRunner().invoke(main, ["dataset", "verify", str(folder)])
    assert done.exit_code == 1
    assert "cloudy/3.tif" in done.output
    assert "64 x 64 pixels" in done.output
    assert "2 problems" in done.output


def test_all_files_without_a_partner_are_named_and_the_rest_is_read(folder: Path) -> None:
    (folder / "train" / "cloudy" / "1.tif").unlink()
    (folder / "train" / "clear" / "2.tif").unlink()
    (folder / "test" / "clear" / "0.tif").unlink()
    (folder / "test" / "cloudy" / "2.tif").write_bytes(b"no image")
    checked = verify_set(folder)
    assert checked.pairs == 6
    assert checked.problems[:3] == [
        f"{folder}/train: 1 is in clear but not in cloudy",
        f"{folder}/train: 2 is in cloudy but not in clear",
        f"{folder}/test: 0 is in cloudy but not in clear",
    ]
    assert len(checked.problems) == 4
    assert "test/cloudy/2.tif" in checked.problems[3]


def test_damage_does_not_hide_that_there_is_no_pair(tmp_path: Path) -> None:
    for side in ("cloudy", "clear"):
        (tmp_path / side).mkdir()
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  gone.tif\n")
    gone, layout = verify_set(tmp_path).problems
    assert "gone.tif" in gone
    assert "does not have the layout 'folders'" in layout


def test_checksums_are_checked_and_lead_nowhere_else(folder: Path) -> None:
    names = sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*.tif"))
    sums = [f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}" for n in names]
    (folder / "SHA256SUMS").write_text("\n".join(sums) + "\n")
    assert verify_set(folder).sums
    assert verify_set(folder).problems == []
    write(folder / "train" / "clear" / "0.tif", picture(99))
    (problem,) = verify_set(folder).problems
    assert "train/clear/0.tif" in problem
    for stray in ("../../secret", "a\0b", "a" * 5000):
        (folder / "SHA256SUMS").write_text(f"{'0' * 64}  {stray}\n")
        done = CliRunner().invoke(main, ["dataset", "verify", str(folder)])
        assert done.exit_code == 1
        assert "is not a checksum of a file in" in done.output


def test_stats_tell_what_is_there(folder: Path) -> None:
    found = stats_of(folder)
    assert found["splits"] == {"test": 3, "train": 6}
    assert found["size"] == {"64 x 64 px": 9}
    assert found["bands"] == {", ".join(BANDS): 9}
    assert found["gsd"] == {"0.5 m": 9}
    done = CliRunner().invoke(main, ["dataset", "stats", str(folder)])
    assert "the set does not say; decr ccp measures it" in done.output


@pytest.mark.parametrize(
    ("name", "work", "stages"),
    [
        ("verify", verify_set, {"sums": 18, "checking": 9}),
        ("dedupe", copies_of, {"duplicates": 9}),
        ("stats", stats_of, {"stats": 9}),
    ],
)
def test_long_looks_tell_how_far_they_are(
    folder: Path, name: str, work: Callable[..., object], stages: dict[str, int]
) -> None:
    names = sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*.tif"))
    sums = [f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}" for n in names]
    (folder / "SHA256SUMS").write_text("\n".join(sums) + "\n")
    told: list[tuple[str, int, int]] = []
    work(folder, on_progress=lambda *one: told.append(one))
    assert told == [(stage, n, of) for stage, of in stages.items() for n in range(of + 1)]
    loud, quiet = (
        CliRunner().invoke(main, ["dataset", name, str(folder), *options])
        for options in ([], ["-q"])
    )
    assert loud.stdout == quiet.stdout
    assert quiet.stderr == ""
    assert loud.stderr.count("100%") == len(stages)


def test_stats_tell_cloudy_images_that_differ_from_clear_ones(folder: Path) -> None:
    write(folder / "train" / "cloudy" / "0.tif", picture(5)[:, :40])
    found = stats_of(folder)
    assert found["size"] == {"64 x 64 px": 8, "64 x 64 px (cloudy 40 x 64 px)": 1}
    assert found["bands"] == {", ".join(BANDS): 9}


def test_a_sheet_shows_every_pair(folder: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheets" / "sheet.html"
    done = CliRunner().invoke(main, ["dataset", "view", str(folder), "-o", str(sheet)])
    assert done.exit_code == 0, done.output
    page = sheet.read_text()
    assert page.count("<figure") == 9
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")


def test_a_sheet_replaces_nothing_unasked(folder: Path, tmp_path: Path) -> None:
    def view(out: Path, *more: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["dataset", "view", str(folder), "-o", str(out), *more])
        return done.exit_code, done.output

    sheet, scene = tmp_path / "sheet.html", tmp_path / "clear.tif"
    for file in (sheet, scene):
        file.write_text("work")
    code, said = view(sheet)
    assert (code, sheet.read_text()) == (1, "work")
    assert said == f"decr: {sheet}: exists already; pass --overwrite to replace it\n"
    code, said = view(scene, "--overwrite")
    assert (code, scene.read_text()) == (1, "work")
    assert said == f"decr: {scene}: a contact sheet is HTML; give a name that ends in .html\n"
    assert view(sheet, "--overwrite")[0] == 0
    assert "<figure" in sheet.read_text()


def test_the_published_layout_is_known(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("test", 1)):
        for side in ("cloud", "label", "nir/cloud", "nir/label"):
            there = tmp_path / "CUHK-CR1" / split / side
            there.mkdir(parents=True)
            for number in range(count):
                dn = (picture(number + 10 * count)[:3] // 8).astype(np.uint8)
                Image.fromarray(np.moveaxis(dn, 0, -1)).save(there / f"{number}.png")
    found = stats_of(tmp_path / "CUHK-CR1")
    assert (found["layout"], found["splits"]) == ("cuhk", {"test": 1, "train": 3})
    assert found["gsd"] == {"0.5 m": 4}
    assert found["bands"] == {"red, green, blue, nir": 4}
    assert verify_set(tmp_path / "CUHK-CR1").problems == []


def test_a_folder_that_is_no_set_is_one_error(tmp_path: Path) -> None:
    for verb in ("verify", "dedupe", "stats"):
        done = CliRunner().invoke(main, ["dataset", verb, str(tmp_path)])
        assert done.exit_code == 1
        assert "no set of pairs" in done.output


def test_a_name_that_is_not_utf8_is_one_line(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for side in ("cloudy", "clear"):
        (root / side).mkdir(parents=True)
        made = write(root / side / "cafe.tif", picture(1))
        made.rename(made.with_name(os.fsdecode(b"caf\xe9.tif")))
    done = CliRunner().invoke(main, ["dataset", "verify", str(root)])
    assert done.exit_code == 1
    assert "has a name that is not UTF-8, which GDAL cannot open; rename it" in done.output
    assert "Traceback" not in done.output


def test_a_sheet_of_many_pairs_says_how_many_it_shows(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where no CCP is known."""
    monkeypatch.setattr("decr.sets.contact.MOST_PAIRS", 4)
    sheet = tmp_path / "sheet.html"
    write_sheet(folder, sheet, None, overwrite=False)
    assert "4 of 9 pairs, evenly spaced." in sheet.read_text()


def test_an_image_that_several_pairs_share_is_no_copy_within_a_split(tmp_path: Path) -> None:
    write(tmp_path / "clear.tif", picture(1))
    lines = []
    for number, split in enumerate(("train", "train", "test")):
        write(tmp_path / f"{number}.tif", picture(number + 9))
        lines.append({"cloudy": f"{number}.tif", "clear": "clear.tif", "split": split})
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = copies_of(tmp_path)
    assert (found.images, found.held_out) == (2, 1)
    assert [(c.first, c.second, c.where) for c in found.copies] == [("0", "2", "train/test")]
    assert found.leaked.keys() == {"2"}
