"""Copies in sets of images, exact and nearly so, and splits that they must not cross."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from decr.errors import DatasetError

NEAR_BITS = 28
"""Two images are near copies if at most so many of `HASH_BITS` bits differ.

In aerial photos, re-encoding and changes of brightness cost up to 12 bits; the same ground some
years later often stays below this limit, which is wanted; other ground lies well above it.
"""

HASH_BITS = 143
"""12 x 12 cosine coefficients without the mean."""

_THUMB_PX = 48
_SIDE = 12
_FLAT = 1e-3
_BLOCK = 256


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Two images that show the same.

    Attributes
    ----------
    first, second
        Names; ``first`` came first.
    exact
        Whether every pixel is equal.
    bits
        Bits in which the perceptual hashes differ; 0 for exact copies.
    """

    first: str
    second: str
    exact: bool
    bits: int = 0


def perceptual_hash(image: NDArray[Any]) -> NDArray[np.bool_] | None:
    """What an image looks like, in 143 bits.

    Signs, against their median, of the lowest 12 x 12 cosine coefficients of the mean of the bands,
    shrunk to 48 x 48. Brightness, contrast, size, re-encoding and a little noise change few of
    them; turning or mirroring, about half.

    Parameters
    ----------
    image
        (C, H, W), any numbers.

    Returns
    -------
    ndarray or None
        (143,) bool; None for an image without structure, which looks like any other such.
    """
    grey = image.mean(axis=0, dtype=np.float64)
    small = _shrunk(_shrunk(grey, 0), 1)
    spread = float(small.std())
    if not spread > _FLAT * max(abs(float(small.mean())), 1e-30):
        return None
    low = fft.dctn(small, norm="ortho")[:_SIDE, :_SIDE].ravel()[1:]
    bits: NDArray[np.bool_] = low > np.median(low)
    return bits


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What is kept of an image to find its copies.

    Attributes
    ----------
    digest
        SHA-256 of shape, type and pixels, hexadecimal.
    bits
        `perceptual_hash` packed to bytes, hexadecimal; None for an image without structure.
    """

    digest: str
    bits: str | None


def fingerprint(image: NDArray[Any]) -> Fingerprint:
    """The fingerprint of a (C, H, W) image."""
    bits = perceptual_hash(image)
    return Fingerprint(
        _digest(image).hex(), None if bits is None else np.packbits(bits).tobytes().hex()
    )


def find_duplicates(named_images: Iterable[tuple[str, NDArray[Any]]]) -> list[Duplicate]:
    """Copies among images that are looked at one by one.

    Images may come from a generator: of each only its name, a digest and 143 numbers are kept
    (about 1 KB), so a set need not fit in memory.

    Parameters
    ----------
    named_images
        (name, (C, H, W) array) each.

    Returns
    -------
    list of Duplicate
        Each exact copy once, with the first image that it equals; then near copies, every two that
        are alike, by order of appearance. What an exact copy is nearly alike to is told of the
        first image alone.
    """
    return find_copies((name, fingerprint(image)) for name, image in named_images)


def find_copies(named: Iterable[tuple[str, Fingerprint]]) -> list[Duplicate]:
    """As `find_duplicates`, of fingerprints that were taken before."""
    first_of: dict[str, str] = {}
    names: list[str] = []
    signs: list[NDArray[np.int8]] = []
    found: list[Duplicate] = []
    for name, mark in named:
        if mark.digest in first_of:
            found.append(Duplicate(first_of[mark.digest], name, exact=True))
            continue
        first_of[mark.digest] = name
        if mark.bits is not None:
            names.append(name)
            bits = np.unpackbits(np.frombuffer(bytes.fromhex(mark.bits), np.uint8))[:HASH_BITS]
            signs.append(np.where(bits > 0, 1, -1).astype(np.int8))
    return found + _near(names, signs)


def leaks(copies: Sequence[Duplicate], split: Mapping[str, str]) -> dict[str, Duplicate]:
    """Images held out of training that show what a training image shows, and which one.

    Parameters
    ----------
    copies
        Of `find_copies`, to which the images of "train" were given first.
    split
        "train" or another, by name.

    Examples
    --------
    >>> found = [Duplicate("b", "c", True), Duplicate("a", "b", False, 9)]
    >>> split = {"a": "train", "b": "test", "c": "test"}
    >>> {name: copy.first for name, copy in leaks(found, split).items()}
    {'b': 'a', 'c': 'a'}
    """
    found: dict[str, Duplicate] = {}
    for copy in copies:
        if split[copy.first] == "train" and split[copy.second] != "train":
            found.setdefault(copy.second, copy)
    for copy in copies:
        # What equals a near copy of a training image is one as well, but was not compared.
        if copy.exact and copy.first in found:
            found.setdefault(copy.second, replace(found[copy.first], second=copy.second))
    return found


def refuse_leak(
    train: Iterable[tuple[str, NDArray[Any]]], validation: Iterable[tuple[str, NDArray[Any]]]
) -> None:
    """Refuse to validate on images that are trained on, or on near copies of them.

    Parameters
    ----------
    train, validation
        (name, (C, H, W) array) each; of pairs their clear sides. May be generators.

    Raises
    ------
    DatasetError
        Naming the first leak and how many there are.
    """
    keyed = chain(
        ((f"t{name}", image) for name, image in train),
        ((f"v{name}", image) for name, image in validation),
    )
    leaks = [d for d in find_duplicates(keyed) if d.first[0] != d.second[0]]
    if leaks:
        kind = "the same image as" if leaks[0].exact else "nearly the same image as"
        raise DatasetError(
            f"{leaks[0].second[1:]}, for validation, is {kind} {leaks[0].first[1:]}, which is "
            f"trained on ({len(leaks)} such pairs); take one of each two out of its set, whose "
            "copies decr dataset dedupe lists, or name it under skip in a recipe for training"
        )


def _digest(image: NDArray[Any]) -> bytes:
    said = f"{image.shape} {image.dtype.str}".encode()
    return hashlib.sha256(said + np.ascontiguousarray(image).tobytes()).digest()


def _shrunk(grey: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Means over `_THUMB_PX` parts of an axis; short axes repeat their pixels."""
    length = grey.shape[axis]
    starts = np.arange(_THUMB_PX) * length // _THUMB_PX
    if length < _THUMB_PX:
        repeated: NDArray[np.float64] = np.take(grey, starts, axis=axis)
        return repeated
    sums = np.add.reduceat(grey, starts, axis=axis)
    counts = np.diff(np.append(starts, length)).astype(np.float64)
    means: NDArray[np.float64] = sums / (counts[:, None] if axis == 0 else counts)
    return means


def _near(names: list[str], signs: list[NDArray[np.int8]]) -> list[Duplicate]:
    """Every two hashes that differ in few bits, by products of their signs."""
    if not signs:
        return []
    table = np.stack(signs).astype(np.float32)
    found = []
    for start in range(0, len(table), _BLOCK):
        block = table[start : start + _BLOCK]
        differ = (HASH_BITS - block @ table[start:].T) / 2
        for row, col in zip(*np.nonzero(differ <= NEAR_BITS + 0.25), strict=True):
            if row < col:
                bits = round(float(differ[row, col]))
                found.append(Duplicate(names[start + row], names[start + col], False, bits))
    return found
