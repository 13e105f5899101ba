"""Splits: no test chip within the buffer of a training chip, shares as asked for; names stay."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.warp import transform

from decr.dataset.splits import (
    block_of,
    block_split,
    ground_split,
    in_common,
    near,
    random_split,
    split_of,
)
from decr.errors import ConfigError

Places = dict[str, tuple[str, float, float]]
names = st.text(max_size=20)


def outlines(places: Places, side_m: float) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """Longitudes and latitudes of squares, and the squares on their map."""
    found, squares = {}, {}
    for name, (crs, x, y) in places.items():
        square = shapely.box(x, y, x + side_m, y + side_m)
        xs, ys = np.asarray(square.exterior.coords)[:4].T
        lon, lat = transform(crs, "OGC:CRS84", xs, ys)
        found[name], squares[name] = np.stack([lon, lat], axis=1), square
    return found, squares


lattices = st.builds(
    lambda crs, north, cells: {
        f"c{row}_{col}": (crs, 400000.0 + 256 * col, north + 256.0 * row) for row, col in cells
    },
    st.sampled_from(["EPSG:32650", "EPSG:32633", "EPSG:3031"]),
    st.sampled_from([500000.0, 4400000.0, 6900000.0]),
    st.sets(st.tuples(st.integers(0, 14), st.integers(0, 14)), min_size=2, max_size=80),
)


@settings(max_examples=60, deadline=None)
@given(
    lattices,
    st.floats(0.05, 0.6),
    st.sampled_from([300.0, 800.0, 2000.0]),
    st.sampled_from([1.0, 100.0, 250.0, 700.0]),
    st.integers(0, 5),
)
def test_no_test_chip_lies_within_the_buffer_of_a_training_chip(
    places: Places, share: float, block_m: float, buffer_m: float, seed: int
) -> None:
    if next(iter(places.values()))[0] == "EPSG:3031":
        # Antarctic metres are the ground's near 71 degrees south only.
        places = {n: (crs, x + 1.5e6, 2.0e5 + y % 10000) for n, (crs, x, y) in places.items()}
        slack = 0.97
    else:
        slack = 1.0
    found, squares = outlines(places, 256.0)
    split = block_split(found, share, block_m, buffer_m, seed)
    sides = {s: [squares[n] for n, v in split.side.items() if v == s] for s in ("train", "test")}
    for one in sides["test"]:
        assert all(shapely.distance(one, other) >= buffer_m * slack for other in sides["train"])
    assert {*split.side} | split.dropped == {*places}
    assert not {*split.side} & split.dropped


@settings(max_examples=30, deadline=None)
@given(lattices, st.floats(1.0, 255.0), st.floats(1.0, 255.0), st.integers(0, 5))
def test_without_a_buffer_no_ground_is_on_both_sides(
    places: Places, down: float, right: float, seed: int
) -> None:
    """Chips of two acquisitions lie on lattices of their own."""
    if next(iter(places.values()))[0] == "EPSG:3031":
        places = {n: (crs, x + 1.5e6, 2.0e5 + y % 10000) for n, (crs, x, y) in places.items()}
    other = {f"{n}b": (crs, x + right, y + down) for n, (crs, x, y) in places.items()}
    found, squares = outlines(places | other, 256.0)
    side = block_split(found, 0.3, 800.0, 0.0, seed).side
    train, test = ([squares[n] for n, v in side.items() if v == s] for s in ("train", "test"))
    tree = shapely.STRtree(train)
    for one in test:
        beside = [train[i] for i in tree.query(one)]
        assert all(shapely.area(shapely.intersection(one, b)) < 100.0 for b in beside)
    # Neighbours on one lattice touch, and may be on both sides.
    assert not block_split(outlines(places, 256.0)[0], 0.3, 800.0, 0.0, seed).dropped


@settings(max_examples=30, deadline=None)
@given(lattices, st.integers(0, 5))
def test_a_split_depends_on_nothing_but_its_arguments(places: Places, seed: int) -> None:
    found, _ = outlines(places, 256.0)
    one = block_split(found, 0.2, 800.0, 100.0, seed)
    other = block_split(dict(reversed(found.items())), 0.2, 800.0, 100.0, seed)
    assert one == other


def test_a_wide_scene_is_split_eight_to_two() -> None:
    places = {
        f"{r}_{c}": ("EPSG:32650", 400000.0 + 256 * c, 4400000.0 + 256 * r)
        for r in range(40)
        for c in range(40)
    }
    found, _ = outlines(places, 256.0)
    split = block_split(found, 0.2, 1000.0, 250.0, 0)
    test = sum(side == "test" for side in split.side.values())
    assert test / 1600 == pytest.approx(0.2, abs=0.01)
    assert 0 < len(split.dropped) < 1600 - test
    # Chips one apart are 256 m away, which is enough: only direct neighbours were dropped.
    kept = [found[n] for n, side in split.side.items() if side == "train"]
    tested = [found[n] for n, side in split.side.items() if side == "test"]
    assert near(kept, tested, 257.0 * 1.01)


def test_places_in_other_zones_and_across_the_date_line_are_neighbours() -> None:
    one = np.array([[179.999, 0], [179.9995, 0], [179.9995, 0.001], [179.999, 0.001]])
    other = np.array([[-179.9995, 0], [-179.999, 0], [-179.999, 0.001], [-179.9995, 0.001]])
    assert near([one], [other], 120.0) == [0]
    assert near([one], [other], 100.0) == []


def test_ground_across_the_date_line_is_one_place() -> None:
    ring = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    crossing, beyond, west = (
        (ring * 0.002 + (lon, 0.0) + (180.0, 0.0)) % 360.0 - (180.0, 0.0)
        for lon in (179.999, 180.0, 179.995)
    )
    assert in_common([crossing, west], [beyond]) == [0]
    assert in_common([beyond], [crossing, west]) == [0]
    assert near([west], [crossing], 300.0) == [0]
    assert near([west], [crossing], 200.0) == []
    assert block_of(crossing, 1000.0)[0] == 0
    # Its centre is at the line, not at the meridian of Greenwich.
    assert abs(block_of(crossing, 1000.0)[1]) > 20000


@given(st.integers(1, 400), st.floats(0, 1), st.integers(0, 3))
def test_a_random_split_has_exactly_the_share(count: int, share: float, seed: int) -> None:
    names = [f"n{i}" for i in range(count)]
    split = random_split(names, share, seed)
    assert sum(side == "test" for side in split.values()) == round(share * count)
    assert split == random_split(names[::-1], share, seed)


def test_the_published_counts_come_out() -> None:
    for total, wanted in ((668, (534, 134)), (559, (447, 112))):
        split = random_split([str(i) for i in range(total)], 0.2, 0)
        test = sum(side == "test" for side in split.values())
        print(f"{total} pairs: {total - test} train, {test} test")
        assert (total - test, test) == wanted


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"0\.\.1"):
        random_split(["a"], 1.5, 0)
    with pytest.raises(ConfigError, match="buffer"):
        block_split({}, 0.2, 0.0, 10.0, 0)


def test_ground_seen_twice_or_through_others_is_on_one_side() -> None:
    utm = "EPSG:32650"
    apart = {f"p{n}": (utm, 5e5 + 256.0 * n, 4.4e6) for n in range(10)}
    chain = {f"c{n}": (utm, 6e5 + 128.0 * n, 4.4e6) for n in range(5)}
    again = {f"{name}b": place for name, place in apart.items()}
    found, _ = outlines(apart | again | chain, 256.0)
    side = ground_split({**found, "lost": None}, 0.2)
    assert {*side} == {*found, "lost"}
    assert all(side[name] == side[f"{name}b"] for name in apart)
    assert len({side[name] for name in chain}) == 1
    assert abs(sum(s == "test" for s in side.values()) - 0.2 * len(side)) < 1
    # Neighbours only touch; and one ground is not parted.
    assert ground_split({name: found[name] for name in apart}, 0.2) == {}
    assert {*ground_split({name: found[name] for name in chain}, 0.2).values()} == {"train"}


def test_many_images_of_one_ground_are_not_compared_each_with_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared, intersection = [0], shapely.intersection

    def counting(one: object, others: object) -> object:
        compared[0] += np.broadcast(one, others).size
        return intersection(one, others)

    monkeypatch.setattr(shapely, "intersection", counting)
    ring = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * 0.001
    stack = [ring + np.array((100 + 1e-6 * n, 30)) for n in range(200)]
    side = ground_split({**{str(n): o for n, o in enumerate(stack)}, "x": ring, "y": ring}, 0.2)
    assert {name for name in side if side[name] == "test"} == {"x", "y"}
    assert in_common(stack, stack[::-1]) == [*range(200)]
    assert compared[0] < 20 * len(stack)


def test_a_chip_and_a_scene_a_million_times_as_large_share_ground() -> None:
    chip = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * 1e-4
    scene = chip * 2000 - 0.01
    assert in_common([scene], [chip]) == in_common([chip], [scene]) == [0]
    assert len({*ground_split({"a": scene, "b": chip, "c": chip + 5}, 0.5).values()}) == 2


def test_outlines_round_a_pole_which_cross_themselves_are_compared() -> None:
    one = np.array([[-28.26, -89.95], [53.83, -89.92], [123.5, -89.92], [-149.3, -89.95]])
    two = np.array([[-49.1, -89.95], [58.14, -89.94], [137.63, -89.92], [-146.78, -89.93]])
    far = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * 1e-3
    assert in_common([one, far], [two]) == [0]
    side = ground_split({"a": one, "b": two, "c": far, "d": far + 9, "e": far + 20}, 0.2)
    assert side["a"] == side["b"]


@given(name=names, low=st.floats(0, 1), high=st.floats(0, 1))
def test_a_larger_share_only_adds_to_the_test_side(name: str, low: float, high: float) -> None:
    low, high = sorted((low, high))
    assert split_of(name, low) == split_of(name, low)
    if split_of(name, low) == "test":
        assert split_of(name, high) == "test"
    assert split_of(name, 0.0) == "train"
    assert split_of(name, 1.0) == "test"


@given(share=st.sampled_from([0.1, 0.2, 0.5]), prefix=names)
def test_a_share_is_about_that_share(share: float, prefix: str) -> None:
    tested = np.mean([split_of(f"{prefix}{n}", share) == "test" for n in range(400)])
    assert abs(tested - share) < 6 * np.sqrt(share * (1 - share) / 400)


def test_the_split_is_the_same_everywhere() -> None:
    assert [n for n in range(20) if split_of(str(n), 0.2) == "test"] == [8, 9]
    with pytest.raises(ConfigError, match=r"must lie in 0\.\.1, not 20"):
        split_of("a", 20)
