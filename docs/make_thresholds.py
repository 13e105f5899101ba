"""Measure what thresholds of the detector do to restored scenes; write detectors.md.

    python docs/make_thresholds.py docs/recipes/embedded_rgbn.toml --root IMAGERY

Protocol. The scenes of `docs/make_levels.py`, `decr declouds` with its defaults, ``--range 0,2047``
and the ``--threshold`` or ``--full`` that a row names. PSNR with a peak of 2047, one mean squared
error over bands and pixels of a scene, then means over scenes: over all pixels, and under clouds,
whose true optical depth is 0.12 or more. "Clear": the same scenes without their sky; how many
pixels differ afterwards, and PSNR over all of them, as one mean squared error for all scenes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from decr.config import DecloudConfig  # noqa: E402
from decr.pipeline.declouds import declouds  # noqa: E402
from decr.predictor import Restorer, load_restorer  # noqa: E402
from decr.training.recipe import read_recipe  # noqa: E402
from decr.zoo.embedded import embedded_path  # noqa: E402
from docs.make_levels import THIN, WHITE, Case, case, flights, remembering  # noqa: E402
from docs.make_quality import fill  # noqa: E402

PAGE = ROOT / "docs" / "detectors.md"
CHOICES = {
    "not restored": None,
    "`--threshold 0.5`, the default": DecloudConfig(dn_range=(0, WHITE)),
    "`--threshold 0.3`": DecloudConfig(dn_range=(0, WHITE), threshold=0.3),
    "`--threshold 0.15`": DecloudConfig(dn_range=(0, WHITE), threshold=0.15),
    "`--full`": DecloudConfig(dn_range=(0, WHITE), full=True),
}


@dataclass(frozen=True, slots=True)
class Score:
    """A scene under its sky: squared errors, shares of white; the same without: and changes."""

    everywhere: float
    clouds: float
    clear: float
    changed: float


def restored(
    seen: NDArray[np.generic], like: Path, config: DecloudConfig | None, model: Restorer
) -> NDArray[np.generic]:
    """What `decr declouds` makes of pixels with the grid and bands of another scene."""
    if config is None:
        return seen
    scene, out = like.with_name("seen.tif"), like.with_name("out.tif")
    with rasterio.open(like) as file:
        profile, names = file.profile, file.descriptions
    with rasterio.open(scene, "w", **profile) as file:
        file.descriptions = names
        file.write(seen)
    declouds(scene, out, config, restorer=model, overwrite=True)
    with rasterio.open(out) as file:
        return np.asarray(file.read())


def measured(scene: Case, config: DecloudConfig | None, model: Restorer) -> Score:
    """The score of one choice for one scene."""
    with rasterio.open(scene.cloudy) as file:
        cloudy = file.read()
    clear = np.rint(np.clip(scene.truth, 0, WHITE)).astype(cloudy.dtype)
    error = (restored(cloudy, scene.cloudy, config, model) - scene.truth.astype(float)) / WHITE
    left = restored(clear, scene.cloudy, config, model)
    harm = (left - clear.astype(float)) / WHITE
    return Score(
        float(np.mean(error**2)),
        float(np.mean(error[:, scene.clouds] ** 2)),
        float(np.mean(harm**2)),
        float((left != clear).any(axis=0).mean()),
    )


def row(name: str, thin: Sequence[Score], others: Sequence[Score]) -> str:
    """A row of the table."""

    def level(errors: Sequence[float]) -> str:
        return f"{-10 * np.log10(errors).mean():.2f}"

    harm = float(np.mean([score.clear for score in (*thin, *others)]))
    cells = [
        name,
        *(level([score.everywhere for score in scores]) for scores in (thin, others)),
        *(level([score.clouds for score in scores]) for scores in (thin, others)),
        f"{100 * np.mean([score.changed for score in (*thin, *others)]):.0f} %",
        "unchanged" if harm == 0 else f"{-10 * np.log10(harm):.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Measure one model and write its part of the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--count", type=int, default=12)
    options = parser.parse_args()
    recipe = read_recipe(options.recipe, options.root)
    model = load_restorer(embedded_path(recipe.name))
    places = flights(recipe)
    found: dict[bool, dict[str, list[Score]]] = {
        is_thin: {name: [] for name in CHOICES} for is_thin in (False, True)
    }
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(options.count):
            scene = case(number, places[number % len(places)], recipe.bands, Path(folder))
            known = remembering(model)
            for name, config in CHOICES.items():
                score = measured(scene, config, known)
                found[scene.thickness < THIN][name].append(score)
                print(number, name, score, flush=True)
    thin, others = found[True], found[False]
    relative = options.recipe.resolve().relative_to(ROOT)
    fill(
        PAGE,
        f"thresholds {recipe.name}",
        [
            "```bash",
            f"python docs/make_thresholds.py {relative} --root IMAGERY --count {options.count}",
            "```",
            "",
            f"| {recipe.name} | PSNR, thin skies | others | under clouds, thin | others "
            "| of clear scenes differs | their PSNR |",
            "|---|---|---|---|---|---|---|",
            *(row(name, thin[name], others[name]) for name in CHOICES),
            "",
            f"{len(thin['`--full`'])} thin skies, of optical thickness below {THIN:g}, and "
            f"{len(others['`--full`'])} others.",
        ],
    )


if __name__ == "__main__":
    main()
