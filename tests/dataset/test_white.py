"""Tests of the white of a set: of all its images, whichever are read, or stated."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decr.dataset import pairs as module
from decr.dataset.pairs import PairFolder, read_pairs
from decr.dataset.read_pair import Side, read_side
from decr.dataset.white import common_white, white_level
from decr.errors import DatasetError, DecrWarning, SceneError
from tests.dataset.made_pairs import BGRN, pixels, put


@pytest.mark.parametrize(("top", "white"), [(1000, 1023), (1024, 2047), (2047, 2047), (4095, 4095)])
def test_the_white_of_16_bit_sets_is_that_of_all_images(
    tmp_path: Path, top: int, white: float
) -> None:
    for n in range(3):
        dark, bright = pixels(n, dtype="uint16"), pixels(n, dtype="uint16")
        bright[0, 0, 0] = top if n == 1 else 300
        put(tmp_path, f"clear/{n}.tif", dark)
        put(tmp_path, f"cloudy/{n}.tif", bright)
    found = read_pairs(PairFolder(tmp_path, split="all"), BGRN)
    assert [p.white for p in found] == [white] * 3


def put_splits(root: Path, tops: dict[str, int], dtype: str = "uint16") -> Path:
    """A set of folders train, val and the like of two pairs each, whose brightest pixels differ."""
    for split, top in tops.items():
        for n in range(2):
            cloudy = pixels(n, dtype=dtype)
            cloudy[0, 0, 0] = top
            put(root, f"{split}/cloudy/{n}.tif", cloudy)
            put(root, f"{split}/clear/{n}.tif", pixels(n + 2, dtype=dtype))
    return root


@pytest.mark.parametrize("bright", ["train", "val", "test"])
def test_a_guessed_white_is_that_of_all_splits(tmp_path: Path, bright: str) -> None:
    folder = put_splits(tmp_path, {"train": 1000, "val": 900, "test": 300, bright: 1900})
    for split in ("train", "val", "test", "all"):
        found = read_pairs(PairFolder(folder, split=split), BGRN)
        assert {p.white for p in found} == {2047.0}, split
    [known, again] = (PairFolder(folder, split=split) for split in ("train", "val"))
    assert {p.white for p in read_pairs(again, BGRN, read_pairs(known, BGRN))} == {2047.0}
    assert {p.white for p in read_pairs(replace(again, white=999.0), BGRN)} == {999.0}


@pytest.mark.parametrize(
    ("top", "dtype", "sides"),
    [
        (1900, "uint16", 12),  # all of the set, and then no more
        (2048, "uint16", 12),  # what needs more than 12 bits would be refused
        (200, "uint8", 4),
    ],
)
def test_to_guess_white_no_more_is_read_than_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, top: int, dtype: str, sides: int
) -> None:
    folder = put_splits(tmp_path, {"train": top, "val": 100, "test": 100}, dtype)
    read: list[Path] = []

    def counted(side: Side) -> Any:
        read.append(Path(side.scene.path))
        return read_side(side)

    monkeypatch.setattr(module, "read_side", counted)
    known = read_pairs(PairFolder(folder), BGRN)
    assert len(read) == len({*read}) == sides
    read.clear()
    found = read_pairs(PairFolder(folder, split="val"), BGRN, known)
    assert [path.relative_to(folder).parts[0] for path in read] == ["val"] * 4
    assert {p.white for p in found} == {p.white for p in known}


def test_a_set_whose_other_splits_are_too_bright_is_refused_whichever_is_read(
    tmp_path: Path,
) -> None:
    folder = put_splits(tmp_path, {"train": 3000, "test": 10000})
    for split in ("train", "test", "all"):
        with pytest.raises(DatasetError, match=r"test/cloudy/0\.tif: cannot tell .* up to 10000"):
            read_pairs(PairFolder(folder, split=split), BGRN)


def test_it_is_told_how_far_the_look_for_white_is(tmp_path: Path) -> None:
    folder, told = put_splits(tmp_path, {"train": 900, "test": 900}), list[tuple[str, int, int]]()
    read_pairs(PairFolder(folder), BGRN, on_progress=lambda *of: told.append(of))
    assert told == [("white", done, 2) for done in range(3)]
    read_pairs(PairFolder(folder, white=999.0), BGRN, on_progress=lambda *of: told.append(of))
    assert len(told) == 3


def test_only_pairs_of_its_type_and_bands_tell_a_sets_white(tmp_path: Path) -> None:
    folder = put_splits(tmp_path, {"train": 1000})
    put_splits(folder, {"val": 200}, "uint8")
    put(folder, "test/cloudy/grey.tif", pixels(0, 1, top=1900, dtype="uint16"), names=("pan",))
    put(folder, "test/clear/grey.tif", pixels(1, 1, top=1900, dtype="uint16"), names=("pan",))
    assert {p.white for p in read_pairs(PairFolder(folder), BGRN)} == {1023.0}
    assert {p.white for p in read_pairs(PairFolder(folder, split="val"), BGRN)} == {255.0}


def test_broken_pairs_of_other_splits_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = put_splits(tmp_path, {"train": 1900, "val": 300, "test": 300})
    asked = PairFolder(folder, split="test")
    with warnings.catch_warnings():
        warnings.simplefilter("error", DecrWarning)
        assert {p.white for p in read_pairs(asked, BGRN)} == {2047.0}
    put(folder, "val/clear/1.tif", pixels(1))  # 8 bits
    broken = folder / "train/cloudy/0.tif"
    broken.write_bytes(broken.read_bytes()[:3000])
    with pytest.warns(DecrWarning) as told:
        assert {p.white for p in read_pairs(asked, BGRN)} == {2047.0}  # of train/1
    (said,) = (str(one.message) for one in told)
    assert said.startswith(
        f"{folder}: 2 of 4 pairs of other splits are not looked at for the white"
    )
    for part in (
        "; --white",
        f"train/0 ({broken}",
        f"val/1 ({folder}/val/cloudy/1.tif holds uint16",
    ):
        assert part in said
    with warnings.catch_warnings():
        warnings.simplefilter("error", DecrWarning)
        assert {p.white for p in read_pairs(replace(asked, white=999.0), BGRN)} == {999.0}
    with pytest.raises(SceneError, match=r"train/cloudy/0\.tif"):
        read_pairs(replace(asked, split="train"), BGRN)
    for side in ("cloudy", "clear"):
        put(folder, f"val/{side}/2.tif", pixels(1, dtype="uint16"))
    monkeypatch.setattr(module, "MOST_BYTES", 2 * 2 * 4 * 24 * 30 * 2)  # of two pairs
    with pytest.warns(DecrWarning, match=r"3 of 5 pairs .*, val/2 \(after .* GiB\)"):
        read_pairs(asked, BGRN)


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_image_that_is_too_bright_is_named(tmp_path: Path, split: str) -> None:
    folder = put_splits(tmp_path, {"train": 900, "test": 900})
    hot = pixels(0, dtype="uint16")
    hot[0, 3, 3] = 65535
    path = put(folder, "train/clear/1.tif", hot)
    match = f"^{path}: cannot tell .* up to 65535; state white, .* \\(--white, or white in a recipe"
    with pytest.raises(DatasetError, match=match):
        read_pairs(PairFolder(folder, split=split), BGRN)


@given(
    st.lists(st.integers(1, 4095), min_size=1, max_size=6),
    st.lists(st.integers(1, 4095), max_size=6),
)
def test_white_is_the_same_whichever_pairs_are_asked_for(one: list[int], two: list[int]) -> None:
    pairs = [[(np.full((1, 2, 2), dn, np.uint16),) * 2 for dn in some] for some in (one, two)]
    here = Path("set")
    expected = white_level(here, [*pairs[0], *pairs[1]])
    assert common_white(here, pairs[0], pairs[1]) == expected
    if two:
        assert common_white(here, pairs[1], pairs[0]) == expected


def test_a_white_far_below_the_clear_images_is_told(tmp_path: Path) -> None:
    folder = put_splits(tmp_path, {"train": 1900})
    match = (
        r"2 of 2 pairs are brighter than white in more than a tenth .*; give the number .*: "
        r"train/0 \(white 100, up to 199\), train/1 \("
    )
    with pytest.warns(DecrWarning, match=match):
        read_pairs(PairFolder(folder, white=100.0), BGRN)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DecrWarning)
        assert read_pairs(PairFolder(folder, white=190.0), BGRN)  # clouds may be brighter
        assert read_pairs(PairFolder(folder), BGRN)


def test_white_that_cannot_be_told_must_be_stated(tmp_path: Path) -> None:
    for top, dtype in ((4096, "uint16"), (1, "float32")):
        one = np.full((1, 2, 2), top, dtype)
        with pytest.raises(DatasetError, match=f"white level of {dtype} images up to {top}; state"):
            white_level(tmp_path, [(one, one)])
    eight, sixteen = np.ones((1, 2, 2), np.uint8), np.ones((1, 2, 2), np.uint16)
    with pytest.raises(DatasetError, match="uint16 and uint8 images"):
        white_level(tmp_path, [(eight, eight), (sixteen, sixteen)])
