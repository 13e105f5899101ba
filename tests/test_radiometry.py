"""Tests of decr.radiometry: nothing is lost between digital numbers and unit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from decr.errors import DecrError, RadiometryError
from decr.radiometry import Radiometry, estimated, for_detector, from_range, of_bytes

KINDS = {
    "uint8": ("uint8", 0, 255),
    "10 bit": ("uint16", 0, 1023),
    "11 bit": ("uint16", 0, 2047),
    "12 bit": ("uint16", 0, 4095),
    "16 bit": ("uint16", 0, 65535),
    "int16": ("int16", -32768, 32767),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_of_a_full_range_survives(kind: str) -> None:
    dtype, low, high = KINDS[kind]
    dn = np.arange(low, high + 1).astype(dtype).reshape(1, -1, 1)
    radiometry = from_range(low, high, 1)
    unit = radiometry.encode(dn)
    assert unit.dtype == np.float32
    assert unit[0, 0, 0] == -1.0
    assert unit[0, -1, 0] == 1.0
    assert (np.diff(unit[0, :, 0]) > 0).all()
    np.testing.assert_array_equal(np.rint(radiometry.decode(unit)), dn)


@given(kind=st.sampled_from(sorted(KINDS)), data=st.data())
def test_numbers_inside_any_range_survive_and_others_saturate(
    kind: str, data: st.DataObject
) -> None:
    dtype, least, most = KINDS[kind]
    low = data.draw(st.integers(least, most - 1))
    high = data.draw(st.integers(low + 1, most))
    values = data.draw(st.lists(st.integers(least, most), min_size=1, max_size=8))
    dn = np.array(values, dtype).reshape(1, 1, -1)
    radiometry = from_range(low, high, 1)
    back = radiometry.decode(radiometry.encode(dn))
    np.testing.assert_array_equal(np.rint(back), np.clip(dn, low, high))


@given(unit=st.lists(st.floats(-3, 3, width=32), min_size=2, max_size=20))
def test_decoding_is_monotonic_and_never_leaves_the_range(unit: list[float]) -> None:
    image = np.sort(np.array(unit, np.float32)).reshape(1, 1, -1)
    dn = from_range(-40_000, 90_000, 1).decode(image)[0, 0]
    assert (np.diff(dn) >= 0).all()
    wanted = np.clip(image[0, 0].astype(np.float64), -1, 1) * 65_000 + 25_000
    np.testing.assert_allclose(dn, wanted, atol=0.01)


def test_bands_have_their_own_ranges_and_can_be_picked() -> None:
    radiometry = Radiometry((0.0, 100.0), (200.0, 300.0), "given")
    dn = np.full((2, 1, 1), 150.0)
    np.testing.assert_allclose(radiometry.encode(dn).ravel(), [0.5, -0.5])
    assert radiometry.pick([1, 0]) == Radiometry((100.0, 0.0), (300.0, 200.0), "given")


@pytest.mark.parametrize(
    ("low", "high"),
    [((), ()), ((0.0,), (1.0, 2.0)), ((5.0,), (5.0,)), ((9.0,), (1.0,)), ((0.0,), (np.inf,))],
)
def test_impossible_ranges_are_refused(low: tuple[float, ...], high: tuple[float, ...]) -> None:
    with pytest.raises(RadiometryError):
        Radiometry(low, high, "given")


def test_refusal_says_the_values_and_the_way_out() -> None:
    with pytest.raises(RadiometryError, match=r"9\.\.1 is empty; give --range LOW,HIGH"):
        from_range(9, 1, 3)


def test_only_8_bits_say_their_range() -> None:
    assert of_bytes(2) == Radiometry((0.0, 0.0), (255.0, 255.0), "dtype")


def test_an_estimate_holds_the_scene_and_stays_in_its_bit_depth() -> None:
    rng = np.random.default_rng(0)
    samples = rng.integers(150, 2040, (4, 10_000)).astype(np.uint16)
    range_ = estimated(samples, "uint16")
    assert range_.source == "estimated"
    assert len(set(range_.low)) == len(set(range_.high)) == 1
    assert 0 <= range_.low[0] < 160
    assert 2030 < range_.high[0] <= 2047
    assert not float(range_.low[0]) % 1
    assert not float(range_.high[0]) % 1


def test_a_few_broken_pixels_do_not_decide_the_estimate() -> None:
    samples = np.full((1, 100_000), 500, np.uint16)
    samples[0, ::2] = 900
    samples[0, :10] = 65_535
    assert estimated(samples, "uint16").high[0] < 1000


@pytest.mark.parametrize(
    ("value", "dtype", "wanted"),
    [
        (300, "uint16", (0, 1023)),
        (0, "uint16", (0, 255)),
        (65_535, "uint16", (0, 65_535)),
        (255, "uint8", (0, 255)),
        (-7, "int16", (-32_768, 32_767)),
    ],
)
def test_a_constant_scene_gets_its_whole_bit_depth(
    value: int, dtype: str, wanted: tuple[int, int]
) -> None:
    for count in (1, 50):  # one pixel says as little as many equal ones
        range_ = estimated(np.full((2, count), value, dtype), dtype)
        assert (range_.low[1], range_.high[1]) == wanted
        dn = np.full((2, 1, 1), value, dtype)
        np.testing.assert_array_equal(np.rint(range_.decode(range_.encode(dn))), dn)


def test_signed_scenes_keep_their_negative_numbers() -> None:
    samples = np.linspace(-900, 2100, 5000).astype(np.int16)[None]
    range_ = estimated(samples, "int16")
    assert range_.low[0] < -890
    assert 2090 < range_.high[0] <= 4095
    all_negative = estimated(-np.abs(samples) - np.int16(1), "int16")
    assert all_negative.low[0] < all_negative.high[0] <= 200


def test_floats_are_not_rounded() -> None:
    rng = np.random.default_rng(1)
    range_ = estimated(rng.uniform(0.02, 0.6, (3, 5000)).astype(np.float32), "float32")
    assert -0.02 < range_.low[0] < 0.02
    assert 0.6 < range_.high[0] < 0.65
    constant = estimated(np.full((1, 9), 0.25, np.float32), "float32")
    assert (constant.low[0], constant.high[0]) == (-0.25, 0.75)


def test_without_samples_there_is_no_estimate() -> None:
    with pytest.raises(DecrError, match="no valid pixel"):
        estimated(np.zeros((4, 0), np.uint16), "uint16")


@given(
    values=st.lists(st.integers(0, 65_535), min_size=1, max_size=40),
    dtype=st.sampled_from(["uint16", "float32", "int16", "uint8"]),
)
@example(values=[0, 32_768], dtype="int16")
def test_any_samples_give_a_usable_range(values: list[int], dtype: str) -> None:
    samples = np.array(values).astype(dtype)[None]
    range_ = estimated(samples, dtype)
    assert range_.low[0] < range_.high[0]
    if dtype != "float32":
        limits = np.iinfo(dtype)
        assert limits.min <= range_.low[0] <= range_.high[0] <= limits.max


def test_equal_floats_of_any_size_have_a_range_around_them() -> None:
    for value in (0.0, 0.25, 4.5e15, -4.5e15):
        found = estimated(np.full((1, 9), value, np.float64), "float64")
        assert found.low[0] < value < found.high[0]


@given(st.floats(-0.2, 0.05), st.floats(0.1, 2.0))
def test_floats_that_fit_reflectance_are_shown_whole_to_detectors(low: float, high: float) -> None:
    own = Radiometry((low,) * 3, (high,) * 3, "estimated")
    assert for_detector(own, "float32") == Radiometry((0.0,) * 3, (1.0,) * 3, "reflectance")


@pytest.mark.parametrize(
    ("low", "high", "source", "dtype"),
    [
        (0.0, 0.4, "given", "float32"),
        (80.0, 1300.0, "model", "uint16"),
        (0.0, 255.0, "dtype", "uint8"),
        (0.0, 0.06, "estimated", "float32"),  # 12 bits / 65535
        (-1.0, 1.0, "estimated", "float32"),  # of no sensor
        (-900.0, -20.0, "estimated", "int16"),
    ],
)
def test_whatever_else_keeps_its_own_range(
    low: float, high: float, source: str, dtype: str
) -> None:
    own = Radiometry((low,), (high,), source)
    assert for_detector(own, dtype) is own


@given(st.integers(0, 65_000), st.integers(1, 533), st.sampled_from(["uint16", "int16", "float64"]))
@example(64_998, 533, "uint16")
@example(65_000, 533, "float64")
def test_counts_are_shown_halfway_to_all_that_their_bits_hold(
    low: int, wide: int, dtype: str
) -> None:
    if dtype == "int16":
        low, wide = low // 2, wide // 2 + 1
    high = low + wide + 2  # floats up to 2 are reflectance
    own = Radiometry((float(low),) * 4, (float(high),) * 4, "estimated")
    shown = for_detector(own, dtype)
    assert len(shown.low) == 4
    assert 0 <= shown.low[0] <= low
    # The scene's brightest are never less than 0.7 of white.
    most = 2**16 if dtype == "float64" else 2**16 - 1
    assert high <= shown.high[0] <= min(high / 0.7 + 1, most)


@pytest.mark.parametrize("high", [2.1, 1e30, 1.7e308])
def test_absurd_floats_give_a_range(high: float) -> None:
    shown = for_detector(Radiometry((0.0,), (high,), "estimated"), "float64")
    assert 0.7 * high < shown.high[0] < 1.5 * high


@given(st.floats(0, 50), st.floats(3, 5000), st.integers(0, 40))
def test_floats_of_other_units_are_shown_alike(low: float, wide: float, octaves: int) -> None:
    own, other = (
        Radiometry((low * f,), ((low + wide) * f,), "estimated") for f in (1.0, 2.0**octaves)
    )
    first, second = for_detector(own, "float32"), for_detector(other, "float32")
    assert first.high[0] >= own.high[0]
    assert second.low[0] == pytest.approx(first.low[0] * 2.0**octaves)
    assert second.high[0] == pytest.approx(first.high[0] * 2.0**octaves)


def test_a_scene_all_cloud_stays_bright_and_one_all_water_dark() -> None:
    for dn, bright in ((np.arange(1500, 1900), True), (np.arange(40, 110), False)):
        samples = np.tile(dn, (4, 9)).astype(np.uint16)
        own = estimated(samples, "uint16")
        unit = for_detector(own, "uint16").encode(samples[:, None])
        assert own.encode(samples[:, None]).mean() == pytest.approx(0, abs=0.02)
        assert (unit.mean() > 0.3) == bright
