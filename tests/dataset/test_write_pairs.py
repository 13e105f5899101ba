"""Tests of simulated sets on disk: same bytes however they were made, and true to their images."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from decr.dataset.layouts import list_pairs
from decr.dataset.sky import PRESETS, Spread
from decr.dataset.write_pairs import (
    described,
    plan_pairs,
    simulate_pairs,
)
from decr.errors import ConfigError, SceneError
from tests.dataset.simulated import PLACES, SIZE, ground, options
from tests.pipeline.scenes import read, write_scene

ROOT = Path(__file__).parents[2]


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


def test_an_image_that_is_replaced_while_pairs_are_written_is_told(
    images: list[Path], tmp_path: Path
) -> None:
    def late(*_: object) -> None:
        for image in images:
            os.utime(image, ns=(0, image.stat().st_mtime_ns + 1))

    with pytest.raises(SceneError, match="it was changed since"):
        simulate_pairs(images, tmp_path / "set", options(), on_progress=late)
    assert not (tmp_path / "set").exists()


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
