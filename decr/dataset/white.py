"""The digital number of white: told by sets that do not state it, and doubted where stated.

Two rules tell it: `white_level` of sets that are read, for training or evaluation, and `full_scale`
of images that decr makes sets of.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decr.errors import DatasetError

CloudyClear = tuple[NDArray[Any], NDArray[Any]]
"""DN of a cloudy and a clear image, (C, H, W)."""

_DEPTHS = (10, 11, 12)
_BRIGHT = 0.1
"""Share of a clear image above `_BEYOND` times its white from which that is told."""
_BEYOND = 1.25
"""Snow may be somewhat brighter than white; what is stated for fewer bits is at most half of it."""
TOO_BRIGHT = (
    "brighter than white in more than a tenth of the clear image, by more than a quarter, which is "
    "plain white there; give the number of the brightest cloud (--white, or white in a recipe)"
)
"""What is told of images that are `too_bright`."""


def brightest(both: CloudyClear) -> CloudyClear:
    """The largest number of each image, (1, 1, 1) of its type."""
    cloudy, clear = (image.max(keepdims=True) for image in both)
    return cloudy, clear


def common_white(path: Path, unsaid: list[CloudyClear], rest: Iterable[CloudyClear]) -> float:
    """`white_level` of pairs and, if they have 16 bits, of the rest of their set.

    No more of that is looked at than it takes to know that no number of bits is enough.
    """
    tops = [*unsaid]
    if all(image.dtype == np.uint16 for both in tops for image in both):
        most = 2 ** _DEPTHS[-1]
        others = iter(rest)
        while max(int(image.max()) for both in tops for image in both) < most:
            more = next(others, None)
            if more is None:
                break
            tops.append(more)
    return white_level(path, tops)


def white_level(path: Path, pairs: list[CloudyClear]) -> float:
    """The DN of white for a set that is read and does not state it.

    255 for uint8. For uint16, the top of the smallest of 10, 11 and 12 bits that holds every pixel
    of the set: clouds come near the top of a sensor's range, so the brightest of many images tells.

    Parameters
    ----------
    path
        Of the set or one of its images, for messages.
    pairs
        (C, H, W) DN of cloudy and clear images, all of one type.

    Raises
    ------
    DatasetError
        For other types, several types, or brighter pixels: then it must be stated.
    """
    types = sorted({image.dtype.name for pair in pairs for image in pair})
    if types == ["uint8"]:
        return 255.0
    top = max(float(image.max()) for pair in pairs for image in pair)
    fitting = [2.0**depth - 1 for depth in _DEPTHS if top < 2**depth]
    if types != ["uint16"] or not fitting:
        raise DatasetError(
            f"{path}: cannot tell the white level of {' and '.join(types)} images up to {top:g}; "
            "state white, the number of the brightest cloud of the set (--white, or white in a "
            "recipe)"
        )
    return fitting[0]


def full_scale(dtype: str, top: float) -> float:
    """The DN of white of images that a set is made of, if nobody states it.

    The largest number of the fewest bits, from 10 on, that hold ``top``; 255 for uint8.

    Parameters
    ----------
    dtype
        As `decr.geo.scene.Scene.dtype`. Of floats white is ``top`` itself.
    top
        The largest number of the images.

    Examples
    --------
    >>> full_scale("uint8", 12.0), full_scale("uint16", 1500.0), full_scale("float32", 0.8)
    (255.0, 2047.0, 0.8)
    """
    if dtype == "uint8":
        return 255.0
    if dtype.startswith("float"):
        return max(top, 1e-30)
    return float(2 ** max(10, int(top).bit_length()) - 1)


def too_bright(dn: NDArray[Any], white: float) -> bool:
    """Whether a clear image, (C, H, W), lies far above white in more than a tenth of its values."""
    return bool(np.mean(dn > _BEYOND * white) > _BRIGHT)
