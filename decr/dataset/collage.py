"""Samples for the cloud detector: wide coarse views, put together from many small clear images.

A detector must see whole clouds, so it works on scenes coarsened to several metres. Little imagery
spans kilometres; a quilt of coarsened images stands in for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from decr.dataset.samples import (
    ClearImage,
    Sample,
    area_shrunk,
    crop,
    draw_range,
    toned_down,
    unit_from,
    vary_radiometry,
    vivid,
)
from decr.dataset.simulate import CloudParams, draw_params, simulate_clouds

Float32 = NDArray[np.float32]

LABELLED_SHARE = 0.05
"""Share of the detector's samples that are labelled: few images are, and soon known by heart."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImage:
    """A real cloudy image with a hand-made mask.

    Attributes
    ----------
    name
        File name.
    reflectance
        (C, H, W) float32.
    bands
        Roles of the C bands.
    cloud_mask
        (H, W) bool, True = cloudy (thin or thick).
    """

    name: str
    reflectance: Float32
    bands: tuple[str, ...]
    cloud_mask: NDArray[np.bool_]


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


def _flight(name: str) -> str:
    return re.sub(r"(?<!\d)(?!(?:19|20)\d\d(?!\d))\d+", "#", name)


def quilt(
    rng: np.random.Generator,
    images: list[ClearImage],
    bands: tuple[str, ...],
    size_px: int,
    k: int,
) -> tuple[Float32, float]:
    """A (C, size, size) view made of images of one flight coarsened k times, and its GSD in metres.

    The flight is drawn by its number of images.
    """
    canvas = np.empty((len(bands), size_px, size_px), np.float32)
    row = 0
    flight = of_one_flight(images, images[int(rng.integers(len(images)))].name)
    gsd_m = flight[0].gsd_m * k
    # Neighbouring pieces share one look, as neighbouring ground does.
    family = [flight[int(i)] for i in rng.integers(len(flight), size=6)]
    while row < size_px:
        col, height = 0, 0
        while col < size_px:
            image = family[int(rng.integers(len(family)))]
            # Never coarser than the image itself: an empty piece would fill nothing, for ever.
            factor = min(max(1, round(gsd_m / image.gsd_m)), *image.dn.shape[1:])
            order = [image.bands.index(band) for band in bands]
            piece = area_shrunk(image.dn[order].astype(np.float32) / image.white, factor)
            piece = np.rot90(piece, int(rng.integers(4)), axes=(1, 2))
            height = height or min(piece.shape[1], size_px - row)
            part = piece[:, :height, : size_px - col]
            target = canvas[:, row : row + height, col : col + part.shape[2]]
            target[:, : part.shape[1]] = part
            if part.shape[1] < height:
                target[:, part.shape[1] :] = part[:, -1:, :]
            col += part.shape[2]
        row += height
    return canvas, gsd_m


def coarse_view(view: Float32, k: int) -> Float32:
    """What a detector sees of a view: means of k x k cells, then the darkest of each band.

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


def labelled_sample(
    rng: np.random.Generator,
    image: LabelledImage,
    bands: tuple[str, ...],
    size_px: int,
    clouded_share: float = 0.3,
) -> Sample:
    """A real view with its mask; a share of them under more, simulated clouds.

    There are few labelled images and few kinds of ground in them: more clouds make more of them.
    """
    order = [image.bands.index(band) for band in bands]
    row = int(rng.integers(image.reflectance.shape[1] - size_px + 1))
    col = int(rng.integers(image.reflectance.shape[2] - size_px + 1))
    window = np.s_[row : row + size_px, col : col + size_px]
    stack = np.concatenate(
        [image.reflectance[order][(slice(None), *window)], image.cloud_mask[window][None]]
    )
    stack = np.rot90(stack, int(rng.integers(4)), axes=(1, 2))
    if rng.random() < 0.5:
        stack = stack[:, :, ::-1]
    view = np.ascontiguousarray(stack[:-1], dtype=np.float32)
    mask = stack[-1] > 0.5
    if rng.random() < clouded_share:
        simulated = simulate_clouds(view, bands, rng, gsd_m=5.0, params=wide_sky(rng, bands))
        view, mask = simulated.cloudy, mask | simulated.cloud_mask
    gain = float(np.exp(rng.uniform(np.log(0.7), np.log(1.3))))
    per_band = np.exp(rng.normal(0.0, 0.06, (len(bands), 1, 1)))
    gamma = float(np.exp(rng.uniform(np.log(0.8), np.log(1.25))))
    view = (gain * per_band * np.power(np.maximum(view, 0.0), gamma)).astype(np.float32)
    return _seen(rng, view, mask, 1, size_px)


def _seen(
    rng: np.random.Generator, view: Float32, mask: NDArray[np.bool_], k: int, size_px: int
) -> Sample:
    """A view, a k-th as fine, as the detector is shown it: mirrored up to its size if smaller."""
    unit = unit_from(coarse_view(view, k), *_detector_range(rng, view[:, ::k, ::k]))
    cloudy = area_shrunk(mask[None].astype(np.float32), k)[0] >= 0.5
    short = [(0, size_px - side) for side in cloudy.shape]
    unit = np.pad(unit, ((0, 0), *short), mode="symmetric")
    return Sample(unit, unit, np.pad(cloudy, short, mode="symmetric"))


def _detector_range(rng: np.random.Generator, view: Float32) -> tuple[float, float]:
    """The range of a view, mostly that of its type, from zero: haze shows by what is never dark."""
    return (0.0, 1.0) if rng.random() < 0.5 else draw_range(rng, view)


def detection_sample(
    rng: np.random.Generator,
    images: list[ClearImage],
    labelled: list[LabelledImage],
    bands: tuple[str, ...],
    size_px: int,
    clear_share: float = 0.15,
) -> Sample:
    """A view for the detector: some real and labelled, the rest simulated and then coarsened.

    ``cloudy``, (2C, size, size), is the input (see `coarse_view`) and ``cloud_mask`` the truth;
    ``clear`` is unused. Clouds are put over fine ground: over coarsened ground their edges, blur
    and noise would be finer than a scene's ever are.
    """
    if labelled and rng.random() < LABELLED_SHARE:
        return labelled_sample(rng, labelled[int(rng.integers(len(labelled)))], bands, size_px)
    view, gsd_m, k = _ground(rng, images, bands, size_px)
    # As photos are shown, or as other sensors might.
    view = vary_radiometry(rng, view) if rng.random() < 0.6 else _as_shown(rng, view)
    if k == 1 and rng.random() < 0.5:
        view = toned_down(rng, view) if rng.random() < 0.6 else vivid(rng, view)
    mask = np.zeros(view.shape[1:], bool)
    if rng.random() >= clear_share:
        sky = wide_sky(rng, bands) if rng.random() < 0.6 else draw_params(rng, bands)
        simulated = simulate_clouds(view, bands, rng, gsd_m=gsd_m, params=sky)
        view, mask = simulated.cloudy, simulated.cloud_mask
    return _seen(rng, view, mask, k, size_px)


def _ground(
    rng: np.random.Generator, images: list[ClearImage], bands: tuple[str, ...], size_px: int
) -> tuple[Float32, float, int]:
    """A clear view, its GSD in metres, and how many times the detector's view is coarser."""
    wide = [
        image
        for image in images
        if min(image.dn.shape[1:]) * image.gsd_m > 2000.0 and min(image.dn.shape[1:]) >= size_px
    ]
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
        return *quilt(
            rng, flight, bands, size_px, max(1, round(rng.uniform(2, 6) / image.gsd_m))
        ), 1
    k = int(rng.integers(3, 9))
    finer = max(1, round(float(rng.uniform(0.4, 1.0)) / image.gsd_m))
    return *quilt(rng, flight, bands, size_px * k, finer), k


def _as_shown(rng: np.random.Generator, view: Float32) -> Float32:
    """A photo a little brighter or darker, band by band."""
    gain = np.exp(rng.uniform(-0.2, 0.15) + rng.normal(0.0, 0.04, (view.shape[0], 1, 1)))
    shown: Float32 = np.clip(view * gain, 0.0, 1.0).astype(np.float32)
    return shown


def wide_sky(rng: np.random.Generator, bands: tuple[str, ...]) -> CloudParams:
    """A sky whose structures suit a view of kilometres."""
    sky = draw_params(rng, bands)
    return replace(
        sky,
        coverage=float(rng.uniform(0.05, 0.8)),
        outer_scale_m=float(np.exp(rng.uniform(np.log(150.0), np.log(4000.0)))),
        shadow_offset_m=tuple(rng.uniform(-400, 400, 2)),
    )
