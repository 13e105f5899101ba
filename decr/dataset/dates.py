"""Samples whose truth shows another date than the ground under the cloud, as real pairs do."""

from __future__ import annotations

import copy
import re
from collections import defaultdict
from dataclasses import replace

import numpy as np

from decr.dataset.samples import ClearImage, Float32, Sample, Variety, crop, under_sky, varied
from decr.errors import ConfigError, DatasetError

GAIN_LIMITS = (0.5, 2.0)
"""How far the match of two dates may stretch contrast; beyond, the two differ in content."""


DatedPlace = tuple[ClearImage, ...]
"""Clear images of one ground by rising date, on one grid: alike in shape, bands and GSD."""


def dated_partners(images: list[ClearImage], pattern: str) -> list[DatedPlace]:
    r"""Group images of the same ground by their names.

    The pattern says where the date stands; names that are equal without it are of one place. So
    ``_(?P<date>\d{4})_`` groups ``riverside_2016_33.tif`` with ``riverside_2020_33.tif``.

    Parameters
    ----------
    images
        As `decr.dataset.clear.read_clear` gives them. Names without a date are left out, and so
        are images that differ from the first of their place in shape, bands or GSD: they were cut
        differently, and do not lie on one grid.
    pattern
        A regular expression with a group called ``date``, searched in file names.

    Returns
    -------
    list of DatedPlace
        Places with at least two dates, in order of their names.

    Raises
    ------
    ConfigError
        If the pattern is no regular expression, or has no group ``date``.
    DatasetError
        If two images have one place and date.
    """
    try:
        dated = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"date pattern {pattern!r} is not valid: {error}; mend it") from error
    if "date" not in dated.groupindex:
        raise ConfigError(f"date pattern {pattern!r} names no date; put (?P<date>...) around it")
    places: defaultdict[str, dict[str, ClearImage]] = defaultdict(dict)
    for image in images:
        found = dated.search(image.name)
        if found is None:
            continue
        place = image.name[: found.start("date")] + "*" + image.name[found.end("date") :]
        if found["date"] in places[place]:
            raise DatasetError(f"{image.name} is there twice; keep one, or make the pattern finer")
        places[place][found["date"]] = image
    groups = []
    for _, by_date in sorted(places.items()):
        first, *others = (by_date[date] for date in sorted(by_date))
        alike = [image for image in others if _grid(image) == _grid(first)]
        if alike:
            groups.append((first, *alike))
    return groups


def _grid(image: ClearImage) -> tuple[object, ...]:
    # Transforms are stored with noise in their last digits.
    return image.dn.shape, image.bands, round(image.gsd_m, 4)


def matched_levels(image: Float32, like: Float32) -> Float32:
    """An image with the mean and contrast of another, band by band.

    A linear map per band takes mean and standard deviation to those of ``like``; the gain is kept
    within `GAIN_LIMITS`. Moments are matched, not pixels fitted: a fit would flatten the contrast
    of ground that changed.

    Parameters
    ----------
    image, like
        (C, H, W) float32, reflectance-like.

    Returns
    -------
    ndarray
        (C, H, W) float32 in 0..1.
    """
    mean, spread = image.mean((1, 2), keepdims=True), image.std((1, 2), keepdims=True)
    wanted, contrast = like.mean((1, 2), keepdims=True), like.std((1, 2), keepdims=True)
    gain = np.clip(contrast / np.maximum(spread, 1e-6), *GAIN_LIMITS)
    out: Float32 = np.clip((image - mean) * gain + wanted, 0.0, 1.0).astype(np.float32)
    return out


def dated_crop(
    rng: np.random.Generator,
    place: DatedPlace,
    bands: tuple[str, ...],
    size_px: int,
    gsd_range_m: tuple[float, float],
    variety: Variety,
) -> Sample:
    """A sample with simulated clouds over one date, and the ground on another date as its truth.

    The truth has the levels of the first date (`matched_levels`), since the sensor of a scene does
    not tell how another day was lit; shadows, new buildings and seasons still differ. Otherwise
    like `decr.dataset.samples.restoration_sample`.

    Parameters
    ----------
    place
        With all ``bands`` and sides of at least ``size_px``.
    """
    now, then = (place[int(i)] for i in rng.permutation(len(place))[:2])
    # Images of one shape, cut and varied by the same random numbers, stay the same ground and look.
    twin = copy.deepcopy(rng)
    clear, gsd_m = crop(rng, now, bands, size_px, gsd_range_m)
    truth, _ = crop(twin, replace(then, gsd_m=now.gsd_m), bands, size_px, gsd_range_m)
    truth = matched_levels(truth, clear)
    (clear, truth), look = varied([rng, twin], [clear, truth], variety)
    return under_sky(rng, clear, truth, bands, gsd_m, variety, look)
