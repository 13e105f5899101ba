"""What the pages show: plain values, so that pages know nothing of rasters or networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TileCcp:
    """CCP of one tile: corner and size in scene pixels, counts of pixels."""

    row: int
    col: int
    height: int
    width: int
    cloudy_px: int
    valid_px: int


@dataclass(frozen=True, slots=True, eq=False)
class SceneReport:
    """One scene (or chip) of a CCP report.

    quicklook: (h, w, 3) uint8 RGB, at most about 1024 px on the long side, or None.
    overlay: (h, w) uint8 of the same size: 0 clear, 1 cloudy, 2 no data; 3 thin where known (then
    1 is thick).
    """

    name: str
    height: int
    width: int
    cloudy_px: int
    valid_px: int
    thin_px: int | None = None  # of cloudy_px
    group: str | None = None  # "train", "test", ... where a split exists
    tiles: Sequence[TileCcp] = ()
    quicklook: NDArray[np.uint8] | None = None
    overlay: NDArray[np.uint8] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)  # "CRS": "EPSG:32650", ...


@dataclass(frozen=True, slots=True, eq=False)
class CcpReport:
    """A whole report; its facts (detector, threshold, definition...) are in the order shown."""

    title: str
    scenes: Sequence[SceneReport]
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class RestorationReport:
    """A restoration, before and after.

    before, after: (h, w, 3) uint8 of the same size; weight (h, w) uint8 0..255: how far pixels
    could be changed; allocation (h, w) uint8 0..255 or None: mean W of the fusion.
    """

    name: str
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]
    overlay: NDArray[np.uint8]
    weight: NDArray[np.uint8]
    allocation: NDArray[np.uint8] | None
    ccp_before: float
    ccp_after: float | None
    tiles: Sequence[TileCcp] = ()
    seams: Mapping[str, float] = field(default_factory=dict)
    stages_s: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)  # provenance: model, hashes, options
