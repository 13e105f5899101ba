"""Make the sample scenes from their seeds: ``python -m sample_scenes.make_scenes --out DIR``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from decr.dataset.simulate import simulate_clouds
from decr.dataset.sky import CloudParams
from decr.errors import DatasetError
from sample_scenes import geotiff
from sample_scenes.canvas import Canvas, Float32, Sun, light, sense
from sample_scenes.harbour import draw_harbour, rotated_footprint
from sample_scenes.landscape import draw_meadowbrook
from sample_scenes.spectra import BANDS

GSD_M = 0.5
CLOUD_TAU = 0.002
CLOUD_SHADE = 0.004
"""Optical depth and share of direct light lost below which a pixel is left untouched.

Both change a pixel by about one or two DN, so there is no visible edge where clouds end.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """How one landscape becomes digital numbers.

    Attributes
    ----------
    draw
        Draws on a canvas of ``shape``.
    seed, sky_seed
        Of the landscape and its noise; of the clouds.
    bands
        In file order, out of blue, green, red, nir.
    saturation
        Reflectance that gives ``full_scale``.
    full_scale, dtype
        Largest DN and how it is stored.
    picture_sun
        With the azimuth from the top of the picture, not from grid north.
    sky
        Its shadow offset is set from the sun and ``cloud_height_m``.
    """

    draw: Callable[[Canvas], None]
    shape: tuple[int, int]
    seed: int
    sky_seed: int
    bands: tuple[str, ...]
    saturation: float
    full_scale: int
    dtype: str
    picture_sun: Sun
    sky: CloudParams
    cloud_height_m: float
    noise_dn: float


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """A landscape, clear and under clouds.

    Attributes
    ----------
    clear, cloudy
        (C, H, W) DN.
    mask
        (H, W) bool, True where clouds or their shadows changed the ground.
    label
        (H, W) uint8, see ``Label``.
    """

    clear: NDArray[np.uint8] | NDArray[np.uint16]
    cloudy: NDArray[np.uint8] | NDArray[np.uint16]
    mask: NDArray[np.bool_]
    label: NDArray[np.uint8]


MEADOWBROOK_SUN = Sun(azimuth_deg=148.0, elevation_deg=46.0)
MEADOWBROOK = Recipe(
    draw=draw_meadowbrook,
    shape=(2048, 2048),
    seed=11,
    sky_seed=3,
    bands=BANDS,
    saturation=1.2,
    full_scale=2047,
    dtype="uint16",
    picture_sun=MEADOWBROOK_SUN,
    sky=CloudParams(
        coverage=0.27,
        thickness=2.1,
        softness=2.0,
        roughness=3.2,
        outer_scale_m=420.0,
        angstrom=0.2,
        airlight=(0.79, 0.785, 0.78, 0.775),
        shadow=0.62,
        blur_px=0.6,
        noise=0.0004,
    ),
    cloud_height_m=120.0,
    noise_dn=0.4,
)
MEADOWBROOK_FILES = geotiff.Delivery(
    title="Meadowbrook, a simulated valley with fields, woods, a river and a village",
    epsg=32650,
    transform=Affine(GSD_M, 0.0, 448_200.0, 0.0, -GSD_M, 4_423_700.0),
    bands=BANDS,
    taken="2023-05-21T03:12:45Z",
    sun=MEADOWBROOK_SUN,
)

HARBOUR_TURN_DEG = 14.0
"""Counter-clockwise rotation of the harbour's pixel grid against grid north, degrees."""
HARBOUR_TURN = float(np.radians(HARBOUR_TURN_DEG))

HARBOUR_SUN = Sun(azimuth_deg=191.0, elevation_deg=52.0)
HARBOUR = Recipe(
    draw=draw_harbour,
    shape=(500, 600),
    seed=23,
    sky_seed=0,
    bands=("red", "green", "blue"),
    saturation=0.62,
    full_scale=255,
    dtype="uint8",
    picture_sun=replace(HARBOUR_SUN, azimuth_deg=HARBOUR_SUN.azimuth_deg + HARBOUR_TURN_DEG),
    sky=CloudParams(
        coverage=0.25,
        thickness=2.2,
        softness=1.2,
        roughness=3.2,
        outer_scale_m=160.0,
        angstrom=0.2,
        airlight=(0.93, 0.94, 0.95),
        shadow=0.55,
        blur_px=0.6,
        noise=0.002,
    ),
    cloud_height_m=55.0,
    noise_dn=0.4,
)
HARBOUR_FILES = geotiff.Delivery(
    title="Harbour, a simulated small port on a rotated grid",
    epsg=32633,
    transform=Affine(
        GSD_M * np.cos(HARBOUR_TURN),
        GSD_M * np.sin(HARBOUR_TURN),
        391_420.0,
        GSD_M * np.sin(HARBOUR_TURN),
        -GSD_M * np.cos(HARBOUR_TURN),
        5_044_310.0,
    ),
    bands=("red", "green", "blue"),
    taken="2023-07-02T11:24:10Z",
    sun=HARBOUR_SUN,
    nodata=0,
)


def _cloud_over(
    clear: Float32, recipe: Recipe, rng: np.random.Generator
) -> tuple[Float32, NDArray[np.bool_]]:
    """Put the recipe's sky over clear DN; pixels it hardly changes stay as they were."""
    sky = replace(recipe.sky, shadow_offset_m=recipe.picture_sun.shadow_m(recipe.cloud_height_m))
    scale = np.float32(recipe.full_scale)
    seen = simulate_clouds(clear / scale, recipe.bands, rng, gsd_m=GSD_M, params=sky)
    mask = (seen.thickness >= CLOUD_TAU) | (seen.shadow >= CLOUD_SHADE)
    cloudy = np.clip(np.rint(seen.cloudy * scale), 1, recipe.full_scale)
    return np.where(mask, cloudy, clear).astype(np.float32), mask


def make(recipe: Recipe) -> Made:
    """Draw, light, sense and cloud over a landscape; the same recipe gives the same numbers."""
    rng = np.random.default_rng(recipe.seed)
    canvas = Canvas(recipe.shape, rng, GSD_M)
    recipe.draw(canvas)
    order = [BANDS.index(band) for band in recipe.bands]
    image = light(canvas, recipe.picture_sun)[order] / np.float32(recipe.saturation)
    clear = sense(image, rng, full_scale=recipe.full_scale, noise_dn=recipe.noise_dn)
    cloudy, mask = _cloud_over(clear, recipe, np.random.default_rng(recipe.sky_seed))
    return Made(clear.astype(recipe.dtype), cloudy.astype(recipe.dtype), mask, canvas.label)


def ndvi(dn: NDArray[np.uint8] | NDArray[np.uint16]) -> Float32:
    """Normalised difference vegetation index of (4, H, W) blue, green, red, nir DN."""
    red, nir = dn[2].astype(np.float32), dn[3].astype(np.float32)
    index: Float32 = (nir - red) / (nir + red)
    return index


def write_meadowbrook(folder: Path) -> Made:
    """Write the clear and cloudy scene and the mask of what the clouds changed."""
    made = make(MEADOWBROOK)
    covered = float(made.mask.mean())
    geotiff.write(folder / "meadowbrook_clear.tif", made.clear, MEADOWBROOK_FILES)
    geotiff.write(
        folder / "meadowbrook_cloudy.tif", made.cloudy, MEADOWBROOK_FILES, cloud_cover=covered
    )
    geotiff.write(
        folder / "meadowbrook_cloud_mask.tif",
        made.mask[None].astype(np.uint8),
        replace(MEADOWBROOK_FILES, bands=("mask",)),
        cloud_cover=covered,
        tags={"MASK_VALUES": "0 untouched, 1 cloud or cloud shadow"},
    )
    return made


def write_harbour(folder: Path) -> Made:
    """Write the rotated harbour, clear and cloudy, black outside its footprint."""
    made = make(HARBOUR)
    # Turned back against the grid's rotation, the footprint is north-up on the map.
    inside = rotated_footprint(HARBOUR.shape, HARBOUR_TURN, 0.82)
    covered = float(made.mask[inside].mean())
    for name, dn, cover in (("clear", made.clear, 0.0), ("cloudy", made.cloudy, covered)):
        framed = np.where(inside, dn, 0).astype(np.uint8)
        geotiff.write(
            folder / f"harbour_rotated_{name}.tif", framed, HARBOUR_FILES, cloud_cover=cover
        )
    return made


def write_truth(folder: Path) -> Path:
    """Write the clear Meadowbrook that belongs to the cloudy one already in a folder.

    It is drawn anew under the mask only. Elsewhere it is the cloudy scene itself, so the two agree
    bit for bit outside the mask even where another machine rounds a few pixels differently.

    Raises
    ------
    DatasetError
        If the scene in the folder was made by another generator.
    """
    with rasterio.open(folder / "meadowbrook_cloudy.tif") as source:
        cloudy = source.read()
    with rasterio.open(folder / "meadowbrook_cloud_mask.tif") as source:
        mask = source.read(1) == 1
    clear = make(MEADOWBROOK).clear
    differs = float((np.abs(clear.astype(int) - cloudy)[:, ~mask] > 1).mean())
    if differs > 0.001:
        raise DatasetError(
            f"{folder}/meadowbrook_cloudy.tif differs from this generator's scene in {differs:.1%} "
            "of its clear pixels; make all scenes anew: python -m sample_scenes.make_scenes"
        )
    target = folder / "meadowbrook_clear.tif"
    geotiff.write(target, np.where(mask, clear, cloudy), MEADOWBROOK_FILES)
    return target


def truth(folder: Path = Path(__file__).parent) -> Path:
    """Path of the clear Meadowbrook, which is made (half a minute) on first use."""
    target = folder / "meadowbrook_clear.tif"
    return target if target.exists() else write_truth(folder)


def main() -> None:
    """Parse the command line and write all scenes, or the missing truth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="target folder")
    parser.add_argument(
        "--truth",
        action="store_true",
        help="write only meadowbrook_clear.tif for the cloudy scene that is in the folder",
    )
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.truth:
        print(write_truth(options.out))
        return
    for write in (write_meadowbrook, write_harbour):
        made = write(options.out)
        print(f"{write.__name__}: {made.mask.mean():.0%} cloud or cloud shadow")


if __name__ == "__main__":
    main()
