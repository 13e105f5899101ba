"""What the pages show: plain values, so that pages know nothing of rasters or networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TileCcp:
    """CCP of one tile: its place in the scene, its cloudy valid pixels and all valid ones."""

    row: int
    col: int
    height: int
    width: int
    cloudy_px: int
    valid_px: int


@dataclass(frozen=True, slots=True)
class FeatureCcp:
    """CCP of one feature of a vector file.

    Attributes
    ----------
    name
        For people; any text.
    cloudy_px, valid_px, thin_px
        As of a scene, of the pixels whose centres lie in the feature.
    """

    name: str
    cloudy_px: int
    valid_px: int
    thin_px: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SceneReport:
    """One scene (or chip) of a CCP report.

    Attributes
    ----------
    name
        For people; any text.
    height, width
        Of the scene, pixels.
    cloudy_px, valid_px
        Cloudy valid pixels, and all valid pixels; CCP is the first over the second.
    thin_px
        Pixels of ``cloudy_px`` that are thin cloud; None if the detector does not tell.
    group
        "train", "test", ... where a split exists.
    tiles
        CCP of the scene's tiles, if it has more than one.
    quicklook
        (h, w, 3) uint8 RGB, at most about 1024 px on the long side, or None.
    overlay
        (h, w) uint8 of the same size: 0 clear, 1 cloudy, 2 no data; 3 thin where known (then 1 is
        thick).
    facts
        What else is known of the scene, such as "CRS": "EPSG:32650".
    file_px
        Pixels of the file in each that was counted.
    features
        CCP of areas that were asked for, in the order of their file.
    """

    name: str
    height: int
    width: int
    cloudy_px: int
    valid_px: int
    thin_px: int | None = None
    group: str | None = None
    tiles: Sequence[TileCcp] = ()
    quicklook: NDArray[np.uint8] | None = None
    overlay: NDArray[np.uint8] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    file_px: float = 1.0
    features: Sequence[FeatureCcp] = ()


@dataclass(frozen=True, slots=True, eq=False)
class CcpReport:
    """A whole CCP report.

    Attributes
    ----------
    title
        Heading of the page.
    scenes
        In the order shown.
    facts
        Detector, version, threshold, GSD, definition..., in the order shown.
    failed
        Images that could not be measured, by name: what was wrong.
    """

    title: str
    scenes: Sequence[SceneReport]
    facts: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class RestorationReport:
    """A restoration of one scene.

    Attributes
    ----------
    name
        For people; any text.
    before, after
        (h, w, 3) uint8 RGB of the same size, with one stretch.
    overlay
        (h, w) uint8: 0 clear, 1 cloudy, 2 no data; of the scene before.
    weight
        (h, w) uint8: 0..255 is a change weight of 0..1, how far pixels could be changed.
    allocation
        (h, w) uint8: 0 where no tile was restored, else 1..255 for W to 1, the weight of the
        reference's output in the fusion, mean over steps; None if it was not collected.
    ccp_before, ccp_after
        0..1; ``ccp_after`` is None if it was not measured.
    seams
        Numbers of `decr.pipeline.seams.Seams` that are known, by name.
    stages_s
        Seconds by stage, in order.
    facts
        Provenance: model, hashes, options, in the order shown.
    """

    name: str
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]
    overlay: NDArray[np.uint8]
    weight: NDArray[np.uint8]
    allocation: NDArray[np.uint8] | None
    ccp_before: float
    ccp_after: float | None
    seams: Mapping[str, float] = field(default_factory=dict)
    stages_s: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
