"""`decr models calibrate`: how wrong a model is by how bright a pixel was, and how well that holds.

The table that is fitted (`decr.calibration.ErrorTable`) has one predictor. Others were tried and
told no more: docs/uncertainty.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import isotonic_regression

from decr.calibration import ErrorTable
from decr.cloud.change import LEAST_MARGIN_PX
from decr.config import DecloudConfig
from decr.errors import DatasetError
from decr.evaluation.statistics import ascending, rank_correlation
from decr.evaluation.tiles import PairSource, bundle_for, choose_tiles
from decr.plugins import checked
from decr.predictor import Restorer, load_restorer
from decr.zoo.bundle import bundle_output, check_same, read_card, save_with_card, weights_sha256

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

KNOTS = 24
BINS = 10
TILE_PX = 256
_STRIDE = 3
"""Every third pixel of every third row counts: neighbours say nearly the same."""
_PERCENT = 50.0  # of the range in 1.0 of unit
_LEAST_PX = 1000
_SHARES = np.linspace(0.0, 0.95, 20)
"""Of the pixels that are left out, where sparsification is looked at."""


@dataclass(frozen=True, slots=True, eq=False)
class ErrorSample:
    """Pixels of one restored image that `decr declouds` would have changed wholly (no feather).

    Attributes
    ----------
    place
        Images of one place have the same ground; none is measured by a table that saw it.
    brightness
        (N,) of the darkest band of the cloudy pixel, unit.
    error
        (N,) |restored - clear|, mean over bands, unit.
    """

    place: str
    brightness: Float64
    error: Float64


@dataclass(frozen=True, slots=True)
class Reliability:
    """How well expected errors hold.

    Attributes
    ----------
    bins
        (expected, measured) mean absolute error by tenths of the pixels, from low to high expected.
    rank_correlation
        Over pixels, Spearman's.
    ause
        Area between the sparsification curves of expected and true error, as a share of that of
        leaving pixels out at random: 0 is perfect, 1 is worth nothing.
    images
        Expected over measured mean error of an image: its 10 %, 50 % and 90 % quantiles.
    count
        Images.
    """

    bins: tuple[tuple[float, float], ...]
    rank_correlation: float
    ause: float
    images: tuple[float, float, float]
    count: int

    @property
    def worst(self) -> float:
        """Largest factor between expected and measured of a bin, at least 1."""
        return max(max(a, b) / max(min(a, b), 1e-12) for a, b in self.bins)


def margin_px(gsd_m: float | None) -> int:
    """How far clouds grow before they are restored, by the defaults of `decr declouds`."""
    grown = 0 if gsd_m is None else round(DecloudConfig().margin_m / gsd_m)
    return max(LEAST_MARGIN_PX, grown)


def error_sample(
    place: str,
    cloudy: Float32,
    restored: Float32,
    clear: Float32,
    mask: NDArray[np.bool_],
    gsd_m: float | None,
) -> ErrorSample:
    """The pixels that count of one image.

    Parameters
    ----------
    cloudy, restored, clear
        (C, H, W) unit.
    mask
        (H, W) bool, True = cloudy.
    """
    grown = mask
    if mask.any():
        grown = ndimage.distance_transform_edt(~mask) <= margin_px(gsd_m)
    part = np.s_[::_STRIDE, ::_STRIDE]
    error = np.abs(restored - clear).mean(axis=0)[part][grown[part]]
    brightness = cloudy.min(axis=0)[part][grown[part]]
    return ErrorSample(place, brightness.astype(np.float64), error.astype(np.float64))


def isotonic(predictor: Float64, error: Float64) -> tuple[Float64, Float64]:
    """A mean error that never falls as its predictor rises, at means of equally full bins.

    Parameters
    ----------
    predictor, error
        (N,) each, at least two different predictors.

    Returns
    -------
    tuple
        Predictors, ascending, and errors. A bin whose ends coincide is one knot.
    """
    edges = np.unique(np.quantile(predictor, np.linspace(0.0, 1.0, KNOTS + 1)))
    place = np.clip(np.searchsorted(edges, predictor, side="right") - 1, 0, max(0, len(edges) - 2))
    count = np.bincount(place, minlength=1)
    some = count > 0
    at, mean = (np.bincount(place, v)[some] / count[some] for v in (predictor, error))
    return at, np.asarray(isotonic_regression(mean, weights=count[some]).x)


def fitted(images: Sequence[ErrorSample], settings: Mapping[str, str], about: str) -> ErrorTable:
    """The table of some images' pixels.

    Raises
    ------
    DatasetError
        If there are too few pixels, or all are equally bright.
    """
    brightness, error = (
        np.concatenate([np.empty(0), *(getattr(image, name) for image in images)])
        for name in ("brightness", "error")
    )
    if len(error) < _LEAST_PX or np.ptp(brightness) == 0:
        raise DatasetError(
            f"{about}: {len(error)} cloudy pixels in {len(images)} tiles, at least {_LEAST_PX} of "
            f"different brightness are needed; give more pairs, or a larger --count where they "
            f"hold more tiles"
        )
    at, mean = (np.round(values, 6) for values in isotonic(brightness, error))
    keep = np.diff(at, prepend=-np.inf) > 0
    return ErrorTable(tuple(at[keep].tolist()), tuple(mean[keep].tolist()), settings, about)


def reliability_of(expected: Sequence[Float64], measured: Sequence[Float64]) -> Reliability:
    """How well expected errors hold, image by image and over all pixels.

    Parameters
    ----------
    expected, measured
        (N,) of each image.
    """
    a, b = np.concatenate(expected), np.concatenate(measured)
    tenths = (part for part in np.array_split(ascending(a), BINS) if part.size)
    bins = [(float(a[part].mean()), float(b[part].mean())) for part in tenths]
    ratios = [
        float(x.mean() / max(float(y.mean()), 1e-12))
        for x, y in zip(expected, measured, strict=True)
        if x.size
    ]
    low, middle, high = np.quantile(ratios, (0.1, 0.5, 0.9)).tolist()
    return Reliability(
        tuple(bins), rank_correlation(a, b), _ause(a, b), (low, middle, high), len(ratios)
    )


def _ause(expected: Float64, measured: Float64) -> float:
    """See `Reliability`; 1 where all errors are equal, so that nothing is to be told."""

    def left(by: Float64) -> Float64:
        kept = np.cumsum(measured[ascending(by)]) / np.arange(1, len(by) + 1)
        last = [max(1, round((1.0 - share) * len(by))) - 1 for share in _SHARES]
        return np.asarray(kept[last], np.float64)

    best = left(measured)
    chance = float((measured.mean() - best).sum())
    return float((left(expected) - best).sum()) / chance if chance > 0 else 1.0


def cross_validated(images: Sequence[ErrorSample], settings: Mapping[str, str]) -> Reliability:
    """`reliability_of` where each half of the places is measured by the table of the other half.

    Raises
    ------
    DatasetError
        If there are not two places, or too few pixels in a half.
    """
    if len({image.place for image in images}) < 2:
        raise DatasetError("one place alone cannot be measured by a table that did not see it")
    halves = _halves(images)
    expected: list[Float64] = []
    for own, other in ((halves[0], halves[1]), (halves[1], halves[0])):
        table = fitted(other, settings, "half of the places, which the others are held against")
        expected += [expected_of(table, image) for image in own]
    return reliability_of(expected, [image.error for half in halves for image in half])


def _halves(images: Sequence[ErrorSample]) -> tuple[list[ErrorSample], list[ErrorSample]]:
    """Images with pixels, by halves of the places.

    Places take turns; where a half has too few pixels so, the largest come first, each in the half
    that has fewer.
    """
    sizes: Counter[str] = Counter()
    for image in images:
        sizes[image.place] += image.error.size
    places = sorted(sizes)
    one = set(places[::2])
    if min(_count(sizes, one), _count(sizes, places[1::2])) < _LEAST_PX:
        one, two = set(), set[str]()
        for place in sorted(places, key=lambda place: -sizes[place]):
            min(one, two, key=lambda half: _count(sizes, half)).add(place)
    some = [image for image in images if image.error.size]
    return [i for i in some if i.place in one], [i for i in some if i.place not in one]


def _count(sizes: Mapping[str, int], places: Collection[str]) -> int:
    return sum(sizes[place] for place in places)


def expected_of(table: ErrorTable, image: ErrorSample) -> Float64:
    """What a table expects of an image's pixels, (N,) unit."""
    cloudy = image.brightness[None, None].astype(np.float32)
    return np.asarray(table.expected(cloudy)[0], np.float64)


def deciding(restorer: Restorer, parts: Mapping[str, object]) -> dict[str, str]:
    """The settings of a restorer that its table holds for."""
    keys = {"steps": "cnp", "prior_floor": "wa"}
    return {key: restorer.settings[key] for key, part in keys.items() if part in parts}


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What became of a calibration: the table, and how well one holds for unseen pairs.

    ``unknown_why`` says why that is not known.
    """

    table: ErrorTable
    reliability: Reliability | None
    unknown_why: str = ""


def calibrate_bundle(
    model: str,
    source: PairSource,
    out: Path,
    *,
    count: int = 200,
    seed: int = 0,
    device: str = "auto",
    overwrite: bool = False,
) -> Calibrated:
    """Fit a table on pairs, and write a bundle with the same weights and that table.

    Parameters
    ----------
    model
        Embedded name or bundle file; "embedded" picks by the pairs' bands.
    source
        Pairs; those of ``split`` alone are used.
    out
        The bundle to write; may be the model's own file, with ``overwrite``.
    count
        Tiles of `TILE_PX`, or of the largest size that a pair holds where that is less.

    Returns
    -------
    Calibrated
        ``reliability`` is by halves of the places; None for a single one, or too few pixels in a
        half.

    Raises
    ------
    OutputError
        If ``out`` exists already or its folder does not, or another process writes it.
    BundleError, ConfigError, DatasetError
        If the model or the pairs cannot be used.
    """
    with bundle_output(out, [], overwrite):
        path = bundle_for(source, model)
        restorer = load_restorer(path, seed=seed, device=device)
        card = read_card(path)
        tiles, _ = choose_tiles(source, restorer.bands, TILE_PX, count, shrink=True)
        images = []
        for number, tile in enumerate(tiles):
            view = tile.cloudy[None]
            restored = checked(
                restorer.name, restorer.restore(view, [(0, 1000 * number)]), view.shape
            )[0]
            images.append(
                error_sample(tile.place, tile.cloudy, restored, tile.clear, tile.mask, tile.gsd_m)
            )
        settings = deciding(restorer, card.parts)
        pairs = len({tile.name.partition(" at row ")[0] for tile in tiles})
        about = f"{len(images)} tiles of {pairs} pairs of {source.data.resolve().name}"
        table = fitted(images, settings, about)
        halves, unknown_why = None, ""
        try:
            halves = cross_validated(images, settings)
        except DatasetError as error:  # the table itself is of all pixels
            unknown_why = str(error)
        check_same(path, restorer.version, weights_sha256(path))
        save_with_card(path, out, replace(card, errors=table))
        return Calibrated(table, halves, unknown_why)


def described(found: Reliability) -> str:
    """A table for people, in % of the range."""
    lines = [f"{'expected':>9}  {'measured':>9}   mean absolute errors by tenths of pixels"]
    lines += [f"{_PERCENT * a:9.2f}  {_PERCENT * b:9.2f}" for a, b in found.bins]
    low, middle, high = found.images
    lines += [
        f"a tenth is off by a factor of {found.worst:.2f} at the most; rank correlation over "
        f"pixels {found.rank_correlation:.2f}; AUSE {found.ause:.2f} (0 perfect, 1 by chance)",
        f"of a single image, expected is {low:.2f} to {high:.2f} times measured (80 % of "
        f"{found.count} images; median {middle:.2f})",
    ]
    return "\n".join(lines)
