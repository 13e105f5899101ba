"""The one range of digital numbers of a scene: who says it, or how it is estimated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from decr.errors import SceneError
from decr.geo.pieces import spread_windows, whole_blocks
from decr.geo.reader import SceneReader, reader
from decr.geo.scene import Scene
from decr.pipeline.words import warn
from decr.radiometry import Radiometry, estimated, from_range, of_bytes

_EMPTY = 0.01
"""Share of a scene that is valid below which a few places say too little of its range."""
_LONG_PX = 2**30
"""Pixels of a scene that takes long to read, even if it is empty."""
ALL_NODATA = "{}: all pixels are nodata, there is nothing to look at; check its nodata value"


def radiometry_of(
    scene: Scene, given: tuple[float, float] | None, declared: Mapping[str, tuple[float, float]]
) -> Radiometry:
    """The scene's one DN range: given, declared by the card, of the type, or estimated.

    Parameters
    ----------
    given
        DN that map to -1 and +1, as the user says; None looks further.
    declared
        The model card's ranges by dtype.

    Raises
    ------
    SceneError
        If a range must be estimated and no pixel is valid.

    Warns
    -----
    DecrWarning
        If most of the scene lies outside the range that is given.
    """
    count = len(scene.bands.roles)
    if given is not None:
        _warn_of_misfit(scene, given)
        return from_range(*given, count)
    if scene.range_dtype in declared:
        return replace(from_range(*declared[scene.range_dtype], count), source="model")
    if scene.range_dtype == "uint8":
        return of_bytes(count)
    with reader(scene) as source:
        samples, share = _sampled(source)
        if share < _EMPTY:
            if scene.grid.height * scene.grid.width > _LONG_PX:
                warn(
                    f"{scene.path}: is nodata nearly everywhere; all of it is read for the range "
                    "of its numbers, which may take minutes and --range LOW,HIGH spares"
                )
            samples = _searched(source)
    if not samples.size:
        raise SceneError(ALL_NODATA.format(scene.path))
    found = estimated(samples, scene.range_dtype)
    return Radiometry(found.low[:1] * count, found.high[:1] * count, found.source)


def _warn_of_misfit(scene: Scene, given: tuple[float, float]) -> None:
    with reader(scene) as source:
        sampled, _ = _sampled(source, most=8)
        dn = sampled.astype(np.float64)
    outside = ((dn < given[0]) | (dn > given[1])).mean() if dn.size else 0.0
    if outside > 0.5:
        low, high = np.quantile(dn, (0.02, 0.98))
        warn(
            f"{scene.path}: {outside:.0%} of its digital numbers lie outside the range "
            f"{given[0]:g},{given[1]:g} and count as one of its ends; most are from {low:g} to "
            f"{high:g}: mend --range, or leave it out"
        )


def _sampled(source: SceneReader, most: int = 24) -> tuple[NDArray[np.generic], float]:
    """(C, N) valid DN from up to ``most`` x ``most`` windows, and the share that is valid there.

    See `spread_windows`. Windows of a file in blocks are 512 px wide, and every eighth pixel along
    each axis is taken; those of a file in strips are 64 px wide, and all are. That is as many
    numbers, but from 64 times the ground, so that a few clouds in a large scene are met.
    """
    scene = source.scene
    step = 8 if scene.block_shape[1] <= 1024 else 1
    found, looked_at = [], 0
    for window in spread_windows(scene.grid.window, scene.block_shape, most):
        dn, valid = source.read(window)
        thinned = valid[::step, ::step]
        found.append(dn[:, ::step, ::step][:, thinned])
        looked_at += thinned.size
    samples = np.concatenate(found, axis=1)
    return samples, samples.shape[1] / looked_at


def _searched(source: SceneReader) -> NDArray[np.generic]:
    """(C, N) valid DN of a scene that is mostly empty, all of which is read.

    Every eighth pixel along each axis of a piece, or where none of these is valid, all that are.
    """
    scene, count = source.scene, len(source.scene.bands.data_indices)
    bytes_per_px = np.dtype(scene.dtype).itemsize * count
    found = [np.empty((count, 0), scene.dtype)]
    for window in whole_blocks(scene.grid.window, scene.block_shape, bytes_per_px):
        dn, valid = source.read(window)
        step = 8 if valid[::8, ::8].any() else 1
        found.append(dn[:, ::step, ::step][:, valid[::step, ::step]])
    return np.concatenate(found, axis=1)
