"""Images that sets are simulated of, and the options of small sets."""

from __future__ import annotations

from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from decr.dataset.sky import PRESETS
from decr.dataset.write_pairs import PairOptions
from tests.pipeline.scenes import GRID

SIZE = 32
PLACES = {"hill.tif": GRID, "lake.tif": GRID @ Affine.translation(3000, 0)}


def ground(height: int = 70, width: int = 100, seed: int = 0, most: int = 200) -> NDArray[Any]:
    """(4, height, width) uint8 noise, never 0."""
    return np.random.default_rng(seed).integers(1, most, (4, height, width)).astype(np.uint8)


def options(**changes: Any) -> PairOptions:
    return PairOptions(**{"size_px": SIZE, "skies": PRESETS["cuhk-cr2"], **changes})
