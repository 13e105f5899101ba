"""Samples for the detector of scenes finer than its cells: skies over fine ground, then coarsened.

Over coarsened ground (`decr.dataset.collage`) edges, blur and noise of clouds are finer than a
scene's ever are, and nothing is left of what tells pale roofs from clouds: shadows and texture.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from decr.dataset.augment import toned_down, unit_from, vary_radiometry, vivid
from decr.dataset.collage import (
    LabelledImage,
    detector_range,
    labelled_sample,
    of_kilometres,
    quilt,
    wide_sky,
)
from decr.dataset.samples import ClearImage, Sample, area_shrunk, crop
from decr.dataset.simulate import simulate_clouds
from decr.dataset.sky import draw_params

Float32 = NDArray[np.float32]

_LABELLED_SHARE = 0.05
"""Share of samples that are labelled: few images are, and soon known by heart."""
_CLEAR_SHARE = 0.15


def of_one_flight(images: list[ClearImage], name: str) -> list[ClearImage]:
    """The images named like ``name`` but for numbers that are no year, that one included.

    Tiles of one flight are named so. They share a camera, a sun and a stretch, as a scene does.

    Examples
    --------
    >>> there = [ClearImage(n, np.zeros((1, 2, 2)), ("red",), 1.0, 1.0) for n in
    ...          ("town_2018_7.tif", "town_2018_12.tif", "town_2020_7.tif")]
    >>> [image.name for image in of_one_flight(there, "town_2018_12.tif")]
    ['town_2018_7.tif', 'town_2018_12.tif']
    """
    flight = _flight(name)
    return [image for image in images if _flight(image.name) == flight]


@lru_cache(maxsize=2**17)  # each sample asks of every image
def _flight(name: str) -> str:
    return re.sub(r"(?<!\d)(?!(?:19|20)\d\d(?!\d))\d+", "#", name)


def coarse_view(view: Float32, k: int) -> Float32:
    """What such a detector sees of a view: means of k x k cells, then the darkest of each band.

    Parameters
    ----------
    view
        (C, H, W); a remainder at the bottom and right is dropped.

    Returns
    -------
    ndarray
        (2C, H // k, W // k) float32.
    """
    c, h, w = view.shape
    cells = view[:, : h // k * k, : w // k * k].reshape(c, h // k, k, w // k, k)
    return np.concatenate([area_shrunk(view, k), cells.min(axis=(2, 4))])


def fine_sample(
    rng: np.random.Generator,
    images: list[ClearImage],
    labelled: list[LabelledImage],
    bands: tuple[str, ...],
    size_px: int,
) -> Sample:
    """A view for the detector that sees means and darkest pixels: some labelled, others simulated.

    Parameters
    ----------
    size_px
        Cells along a side; small scenes are mirrored up to it.

    Returns
    -------
    Sample
        ``cloudy``, (2C, size, size), is the input (see `coarse_view`) and ``cloud_mask`` the truth,
        True where half of a cell is cloudy; ``clear`` is unused.
    """
    if labelled and rng.random() < _LABELLED_SHARE:
        real = labelled_sample(rng, labelled[int(rng.integers(len(labelled)))], bands, size_px)
        # A cell is a pixel: its mean is its darkest.
        twice = np.concatenate([real.cloudy, real.cloudy])
        return replace(real, cloudy=twice, clear=twice)
    view, gsd_m, k = _ground(rng, images, bands, size_px)
    # As photos are shown, or as other sensors might.
    view = vary_radiometry(rng, view) if rng.random() < 0.6 else _as_shown(rng, view)
    if k == 1 and rng.random() < 0.5:
        view = toned_down(rng, view) if rng.random() < 0.6 else vivid(rng, view)
    mask = np.zeros(view.shape[1:], bool)
    if rng.random() >= _CLEAR_SHARE:
        sky = wide_sky(rng, bands) if rng.random() < 0.6 else draw_params(rng, bands)
        simulated = simulate_clouds(view, bands, rng, gsd_m=gsd_m, params=sky)
        view, mask = simulated.cloudy, simulated.cloud_mask
    unit = unit_from(coarse_view(view, k), *detector_range(rng, view[:, ::k, ::k]))
    cloudy = area_shrunk(mask[None].astype(np.float32), k)[0] >= 0.5
    short = [(0, size_px - side) for side in cloudy.shape]
    unit = np.pad(unit, ((0, 0), *short), mode="symmetric")
    return Sample(unit, unit, np.pad(cloudy, short, mode="symmetric"))


def _ground(
    rng: np.random.Generator, images: list[ClearImage], bands: tuple[str, ...], size_px: int
) -> tuple[Float32, float, int]:
    """A clear view, its GSD in metres, and pixels along a cell."""
    wide = of_kilometres(images, size_px)
    if wide and rng.random() < 0.12:
        return *crop(rng, wide[int(rng.integers(len(wide)))], bands, size_px, (4.0, 12.0)), 1
    fine = [image for image in images if image.gsd_m <= 2.0] or images
    image = fine[int(rng.integers(len(fine)))]
    kind = rng.random()
    if kind < 0.25:
        # A small scene: one image, of which a cell is at most a 64th.
        k = int(rng.integers(1, max(1, min(image.dn.shape[1:]) // 64) + 1))
        side = min(*image.dn.shape[1:], size_px * k) // k * k
        return *crop(rng, image, bands, side, (image.gsd_m, image.gsd_m)), k
    flight = of_one_flight(fine, image.name)
    if kind < 0.45:
        # A scene whose own pixels are coarse: a cell's darkest pixel is its only one.
        k = max(1, round(rng.uniform(2, 6) / image.gsd_m))
        return *quilt(rng, flight, bands, size_px, k), 1
    k = int(rng.integers(3, 9))
    finer = max(1, round(float(rng.uniform(0.4, 1.0)) / image.gsd_m))
    return *quilt(rng, flight, bands, size_px * k, finer), k


def _as_shown(rng: np.random.Generator, view: Float32) -> Float32:
    """A photo a little brighter or darker, band by band."""
    gain = np.exp(rng.uniform(-0.2, 0.15) + rng.normal(0.0, 0.04, (view.shape[0], 1, 1)))
    shown: Float32 = np.clip(view * gain, 0.0, 1.0).astype(np.float32)
    return shown
