"""The vector files: the formula that fills weights and inputs, reading, and comparing arrays."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = dict[str, Array]

_DISTRIBUTIONS = ("position_embeddings", "mu_tokens", "log_var_tokens")


def uniform(key: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float64]:
    """Pseudo-random numbers in [-1, 1), a pure function of (key, flat index, seed): splitmix64."""
    count = math.prod(shape)
    start = np.uint64((zlib.crc32(key.encode()) + (seed << 32)) % 2**64)
    with np.errstate(over="ignore"):
        z = start + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    unit = (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return (2.0 * unit - 1.0).reshape(shape)


def fill(key: str, shape: tuple[int, ...], seed: int, gain: float = 1.0) -> NDArray[np.float32]:
    """Value of the floating tensor ``key`` ("." or, for Keras, "/" before the leaf)."""
    leaf = key.replace("/", ".").rsplit(".", 1)[-1]
    r = uniform(key, shape, seed)
    if leaf == "coefficient":
        value = 1.0 + 0.25 * r
    elif leaf in _DISTRIBUTIONS:
        value = r
    elif leaf == "kernel":
        value = gain * np.sqrt(3.0 / math.prod(shape[:-1])) * r
    elif len(shape) >= 2:
        value = gain * np.sqrt(3.0 / math.prod(shape[1:])) * r
    elif leaf in ("running_var", "moving_variance"):
        value = 1.0 + 0.5 * r
    elif leaf in ("weight", "gamma"):
        value = np.full(shape, 0.25) if shape == (1,) else 0.75 + 0.25 * r
    else:
        value = 0.1 * r
    return value.astype(np.float32)


def fill_all(
    shapes: Mapping[str, tuple[int, ...]], seed: int, gain: float = 1.0
) -> dict[str, NDArray[np.float32]]:
    """Values of all floating tensors of a network."""
    return {key: fill(key, tuple(shape), seed, gain) for key, shape in shapes.items()}


def make_input(entry: Mapping[str, Any], seed: int) -> Array:
    """Input array that the file's ``meta`` describes: float32, or int64 where literal."""
    if entry["kind"] == "literal":
        return np.asarray(entry["values"], dtype=np.int64).reshape(entry["shape"])
    r = uniform("input:" + entry["name"], tuple(entry["shape"]), seed)
    scaled = {"unit": 0.5 + 0.5 * r, "sym": r, "normal": math.sqrt(3.0) * r}
    return scaled[entry["kind"]].astype(np.float32)


def checksum(arrays: Iterable[Array]) -> int:
    """Compute the running CRC-32 over the little-endian bytes of arrays."""
    crc = 0
    for array in arrays:
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        crc = zlib.crc32(little.tobytes(), crc)
    return crc


def params_checksum(params: Mapping[str, Array]) -> int:
    """Checksum of filled parameters, in sorted order of their keys."""
    return checksum(params[key] for key in sorted(params))


@dataclass(frozen=True, slots=True)
class VectorFile:
    """One file: what was computed (``meta``) and what came out (``arrays``)."""

    path: Path
    meta: dict[str, Any]
    arrays: Arrays

    @classmethod
    def read(cls, path: Path) -> VectorFile:
        """Read an `.npz`; what is not a vector file raises whatever it comes to."""
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        meta = json.loads(str(arrays.pop("meta")))
        if not isinstance(meta, dict):
            raise TypeError("its meta is no object")
        return cls(path, meta, arrays)

    @property
    def model(self) -> str:
        """What the file is about: a network, "de_sampler", "schedule", ..."""
        return str(self.meta["model"])

    def inputs(self) -> Arrays:
        """All inputs by name."""
        entries = self.meta.get("inputs", [])
        return {entry["name"]: make_input(entry, self.meta["seed"]) for entry in entries}

    def stride(self, output: str) -> int:
        """Every how many rows and columns ``output`` was stored."""
        entries = self.meta.get("outputs", [])
        return next((int(e["stride"]) for e in entries if e["name"] == output), 1)


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison of a file; ``note`` says why where there is nothing to compare."""

    file: str
    output: str
    max_error: float = math.nan
    mean_error: float = math.nan
    tolerance: float = math.nan
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether the comparison holds; never where an error is unknown."""
        return not self.note and self.max_error <= self.tolerance


def compare(
    file: str, output: str, got: Array, wanted: Array, tolerance: float, relative: bool = False
) -> Check:
    """Largest and mean difference of two arrays; any NaN or wrong shape fails."""
    if got.shape != wanted.shape:
        return Check(file, output, note=f"shape {got.shape} instead of {wanted.shape}")
    with np.errstate(invalid="ignore"):
        error = np.abs(got.astype(np.float64) - wanted.astype(np.float64))
    error = np.where(got == wanted, 0.0, error)  # infinities, too
    if relative:
        scale = np.abs(wanted.astype(np.float64))
        error = error / np.where(scale > 0, scale, 1.0)
    return Check(file, output, float(error.max()), float(error.mean()), tolerance)


def statistics(full: Array) -> NDArray[np.float64]:
    """Mean, deviation, largest magnitude, minimum and maximum, as stored beside each output."""
    x = full.astype(np.float64)
    return np.array([x.mean(), x.std(), np.abs(x).max(), x.min(), x.max()])
