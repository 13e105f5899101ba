"""What is told of sets of images whose bands nobody named."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from decr.config import CcpConfig
from decr.dataset.acquisitions import PairRow, open_pairs
from decr.dataset.clear import Folder, read_clear, read_labelled
from decr.dataset.pairs import PairFolder, read_pairs
from decr.errors import DecrWarning
from decr.sets.import_set import import_set
from tests.pipeline.scenes import write_scene

RGB, RGBN = ("red", "green", "blue"), ("red", "green", "blue", "nir")
NAMED = "--bands r,g,b,n"


def ground(fourth: int | None = None) -> NDArray[np.uint8]:
    """(4, 60, 80) of which the last is one number, if one is given, else a picture."""
    pixels = np.random.default_rng(0).integers(40, 200, (4, 60, 80)).astype(np.uint8)
    if fourth is not None:
        pixels[3] = fourth
    return pixels


def nameless(path: Path, fourth: int | None = None, brighter: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = ground(fourth)
    pixels[:3] += np.uint8(brighter)
    return write_scene(path, pixels, names=None)


def said(call: Callable[[], object]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(warning.message) for warning in caught if warning.category is DecrWarning]


def test_guesses_of_a_folder_are_told_once(tmp_path: Path) -> None:
    for name in "abc":
        nameless(tmp_path / f"{name}.tif")
    (told,) = said(lambda: read_clear(Folder(tmp_path), RGBN, 32))
    assert told.startswith(f"{tmp_path / 'a.tif'}: calls its fourth band alpha")
    assert told.endswith("(and 2 more files like it)")
    assert said(lambda: read_clear(Folder(tmp_path, "r,g,b,n"), RGBN, 32)) == []


def test_guesses_that_differ_within_a_folder_are_told(tmp_path: Path) -> None:
    nameless(tmp_path / "nir.tif")
    nameless(tmp_path / "water.tif", fourth=255)
    guess, differ = said(lambda: read_clear(Folder(tmp_path), RGB, 32))
    assert guess.startswith(f"{tmp_path / 'nir.tif'}: calls")
    assert differ.startswith(f"{tmp_path / 'water.tif'}: its fourth band is taken for transparency")
    assert "1 and 1 of 2 images" in differ
    assert NAMED in differ


def test_passed_over_for_transparency_that_was_assumed_is_told_apart(tmp_path: Path) -> None:
    nameless(tmp_path / "nir.tif")
    nameless(tmp_path / "water.tif", fourth=255)
    write_scene(tmp_path / "rgb.tif", ground()[:3], names=RGB)
    _, *told = said(lambda: read_clear(Folder(tmp_path), RGBN, 32))
    rgb, water = sorted(told, key=len)
    assert rgb.endswith("for want of the bands red, green, blue, nir: rgb.tif")
    assert "transparency" in water
    assert NAMED in water
    assert water.endswith(": water.tif")
    # What somebody said, or another band that is missing, is no matter of transparency.
    (tmp_path / "rgb.tif").unlink()
    (known,) = said(lambda: read_clear(Folder(tmp_path, "r,g,b,a"), RGBN, 32))
    assert "transparency" not in known
    assert not any(
        "for want" in word for word in said(lambda: read_clear(Folder(tmp_path), RGB, 32))
    )


def test_guesses_of_labelled_images_are_told(tmp_path: Path) -> None:
    nameless(tmp_path / "images" / "a.tif")
    (tmp_path / "masks").mkdir()
    write_scene(tmp_path / "masks" / "a.tif", ground()[:1], names=None)
    folder = Folder(tmp_path / "images", masks=tmp_path / "masks")
    (told,) = said(lambda: read_labelled(folder))
    assert NAMED in told


def test_pairs_tell_guesses_and_what_is_passed_over(tmp_path: Path) -> None:
    for side in ("cloudy", "clear"):
        nameless(tmp_path / side / "a.tif")
        nameless(tmp_path / side / "b.tif", fourth=255)
    guess, over = said(lambda: read_pairs(PairFolder(tmp_path, split="all"), RGBN))
    assert guess.endswith("(and 1 more files like it)")
    assert "1 of 2 pairs is passed over" in over
    assert NAMED in over
    assert over.endswith(": b")
    _, differ = said(lambda: read_pairs(PairFolder(tmp_path, split="all"), RGB))
    assert "2 and 2 of 4 images" in differ
    assert said(lambda: read_pairs(PairFolder(tmp_path, bands="r,g,b,n", split="all"), RGBN)) == []


def test_orders_that_were_guessed_otherwise_within_a_pair_are_told(tmp_path: Path) -> None:
    """As of files of one sensor that two programs wrote: red would lie upon blue."""
    cloudy, clear = nameless(tmp_path / "cloudy" / "a.tif"), tmp_path / "clear" / "a.tif"
    clear.parent.mkdir()
    write_scene(clear, ground(), names=None, photometric="minisblack")
    row = PairRow(cloudy, clear, cloudy_date="2024-06-01", clear_date="2024-06-03")
    folder = PairFolder(tmp_path, split="all")
    match = (
        f"{cloudy}: its bands are assumed to be r,g,b,n, but those of {clear} b,g,r,n; so are 1 "
        "and 1 of 2 images: if all have one order, say it with --bands"
    )
    for call in (
        lambda: read_pairs(folder, RGBN),
        lambda: open_pairs([row]),
        lambda: import_set(tmp_path, tmp_path / "set", "folders", CcpConfig(detector="threshold")),
    ):
        assert [told for told in said(call) if "assumed to be" in told] == [match]
    assert not said(lambda: read_pairs(replace(folder, bands="r,g,b,n"), RGBN))
    assert not said(lambda: open_pairs([row], "r,g,b,n"))


def test_pairs_of_different_bands_are_told_before_a_set_is_built(tmp_path: Path) -> None:
    rows = [
        PairRow(nameless(tmp_path / f"{n}.tif", fourth),
                nameless(tmp_path / f"{n}_clear.tif", brighter=1),
                cloudy_date="2024-06-01", clear_date="2024-06-03")
        for n, fourth in enumerate((None, 255, None))
    ]  # fmt: skip
    with pytest.warns(DecrWarning, match=r"1\.tif and .* as 2 of 3 do; .*--bands \(r,g,b,n "):
        pairs = open_pairs(rows)
    assert [pair.bands for pair in pairs] == [RGBN, RGB, RGBN]
    assert said(lambda: open_pairs(rows, "r,g,b,n")) == []
    assert said(lambda: open_pairs(rows[::2])) == []
