"""How far samples of different noise lie apart, and whether that tells where the model is wrong."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decr.calibration import ErrorTable
from decr.errors import ConfigError
from decr.evaluation.analysis import Analysis, Bench, Setting, bench_of, facts
from decr.evaluation.calibrate import (
    Reliability,
    described,
    error_sample,
    expected_of,
    reliability_of,
)
from decr.evaluation.statistics import ascending, rank_correlation
from decr.evaluation.tiles import tile_picture
from decr.report.chart import Panel, chart, png, strip
from decr.report.pictures import ramp

Float64 = NDArray[np.float64]

SAMPLES = 8
BINS = 10


def spread_against_error(spread: Float64, error: Float64) -> list[dict[str, float]]:
    """Error against predicted spread, in `BINS` bins of equally many pixels by rising spread.

    Parameters
    ----------
    spread, error
        Of each pixel, in the same units; error may have either sign.

    Returns
    -------
    list of dict
        ``spread`` and ``error``, both root mean squares of a bin, and its ``pixels``. Calibrated
        samples give equal numbers. Fewer bins where there are fewer pixels.

    Examples
    --------
    >>> spread_against_error(np.array([1.0, 2.0]), np.array([-1.0, 3.0]))[1]
    {'spread': 2.0, 'error': 3.0, 'pixels': 1}
    """
    found = []
    for part in np.array_split(ascending(spread), BINS):
        if part.size:
            found.append(
                {
                    "spread": float(np.sqrt(np.mean(spread.ravel()[part] ** 2))),
                    "error": float(np.sqrt(np.mean(error.ravel()[part] ** 2))),
                    "pixels": int(part.size),
                }
            )
    return found


def uncertainty(setting: Setting, samples: int = SAMPLES) -> Analysis:
    """Spread of samples that differ in noise, against the error of their mean, per pixel.

    All in shares of white. The reference has no noise, so whatever share W gives it has no spread:
    samples can only be too sure. If the model has a table of expected errors, so is that.

    Parameters
    ----------
    samples
        Per tile, at least 2.

    Raises
    ------
    ConfigError
        For fewer samples.
    """
    if samples < 2:
        raise ConfigError(f"{samples} samples have no spread; take at least 2")
    bench = bench_of(replace(setting, lpips=False))
    spreads, errors = [], []
    for number, tile in enumerate(bench.tiles):
        several = np.stack(
            [bench.restored(number, seed=setting.seed + n) for n in range(samples)]
        ).astype(np.float64)
        # Half of unit is a share of white; over bands as a root mean square. The truth, were it
        # one more sample, would lie 1 + 1/n variances from the mean of n.
        variance = several.var(axis=0, ddof=1) * (1 + 1 / samples)
        spreads.append(np.sqrt((variance / 4).mean(axis=0)))
        gap = (several.mean(axis=0) - tile.clear) / 2
        errors.append(np.sqrt((gap**2).mean(axis=0)))
    spread, error = np.stack(spreads), np.stack(errors)
    rows = spread_against_error(spread, error)
    ratio = float(np.sqrt((error**2).mean() / max((spread**2).mean(), 1e-30)))
    correlation = rank_correlation(spread, error)
    verdict = (
        f"errors are {ratio:.1f} times the spread on the whole; rank correlation over pixels "
        f"{correlation:.2f}"
    )
    text = "\n".join(
        [
            f"{'spread':>9}  {'error':>9}   root mean squares by tenths of pixels, share of white",
            *(f"{row['spread']:9.4f}  {row['error']:9.4f}" for row in rows),
            verdict,
        ]
    )
    values: dict[str, Any] = facts(
        bench, samples=samples, rows=rows, error_over_spread=ratio, rank_correlation=correlation
    )
    table = bench.networks.bundle.card.errors
    if table is not None:
        found = _expected(bench, table)
        values["expected"] = asdict(found) if found else None
        told = described(found) if found else "not judged, for no tile has a cloudy pixel"
        text += f"\n\nthe model's table of expected errors, % of white:\n{told}"
    return Analysis("uncertainty", values, text, _figure(bench, spreads[0], errors[0], rows))


def _figure(bench: Bench, spread: Float64, error: Float64, rows: list[dict[str, float]]) -> bytes:
    """The first tile with its spread and error, above the calibration of all tiles."""
    tile, bands, colours = bench.tiles[0], bench.networks.bands, ramp()
    pictures = [
        ("cloudy", tile_picture(tile, tile.cloudy, bands)),
        ("clear", tile_picture(tile, tile.clear, bands)),
    ]
    for name, values in (("spread", spread), ("error", error)):
        top = max(float(values.max()), 1e-9)
        picture = colours[np.rint(255 * np.clip(values / top, 0, 1)).astype(int)]
        pictures.append((f"{name}, bright {top:.3f}", picture))
    points = [(row["spread"], row["error"]) for row in rows]
    line = [(x, x) for x, _ in points]
    return png(
        strip([("first tile", pictures)], side_px=160),
        chart(
            [
                Panel(
                    "error of the mean",
                    "predicted spread, share of white",
                    {"measured": points, "calibrated": line},
                )
            ]
        ),
    )


def _expected(bench: Bench, table: ErrorTable) -> Reliability | None:
    """The model's table against the error of restorations with the card's own settings.

    None where no tile has a cloudy pixel.
    """
    images = []
    for number, tile in enumerate(bench.tiles):
        restored = bench.restored(number, steps=None, prior_floor=None)
        images.append(
            error_sample(tile.name, tile.cloudy, restored, tile.clear, tile.mask, tile.gsd_m)
        )
    if not any(image.error.size for image in images):
        return None
    return reliability_of(
        [expected_of(table, image) for image in images], [i.error for i in images]
    )
