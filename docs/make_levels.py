"""Measure what the level of clear ground nearby adds to whole scenes; write levels.md.

    python docs/make_levels.py docs/recipes/embedded_rgbn.toml --root IMAGERY

Protocol. Scenes of 1280 px, each a patchwork of 25 of the recipe's held-out aerial images at 0.6 m,
none twice, of one flight by their names, in one random stretch (that of the training), under a sky
that the simulator draws for views of kilometres; 11 bits; `decr declouds` with its defaults and
``--range 0,2047``, once with ``--ground`` and once without, clouds found by the embedded detector
or given as a mask. "Under clouds": pixels whose true optical depth is 0.12 or more; PSNR with a
peak of 2047, one mean squared error over bands and pixels of a scene, then means over scenes. Level
error: root mean square, over scenes and bands, of the mean error under clouds. The patches are
shuffled, so ground under a cloud is as like that around it as any of its town. Real scenes gain
more where ground changes slowly, and lose where a cloud hides the only lake, forest or snow.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from decr.config import DecloudConfig  # noqa: E402
from decr.dataset.augment import vary_radiometry  # noqa: E402
from decr.dataset.collage import wide_sky  # noqa: E402
from decr.dataset.fine_views import of_one_flight  # noqa: E402
from decr.dataset.samples import ClearImage  # noqa: E402
from decr.dataset.simulate import simulate_clouds  # noqa: E402
from decr.pipeline.declouds import declouds  # noqa: E402
from decr.predictor import Corner, Restorer, load_restorer  # noqa: E402
from decr.training.imagery import read_split  # noqa: E402
from decr.training.recipe import Recipe, read_recipe  # noqa: E402
from decr.zoo.embedded import embedded_path  # noqa: E402
from docs.make_quality import fill  # noqa: E402

Float32 = NDArray[np.float32]
PAGE = ROOT / "docs" / "levels.md"
SEED = 80_000
PATCHES, PATCH_PX, WHITE = 5, 256, 2047
THIN = 0.5
"""Optical thickness below which a simulated sky is called thin here."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A scene on disk and its truth: (C, H, W) DN, and (H, W) where clouds are."""

    thickness: float
    cloudy: Path
    mask: Path
    truth: Float32
    clouds: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Score:
    """Under the clouds of a scene: PSNR, dB, and mean errors of its bands, shares of white."""

    psnr: float
    levels: tuple[float, ...]


def flights(recipe: Recipe) -> list[list[ClearImage]]:
    """Held-out images of 256 px and 0.6 m by flight, those with enough for a scene."""
    held = [
        image
        for image in read_split(recipe)[1].clear
        if abs(image.gsd_m - 0.6) < 0.05 and image.dn.shape[1:] == (PATCH_PX, PATCH_PX)
    ]
    found = {of_one_flight(held, image.name)[0].name: image for image in held}
    alike = [of_one_flight(held, name) for name in found]
    return [images for images in alike if len(images) >= PATCHES**2]


def case(number: int, images: list[ClearImage], bands: tuple[str, ...], folder: Path) -> Case:
    """A seeded scene, written to disk."""
    rng = np.random.default_rng([SEED, number])
    chosen = iter(rng.permutation(len(images)))
    ground = np.concatenate(
        [
            np.concatenate([_patch(images[next(chosen)], bands) for _ in range(PATCHES)], axis=2)
            for _ in range(PATCHES)
        ],
        axis=1,
    )
    ground = vary_radiometry(rng, ground)
    sky = wide_sky(rng, bands)
    seen = simulate_clouds(ground, bands, rng, gsd_m=0.6, params=sky)
    cloudy, mask = folder / "cloudy.tif", folder / "mask.tif"
    _write(cloudy, np.rint(np.clip(seen.cloudy, 0, 1) * WHITE).astype(np.uint16), bands)
    _write(mask, seen.cloud_mask[None].astype(np.uint8), ("cloud",))
    return Case(sky.thickness, cloudy, mask, ground * np.float32(WHITE), seen.cloud_mask)


def _patch(image: ClearImage, bands: tuple[str, ...]) -> Float32:
    order = [image.bands.index(band) for band in bands]
    return image.dn[order].astype(np.float32) / image.white


def _write(path: Path, pixels: NDArray[np.generic], names: Sequence[str]) -> None:
    profile = {
        "driver": "GTiff", "count": len(pixels), "dtype": pixels.dtype, "tiled": True,
        "height": pixels.shape[1], "width": pixels.shape[2], "crs": "EPSG:32611",
        "transform": Affine(0.6, 0, 4e5, 0, -0.6, 4e6),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.descriptions = tuple(names)
        file.write(pixels)


def remembering(model: Restorer) -> Restorer:
    """The same model, which computes no tile twice."""
    known: dict[bytes, Float32] = {}

    def restore(tiles: Float32, corners: Sequence[Corner]) -> Float32:
        keys = [tile.tobytes() + repr(c).encode() for tile, c in zip(tiles, corners, strict=True)]
        new = [n for n, key in enumerate(keys) if key not in known]
        if new:
            made = model.restore(tiles[new], [corners[n] for n in new])
            known.update((keys[n], tile) for n, tile in zip(new, made, strict=True))
        return np.stack([known[key] for key in keys])

    return replace(model, restore=restore, restore_weighed=None)


def scored(scene: Case, pixels: NDArray[np.generic]) -> Score:
    """How far pixels are from the truth under the clouds."""
    error = (pixels[:, scene.clouds] - scene.truth[:, scene.clouds].astype(np.float64)) / WHITE
    return Score(
        float(-10 * np.log10(np.mean(error**2))), tuple(float(e) for e in error.mean(axis=1))
    )


def measured(scene: Case, restorer: Restorer) -> dict[str, Score]:
    """Scores of a scene: untouched, and by kind of mask without and with ground."""
    out, found = scene.cloudy.with_name("out.tif"), {}
    with rasterio.open(scene.cloudy) as file:
        found["cloudy"] = scored(scene, file.read())
    for kind, mask in (("found", None), ("given", scene.mask)):
        for ground in (False, True):
            config = DecloudConfig(dn_range=(0, WHITE), cloud_mask=mask, ground=ground)
            declouds(scene.cloudy, out, config, restorer=restorer, overwrite=True)
            with rasterio.open(out) as file:
                found[f"{kind} {ground}"] = scored(scene, file.read())
    return found


def rows(name: str, scores: Sequence[dict[str, Score]]) -> list[str]:
    """Two rows of the table: clouds found, and given; none of no scenes."""
    lines: list[str] = []
    for kind in ("found", "given") if scores else ():
        cloudy, without, with_ground = (
            np.array([score[key].psnr for score in scores])
            for key in ("cloudy", f"{kind} False", f"{kind} True")
        )
        gain = with_ground - without
        errors = [
            100 * np.sqrt(np.mean(np.square([score[f"{kind} {g}"].levels for score in scores])))
            for g in (False, True)
        ]
        lines.append(
            f"| {name} | {len(scores)} | {kind} | {cloudy.mean():.2f} | {without.mean():.2f} | "
            f"{with_ground.mean():.2f} | {np.median(gain):+.2f} | {gain.min():+.2f} .. "
            f"{gain.max():+.2f} | {(gain > 0).sum()} | {errors[0]:.1f} | {errors[1]:.1f} |"
        )
    return lines


def main() -> None:
    """Measure one model and write its part of the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--count", type=int, default=24)
    options = parser.parse_args()
    recipe = read_recipe(options.recipe, options.root)
    model = load_restorer(embedded_path(recipe.name))
    places = flights(recipe)
    thin: list[dict[str, Score]] = []
    others: list[dict[str, Score]] = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(options.count):
            images = places[number % len(places)]
            scene = case(number, images, recipe.bands, Path(folder))
            scores = measured(scene, remembering(model))
            (thin if scene.thickness < THIN else others).append(scores)
            print(number, {key: round(score.psnr, 2) for key, score in scores.items()}, flush=True)
    relative = options.recipe.resolve().relative_to(ROOT)
    fill(
        PAGE,
        recipe.name,
        [
            "```bash",
            f"python docs/make_levels.py {relative} --root IMAGERY --count {options.count}",
            "```",
            "",
            "| sky | scenes | clouds | cloudy | without | with | median gain | gains | better in "
            "| level error without, % | with, % |",
            "|---|---|---|---|---|---|---|---|---|---|---|",
            *rows(f"thin: optical thickness below {THIN:g}", thin),
            *rows("others", others),
        ],
    )


if __name__ == "__main__":
    main()
