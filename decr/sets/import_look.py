"""What is seen of the pairs of a published set before any is copied, and what follows from that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decr.coverage.ccp import Looking
from decr.dataset.duplicates import fingerprint
from decr.dataset.manifest import TEST_SHARE, PairFile
from decr.dataset.read_pair import read_seen
from decr.dataset.splits import ground_split, in_common
from decr.dataset.white import full_scale
from decr.errors import warn
from decr.geo.acquisition import acquired
from decr.geo.align import outline_lonlat
from decr.geo.scene import open_scene
from decr.sets.copies import trained_first

Ranges = Mapping[str, tuple[float, float]]
"""DN that the detector takes for black and white, by type."""

_RARE = 0.001
"""Share of a set's numbers that may be dead or saturated pixels, and are less than its clouds."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was seen of a pair.

    Attributes
    ----------
    name, split
        In the published set.
    height, width, dtype
        Of all its images.
    roles, nir
        Of the bands of the cloudy file, and whether near infrared has a file of its own.
    one_order
        Whether the clear file has the same bands in the same order.
    gsd_m
        Of the file, as stated, or as published; None if nobody says.
    digest, bits
        `Fingerprint` of the clear image's colours.
    top
        The largest DN of both images.
    octaves
        How many of their DN are below 1, from there below 2, below 4, and so on.
    corners_lonlat
        (4, 2), or None for an image without a place.
    dates
        Of the cloudy and the clear image, ISO 8601; None unless both files say.
    """

    name: str
    split: str
    height: int
    width: int
    dtype: str
    roles: Sequence[str]
    one_order: bool
    nir: bool
    gsd_m: float | None
    digest: str
    bits: str | None
    top: float
    octaves: Sequence[int]
    corners_lonlat: Sequence[Sequence[float]] | None
    dates: Sequence[str] | None

    @property
    def white(self) -> float | None:
        """DN of white, where the type alone tells."""
        return 255.0 if self.dtype == "uint8" else None

    @property
    def bands(self) -> str:
        """Roles, for people."""
        data = [role for role in self.roles if role not in ("alpha", "-")]
        return ", ".join([*data, *(["nir"] if self.nir else [])])


def look_at(pair: PairFile, usual_gsd_m: float | None, look: Looking) -> Found:
    """Read a pair of a set with this published GSD, and see that it is one.

    Raises
    ------
    DecrError
        If it is none, or shows nothing.
    """
    bands = look.config.bands
    whole = read_seen(pair, bands)
    grid, dtype = whole.scene.grid, str(whole.clear.dtype)
    # Copies are told by colours alone, so that they are those of `decr dataset dedupe`.
    mark = fingerprint(whole.clear[: len(whole.scene.bands.data_roles)])
    corners = outline_lonlat(grid, grid.window)
    dates = [acquired(str(path)) for path in (pair.cloudy, pair.clear)]
    roles = open_scene(pair.cloudy, bands).bands.roles
    return Found(
        name=pair.name,
        split=pair.split,
        height=grid.height,
        width=grid.width,
        dtype=dtype,
        roles=roles,
        one_order=roles == whole.scene.bands.roles,
        nir=pair.cloudy_nir is not None,
        gsd_m=grid.gsd_m or look.config.gsd_m or usual_gsd_m,
        digest=mark.digest,
        bits=mark.bits,
        top=max(float(dn[:, whole.valid].max()) for dn in (whole.cloudy, whole.clear)),
        octaves=_octaves([band[whole.valid] for dn in (whole.cloudy, whole.clear) for band in dn]),
        corners_lonlat=None if corners is None else corners.tolist(),
        dates=[d.when.isoformat() for d in dates if d is not None] if all(dates) else None,
    )


def by_ground(
    folder: Path, pairs: Sequence[PairFile], found: Sequence[Found]
) -> tuple[Sequence[PairFile], Sequence[Found]] | None:
    """Pairs of a set without splits, split so that those that share ground are on one side.

    None if none do.

    Warns
    -----
    DecrWarning
        If all of it is one ground, so that nothing is left to test on.
    """
    outlines = {
        f.name: None if f.corners_lonlat is None else np.array(f.corners_lonlat) for f in found
    }
    side = ground_split(outlines, TEST_SHARE)
    if not side:
        return None
    if "test" not in side.values():
        warn(
            f"{folder}: all {len(side)} pairs are for training: their images lie on one "
            "another; choose what to test on by folders train and test"
        )
    by_name = {f.name: f for f in found}
    ordered = sorted(pairs, key=lambda pair: pair.name)
    pairs = trained_first([replace(pair, split=side[pair.name]) for pair in ordered])
    return pairs, [replace(by_name[pair.name], split=pair.split) for pair in pairs]


def shared_ground(found: Sequence[Found]) -> list[str]:
    """Names of images that are not for training but share ground with some that are."""
    placed = [(f, np.array(f.corners_lonlat)) for f in found if f.corners_lonlat is not None]
    held = [(f.name, outline) for f, outline in placed if f.split != "train"]
    trained = [outline for f, outline in placed if f.split == "train"]
    return [held[i][0] for i in in_common([outline for _, outline in held], trained)]


def ranges_of(found: Sequence[Found], look: Looking) -> Ranges:
    """DN that the detector takes for black and white, by type; of the others it is known.

    White is the full scale of the largest DN, without the rare ones of octaves beyond. One image of
    a set may hold no cloud, and says as little of white as a part of a scene does.
    """
    if look.detector is None or look.config.dn_range is not None:
        return {}
    unknown = sorted({f.dtype for f in found} - {"uint8", *look.detector.ranges})
    return {
        dtype: (0.0, full_scale(dtype, _common_top([f for f in found if f.dtype == dtype])))
        for dtype in unknown
    }


def _octaves(bands: Sequence[NDArray[np.generic]]) -> list[int]:
    """See `Found`."""
    most = np.finfo(np.float64).maxexp + 1
    counts = [np.bincount(np.frexp(np.maximum(dn, 0))[1].clip(0), minlength=most) for dn in bands]
    return [int(count) for count in np.trim_zeros(np.sum(counts, axis=0), "b")]


def _common_top(found: Sequence[Found]) -> float:
    """The largest DN, or the largest of the octave that holds all but one in a thousand."""
    counts = np.cumsum([*map(sum, zip_longest(*(f.octaves for f in found), fillvalue=0))])
    octave = int(np.searchsorted(counts, (1.0 - _RARE) * counts[-1]))
    return min(max(f.top for f in found), float(np.nextafter(np.ldexp(1.0, octave), 0.0)))
