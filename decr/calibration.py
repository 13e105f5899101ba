"""How wrong a restored pixel is on average, by how bright it was: a table measured beforehand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ErrorTable:
    """Expected absolute error of a restored pixel, mean over bands.

    A pixel's darkest band tells best how much of the ground its cloud hides: what is bright in all
    bands is cloud. Between the table's values it is interpolated, beyond them the outermost hold.

    Attributes
    ----------
    brightness
        Of the darkest band of the cloudy pixel, unit, ascending.
    error
        Expected absolute error at each, unit (2 is the whole range), never falling.
    settings
        Settings of the restorer that decide the error, as it was measured; see `Restorer`.
    about
        On what it was measured, for people.

    Raises
    ------
    ValueError
        For values that are no such table.

    Examples
    --------
    >>> table = ErrorTable((-1.0, 1.0), (0.0, 0.5), {}, "")
    >>> table.expected(np.array([[[0.0]], [[0.8]]], np.float32)).tolist()
    [[0.25]]
    """

    brightness: tuple[float, ...]
    error: tuple[float, ...]
    settings: Mapping[str, str]
    about: str

    def __post_init__(self) -> None:
        numbers = (*self.brightness, *self.error)
        good = (
            len(self.brightness) == len(self.error) >= 2
            and all(math.isfinite(n) for n in numbers)
            and all(a < b for a, b in zip(self.brightness, self.brightness[1:], strict=False))
            and all(a <= b for a, b in zip(self.error, self.error[1:], strict=False))
            and self.error[0] >= 0
        )
        if not good:
            raise ValueError(
                f"no table of expected errors: {len(self.brightness)} brightnesses, which must "
                f"ascend, and {len(self.error)} errors, which must not fall or be negative"
            )

    def expected(self, cloudy: Float32) -> Float32:
        """(C, H, W) cloudy unit to (H, W) expected absolute error, unit."""
        found = np.interp(cloudy.min(axis=0), self.brightness, self.error)
        return np.asarray(found, np.float32)
