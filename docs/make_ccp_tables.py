"""Measure how well clouds are found, in labelled images and simulated scenes; write detectors.md.

    python docs/make_ccp_tables.py --root IMAGERY

Protocol. All images pass through `decr ccp` as files, with its defaults. Labelled: patches of L8
Biome (thin and thick cloud are cloud, shadows are not), those that the recipe of the embedded
detector holds out apart from those it was trained on, and two patches of UKIS (class 4 is cloud);
they are reflectance, so --range is 0,1; IoU, precision and recall of all pixels of a set together.
Simulated: quilts of the recipe's held-out aerial images at 0.6 m (the page has 110 of Santa Monica
and 10 of Bishop), each of one flight by their names, under skies that the simulator draws for views
of kilometres (those of the detector's training); each of these images alone, 256 px, under skies as
they are drawn for tiles; and both under none. They have four bands, of which `compact` is shown
three, too. 8 bits; the truth is the simulator's own mask, optical depth 0.12 and more. The error of
CCP is found less true, in points of a hundred. "Truth moves": by how many points the true CCP falls
if that depth is a tenth higher.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from decr.config import CcpConfig  # noqa: E402
from decr.coverage.ccp import Looking, looking, scene_ccp  # noqa: E402
from decr.coverage.sources import Source  # noqa: E402
from decr.dataset.clear import held_out  # noqa: E402
from decr.dataset.collage import quilt, wide_sky  # noqa: E402
from decr.dataset.fine_views import of_one_flight  # noqa: E402
from decr.dataset.samples import ClearImage  # noqa: E402
from decr.dataset.simulate import Simulated, simulate_clouds  # noqa: E402
from decr.dataset.sky import MASK_TAU, CloudParams, draw_params  # noqa: E402
from decr.errors import DecrWarning  # noqa: E402
from decr.pipeline.engine import local_engine  # noqa: E402
from decr.training.imagery import read_split  # noqa: E402
from decr.training.recipe import Recipe, read_recipe  # noqa: E402
from docs.make_quality import fill  # noqa: E402

PAGE = ROOT / "docs" / "detectors.md"
RECIPE = ROOT / "docs" / "recipes" / "embedded_detector.toml"
LABELLED = {"compact": "compact", "threshold": "threshold"}
"""Detectors by what the tables call them: over labelled images."""
THREE, FOUR = "compact, r,g,b", "compact, r,g,b,n"
SIMULATED = {THREE: "compact", FOUR: "compact", "threshold": "threshold"}
"""And over simulated scenes."""
SEED = 60_000
FAINT, THIN = 0.2, 0.5
"""Optical thicknesses below which a simulated sky is called faint or thin here."""
WITHIN = 3.0
BANDS = ("red", "green", "blue", "nir")


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """An image file, how to read it, and the truth, (H, W) bool."""

    path: Path
    bands: str
    cloudy: np.ndarray


@dataclass(frozen=True, slots=True)
class Sky:
    """A simulated scene: its sky's thickness, true CCP, and CCP found by each detector.

    ``narrow`` is the true CCP of a mask that begins at a tenth more of optical depth.
    """

    thickness: float
    true: float
    narrow: float
    found: dict[str, float]


@contextmanager
def looks(detectors: Mapping[str, str], **options: Any) -> Iterator[dict[str, Looking]]:
    """Every detector, loaded once; what they warn of is known here."""
    with local_engine() as engine, warnings.catch_warnings():
        warnings.simplefilter("ignore", DecrWarning)
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        yield {
            name: looking(
                CcpConfig(**{"detector": chosen, "bands": shown(name), **options}), engine
            )
            for name, chosen in detectors.items()
        }


def shown(name: str) -> str:
    """Bands of a simulated scene that a detector is shown, as an option."""
    return "r,g,b,-" if name == THREE else "r,g,b,n"


def biome(root: Path, recipe: Recipe, held: bool) -> list[Labelled]:
    """Labelled patches of L8 Biome that the recipe holds out, or those it trains on."""
    folder = root / "cloud_masks_l8biome"
    chosen = []
    for path in sorted((folder / "images").glob("*.tif")):
        if held_out(path.name, recipe.holdout) == held:
            with rasterio.open(folder / "masks" / path.name) as file:
                cloudy = file.read(1) >= 192
            chosen.append(Labelled(path, "b,g,r,n,-,-,-,-", cloudy))
    return chosen


def ukis(root: Path, folder: Path) -> list[Labelled]:
    """The two patches of UKIS as GeoTIFF in a folder."""
    chosen = []
    for archive in sorted((root / "cloud_masks_ukis").glob("*.npz")):
        with np.load(archive) as arrays:
            pixels, classes = arrays["img"].transpose(2, 0, 1), arrays["msk"][..., 0]
        path = folder / f"{archive.stem}.tif"
        write(path, pixels)
        chosen.append(Labelled(path, "b,g,r,n,-,-", classes == 4))
    return chosen


def write(path: Path, pixels: np.ndarray, gsd_m: float | None = None) -> None:
    """(C, H, W) as a GeoTIFF, placed somewhere if it has a GSD."""
    count, height, width = pixels.shape
    profile = {"count": count, "height": height, "width": width, "dtype": pixels.dtype}
    if gsd_m is not None:
        profile |= {"crs": "EPSG:32611", "transform": Affine(gsd_m, 0, 5e5, 0, -gsd_m, 4e6)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", **profile) as file:
            file.write(pixels)


def mask_of(path: Path, look: Looking, folder: Path) -> np.ndarray:
    """(H, W) bool that `decr ccp` writes."""
    scene_ccp(Source("scene", str(path)), look, folder)
    with rasterio.open(folder / "scene_mask.tif") as file:
        return np.asarray(file.read(1) == 1)


def labelled_rows(name: str, images: Sequence[Labelled], folder: Path) -> list[str]:
    """Rows of the table: scores of all pixels together, and coverage by image."""
    rows = []
    with looks(LABELLED, bands=images[0].bands, gsd_m=30.0, dn_range=(0.0, 1.0)) as found_by:
        for detector, look in found_by.items():
            masks = [mask_of(image.path, look, folder) for image in images]
            pairs = list(zip(masks, (image.cloudy for image in images), strict=True))
            both, found, true = (
                sum(int(chosen.sum()) for chosen in kind)
                for kind in ([m & c for m, c in pairs], masks, [c for _, c in pairs])
            )
            errors = [100 * float(mask.mean() - cloudy.mean()) for mask, cloudy in pairs]
            rows.append(
                f"| {name} | {len(images)} | {detector} | {both / (found + true - both):.3f} | "
                f"{both / max(1, found):.3f} | {both / max(1, true):.3f} | "
                f"{np.mean(errors):+.1f} | {np.mean(np.abs(errors)):.1f} |"
            )
    return rows


def unseen(recipe: Recipe) -> list[ClearImage]:
    """Held-out aerial images of about 0.6 m."""
    _, imagery = read_split(recipe)
    return [image for image in imagery.clear if abs(image.gsd_m - 0.6) < 0.05]


def skies(
    images: list[ClearImage],
    count: int,
    side: int,
    *,
    thick: bool = False,
    clouded: bool = True,
) -> list[Sky]:
    """Seeded simulated scenes, and what is found in them; only skies that are not thin if asked."""
    found = []
    with tempfile.TemporaryDirectory() as folder, looks(SIMULATED) as found_by:
        for number in range(count):
            rng = np.random.default_rng([SEED, number])
            first = images[int(rng.integers(len(images)))]
            view, gsd_m = quilt(rng, of_one_flight(images, first.name), BANDS, side, 1)
            sky = wide_sky(rng, BANDS) if clouded else None
            if sky and thick and sky.thickness < THIN:
                continue
            found.append(look_at(rng, view, gsd_m, sky, Path(folder), found_by))
    return found


def alone(images: list[ClearImage], clouded: bool) -> list[Sky]:
    """Each image as a scene of its own, under a seeded sky or none, and what is found in it."""
    found = []
    with tempfile.TemporaryDirectory() as folder, looks(SIMULATED) as found_by:
        for number, image in enumerate(images):
            rng = np.random.default_rng([SEED, 1, number])
            order = [image.bands.index(band) for band in BANDS]
            view = image.dn[order].astype(np.float32) / image.white
            sky = draw_params(rng, BANDS) if clouded else None
            found.append(look_at(rng, view, image.gsd_m, sky, Path(folder), found_by))
    return found


def look_at(
    rng: np.random.Generator,
    view: np.ndarray,
    gsd_m: float,
    sky: CloudParams | None,
    folder: Path,
    found_by: dict[str, Looking],
) -> Sky:
    """A sky over a clear view, as a file, and what is found in it."""
    true = narrow = 0.0
    if sky is not None:
        simulated = simulate_clouds(view, BANDS, rng, gsd_m=gsd_m, params=sky)
        view, (true, narrow) = simulated.cloudy, true_ccp(simulated)
    path = folder / "scene.tif"
    # 230: the brightest clouds stay within 8 bits.
    write(path, np.clip(np.rint(view * 230), 0, 255).astype("uint8"), gsd_m)
    ccp = {n: scene_ccp(Source("s", str(path)), look).ccp for n, look in found_by.items()}
    return Sky(sky.thickness if sky else 0.0, true, narrow, ccp)


def true_ccp(simulated: Simulated) -> tuple[float, float]:
    """True CCP, and that of a mask that begins at a tenth more of optical depth."""
    narrow = simulated.thickness >= 1.1 * MASK_TAU
    return float(simulated.cloud_mask.mean()), float(narrow.mean())


def errors_of(found: Sequence[Sky], detector: str) -> np.ndarray:
    """Errors of CCP in points."""
    return np.array([100 * (sky.found[detector] - sky.true) for sky in found])


def by_thickness(found: Sequence[Sky]) -> dict[str, list[Sky]]:
    """Scenes by what the tables call the optical thickness of their sky; no set is empty."""
    least = {
        f"faint: optical thickness below {FAINT:g}": (0.0, FAINT),
        f"thin: below {THIN:g}": (FAINT, THIN),
        "others": (THIN, np.inf),
        "all but faint": (FAINT, np.inf),
        "all": (0.0, np.inf),
    }
    sets = {
        name: [s for s in found if s.thickness and low <= s.thickness < high]
        for name, (low, high) in least.items()
    }
    sets["none"] = [s for s in found if not s.thickness]
    return {name: chosen for name, chosen in sets.items() if chosen}


def moved(found: Sequence[Sky]) -> float:
    """By how many points true CCP falls where the depth of a mask's edge is a tenth higher."""
    return 100 * float(np.mean([sky.true - sky.narrow for sky in found]))


def sky_rows(kind: str, found: Sequence[Sky]) -> list[str]:
    """Rows of the table: by thickness of the sky and by detector."""
    rows = []
    for name, chosen in by_thickness(found).items():
        true = 100 * np.mean([sky.true for sky in chosen])
        for detector in SIMULATED:
            e = errors_of(chosen, detector)
            rows.append(
                f"| {kind} | {name} | {len(chosen)} | {true:.1f} | {moved(chosen):.1f} | "
                f"{detector} | {e.mean():+.1f} | "
                f"{np.abs(e).mean():.1f} | {np.median(np.abs(e)):.1f} | "
                f"{100 * (np.abs(e) <= WITHIN).mean():.0f} % |"
            )
    return rows


def main() -> None:
    """Measure and fill the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=48)
    parser.add_argument("--side", type=int, default=1536)
    options = parser.parse_args()
    recipe = read_recipe(RECIPE, options.root)
    images = unseen(recipe)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sets = {
            "L8 Biome, held out": biome(options.root, recipe, held=True),
            "L8 Biome, trained on": biome(options.root, recipe, held=False),
            "UKIS, never seen": ukis(options.root, folder),
        }
        rows = [r for kind, images in sets.items() for r in labelled_rows(kind, images, folder)]
    command = f"python docs/make_ccp_tables.py --root IMAGERY --scenes {options.scenes}"
    lines = [
        "```bash", f"{command} --side {options.side}", "```", "",
        "| labelled images | images | detector | IoU | precision | recall | mean error of CCP | "
        "mean absolute error |",
        "|---|---|---|---|---|---|---|---|",
        *rows, "",
        "| ground at 0.6 m | sky | scenes | true CCP | truth moves | detector | "
        "mean error of CCP | mean absolute error | median absolute error | "
        f"within {WITHIN:g} points |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *sky_rows(
            f"quilt, {options.side} px",
            skies(images, options.scenes, options.side)
            + skies(images, options.scenes, options.side, clouded=False),
        ),
        *sky_rows("one image, 256 px", alone(images, clouded=True) + alone(images, clouded=False)),
    ]  # fmt: skip
    fill(PAGE, "detectors", lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
