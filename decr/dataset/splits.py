"""Which pairs are for testing: by a name, by blocks of ground with a buffer, or at random."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from decr.errors import ConfigError
from decr.geo.metres import metres_per_degree, on_earth

Float = NDArray[np.float64]
_Block = TypeVar("_Block", bound=tuple[Any, ...])

_SLACK = 1.001
"""Metres of a map projection and of the ground differ by up to 0.04 % in UTM."""


@dataclass(frozen=True, slots=True)
class BlockSplit:
    """A split by ground.

    Attributes
    ----------
    side
        "train" or "test" by name.
    dropped
        Names that are in neither: they lie within the buffer of a test chip.
    """

    side: Mapping[str, str]
    dropped: frozenset[str]


def random_split(names: Sequence[str], test_share: float, seed: int) -> dict[str, str]:
    """Put exactly the rounded share of names in "test", by a hash of the seed and the name.

    Examples
    --------
    >>> sorted(random_split(list("abcde"), 0.2, 0).values())
    ['test', 'train', 'train', 'train', 'train']
    """
    check_share(test_share)
    ranked = sorted(names, key=lambda name: seeded_hash(seed, name))
    tested = frozenset(ranked[: round(test_share * len(names))])
    return {name: "test" if name in tested else "train" for name in names}


def block_split(
    outlines: Mapping[str, Float], test_share: float, block_m: float, buffer_m: float, seed: int
) -> BlockSplit:
    """Give whole blocks of ground to "test", and drop what lies too near to them.

    Blocks are squares in longitude and latitude, about ``block_m`` wide, on one net over the
    earth; a chip belongs to the block of its centre. Blocks go to "test" in an order by hash, as
    long as that brings the share nearer to what is wanted. So that both sides have chips, the
    smallest block is for testing if no other fits.

    Parameters
    ----------
    outlines
        (K, 2) longitude and latitude of a chip's corners, by name.
    test_share
        Of chips, before any is dropped.
    block_m
        Side of a block, metres.
    buffer_m
        No chip of "train" is nearer than this to one of "test", metres.

    Raises
    ------
    ConfigError
        For a share out of 0..1 or distances that are not positive.
    """
    check_share(test_share)
    check_distances(block_m, buffer_m)
    names = sorted(outlines)
    outlines = {name: unwrapped(outlines[name]) for name in names}
    blocks = {name: block_of(outlines[name], block_m) for name in names}
    tested = _tested(Counter(blocks.values()), test_share, seed)
    side = {name: "test" if blocks[name] in tested else "train" for name in names}
    train = [name for name in names if side[name] == "train"]
    test = [name for name in names if side[name] == "test"]
    ones, others = [outlines[n] for n in train], [outlines[n] for n in test]
    too_near = near(ones, others, buffer_m * _SLACK) if buffer_m > 0 else in_common(ones, others)
    dropped = frozenset(train[i] for i in too_near)
    return BlockSplit({n: s for n, s in side.items() if n not in dropped}, dropped)


def in_common(ones: Sequence[Float], others: Sequence[Float]) -> list[int]:
    """Which outlines share ground with any of the others; touching is not sharing."""
    tree = _tree(others)
    return [i for i, one in enumerate(ones) if _shares_any(_polygon(one), tree)]


def ground_split(outlines: Mapping[str, Float | None], test_share: float) -> dict[str, str]:
    """Sides of names by ground: what shares some, even through others, is on one side.

    Grounds go to "test" as blocks do in `block_split`. Empty if no two names share ground.

    Parameters
    ----------
    outlines
        (K, 2) longitude and latitude of an image's corners, by name; None is ground of its own.
    test_share
        Of names.
    """
    check_share(test_share)
    names = sorted(outlines, key=lambda name: (outlines[name] is None, name))
    placed = [outline for name in names if (outline := outlines[name]) is not None]
    first = [*_first_on_ground(placed), *range(len(placed), len(names))]
    if first == [*range(len(names))]:
        return {}
    ground_of = {name: (names[i],) for name, i in zip(names, first, strict=True)}
    tested = _tested(Counter(ground_of.values()), test_share, 0)
    return {name: "test" if ground_of[name] in tested else "train" for name in names}


def _first_on_ground(outlines: Sequence[Float]) -> list[int]:
    """Of each outline the first that it shares ground with, even through others."""
    tree, count = _tree(outlines), len(outlines)
    first = np.full(count, -1)
    for start in range(count):
        reached = [start] if first[start] < 0 else []
        first[reached] = start
        while reached:
            one = tree.geometries[reached.pop()]
            # Many images may lie on one ground: those that are known to are not compared again.
            others = tree.query(one)
            others = others[first[others % count] < 0]
            found = np.unique(others[_share(one, tree.geometries[others])] % count)
            first[found] = start
            reached.extend(found.tolist())
    return first.tolist()


def _shares_any(one: shapely.Polygon, tree: shapely.STRtree) -> bool:
    """Whether an outline shares ground with any of a tree; a few are compared at a time."""
    others = tree.geometries[tree.query(one)]
    return any(_share(one, others[i : i + 16]).any() for i in range(0, others.size, 16))


def _share(one: shapely.Polygon, others: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Which outlines share more with one than slivers, as of neighbours on one lattice."""
    least = 1e-6 * np.minimum(shapely.area(one), shapely.area(others))
    return np.asarray(shapely.area(shapely.intersection(one, others)) > least)


def _tree(outlines: Sequence[Float]) -> shapely.STRtree:
    """Of outlines, then all of them a turn west and east: neighbours beyond the date line."""
    turns = [np.array((degrees, 0.0)) for degrees in (0.0, -360.0, 360.0)]
    return shapely.STRtree([_polygon(o, turn) for turn in turns for o in outlines])


def _polygon(outline: Float, turn: float | Float = 0.0) -> shapely.Polygon:
    """An outline in one piece; round a pole it crosses itself, and is made to cover both sides."""
    return shapely.make_valid(shapely.Polygon(unwrapped(outline) + turn))


def near(ones: Sequence[Float], others: Sequence[Float], distance_m: float) -> list[int]:
    """Which outlines lie nearer than a distance to any of the others, metres; touching is near.

    Parameters
    ----------
    ones, others
        (K, 2) longitude and latitude each.
    """
    if not ones or not others or distance_m <= 0:
        return []
    ones, others = [unwrapped(one) for one in ones], [unwrapped(other) for other in others]
    centres, radii = _balls(ones)
    other_centres, other_radii = _balls(others)
    reach = distance_m + float(radii.max() + other_radii.max())
    found = cKDTree(centres).query_ball_tree(cKDTree(other_centres), reach)
    return [
        i
        for i, candidates in enumerate(found)
        if any(_distance_m(ones[i], others[j]) < distance_m for j in candidates)
    ]


def _tested(sizes: Counter[_Block], share: float, seed: int) -> set[_Block]:
    """The blocks for testing."""
    wanted, count = share * sizes.total(), 0
    chosen: set[_Block] = set()
    for block in sorted(sizes, key=lambda block: seeded_hash(seed, "/".join(map(str, block)))):
        if abs(count + sizes[block] - wanted) < abs(count - wanted):
            chosen.add(block)
            count += sizes[block]
    if not chosen and share > 0 and len(sizes) > 1:
        chosen = {min(sizes, key=lambda block: (sizes[block], block))}
    return chosen


def unwrapped(outline: Float) -> Float:
    """An outline in one piece: no two longitudes are more than 180 degrees apart.

    Its centre lies in -180..180 degrees, parts of it beyond if it crosses the date line.

    Examples
    --------
    >>> unwrapped(np.array([[179.5, 0.0], [-179.0, 1.0]]))[:, 0].tolist()
    [-180.5, -179.0]
    """
    lon = outline[:, 0]
    lon = lon - 360.0 * np.round((lon - lon[0]) / 360.0)
    lon = lon - 360.0 * np.round(lon.mean() / 360.0)
    return np.column_stack([lon, outline[:, 1]])


def block_of(outline: Float, block_m: float) -> tuple[int, int]:
    """Row and column of the block of an outline's centre; blocks of one row are equally wide."""
    lon, lat = (float(value) for value in unwrapped(outline).mean(axis=0))
    east, north = metres_per_degree(0.0)
    row = math.floor(lat * north / block_m)
    middle = min(89.9, max(-89.9, (row + 0.5) * block_m / north))
    return row, math.floor(lon * east * math.cos(math.radians(middle)) / block_m)


def _balls(outlines: Sequence[Float]) -> tuple[Float, Float]:
    """Centres on the ellipsoid, metres, and how far corners are from them."""
    corners = [on_earth(outline) for outline in outlines]
    centres = np.stack([c.mean(axis=0) for c in corners])
    radii = np.array(
        [np.linalg.norm(c - m, axis=1).max() for c, m in zip(corners, centres, strict=True)]
    )
    return centres, radii


def _distance_m(one: Float, other: Float) -> float:
    """Between two outlines, on the plane that touches the earth there."""
    middle = float(np.concatenate([one, other])[:, 1].mean())
    scale = np.array(metres_per_degree(middle))
    # The date line must not part neighbours.
    turn = round(float(one[:, 0].mean() - other[:, 0].mean()) / 360.0) * 360.0
    shapes = [shapely.Polygon((c - one[0]) * scale) for c in (one, other + np.array((turn, 0.0)))]
    return float(shapely.distance(*shapes))


def split_of(name: str, share: float) -> str:
    """The split that a name belongs to: "test" for a share of all names, else "train".

    It is a function of the name's SHA-256, so adding images moves none of those that are there,
    and a larger share only ever adds to "test". For a split by geography, give the name of the
    place (a city, a map sheet) for all images of it: they stay together.

    Parameters
    ----------
    name
        Of an image or a place.
    share
        0..1, of names in "test".

    Raises
    ------
    ConfigError
        For a share out of range.

    Examples
    --------
    >>> split_of("lake_07", 0.0), split_of("lake_07", 1.0)
    ('train', 'test')
    """
    if not 0.0 <= share <= 1.0:
        raise ConfigError(f"the share of a split must lie in 0..1, not {share}")
    number = int.from_bytes(
        hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:6], "big"
    )
    return "test" if number < share * 2**48 else "train"


def seeded_hash(seed: int, name: str) -> bytes:
    """A key to sort by, at random: the SHA-256 of the seed and a name."""
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()


def check_distances(block_m: float, buffer_m: float) -> None:
    """Refuse distances, in metres, that a split by blocks cannot have.

    Raises
    ------
    ConfigError
        If the block is not above 0 or the buffer below it, or one of them is no finite number.
    """
    if not (0 < block_m < math.inf and 0 <= buffer_m < math.inf):
        raise ConfigError(
            f"a block of {block_m} m and a buffer of {buffer_m} m cannot be: give finite ones, "
            "a --block above 0 and a --buffer of 0 or more"
        )


def check_share(test_share: float) -> None:
    """Refuse a share for testing that is none.

    Raises
    ------
    ConfigError
        If it is not in 0..1.
    """
    if not 0.0 <= test_share <= 1.0:
        raise ConfigError(f"the share for testing must lie in 0..1, not {test_share}")
