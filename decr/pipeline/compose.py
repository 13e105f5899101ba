"""From what the model changed, on the work grid, to the scene's digital numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decr.cloud.change import upsampled
from decr.geo.grid import Window
from decr.pipeline.tiles import FULL, LEVELS, Int32, quantised
from decr.radiometry import Radiometry

Float32 = NDArray[np.float32]
_STRIP_ROWS = 64


@dataclass(frozen=True, slots=True)
class Composer:
    """How restored units become digital numbers of the scene.

    Attributes
    ----------
    feed
        For each model band, the scene band that feeds it (a panchromatic scene feeds all).
    radiometry
        Over all bands of the scene.
    nodata
        Per scene band; None where there is none.
    """

    feed: tuple[int, ...]
    radiometry: Radiometry
    nodata: tuple[float | None, ...]

    @property
    def targets(self) -> tuple[int, ...]:
        """Scene bands that are restored, ascending."""
        return tuple(sorted(set(self.feed)))

    def compose(
        self,
        dn: NDArray[np.generic],
        valid: NDArray[np.bool_],
        weight: Float32,
        change: NDArray[np.floating] | Int32,
    ) -> NDArray[np.generic]:
        """Apply a change to source pixels.

        Parameters
        ----------
        dn
            (len(targets), H, W), source digital numbers of the restored bands.
        valid, weight
            (H, W); weight in [0, 1].
        change
            (len(feed), H, W), what the model adds to each of its bands, `FULL` stands for 1.0.

        Returns
        -------
        ndarray
            Like ``dn``. Source pixels return bit for bit where the weight is 0, the pixel is
            invalid, or the model changed nothing.
        """
        out = dn.copy()
        chosen = valid & (weight > 0)
        for first in range(0, dn.shape[1], _STRIP_ROWS):  # in little room: numbers of 8 bytes
            rows = slice(first, first + _STRIP_ROWS)
            self._compose_strip(
                dn[:, rows], chosen[rows], weight[rows], np.asarray(change)[:, rows], out[:, rows]
            )
        return out

    def _compose_strip(
        self,
        dn: NDArray[np.generic],
        chosen: NDArray[np.bool_],
        weight: Float32,
        change: NDArray[Any],
        out: NDArray[np.generic],
    ) -> None:
        for slot, band in enumerate(self.targets):
            sources = [index for index, fed in enumerate(self.feed) if fed == band]
            delta: NDArray[np.float64] = change[sources].mean(axis=0, dtype=np.float64)
            moved = chosen & (delta != 0)
            if not moved.any():
                continue
            encoding = self.radiometry.pick([band])
            source = dn[slot][moved]
            base = quantised(encoding.encode(source[None, None]))[0, 0]
            unit = base / LEVELS + delta[moved] / FULL
            restored = encoding.decode(unit[None, None])[0, 0]
            share = weight[moved].astype(np.float64)
            old = source.astype(np.float64)
            mixed = np.where(share >= 1.0, restored, old + share * (restored - old))
            out[slot][moved] = _stored(mixed, dn.dtype, self.nodata[band])


def _stored(
    values: NDArray[np.float64], dtype: np.dtype[Any], nodata: float | None
) -> NDArray[Any]:
    """Round and saturate to the scene's type, keeping clear of the nodata value."""
    whole = dtype.kind in "iu"
    limits: Any = np.iinfo(dtype) if whole else np.finfo(dtype)
    if whole:
        result = np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
    else:
        result = values.astype(dtype)
    if nodata is None or np.isnan(nodata):
        return result
    # A fraction, or a number of another type, is no number of these.
    if not whole or (limits.min <= nodata <= limits.max and float(nodata).is_integer()):
        missing, down = dtype.type(nodata), nodata >= limits.max
        if whole:
            beside = int(nodata) + (-1 if down else 1)
        else:
            beside = np.nextafter(missing, dtype.type(-np.inf if down else np.inf))
        result[result == missing] = beside
    return result


def change_at_full_resolution(
    change: Int32, origin: Window, factor: int, window: Window
) -> NDArray[np.floating] | Int32:
    """Bring a change on the work grid to the scene's pixels under a window.

    Parameters
    ----------
    change
        (C, h, w) under ``origin`` on the work grid; with a border of one cell if factor > 1.
    """
    if factor == 1:
        return change[:, *window.slices(origin)]
    near = window.coarsened(factor).expand(1, origin)
    cells = change[:, *near.slices(origin)].astype(np.float32)
    return upsampled(cells, (near.row, near.col), factor, (window.row, window.col), window.shape)
