"""Measures of how far two images are apart, and the published way to apply them ("de-paper").

Images are (C, H, W) arrays of one shape and of any real type, in units of the caller's choice;
where a measure needs to know what full scale is, it is told (``data_range``) and never guesses
from the type. All sums are in float64. A mask is (H, W) bool, True = the pixels that count.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from decr.errors import ConfigError, DatasetError

Array = NDArray[Any]
Mask = NDArray[np.bool_]
Float64 = NDArray[np.float64]
Byte = NDArray[np.uint8]

SSIM_WINDOW_PX = 7
"""Side of the square window of SSIM, scikit-image's default."""

_BORDER = SSIM_WINDOW_PX // 2
_K1, _K2 = 0.01, 0.03
_LUMA = (0.298912, 0.586611, 0.114478)
"""Shares of R, G, B in the published luma; they sum to 1.000001."""
_FULL_SCALE_U8 = 255.0


def psnr(a: Array, b: Array, data_range: float, mask: Mask | None = None) -> float:
    """Peak signal-to-noise ratio, one mean squared error over all bands and pixels.

    Parameters
    ----------
    a, b
        (C, H, W).
    data_range
        Full scale of the values, for example 255, or 2 for [-1, 1].
    mask
        Pixels that count; None counts all.

    Returns
    -------
    float
        dB; infinite where the images are equal.

    Raises
    ------
    DatasetError
        For images that cannot be compared, a mask that does not fit or is empty.
    ConfigError
        For a data range that is not a positive number.

    Examples
    --------
    >>> zeros = np.zeros((3, 8, 8))
    >>> round(psnr(zeros, zeros + 0.1, data_range=1.0), 9)
    20.0
    """
    _check_range(data_range)
    first, second = _compared(a, b, mask)
    error = float(np.mean((first - second) ** 2))
    return math.inf if error == 0.0 else float(10.0 * np.log10(data_range**2 / error))


def mae(a: Array, b: Array, mask: Mask | None = None) -> float:
    """Mean absolute error of (C, H, W) images over all bands and counted pixels, in their units.

    Raises
    ------
    DatasetError
        For images that cannot be compared, a mask that does not fit or is empty.
    """
    first, second = _compared(a, b, mask)
    return float(np.mean(np.abs(first - second)))


def sam(a: Array, b: Array, mask: Mask | None = None) -> float:
    """Mean spectral angle of (C, H, W) images, in degrees, 0 for equal colours at any brightness.

    Pixels that are 0 in all bands of either image have no direction and are left out. Values
    should be proportional to light: an offset, as of [-1, 1], changes the angles.

    Raises
    ------
    DatasetError
        For images that cannot be compared, a mask that does not fit, or no pixel to compare.

    Examples
    --------
    >>> red, yellow = np.zeros((2, 1, 1)), np.ones((2, 1, 1))
    >>> red[0] = 5
    >>> round(sam(red, yellow), 9)
    45.0
    """
    first, second = _compared(a, b, mask)
    length_a, length_b = np.linalg.norm(first, axis=0), np.linalg.norm(second, axis=0)
    directed = (length_a > 0) & (length_b > 0)
    if not directed.any():
        raise DatasetError("no pixel differs from 0 in both images, so there is no spectral angle")
    u = first[:, directed] / length_a[directed]
    v = second[:, directed] / length_b[directed]
    # Half-angle form: an arc cosine would lose half of the digits of small angles.
    half = np.arctan2(np.linalg.norm(u - v, axis=0), np.linalg.norm(u + v, axis=0))
    return float(np.degrees(2.0 * half).mean())


def ssim(a: Array, b: Array, data_range: float, mask: Mask | None = None) -> float:
    """Structural similarity, the mean of `ssim_map` over bands and pixels, at most 1.

    Parameters
    ----------
    a, b
        (C, H, W), sides of at least 7 pixels.
    data_range
        Full scale of the values.
    mask
        Pixels that count; None counts all. The window of a counted pixel reaches 3 pixels beyond
        the mask. Pixels nearer than that to an edge never count.

    Raises
    ------
    DatasetError
        For images that cannot be compared or are too small, a mask that does not fit, or one
        without a pixel to compare.
    ConfigError
        For a data range that is not a positive number.
    """
    likeness = ssim_map(a, b, data_range)
    if mask is None:
        return float(likeness.mean())
    _check_mask(a, mask)
    inner = mask[_BORDER:-_BORDER, _BORDER:-_BORDER]
    if not inner.any():
        raise DatasetError(
            f"the mask counts no pixel that is {_BORDER} or more from the edge; SSIM needs one"
        )
    return float(likeness[:, inner].mean())


def ssim_map(a: Array, b: Array, data_range: float) -> Float64:
    """Structural similarity of the 7 x 7 window around each pixel, band by band.

    Uniform window, sample covariance (divided by 48, not 49), K1 = 0.01, K2 = 0.03: what
    scikit-image does unless told otherwise.

    Returns
    -------
    ndarray
        (C, H - 6, W - 6) float64; element [c, i, j] belongs to pixel [i + 3, j + 3].

    Raises
    ------
    DatasetError
        For images that cannot be compared or are too small.
    ConfigError
        For a data range that is not a positive number.

    References
    ----------
    Wang et al., Image quality assessment: from error visibility to structural similarity, 2004.
    """
    _check_range(data_range)
    first, second = _compared(a, b, None)
    height, width = a.shape[1:]
    if min(height, width) < SSIM_WINDOW_PX:
        raise DatasetError(
            f"images of {height} x {width} pixels are too small for SSIM, which needs "
            f"{SSIM_WINDOW_PX} x {SSIM_WINDOW_PX}"
        )
    bands = zip(first.reshape(a.shape), second.reshape(b.shape), strict=True)
    return np.stack([_likeness(x, y, data_range) for x, y in bands])


def truncated_unit(unit: Array) -> Byte:
    """The published conversion of [-1, 1] to bytes: scale, clip, cut off the fraction.

    Computed in the input's own type, as published: in float32, 63 of the 256 grey levels come back
    from v / 127.5 - 1 one too low.

    Raises
    ------
    DatasetError
        For numbers that are not finite.
    """
    return _truncated((unit + 1.0) * 127.5)


def truncated_share(share: Array) -> Byte:
    """As `truncated_unit`, of [0, 1]."""
    return _truncated(share * 255.0)


def paper_ssim(a: Byte, b: Byte, mask: Mask | None = None) -> float:
    """SSIM as published: of the luma of R, G, B, or for R, G, B, NIR the mean over bands.

    Each of four bands stands in for R, G and B in turn, so that its luma is 1.000001 times itself.

    Parameters
    ----------
    a, b
        (3, H, W) or (4, H, W) uint8, sides of at least 7 pixels.
    mask
        Pixels that count, as for `ssim`; None counts all, as published.

    Raises
    ------
    DatasetError
        For images that cannot be compared, are not uint8, are too small or have other bands, or a
        mask that does not fit or counts none.
    """
    _check_bytes(a, b)
    return ssim(_lumas(a), _lumas(b), _FULL_SCALE_U8, mask)


def _lumas(image: Byte) -> Float64:
    """One luma (1, H, W) of three bands, four (4, H, W) of four; float64, never rounded."""
    if image.shape[0] == 3:
        return np.tensordot(np.array(_LUMA), image.astype(np.float64), 1)[None]
    if image.shape[0] == 4:
        return np.asarray(image.astype(np.float64) * sum(_LUMA))
    raise DatasetError(f"the published SSIM is for 3 or 4 bands, the images have {image.shape[0]}")


def _likeness(x: Float64, y: Float64, data_range: float) -> Float64:
    """SSIM of each whole window of one band, (H - 6, W - 6)."""

    def mean(values: Float64) -> Float64:
        smooth = ndimage.uniform_filter(values, SSIM_WINDOW_PX)
        return np.asarray(smooth[_BORDER:-_BORDER, _BORDER:-_BORDER])

    count = SSIM_WINDOW_PX**2
    unbias = count / (count - 1)
    mean_x, mean_y = mean(x), mean(y)
    var_x, var_y = unbias * (mean(x * x) - mean_x**2), unbias * (mean(y * y) - mean_y**2)
    both = unbias * (mean(x * y) - mean_x * mean_y)
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    alike = (2.0 * mean_x * mean_y + c1) * (2.0 * both + c2)
    return np.asarray(alike / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)))


def _truncated(scaled: Array) -> Byte:
    if not np.isfinite(scaled).all():
        raise DatasetError("the image holds NaN or infinite numbers and cannot become bytes")
    return np.clip(scaled, 0.0, _FULL_SCALE_U8).astype(np.uint8)


def _compared(a: Array, b: Array, mask: Mask | None) -> tuple[Float64, Float64]:
    """Counted pixels of both images, (C, N) float64, after all checks."""
    if a.ndim != 3 or a.shape != b.shape or a.size == 0:
        raise DatasetError(
            f"images of shapes {a.shape} and {b.shape} cannot be compared; both must be one "
            f"(bands, rows, columns)"
        )
    if mask is not None:
        _check_mask(a, mask)
        if not mask.any():
            raise DatasetError("the mask counts no pixel, so there is nothing to compare")
    flat = [
        (image.reshape(image.shape[0], -1) if mask is None else image[:, mask]).astype(np.float64)
        for image in (a, b)
    ]
    if not all(np.isfinite(values).all() for values in flat):
        raise DatasetError("the images hold NaN or infinite numbers; leave them out by a mask")
    return flat[0], flat[1]


def _check_mask(image: Array, mask: Mask) -> None:
    if mask.shape != image.shape[1:] or mask.dtype != np.bool_:
        raise DatasetError(
            f"the mask is {mask.dtype} of shape {mask.shape}, the images need bool of shape "
            f"{image.shape[1:]}"
        )


def _check_range(data_range: float) -> None:
    if not 0.0 < data_range < math.inf:
        raise ConfigError(f"data_range is {data_range:g}; it must be a positive number")


def _check_bytes(*images: Array) -> None:
    for image in images:
        if image.dtype != np.uint8:
            raise DatasetError(
                f"the published scores are of uint8 images, this one is {image.dtype}; see "
                f"truncated_unit"
            )
