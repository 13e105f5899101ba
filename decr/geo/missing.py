"""Which pixels of a raster hold no data: by its masks, and by the values of its bands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags

from decr.geo.bands import Bands
from decr.geo.opening import opened

_SAMPLED_PX = 1024
"""Most pixels along a side of masks that are compared."""


def mask_bands(dataset: Any, bands: Bands) -> tuple[int, ...]:
    """0-based data bands whose stored mask must be read; one stands for a per-dataset mask."""
    # Alpha is left to the bands' roles: GDAL takes the fourth band of many files for alpha
    # although a description or the user says that it is near infrared.
    plain = {MaskFlags.all_valid, MaskFlags.alpha}
    nodata_only = [MaskFlags.nodata]
    flags = dataset.mask_flag_enums
    stored = [i for i in bands.data_indices if not plain & {*flags[i]} and flags[i] != nodata_only]
    shared = [i for i in stored if MaskFlags.per_dataset in flags[i]]
    return tuple(sorted({*stored} - {*shared[1:]}))


def masked_falsely(dataset: Any, bands: Bands) -> frozenset[int]:
    """0-based bands for whose mask GDAL takes a band that is called alpha, and is none."""
    called = [i for i, colour in enumerate(dataset.colorinterp) if colour == ColorInterp.alpha]
    if bands.alpha_index in called:
        return frozenset()
    flags = dataset.mask_flag_enums
    return frozenset(i for i in range(dataset.count) if MaskFlags.alpha in flags[i])


def loses_mask(path: str, level: int, bands: Bands) -> bool:
    """Whether an overview of a file (0 is the finest) lacks the mask that the file has.

    GDAL takes all pixels of an overview for valid where it was made before the mask.
    """
    with opened(path) as dataset, opened(path, level) as overview:
        shape = min(_SAMPLED_PX, overview.height), min(_SAMPLED_PX, overview.width)
        return any(
            overview.read_masks(band + 1, out_shape=shape).all()
            and not dataset.read_masks(band + 1, out_shape=shape).all()
            for band in mask_bands(dataset, bands)
        )


def blackens(path: str, level: int, bands: Bands) -> bool:
    """Whether an overview of a file may be black for a band that is falsely called alpha.

    GDAL leaves the colours of pixels that are 0 in it out of the overviews that it makes. Frames
    are black in any case, and cannot be told apart.
    """
    with opened(path) as dataset, opened(path, level) as overview:
        if not masked_falsely(dataset, bands):
            return False
        shape = min(_SAMPLED_PX, overview.height), min(_SAMPLED_PX, overview.width)
        return not overview.read(out_shape=(overview.count, *shape)).any(axis=0).all()


def calls_fourth_alpha(dataset: Any, bands: Bands) -> bool:
    """Whether a file says of three bands that they are colours, and falsely that one is alpha."""
    three = sorted(colour.name for colour in dataset.colorinterp[:3])
    four = dataset.count == 4 and three == ["blue", "green", "red"]
    return four and bool(masked_falsely(dataset, bands))


def mask_kind(dataset: Any, bands: Bands) -> str:
    """Name the strongest of the marks for missing pixels."""
    if bands.alpha_index is not None:
        return "alpha"
    stored = mask_bands(dataset, bands)
    if any(MaskFlags.per_dataset not in dataset.mask_flag_enums[i] for i in stored):
        return "per_band"
    if stored:
        return "per_dataset"
    has_nodata = any(dataset.nodatavals[i] is not None for i in bands.data_indices)
    return "nodata" if has_nodata else "none"


def nodata_differs(nodata: Sequence[float | None], bands: Bands) -> bool:
    """Whether data bands say "no data" by different values, of which a GeoTIFF holds one."""
    return len({repr(nodata[i]) for i in bands.data_indices}) > 1


def differs_by_band(mask_kind: str, nodata: Sequence[float | None], bands: Bands) -> bool:
    """Whether bands say by themselves which pixels are missing; a GeoTIFF says it for all."""
    return mask_kind == "per_band" or nodata_differs(nodata, bands)


def drop_missing(valid: NDArray[np.bool_], plane: NDArray[Any], nodata: float | None) -> None:
    """Clear `valid` in place where a band holds its nodata value or no finite number."""
    is_float = plane.dtype.kind == "f"
    if is_float:
        valid &= np.isfinite(plane)
    if nodata is None or not np.isfinite(nodata):
        return
    low, high = range_of(plane.dtype)
    # Headers hold nodata as a double: rounding to the band's type, an extreme one may overflow.
    value = min(max(nodata, low), high) if is_float else nodata
    if is_float or (low <= nodata <= high and float(nodata).is_integer()):
        valid &= plane != plane.dtype.type(value)


def blank(planes: NDArray[Any], valid: NDArray[np.bool_], number: float = 0) -> None:
    """Give pixels of (C, H, W) that are not valid, (H, W), one number of its dtype, in place."""
    # Indexing by the mask would take more than 10 times as long, and 16 bytes for each such pixel.
    np.copyto(planes, planes.dtype.type(number), where=~valid)


def range_of(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Return the smallest and largest number of a dtype."""
    info = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return float(info.min), float(info.max)
