"""Whether the fourth of four bands of bytes is transparency, as GDAL says, or a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from decr.geo.bands import Bands
from decr.geo.pieces import spread_windows

if TYPE_CHECKING:
    from decr.geo.scene import SceneReader

WITH_NIR = Bands(("red", "green", "blue", "nir"))
"""What the bands are if the fourth is a picture."""

_MOST = 4
"""Windows along each side of a scene, of 512 or 64 pixels along each of theirs."""
_GRADES = 16
"""Most numbers between none and full that transparency is drawn with."""


def holds_picture(source: SceneReader) -> bool:
    """Whether most numbers of the last of four bands lie between 0 and 255, and are many.

    Transparency is 0 or 255 nearly everywhere, or of few grades. A few windows are looked at, the
    same of a file every time. Pixels that are 0 or 255 in all four bands are left out: frames and
    saturated clouds would be so either way.

    Parameters
    ----------
    source
        Of four bands of uint8, all of them data.

    Raises
    ------
    SceneError
        If the file is damaged there.
    """
    scene = source.scene
    counts = np.zeros(256, np.int64)
    for window in spread_windows(scene.grid.window, scene.block_shape, _MOST):
        dn, valid = source.read(window)
        told = valid & ~((dn == 0).all(axis=0) | (dn == 255).all(axis=0))
        counts += np.bincount(dn[-1][told], minlength=256)
    between = counts[1:-1]
    return bool(2 * between.sum() > counts.sum() and (between > 0).sum() > _GRADES)
