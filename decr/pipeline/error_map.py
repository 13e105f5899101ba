"""`decr declouds --error-map`: how far off each restored pixel is to be expected, in DN."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decr.calibration import ErrorTable
from decr.geo.layers import BLOCK_PX, Layer, block_windows, layer_writer, rpcs_of
from decr.geo.output import publish
from decr.geo.reader import reader
from decr.pipeline.change_map import ChangeMap
from decr.pipeline.journal import WorkDir, explained
from decr.pipeline.prepare import Prepared, table_of
from decr.radiometry import Radiometry

Float32 = NDArray[np.float32]

ERRORS = "errors"
"""Of its entry in the journal."""
_COLS = 16 * BLOCK_PX
MEANS = (
    "expected |output - cloud-free truth|, mean over the restored bands, DN; 0 where nothing was "
    "to be restored, which is no promise that it is clear"
)


def error_map_path(out: Path) -> Path:
    """Where the map of an output lies: beside it.

    Examples
    --------
    >>> error_map_path(Path("clear/town.tif")).name
    'town_error.tif'
    """
    return out.with_name(f"{out.stem}_error{out.suffix}")


def expected_errors(
    dn: NDArray[np.generic], weight: Float32, radiometry: Radiometry, table: ErrorTable
) -> Float32:
    """Expected absolute errors of restored pixels.

    Parameters
    ----------
    dn
        (C, H, W) cloudy digital numbers of the restored bands.
    weight
        (H, W) in [0, 1], with which each pixel was changed: that share of the error is left.
    radiometry
        Of those bands.

    Returns
    -------
    ndarray
        (H, W) float32, DN, mean over bands.
    """
    span = zip(radiometry.low, radiometry.high, strict=True)
    half = float(np.mean([(high - low) / 2.0 for low, high in span]))
    found: Float32 = weight * table.expected(radiometry.encode(dn)) * np.float32(half)
    return found


def write_error_map(prepared: Prepared, change: ChangeMap, work: WorkDir, out: Path) -> None:
    """Write the map of a scene, window by window; it appears whole or not at all.

    It is a function of the scene and of where it was to be changed, and of no restored pixel, so it
    cannot depend on how the work was done.

    Raises
    ------
    OutputError
        If it cannot be written.
    SceneError
        If the scene has gone or is damaged.
    """
    table, scene = table_of(prepared.restorer), prepared.scene
    bands = prepared.composer.targets
    radiometry = prepared.composer.radiometry.pick(bands)
    layer = Layer(
        ("expected absolute error, DN",),
        1.0,
        {
            "MEANS": MEANS,
            "MODEL": prepared.restorer.name,
            "MODEL_SHA256": prepared.restorer.version,
            "MEASURED": table.about,
        },
        "float32",
        math.nan,
        rpcs_of(scene),
    )
    finished = work.path / "errors.tif"
    with (
        reader(scene) as source,
        change.reading() as weights,
        layer_writer(finished, scene.grid, layer, called=out) as writer,
    ):
        for window in block_windows(scene.grid, _COLS):
            weight = weights(window)
            if (weight > 0).any():
                dn, valid = source.read(window, bands)
                values = expected_errors(dn, weight, radiometry, table)
            else:
                valid, values = source.valid(window), np.zeros(window.shape, np.float32)
            writer.write(window, np.where(valid, values, np.float32(np.nan))[None])
    with explained(work.path), finished.open("rb") as file:
        os.fsync(file.fileno())
    work.note_output(finished, ERRORS)
    with explained(out):
        publish(finished, out)
