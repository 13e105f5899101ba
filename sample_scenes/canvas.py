"""The canvas a landscape is drawn on: albedo, height and labels; light, shadows and the sensor."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from decr.dataset.simulate import SKYLIGHT
from sample_scenes.spectra import BANDS, HAZE, Spectrum

Float32 = NDArray[np.float32]


class Label(IntEnum):
    """What a pixel shows, for the tests and for placing things."""

    LAND = 0
    CROP = 1
    RIPE = 2
    SOIL = 3
    WATER = 4
    WOOD = 5
    ROAD = 6
    ROOF = 7
    PARCEL = 8


@dataclass(frozen=True, slots=True)
class Sun:
    """Where the sun stands.

    Attributes
    ----------
    azimuth_deg
        Clockwise from the top of the picture, degrees.
    elevation_deg
        Above the horizon, degrees.
    """

    azimuth_deg: float
    elevation_deg: float

    def shadow_m(self, height_m: float) -> tuple[float, float]:
        """(rows, cols) displacement in metres of the shadow of something ``height_m`` high."""
        reach = height_m / np.tan(np.radians(self.elevation_deg))
        away = np.radians(self.azimuth_deg + 180.0)
        return float(-np.cos(away) * reach), float(np.sin(away) * reach)


def fractal(
    rng: np.random.Generator, shape: tuple[int, int], outer_px: float, slope: float
) -> Float32:
    """Draw a periodic random field, zero mean and unit deviation, (rows, cols) float32.

    Power falls as frequency to the ``slope`` beyond a largest size of ``outer_px`` pixels.
    """
    fr = fft.fftfreq(shape[0])[:, None].astype(np.float32)
    fc = fft.rfftfreq(shape[1])[None, :].astype(np.float32)
    amplitude = (fr**2 + fc**2 + np.float32(outer_px**-2)) ** np.float32(-slope / 4)
    white = rng.standard_normal(shape, dtype=np.float32)
    drawn = fft.irfft2(fft.rfft2(white) * amplitude, s=shape)
    drawn -= drawn.mean()
    unit: Float32 = (drawn / drawn.std()).astype(np.float32)
    return unit


@dataclass(slots=True)
class Canvas:
    """A landscape being drawn. x runs right and y down, metres from the top left corner.

    Attributes
    ----------
    albedo
        (4, H, W) float32, reflectance of the surface.
    height
        (H, W) float32, metres above ground: casts shadows.
    relief
        (H, W) float32, metres: the height without walls, its slopes are shaded.
    label
        (H, W) uint8, see ``Label``.
    broad, mid, fine, lumps
        (H, W) float32, unit noise with structures of 120, 12 and 1 metres; ``lumps`` are twigs.
    grain
        (256, 256) float32, unit noise to be indexed along and across crop rows.
    """

    shape: tuple[int, int]
    rng: np.random.Generator
    gsd_m: float = 0.5
    albedo: Float32 = field(init=False)
    height: Float32 = field(init=False)
    relief: Float32 = field(init=False)
    label: NDArray[np.uint8] = field(init=False)
    broad: Float32 = field(init=False)
    mid: Float32 = field(init=False)
    fine: Float32 = field(init=False)
    lumps: Float32 = field(init=False)
    grain: Float32 = field(init=False)

    def __post_init__(self) -> None:
        self.albedo = np.zeros((len(BANDS), *self.shape), np.float32)
        self.height = np.zeros(self.shape, np.float32)
        self.relief = np.zeros(self.shape, np.float32)
        self.label = np.zeros(self.shape, np.uint8)
        self.broad = fractal(self.rng, self.shape, 120 / self.gsd_m, 3.2)
        self.mid = fractal(self.rng, self.shape, 12 / self.gsd_m, 3.3)
        self.fine = fractal(self.rng, self.shape, 1.2 / self.gsd_m, 2.0)
        self.lumps = fractal(self.rng, self.shape, 1.6 / self.gsd_m, 5.0)
        self.grain = fractal(self.rng, (256, 256), 3.0, 2.0)

    def label_at(self, x: float, y: float) -> int:
        """Label at a point; -1 outside the picture."""
        row, col = int(y / self.gsd_m), int(x / self.gsd_m)
        inside = 0 <= row < self.shape[0] and 0 <= col < self.shape[1]
        return int(self.label[row, col]) if inside else -1


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """The pixels around a rotated rectangle and where they lie in its own frame.

    Attributes
    ----------
    window
        (row slice, col slice) into the canvas.
    along, across
        (h, w) float32, metres from the centre in the rectangle's own axes.
    inset
        (h, w) float32, metres inside the rectangle's edge; negative outside.
    """

    window: tuple[slice, slice]
    along: Float32
    across: Float32
    inset: Float32


def rectangle(
    canvas: Canvas, centre: tuple[float, float], size: tuple[float, float], angle: float
) -> Patch | None:
    """Find the pixels of a rectangle, or None if it lies outside the picture.

    Parameters
    ----------
    centre, size
        (x, y) and (length, width), metres.
    angle
        Of the length, radians from the x axis towards y (down).
    """
    half = 0.5 * float(np.hypot(*size)) + 2 * canvas.gsd_m
    (x, y), gsd = centre, canvas.gsd_m
    rows = slice(max(0, int((y - half) / gsd)), min(canvas.shape[0], int((y + half) / gsd) + 1))
    cols = slice(max(0, int((x - half) / gsd)), min(canvas.shape[1], int((x + half) / gsd) + 1))
    if rows.start >= rows.stop or cols.start >= cols.stop:
        return None
    dy = ((np.arange(rows.start, rows.stop) + 0.5) * gsd - y).astype(np.float32)[:, None]
    dx = ((np.arange(cols.start, cols.stop) + 0.5) * gsd - x).astype(np.float32)[None, :]
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along, across = dx * cos + dy * sin, dy * cos - dx * sin
    inset = np.minimum(size[0] / 2 - np.abs(along), size[1] / 2 - np.abs(across))
    return Patch((rows, cols), along, across, inset.astype(np.float32))


def cover(canvas: Canvas, inset: Float32) -> Float32:
    """Share of each pixel that is inside a shape, 0..1, from metres inside its edge."""
    share: Float32 = np.clip(inset / np.float32(canvas.gsd_m) + 0.5, 0.0, 1.0)
    return share


def paint(
    canvas: Canvas,
    window: tuple[slice, slice],
    share: Float32,
    colour: Spectrum,
    label: Label | None = None,
) -> None:
    """Mix a colour, (4,) or (4, h, w), into a window by the share 0..1 of each pixel it covers."""
    area = canvas.albedo[(slice(None), *window)]
    area += share * (colour.reshape(4, *(colour.shape[1:] or (1, 1))) - area)
    if label is not None:
        canvas.label[window][share > 0.5] = label


def _visibility(height: Float32, gsd_m: float, sun: Sun) -> Float32:
    """Share of the sun's disc seen by every pixel, (H, W) 0..1: marches towards the sun."""
    per_metre = sun.shadow_m(1.0)
    step = gsd_m / max(abs(per_metre[0]), abs(per_metre[1]))
    excess = np.zeros_like(height)
    for index in range(1, int(float(height.max()) / step) + 1):
        drop = index * step
        dr, dc = (round(part * drop / gsd_m) for part in per_metre)
        to_rows = slice(max(dr, 0), height.shape[0] + min(dr, 0))
        to_cols = slice(max(dc, 0), height.shape[1] + min(dc, 0))
        from_rows = slice(max(-dr, 0), height.shape[0] + min(-dr, 0))
        from_cols = slice(max(-dc, 0), height.shape[1] + min(-dc, 0))
        over = height[from_rows, from_cols] - height[to_rows, to_cols] - np.float32(drop)
        np.maximum(excess[to_rows, to_cols], over, out=excess[to_rows, to_cols])
    # Half a metre of excess hides the whole disc; it also smooths the steps of the march.
    seen: Float32 = ndimage.gaussian_filter(np.clip(1.1 - excess / 0.5, 0.0, 1.0), 0.5)
    return seen


def light(canvas: Canvas, sun: Sun) -> Float32:
    """Light the landscape: (4, H, W) float32 reflectance at the top of the atmosphere.

    Direct light goes with the cosine to the slope and stops in shadows; skylight, bluer, does not.
    A flat open surface shows its albedo.
    """
    down, right = np.gradient(ndimage.gaussian_filter(canvas.relief, 0.5), canvas.gsd_m)
    down, right = np.clip(down, -1.3, 1.3), np.clip(right, -1.3, 1.3)
    rows, cols = sun.shadow_m(1.0)
    # cos(incidence) / sin(elevation): slopes that fall away from the sun lose light.
    facing = (1.0 + down * rows + right * cols) / np.sqrt(1.0 + down**2 + right**2)
    direct = np.clip(facing, 0.0, 1.6) * _visibility(canvas.height, canvas.gsd_m, sun)
    image = np.empty_like(canvas.albedo)
    for index, band in enumerate(BANDS):
        sky = np.float32(SKYLIGHT[band])
        image[index] = canvas.albedo[index] * (sky + (1 - sky) * direct) + HAZE[index]
    return image


def sense(
    image: Float32,
    rng: np.random.Generator,
    *,
    full_scale: int,
    noise_dn: float = 0.7,
) -> NDArray[np.float32]:
    """Blur (0.7 px), add noise and round to digital numbers 1..full_scale, (4, H, W) float32.

    Reflectance 1 is ``full_scale``. The noise has a constant and a shot part.
    """
    sensed = np.empty_like(image)
    for index, band in enumerate(image):
        dn = ndimage.gaussian_filter(band, 0.7) * np.float32(full_scale)
        deviation = noise_dn * np.sqrt(0.6 + 0.4 * np.clip(dn, 0, None) / (0.1 * full_scale))
        dn += rng.standard_normal(dn.shape, dtype=np.float32) * deviation
        sensed[index] = np.clip(np.rint(dn), 1, full_scale)
    return sensed
