"""Training samples: a clear crop, its augmentation, and a simulated sky over it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from decr.dataset.augment import (
    draw_range,
    mixed_bands,
    toned_down,
    unit_from,
    vary_radiometry,
    vivid,
)
from decr.dataset.simulate import simulate_clouds
from decr.dataset.sky import PRESETS, CloudParams, draw_params
from decr.errors import ConfigError

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class ClearImage:
    """A cloud-free image held in memory.

    Attributes
    ----------
    name
        File name, for split rules and reports.
    dn
        (C, H, W), digital numbers; every pixel is valid.
    bands
        Roles of the C bands.
    gsd_m
        Metres per pixel.
    white
        The digital number that counts as reflectance-like 1.
    weight
        How much more often than its area says it is drawn.
    outline
        (4, 2) longitude and latitude of its corners; None if the file does not say.
    """

    name: str
    dn: NDArray[np.generic]
    bands: tuple[str, ...]
    gsd_m: float
    white: float
    weight: float = 1.0
    outline: NDArray[np.float64] | None = None

    @property
    def area(self) -> float:
        """Pixels times weight: how often it is drawn."""
        return float(self.dn.shape[1] * self.dn.shape[2] * self.weight)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One training pair, unit, with its truth.

    Attributes
    ----------
    cloudy, clear
        (C, H, W) float32 in [-1, 1].
    cloud_mask
        (H, W) bool, True = cloudy.
    """

    cloudy: Float32
    clear: Float32
    cloud_mask: NDArray[np.bool_]


Draw = Callable[[np.random.Generator], Sample]
"""One sample from one generator: the same generator gives the same sample."""

_PHOTO = (0.0, 1.0)
"""The range of 8-bit pictures."""
_LEAST_CLOUD_PX = 20
"""Least outer scale of drawn skies, pixels; below 2.5 m of GSD all are larger anyway."""


def drawer(areas: Sequence[float]) -> Callable[[np.random.Generator], int]:
    """What draws the number of one of several images by their areas, which are summed only once.

    The numbers are those of ``rng.choice(len(areas), p=areas / sum(areas))``.

    Parameters
    ----------
    areas
        In any unit, one for each image.

    Raises
    ------
    ConfigError
        If an area is no number of at least 0, or none is above 0.
    """
    shares = np.array(areas, float)
    total = shares.sum()
    if not (shares >= 0).all() or not 0 < total < np.inf:
        raise ConfigError(
            f"{len(shares)} images of areas whose sum is {total:g} cannot be drawn by these; give "
            "images, and weights above 0"
        )
    bounds = (shares / total).cumsum()
    bounds /= bounds[-1]
    return lambda rng: int(bounds.searchsorted(rng.random(), side="right"))


def area_shrunk(image: Float32, k: int) -> Float32:
    """Mean over k x k cells; a remainder at the bottom and right is dropped.

    Examples
    --------
    >>> float(area_shrunk(np.arange(4, dtype=np.float32).reshape(1, 2, 2), 2)[0, 0, 0])
    1.5
    """
    if k == 1:
        return image
    c, h, w = image.shape
    cut = image[:, : h // k * k, : w // k * k]
    small: Float32 = cut.reshape(c, h // k, k, w // k, k).mean(axis=(2, 4), dtype=np.float32)
    return small


def crop(
    rng: np.random.Generator,
    image: ClearImage,
    bands: tuple[str, ...],
    size_px: int,
    gsd_range_m: tuple[float, float],
) -> tuple[Float32, float]:
    """A random crop, randomly coarsened, flipped and turned.

    Returns
    -------
    tuple
        (C, size, size) float32 reflectance-like, and its GSD in metres.
    """
    low = max(1, round(gsd_range_m[0] / image.gsd_m))
    high = min(round(gsd_range_m[1] / image.gsd_m), min(image.dn.shape[1:]) // size_px)
    k = int(rng.integers(low, max(low, high) + 1))
    k = max(1, min(k, min(image.dn.shape[1:]) // size_px))
    span = size_px * k
    row = int(rng.integers(image.dn.shape[1] - span + 1))
    col = int(rng.integers(image.dn.shape[2] - span + 1))
    order = [image.bands.index(band) for band in bands]
    cut = image.dn[order, row : row + span, col : col + span].astype(np.float32) / image.white
    small = np.rot90(area_shrunk(cut, k), int(rng.integers(4)), axes=(1, 2))
    if rng.random() < 0.5:
        small = small[:, :, ::-1]
    return np.ascontiguousarray(small), image.gsd_m * k


@dataclass(frozen=True, slots=True)
class Variety:
    """How far training samples stray from what the clear imagery shows.

    Skies are drawn in turn: clear, far, haze, fitted, each a share of the samples that those before
    it left. The other shares are of all samples.

    Attributes
    ----------
    clear_share
        Share of samples left without a cloud, so that clear ground is learnt to be left alone.
    far_share
        Share of samples under small clouds with their shadows beside them, a few to tens of pixels
        wide, as a sensor of 10 to 30 m sees them.
    mixed_share
        Share of samples whose bands are permuted and mixed at random: false-colour imagery, with
        clouds tinted and shadows darkened to suit. Makes sense only where the bands' wavelengths
        are not known to the network.
    fitted_share
        Share of samples under the skies that were fitted to real clouds (`cuhk-cr1`, `cuhk-cr2` of
        `decr.dataset.sky`), half of them in sizes of pixels, as from far.
    plain_share
        Share of samples whose ground is toned down to little contrast around one colour, as
        fields, forest, sand and water have from far.
    haze_share
        Share of samples under an even haze or veil that covers all.
    vivid_share
        Share of samples whose bands differ in level much more than photos' do, so that ground has
        one strong colour, as vegetation has where near infrared is shown as green. Makes sense
        only where the bands' wavelengths are not known to the network.
    photo_share
        Share of samples that keep the radiometry of their images, and 0..1 as their range: 8-bit
        pictures as they are delivered. Of others both are varied. So much contrast as these have
        tells a network what an even haze took.
    """

    clear_share: float = 0.1
    far_share: float = 0.0
    mixed_share: float = 0.0
    fitted_share: float = 0.0
    plain_share: float = 0.0
    haze_share: float = 0.0
    vivid_share: float = 0.0
    photo_share: float = 0.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} must lie in 0..1, not {getattr(self, name)}")


PLAIN = Variety()
"""Clear imagery as it is, under every sky."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a sky over a view must know of its look: mixed bands, or a photo's own radiometry."""

    mixed: bool = False
    photo: bool = False


def _false_colours(rng: np.random.Generator, sky: CloudParams) -> CloudParams:
    """The sky as other wavelengths see it: clouds are tinted, and less light falls into shadows."""
    tint = rng.normal(0.0, 0.08, len(sky.airlight))
    airlight = np.clip(np.array(sky.airlight) + tint, 0.35, 1.05)
    return replace(
        sky,
        airlight=tuple(float(value) for value in airlight),
        skylight=float(rng.uniform(0.0, 1.0)),
        shadow=sky.shadow ** float(rng.uniform(0.2, 1.0)),
    )


def _far_sky(rng: np.random.Generator, bands: tuple[str, ...], gsd_m: float) -> CloudParams:
    """Small clouds whose shadows lie in view; sizes are in pixels, whatever the ground's."""
    sky = _shadowed_near(rng, draw_params(rng, bands), gsd_m)
    return replace(
        sky,
        coverage=float(rng.uniform(0.03, 0.6)),
        softness=float(np.exp(rng.uniform(np.log(0.15), np.log(1.0)))),
        roughness=float(rng.uniform(2.2, 3.6)),
        outer_scale_m=float(np.exp(rng.uniform(np.log(15.0), np.log(150.0)))) * gsd_m,
        shadow=float(rng.uniform(0.3, 0.9)) if rng.random() < 0.7 else 0.0,
    )


def _shadowed_near(rng: np.random.Generator, sky: CloudParams, gsd_m: float) -> CloudParams:
    """The sky with its shadows a few pixels off."""
    angle, distance = rng.uniform(0.0, 2 * np.pi), rng.uniform(3.0, 25.0) * gsd_m
    offset_m = (float(np.sin(angle) * distance), float(np.cos(angle) * distance))
    return replace(sky, shadow_offset_m=offset_m)


def _even_haze(rng: np.random.Generator, bands: tuple[str, ...]) -> CloudParams:
    """Haze or a thin veil over all of the view, grey to blue, even to uneven."""
    grey = float(rng.uniform(0.5, 1.0))
    tint = rng.normal(0.0, 0.03, len(bands))
    return CloudParams(
        kind="haze",
        thickness=float(np.exp(rng.uniform(np.log(0.15), np.log(1.6)))),
        unevenness=float(rng.uniform(0.02, 0.4)),
        roughness=float(rng.uniform(2.6, 4.0)),
        outer_scale_m=1000.0,
        angstrom=float(rng.uniform(0.0, 1.3)),
        airlight=tuple(float(np.clip(grey + t, 0.4, 1.05)) for t in tint),
        shadow=0.0,
        blur_px=float(rng.uniform(0.0, 0.8)),
        noise=float(rng.uniform(0.0, 0.006)),
    )


def _fitted_sky(rng: np.random.Generator, bands: tuple[str, ...], gsd_m: float) -> CloudParams:
    """A sky with the edges, texture and colour of real clouds, near or far."""
    sky = draw_params(rng, bands, PRESETS["cuhk-cr1" if rng.random() < 0.5 else "cuhk-cr2"])
    if rng.random() < 0.5:
        return sky
    sky = _shadowed_near(rng, sky, gsd_m)
    outer_scale_m = float(np.exp(rng.uniform(np.log(15.0), np.log(400.0)))) * gsd_m
    return replace(sky, outer_scale_m=outer_scale_m)


def restoration_sample(
    rng: np.random.Generator,
    images: list[ClearImage],
    bands: tuple[str, ...],
    size_px: int,
    gsd_range_m: tuple[float, float] = (0.3, 2.0),
    variety: Variety = PLAIN,
) -> Sample:
    """A cloudy and clear crop for the restoring networks.

    Parameters
    ----------
    images
        Each has all ``bands`` and sides of at least ``size_px``; drawn by area and weight.
    """
    image = images[drawer([i.area for i in images])(rng)]
    return clouded_crop(rng, image, bands, size_px, gsd_range_m, variety)


def clouded_crop(
    rng: np.random.Generator,
    image: ClearImage,
    bands: tuple[str, ...],
    size_px: int,
    gsd_range_m: tuple[float, float],
    variety: Variety,
) -> Sample:
    """What `restoration_sample` makes of the image that it has drawn."""
    clear, gsd_m = crop(rng, image, bands, size_px, gsd_range_m)
    (clear,), look = varied([rng], [clear], variety)
    return under_sky(rng, clear, clear, bands, gsd_m, variety, look)


def varied(
    rngs: Sequence[np.random.Generator], views: Sequence[Float32], variety: Variety
) -> tuple[list[Float32], Look]:
    """Views of one ground in another look.

    Each is changed by a generator of its own; these are in one state, so that all look alike.
    """
    # What one generator draws the others must, too, or they part.
    photo = variety.photo_share > 0 and max(rng.random() for rng in rngs) < variety.photo_share
    views = list(views)
    if not photo:
        views = [vary_radiometry(rng, view) for rng, view in zip(rngs, views, strict=True)]
    mixed = False
    for share, change in (
        (variety.plain_share, toned_down),
        (variety.mixed_share, mixed_bands),
        (variety.vivid_share, vivid),
    ):
        if share and max(rng.random() for rng in rngs) < share:
            views = [change(rng, view) for rng, view in zip(rngs, views, strict=True)]
            mixed = mixed or change is mixed_bands
    return views, Look(mixed, photo)


def under_sky(
    rng: np.random.Generator,
    clear: Float32,
    truth: Float32,
    bands: tuple[str, ...],
    gsd_m: float,
    variety: Variety,
    look: Look,
) -> Sample:
    """A simulated sky over a clear view, with a truth that may be another view of its ground.

    Samples left without a cloud have ``clear`` itself as their truth: clear ground is to be left
    alone.

    Parameters
    ----------
    clear, truth
        (C, H, W) float32, reflectance-like.
    look
        That of ``clear``. Where bands were mixed, the sky has false colours, too.
    """
    if rng.random() < variety.clear_share:
        low, high = _PHOTO if look.photo else draw_range(rng, clear)
        unit = unit_from(clear, low, high)
        return Sample(unit, unit, np.zeros(unit.shape[1:], bool))
    if variety.far_share and rng.random() < variety.far_share:
        sky = _far_sky(rng, bands, gsd_m)
    elif variety.haze_share and rng.random() < variety.haze_share:
        sky = _even_haze(rng, bands)
    elif variety.fitted_share and rng.random() < variety.fitted_share:
        sky = _fitted_sky(rng, bands, gsd_m)
    else:
        sky = draw_params(rng, bands)
    # Structure of a pixel or two is no cloud but noise.
    sky = replace(sky, outer_scale_m=max(sky.outer_scale_m, _LEAST_CLOUD_PX * gsd_m))
    if look.mixed:
        sky = _false_colours(rng, sky)
    if rng.random() < 0.5:
        # Clouds over dark scenes are often darker than the sensor's full scale.
        scale = float(rng.uniform(0.5, 1.0))
        sky = replace(sky, airlight=tuple(max(0.35, a * scale) for a in sky.airlight))
    simulated = simulate_clouds(clear, bands, rng, gsd_m=gsd_m, params=sky)
    low, high = _PHOTO if look.photo else draw_range(rng, simulated.cloudy)
    return Sample(
        unit_from(simulated.cloudy, low, high), unit_from(truth, low, high), simulated.cloud_mask
    )
