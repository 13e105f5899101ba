"""Sets whose cloudy and clear images seem to be swapped, told by the light that clouds add."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decr.dataset.guesses import tell
from decr.dataset.manifest import PairFile
from decr.dataset.read_pair import open_image
from decr.errors import DecrError
from decr.geo.reader import reader

_MOST = 20
"""Pairs that are looked at, evenly spread over the set."""
_LEAST = 5
_NEARLY_ALL = 0.9
_CELL_PX = 8
_MORE, _ADDED, _BRIGHT = 1.5, 0.25, 0.9
_WHY = (
    "brighter in the clear image than in the cloudy one, as if these were swapped; look at them, "
    "and if they are, rename both folders, or exchange cloudy and clear in pairs.jsonl"
)


def tell_swapped(path: Path, pairs: Sequence[PairFile], bands: str | None = None) -> None:
    """Warn of a set in which nearly every clear image looks like the cloudy one of its pair.

    No more than 20 pairs are looked at. Those that cannot be read are passed over: what reads them
    says so.

    Parameters
    ----------
    path
        Of the set, for the message.
    bands
        Roles of all images in file order; None takes them from each pair or its files.

    Warns
    -----
    DecrWarning
        If `added_light` is the clear image's in nine of ten pairs, and in at least 5.
    """
    spread = np.linspace(0, len(pairs) - 1, min(_MOST, len(pairs))).astype(int)
    looked = [pairs[i] for i in spread]
    found = {pair.name: _clear_is_brighter(pair, bands) for pair in looked}
    seen = [name for name, brighter in found.items() if brighter is not None]
    swapped = [name for name in seen if found[name]]
    if len(swapped) >= max(_LEAST, _NEARLY_ALL * len(seen)):
        tell(str(path), f"{len(seen)} pairs looked at", {_WHY: swapped})


def added_light(one: NDArray[np.float64], two: NDArray[np.float64]) -> bool:
    """Whether the second of two views of one ground has light that the first lacks, as of clouds.

    Three things must hold. The squares of what it is brighter by sum to half as much again as those
    of what it is darker by: clouds add much light in some places, which squares weigh most, and the
    ground of another date differs a little everywhere. Somewhere a quarter of the first's median is
    added: another sun adds less. Its brightest tenth begins higher: shadows on snow take as much as
    clouds add, but leave the brightest parts as they are.

    No white is needed, and numbers may be of any scale. That clouds hide details is no part of it:
    broken clouds in pixels of 30 m are rougher than the ground. Fresh snow looks as clouds do, and
    so may ground that is much brighter on one date.

    Parameters
    ----------
    one, two
        (N,) means over bands of the same cells.

    Examples
    --------
    >>> ground = np.linspace(10.0, 20.0, 20)
    >>> cloudy = np.where(np.arange(20) < 4, 80.0, ground)
    >>> added_light(ground, cloudy), added_light(cloudy, ground)
    (True, False)
    """
    more = two - one
    up, down = ((np.maximum(side, 0.0) ** 2).sum() for side in (more, -more))
    return bool(
        up > _MORE * down
        and more.max() > _ADDED * np.median(one)
        and np.quantile(two, _BRIGHT) > np.quantile(one, _BRIGHT)
    )


def _clear_is_brighter(pair: PairFile, bands: str | None) -> bool | None:
    """`added_light` of the clear image; None if that cannot be told."""
    try:
        cloudy, clear = (_view(path, bands or pair.bands) for path in (pair.cloudy, pair.clear))
    except DecrError:
        return None
    if cloudy.shape != clear.shape:
        return None
    valid = np.isfinite(cloudy) & np.isfinite(clear)
    return added_light(cloudy[valid], clear[valid]) if valid.any() else None


def _view(path: Path, bands: str | None) -> NDArray[np.float64]:
    """(h, w) means over an image's data bands and cells; NaN where no pixel holds data."""
    scene = open_image(path, bands)
    with reader(scene) as source:
        mean, count = source.read_coarse(scene.grid.coarsened(_CELL_PX).window, _CELL_PX)
    return np.where(count > 0, mean.mean(axis=0, dtype=np.float64), np.nan)
