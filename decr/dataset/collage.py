"""Samples for the cloud detector: wide coarse views, put together from many small clear images.

A detector must see whole clouds, so it works on scenes coarsened to several metres. Little imagery
spans kilometres; a quilt of coarsened images stands in for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from decr.dataset.augment import draw_range, unit_from, vary_radiometry
from decr.dataset.samples import ClearImage, Sample, area_shrunk, crop
from decr.dataset.simulate import simulate_clouds
from decr.dataset.sky import CloudParams, draw_params

Float32 = NDArray[np.float32]


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


def quilt(
    rng: np.random.Generator, images: list[ClearImage], bands: tuple[str, ...], size_px: int, k: int
) -> tuple[Float32, float]:
    """A (C, size, size) view made of random images coarsened k times, and its GSD in metres."""
    canvas = np.empty((len(bands), size_px, size_px), np.float32)
    row = 0
    gsd_m = images[0].gsd_m * k
    # Neighbouring pieces share one look, as neighbouring ground does.
    family = [images[int(i)] for i in rng.integers(len(images), size=6)]
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
    unit = unit_from(view, *detector_range(rng, view))
    return Sample(unit, unit, mask)


def detector_range(rng: np.random.Generator, view: Float32) -> tuple[float, float]:
    """The range of a view, mostly that of its type, from zero: haze shows by what is never dark."""
    return (0.0, 1.0) if rng.random() < 0.5 else draw_range(rng, view)


def detection_sample(
    rng: np.random.Generator,
    images: list[ClearImage],
    labelled: list[LabelledImage],
    bands: tuple[str, ...],
    size_px: int,
) -> Sample:
    """A view for the detector: one in three real and labelled, the rest simulated.

    ``cloudy`` is the input and ``cloud_mask`` the truth; ``clear`` is unused.
    """
    if labelled and rng.random() < 0.35:
        return labelled_sample(rng, labelled[int(rng.integers(len(labelled)))], bands, size_px)
    wide = of_kilometres(images, size_px)
    if wide and rng.random() < 0.2:
        view, gsd_m = crop(rng, wide[int(rng.integers(len(wide)))], bands, size_px, (4.0, 12.0))
    else:
        fine = [image for image in images if image.gsd_m <= 1.5] or images
        view, gsd_m = quilt(rng, fine, bands, size_px, int(rng.choice([4, 6, 8])))
    view = vary_radiometry(rng, view)
    if rng.random() < 0.15:
        unit = unit_from(view, *detector_range(rng, view))
        return Sample(unit, unit, np.zeros(unit.shape[1:], bool))
    simulated = simulate_clouds(view, bands, rng, gsd_m=gsd_m, params=wide_sky(rng, bands))
    unit = unit_from(simulated.cloudy, *detector_range(rng, simulated.cloudy))
    return Sample(unit, unit, simulated.cloud_mask)


def of_kilometres(images: list[ClearImage], size_px: int) -> list[ClearImage]:
    """Images wide enough to hold whole clouds, and at least one sample."""
    sides = ((image, min(image.dn.shape[1:])) for image in images)
    return [image for image, px in sides if px * image.gsd_m > 2000.0 and px >= size_px]


def wide_sky(rng: np.random.Generator, bands: tuple[str, ...]) -> CloudParams:
    """A sky whose structures suit a view of kilometres."""
    sky = draw_params(rng, bands)
    return replace(
        sky,
        coverage=float(rng.uniform(0.05, 0.8)),
        outer_scale_m=float(np.exp(rng.uniform(np.log(150.0), np.log(4000.0)))),
        shadow_offset_m=tuple(rng.uniform(-400, 400, 2)),
    )
