"""Band roles from options, descriptions and colours, and what models get."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decr.errors import BandError
from decr.geo.bands import ROLES, Bands, bands_of
from decr.geo.reader import reader
from decr.geo.scene import open_scene
from tests.geo.scene_files import coded, write

BGRN = ("blue", "green", "red", "nir")
NONE4 = (None,) * 4


def roles(
    descriptions: tuple[str | None, ...], colours: tuple[str, ...], override: str | None = None
) -> tuple[str, ...]:
    bands, _ = bands_of(descriptions, colours, len(colours), override, "scene.tif")
    return bands.roles


def warning(descriptions: tuple[str | None, ...], colours: tuple[str, ...]) -> str | None:
    return bands_of(descriptions, colours, len(colours), None, "scene.tif")[1]


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("b,g,r,n", BGRN),
        ("Blue, GREEN ,red,nir", BGRN),
        ("r,g,b,a", ("red", "green", "blue", "alpha")),
        ("-,p,-,-", ("-", "pan", "-", "-")),
    ],
)
def test_the_option_goes_before_descriptions_and_colours(
    option: str, expected: tuple[str, ...]
) -> None:
    descriptions = ("nir", "red", "green", "blue")
    assert roles(descriptions, ("red", "green", "blue", "alpha"), option) == expected
    assert bands_of(descriptions, BGRN, 4, option, "scene.tif")[1] is None


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("b,g,r", "names 3 bands but scene.tif has 4"),
        ("b,g,r,x", "unknown band 'x'"),
        ("b,g,r,r", "'red' appears twice"),
        ("-,-,-,-", "no band holds data"),
        ("a,-,-,-", "no band holds data"),
        ("", "unknown band ''"),
    ],
)
def test_options_that_name_no_bands_of_the_scene_are_refused(option: str, text: str) -> None:
    with pytest.raises(BandError, match=text):
        roles(NONE4, ("gray",) * 4, option)


@pytest.mark.parametrize(
    "descriptions",
    [
        ("blue", "green", "red", "nir"),
        ("B", "G", "R", "N"),
        ("band blue", "Band Green", "BAND RED", "band nir"),
        ("Blue", "Green", "Red", "Near Infrared"),
        ("band 1 (blue)", "band 2 (green)", "band 3 (red)", "band 4 (near-infrared)"),
        ("B02 blue", "B03 green", "B04 red", "B08 NIR"),
        ("1: blue", "2: green", "3: red", "4: nir1"),
        ("Blue (490.0 Nanometers)", "Green (0.56 Micrometers)", "Band 3 Red [665 nm]", "NIR 842nm"),
    ],
)
def test_roles_are_read_from_descriptions_of_many_forms(descriptions: tuple[str, ...]) -> None:
    # The colours lie, as they do in files written by software that defaults to RGB and alpha.
    assert roles(descriptions, ("red", "green", "blue", "alpha")) == BGRN
    assert warning(descriptions, ("red", "green", "blue", "alpha")) is None


@given(st.permutations(BGRN))
def test_described_bands_may_lie_in_any_order(order: list[str]) -> None:
    assert roles(tuple(order), ("gray", "undefined", "undefined", "undefined")) == tuple(order)


def test_extra_described_bands_pass_through() -> None:
    descriptions = ("coastal", "blue", "green", "yellow", "red", "red edge", "nir1", "nir2")
    colours = ("gray", *("undefined",) * 7)
    assert roles(descriptions, colours) == ("-", "blue", "green", "-", "red", "-", "nir", "-")
    text = warning(descriptions, colours)
    assert text is not None
    assert "1 (coastal)" in text
    assert "6 (red edge)" in text


def test_partial_descriptions_are_filled_from_colours() -> None:
    assert roles((None, None, None, "nir"), ("red", "green", "blue", "undefined")) == (
        "red", "green", "blue", "nir",
    )  # fmt: skip
    assert roles(("blue", "green", "red", None), ("gray", *("undefined",) * 3)) == BGRN
    assert roles(("blue", "green", "red", None), ("gray", "undefined", "undefined", "alpha")) == (
        "blue", "green", "red", "alpha",
    )  # fmt: skip
    with pytest.raises(BandError, match="cannot tell"):
        roles((None, None, None, "nir"), ("gray", *("undefined",) * 3))


@pytest.mark.parametrize(
    ("colours", "expected"),
    [
        (("red", "green", "blue"), ("red", "green", "blue")),
        (("red", "green", "blue", "alpha"), ("red", "green", "blue", "alpha")),
        (("blue", "green", "red", "undefined"), BGRN),
        (("blue", "green", "red", "nir"), BGRN),
        (("undefined", "red", "green", "blue", "alpha"), ("nir", "red", "green", "blue", "alpha")),
        (("gray",), ("pan",)),
        (("undefined",), ("pan",)),
        (("pan",), ("pan",)),
        (("gray", "alpha"), ("pan", "alpha")),
    ],
)
def test_without_descriptions_colours_give_the_roles(
    colours: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    nothing = (None,) * len(colours)
    assert roles(nothing, colours) == expected
    assert warning(nothing, colours) is None


@pytest.mark.parametrize(
    ("count", "expected", "option"),
    [(3, ("red", "green", "blue"), "--bands r,g,b"), (4, BGRN, "--bands b,g,r,n")],
)
def test_roles_that_are_guessed_are_told_with_the_option_that_says_them(
    count: int, expected: tuple[str, ...], option: str
) -> None:
    colours = ("gray", *("undefined",) * (count - 1))
    meaningless = tuple(f"Band {i}" for i in range(1, count + 1))
    for descriptions in ((None,) * count, meaningless):
        assert roles(descriptions, colours) == expected
        text = warning(descriptions, colours)
        assert text is not None
        assert option in text
        assert "scene.tif" in text


def test_names_that_say_nothing_of_colours_are_told_with_the_guess() -> None:
    colours = ("gray", "undefined", "undefined")
    text = warning(("rouge", "vert", "bleu"), colours)
    assert text is not None
    assert "called rouge, vert, bleu" in text
    assert "called" not in (warning((None,) * 3, colours) or "called")


def test_a_number_after_a_name_is_no_wavelength() -> None:
    descriptions = ("blue 2", "blue", "green", "red")
    assert roles(descriptions, ("gray", *("undefined",) * 3)) == ("-", "blue", "green", "red")


@pytest.mark.parametrize(
    "colours",
    [
        ("gray", "undefined"),
        ("red", "green"),
        ("gray", *("undefined",) * 4),
        ("red", "green", "blue", "undefined", "undefined"),
        ("cyan", "magenta", "yellow", "black"),
        ("hue", "saturation", "lightness"),
    ],
)
def test_bands_that_cannot_be_told_are_refused_with_an_example_that_works(
    colours: tuple[str, ...],
) -> None:
    with pytest.raises(BandError, match=r"scene\.tif: cannot tell.*--bands") as caught:
        roles((None,) * len(colours), colours)
    assert ", ".join(colours) in str(caught.value)
    # The example in the message must itself work.
    example = str(caught.value).split("--bands ")[1].split()[0]
    assert len(roles((None,) * len(colours), colours, example)) == len(colours)


def test_roles_that_appear_twice_or_are_unknown_are_refused() -> None:
    with pytest.raises(BandError, match="'nir' appears twice"):
        roles(("nir", "NIR1", "red"), ("gray", "undefined", "undefined"))
    with pytest.raises(BandError, match="'red' appears twice"):
        roles((None,) * 3, ("red", "red", "blue"))
    with pytest.raises(BandError, match="unknown band role"):
        Bands(("teal",))


def test_bands_are_found_in_the_order_that_a_model_wants() -> None:
    scene = Bands(("-", "red", "green", "blue", "nir", "alpha"))
    assert scene.model_map(BGRN) == (3, 2, 1, 4)
    assert scene.model_map(("red", "green", "blue")) == (1, 2, 3)
    assert scene.data_indices == (1, 2, 3, 4)
    assert scene.data_roles == ("red", "green", "blue", "nir")
    assert scene.alpha_index == 5
    assert scene.count == 6


def test_pan_feeds_every_band() -> None:
    assert Bands(("pan",)).model_map(BGRN) == (0, 0, 0, 0)
    assert Bands(("alpha", "pan")).model_map(("red", "green", "blue")) == (1, 1, 1)
    assert Bands(("pan",)).alpha_index is None
    with pytest.raises(BandError):
        Bands(("pan", "red", "green")).model_map(("red", "green", "blue"))


def test_a_band_that_a_model_or_detector_needs_is_named() -> None:
    text = r"scene has 3 bands \(red, green, blue\) but the model needs 4 \(blue, green, red, nir\)"
    with pytest.raises(BandError, match=text):
        Bands(("red", "green", "blue")).model_map(BGRN)
    text = r"but the detector needs 1 \(pan\).* or choose a detector that needs fewer"
    with pytest.raises(BandError, match=text):
        Bands(("red", "green", "blue")).model_map(("pan",), "detector")


def test_every_order_of_roles_maps_back() -> None:
    for order in permutations(ROLES[:4]):
        mapped = Bands(order).model_map(BGRN)
        assert tuple(order[i] for i in mapped) == BGRN


def test_bands_that_are_pages_of_a_file_are_told(tmp_path: Path) -> None:
    pages = tmp_path / "p.tif"
    write(pages, coded(2, 20, 30)[:1])
    write(pages, coded(2, 20, 30)[1:], APPEND_SUBDATASET="YES")
    scene = open_scene(pages)
    assert scene.bands.roles == ("pan",)
    assert scene.warnings == scene.guesses
    assert "p.tif holds 2 images, of which the first alone is taken; name" in scene.warnings[0]
    assert f"(GTIFF_DIR:2:{pages})" in scene.warnings[0]
    second = open_scene(f"GTIFF_DIR:2:{pages}")
    assert not second.warnings
    with reader(second) as source:
        np.testing.assert_array_equal(source.read(second.grid.window)[0][0], coded(2, 20, 30)[1])
