"""Whether the fourth of four bands of bytes is transparency, as GDAL says, or a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from decr.geo.bands import Bands, role_of
from decr.geo.opening import opened
from decr.geo.pieces import spread_windows

if TYPE_CHECKING:
    from decr.geo.reader import SceneReader

COLOURS = ("red", "green", "blue")
WITH_NIR = Bands((*COLOURS, "nir"))
"""What the bands are if the fourth is a picture."""

_FEW, _MANY = 4, 24
"""Windows along each side of a scene, of 512 or 64 pixels along each of theirs."""
_GRADES = 16
"""Most numbers between none and full that transparency is drawn with."""
_DOUBTFUL = 0.1
"""Share of such numbers, if they are more than twice as many, that soft edges seldom make up."""


def is_alpha_by_default(dataset: Any) -> bool:
    """Whether a file's last band may be called alpha for being the fourth of bytes alone.

    GDAL calls it so in each file of four bands of bytes that it is not told otherwise of.
    """
    return (
        {*dataset.dtypes} == {"uint8"}
        and [colour.name for colour in dataset.colorinterp] == [*COLOURS, "alpha"]
        and all(role_of(text) is None for text in dataset.descriptions)
    )


def is_alpha_assumed(path: str) -> bool:
    """Whether a file whose bands nobody named may be called transparent for GDAL's default alone.

    Raises
    ------
    SceneError
        If it cannot be opened.
    """
    with opened(path) as dataset:
        return is_alpha_by_default(dataset)


def what_fourth_is(source: SceneReader) -> tuple[bool, tuple[str, ...]]:
    """Whether the last of four data bands of uint8 is near infrared; warnings if that is a guess.

    It is if most of its numbers lie between 0 and 255, and are many: transparency is 0 or 255
    nearly everywhere, or of few grades. A few windows are looked at, more where these show nothing,
    the same of a file every time. Pixels that are 0 or 255 in all four bands are left out: frames
    and saturated clouds would be so either way.

    Raises
    ------
    SceneError
        If the file is damaged there.
    """
    counts = _counted(source, _FEW)
    if not counts.any():
        counts = _counted(source, _MANY)
    between, grades = counts[1:-1].sum(), np.count_nonzero(counts[1:-1])
    called = f"{source.scene.path}: calls its fourth band alpha, as GDAL does by default"
    if 2 * between > counts.sum() and grades > _GRADES:
        return True, (
            f"{called}, but it holds a picture; assuming red, green, blue, nir. If that is right, "
            "pass --bands r,g,b,n to silence this, else b,g,r,n (blue comes first, as in Jilin-1) "
            "or r,g,b,a (it is transparency)",
        )
    if between > _DOUBTFUL * counts.sum() and grades > 2 * _GRADES:
        return False, (
            f"{called}, and part of it looks like a picture; assuming transparency: pixels that "
            "are 0 in it count as missing. If it is near infrared, pass --bands r,g,b,n, else "
            "r,g,b,a to silence this",
        )
    return False, ()


def _counted(source: SceneReader, most: int) -> NDArray[np.int64]:
    """(256,) pixels by their number in the last band, in up to ``most`` x ``most`` windows."""
    scene, counts = source.scene, np.zeros(256, np.int64)
    for window in spread_windows(scene.grid.window, scene.block_shape, most):
        dn, valid = source.read(window)
        told = valid & ~((dn == 0).all(axis=0) | (dn == 255).all(axis=0))
        counts += np.bincount(dn[-1][told], minlength=256)
    return counts
