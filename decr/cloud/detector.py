"""What a cloud detector is, and the one that needs no weights: a threshold."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

FINE_CELL = 3
"""Pixels along a cell from which they say more than their mean."""


@dataclass(frozen=True, slots=True)
class Detector:
    """A cloud detector; high probability = cloudy.

    Attributes
    ----------
    name
        For people and for the output's tags.
    version
        SHA-256 of its weights, or a version number.
    bands
        Roles of the bands it takes, in order.
    gsd_m
        Ground sampling distance it works at, metres; scenes are coarsened to it.
    probability
        (N, C, H, W) float32 in [0, 1] to (N, H, W) float32 in [0, 1]; or, from a detector that
        tells thin cloud from thick, (N, 2, H, W): of any cloud, and of thick cloud. A view's
        result must depend on that view alone. Called from several threads.
    ranges
        DN that become 0 and 1, by dtype, if it wants fixed ones; of other scenes it is shown what
        `decr.radiometry.for_detector` says.
    gsd_range_m
        GSDs that it was made for, metres; elsewhere it is less to be trusted.
    tells_thin
        Whether ``probability`` has two channels, any cloud and thick cloud, instead of one.
    darkest
        Whether a view has each band twice, (N, 2C, H, W): means of the scene's pixels under each
        of its own, then the darkest of them.
    fine
        Detectors for scenes with `FINE_CELL` or more pixels along a cell, where shadows and texture
        tell pale ground from cloud; of the same GSD and ``tells_thin``, without ``fine`` and
        ``ice``. The first whose bands the scene has looks at it. They are parts of this one, which
        `versions` names, too.
    ice
        This detector with near infrared, for scenes of reflectance that are not finer; of the same
        GSD and ``tells_thin``, without ``fine`` and ``ice``. See `decr.cloud.ice`.
    """

    name: str
    version: str
    bands: tuple[str, ...]
    gsd_m: float
    probability: Callable[[Float32], Float32]
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    gsd_range_m: tuple[float, float] = (0.0, math.inf)
    tells_thin: bool = False
    darkest: bool = False
    fine: tuple[Detector, ...] = ()
    ice: Detector | None = None

    @property
    def versions(self) -> str:
        """Versions of all networks that may look at a scene, joined by +.

        That of ``ice`` in place of this one's if there is one, then of each of ``fine``.
        """
        return "+".join(part.version for part in (self.ice or self, *self.fine))

    def for_scene(self, k: int, roles: Collection[str]) -> Detector:
        """What looks at a scene: this detector, or one of its ``fine``.

        Parameters
        ----------
        k
            Scene pixels along a cell.
        roles
            Of the scene's bands, or those that they can be fed as.
        """
        if k < FINE_CELL:
            return self
        return next((part for part in self.fine if set(part.bands) <= set(roles)), self)

    def for_reflectance(self, roles: Collection[str]) -> Detector:
        """What looks at a scene that shows reflectance: its ``ice``, if the scene has the bands.

        To be asked of what looks at the scene otherwise; see `decr.radiometry.shows_reflectance`.
        """
        return self.ice if self.ice and set(self.ice.bands) <= set(roles) else self


def _threshold(view: Float32) -> Float32:
    """Brightness and whiteness of each pixel, as a probability."""
    brightness = view.mean(axis=1)
    spread = view.max(axis=1) - view.min(axis=1)
    score = (brightness - 0.55) / 0.1 - spread / np.maximum(brightness, 1e-3) / 0.25
    clipped: Float32 = (1.0 / (1.0 + np.exp(-np.clip(score, -30, 30)))).astype(np.float32)
    return clipped


def threshold_detector() -> Detector:
    """A brightness / whiteness heuristic: the baseline, and the fallback without weights.

    Examples
    --------
    >>> detector = threshold_detector()
    >>> white, dark = np.full((1, 3, 2, 2), 0.95, "float32"), np.full((1, 3, 2, 2), 0.2, "float32")
    >>> bool((detector.probability(white) > 0.9).all() and (detector.probability(dark) < 0.1).all())
    True
    """
    return Detector("threshold", "1", ("red", "green", "blue"), 4.0, _threshold)
