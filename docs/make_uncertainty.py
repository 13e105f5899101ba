"""Give an embedded model its table of expected errors, measure it; write uncertainty.md.

    python docs/make_uncertainty.py docs/recipes/embedded_rgb.toml --root IMAGERY --pairs PAIRS

**Writes the table into the bundle in decr/weights**, unless --keep is given, or takes the table
out of it where a tenth of the pixels is off by a factor of more than `LIMIT`. Run it whenever the
weights have changed, for a table of other weights is worth nothing; trained bundles have none.

Protocol. Samples: seeded, 256 px, one image of the recipe's held-out ones each, half under the
default skies and half under those fitted to real clouds, a tenth of all under an even haze,
radiometry varied as in training. Pixels: those under cloud (optical depth of `MASK_TAU` or more)
and within the default margin of it. The table is fitted on all of them; how well it holds is
measured with two tables, each fitted on half of the places and applied to the other half. Other
predictors are compared in the same way on the first --spread samples, restored with 4 seeds.
Then the shipped table, from end to end: `decr declouds --error-map` with all defaults on a sample
scene whose truth is known, and on real pairs; and a table that is measured on these pairs.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from decr.config import DecloudConfig  # noqa: E402
from decr.dataset.layouts import list_pairs  # noqa: E402
from decr.dataset.samples import Variety, restoration_sample  # noqa: E402
from decr.evaluation.calibrate import (  # noqa: E402
    ErrorSample,
    Reliability,
    calibrate_bundle,
    cross_validated,
    deciding,
    error_sample,
    fitted,
    isotonic,
    reliability_of,
)
from decr.evaluation.tiles import PairSource  # noqa: E402
from decr.pipeline.declouds import declouds  # noqa: E402
from decr.pipeline.error_map import error_map_path  # noqa: E402
from decr.predictor import Restorer, load_restorer  # noqa: E402
from decr.report.chart import Panel, chart, png  # noqa: E402
from decr.training.imagery import Imagery, read_split  # noqa: E402
from decr.training.recipe import Recipe, read_recipe  # noqa: E402
from decr.zoo.bundle import read_card, save_with_card  # noqa: E402
from decr.zoo.embedded import EMBEDDED, embedded_path  # noqa: E402
from docs.make_quality import fill  # noqa: E402

PAGE = ROOT / "docs" / "uncertainty.md"
SEED = 50_000
SIDE = 256
SEEDS = 4
VARIETY = Variety(clear_share=0.0, fitted_share=0.5, haze_share=0.1)
LIMIT = 1.25
"""Between expected and measured in any tenth under unseen simulated skies, or no table ships."""
PERCENT = 50.0
"""Unit as per cent of the range."""


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """Pixels of one sample, and what other predictors say of them."""

    pixels: ErrorSample
    change: np.ndarray
    spread: np.ndarray | None


def place_of(name: str) -> str:
    """The ground of an image: its name without its date."""
    return re.sub(r"_(20\d\d|new|old)(?=[_.])", "", name)


def tried(
    models: Sequence[Restorer], recipe: Recipe, imagery: Imagery, count: int, spread: int
) -> list[Tried]:
    """Seeded samples, restored; the first ``spread`` of them by every model."""
    images = [image for image in imagery.clear if min(image.dn.shape[1:]) >= SIDE]
    found = []
    for n in range(count):
        rng = np.random.default_rng([SEED, n])
        image = images[int(rng.integers(len(images)))]
        sample = restoration_sample(rng, [image], recipe.bands, SIDE, recipe.gsd_range_m, VARIETY)
        outputs = [
            model.restore(sample.cloudy[None], [(0, 1000 * n)])[0]
            for model in (models if n < spread else models[:1])
        ]

        def of(error: np.ndarray, sample=sample, image=image) -> ErrorSample:  # noqa: ANN001
            """Pixels whose "error" is any other quantity of (C, H, W)."""
            return error_sample(
                place_of(image.name),
                sample.cloudy,
                sample.clear + error,
                sample.clear,
                sample.cloud_mask,
                image.gsd_m,
            )

        apart = np.std(outputs, axis=0, ddof=1) if len(outputs) > 1 else None
        found.append(
            Tried(
                of(outputs[0] - sample.clear),
                of(outputs[0] - sample.cloudy).error,
                None if apart is None else of(apart).error,
            )
        )
    return found


def crossed(samples: Sequence[Tried], predictors: Sequence[np.ndarray]) -> Reliability:
    """As `cross_validated`, with another predictor."""
    places = sorted({sample.pixels.place for sample in samples})
    side = [places.index(sample.pixels.place) % 2 for sample in samples]
    errors = [sample.pixels.error for sample in samples]
    expected = []
    for one, predictor in zip(side, predictors, strict=True):
        others = [n for n, other in enumerate(side) if other != one]
        at, mean = isotonic(
            np.concatenate([predictors[n] for n in others]),
            np.concatenate([errors[n] for n in others]),
        )
        expected.append(np.interp(predictor, at, mean))
    return reliability_of(expected, errors)


def scene_of(bands: Sequence[str]) -> tuple[Path, Path]:
    """A sample scene with these bands, and its truth."""
    if "nir" in bands:
        from sample_scenes.make_scenes import truth

        return ROOT / "sample_scenes" / "meadowbrook_cloudy.tif", truth()
    folder = ROOT / "sample_scenes"
    return folder / "harbour_rotated_cloudy.tif", folder / "harbour_rotated_clear.tif"


@dataclass(frozen=True, slots=True, eq=False)
class Mapped:
    """What `decr declouds --error-map` said of an image, and what was true, unit.

    Attributes
    ----------
    expected, error
        (N,) of the pixels that the map expects to be off.
    elsewhere
        (M,) error of all other valid pixels.
    """

    expected: np.ndarray
    error: np.ndarray
    elsewhere: np.ndarray


def mapped(source: Path, truth: Path, config: DecloudConfig) -> Mapped:
    """Restore an image from end to end, and compare with its truth on the same grid."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "clear.tif"
        result = declouds(source, out, config)
        low, high = (float(n) for n in result.tags["DN_RANGE"].split(","))
        pixels = []
        for path in (out, truth, error_map_path(out)):
            with rasterio.open(path) as file:
                pixels.append(file.read().astype(np.float64))
    error = np.abs(pixels[0] - pixels[1]).mean(axis=0) * 2 / (high - low)
    expected = pixels[2][0] * 2 / (high - low)
    some = expected > 0
    return Mapped(expected[some], error[some], error[np.isfinite(expected) & ~some])


def shipped(found: Reliability) -> bool:
    """Whether a table holds well enough to be shipped."""
    return found.worst <= LIMIT


def outcome(found: Reliability) -> str:
    """The same, for the page."""
    if shipped(found):
        return f"The table may ship: no tenth is off by a factor of more than {LIMIT:g}."
    return f"**No table ships with this model**: a tenth is off by a factor of more than {LIMIT:g}."


def told(title: str, found: Sequence[Mapped]) -> tuple[Reliability, list[str]]:
    """A set of images from end to end, and its part of the page."""
    one = reliability_of([m.expected for m in found], [m.error for m in found])
    mean = PERCENT * float(np.concatenate([m.elsewhere for m in found]).mean())
    means = [PERCENT * float(np.concatenate(v).mean()) for v in (
        [m.expected for m in found], [m.error for m in found]
    )]  # fmt: skip
    return one, [
        "",
        f"**{title}.** Expected {means[0]:.1f} %, measured {means[1]:.1f} % on the whole. "
        f"{sentence(one)} Where the map is 0, the output is off by {mean:.1f} %.",
        "",
        *bins(one),
    ]


def own_table(model: Path, pairs: Path) -> list[str]:
    """A table that is measured on the real pairs themselves, each half by the other's."""
    with tempfile.TemporaryDirectory() as folder:
        source = PairSource(pairs, split="all", gsd_m=30.0)
        found = calibrate_bundle(str(model), source, Path(folder) / "own.safetensors")
    assert found.reliability is not None
    tiles = found.table.about.rsplit(" of ", 1)[0]  # without the folder's name
    return [
        "",
        f"**`decr models calibrate` on the real pairs themselves**, {tiles}, each half "
        f"of the pairs by the table of the other. {sentence(found.reliability)}",
        "",
        *bins(found.reliability),
    ]


def bins(found: Reliability) -> list[str]:
    """Rows of expected and measured, % of the range."""
    cells = [[f"{PERCENT * n:.1f}" for n in row] for row in zip(*found.bins, strict=True)]
    return [
        "| tenth of pixels |" + "".join(f" {n} |" for n in range(1, len(cells[0]) + 1)),
        "|---|" + "---|" * len(cells[0]),
        "| expected, % | " + " | ".join(cells[0]) + " |",
        "| measured, % | " + " | ".join(cells[1]) + " |",
    ]


def sentence(found: Reliability) -> str:
    """What the rows do not say."""
    low, middle, high = found.images
    return (
        f"A tenth is off by a factor of {found.worst:.2f} at the most. Rank correlation over "
        f"pixels {found.rank_correlation:.2f}, AUSE {found.ause:.2f}."
        + (
            f" Of single images, expected is {low:.2f} to {high:.2f} times measured (80 % of "
            f"{found.count}; median {middle:.2f})."
            if found.count > 3
            else ""
        )
    )


def others(samples: Sequence[Tried]) -> list[str]:
    """The table of predictors, on the samples that have a spread."""
    some = [s for s in samples if s.spread is not None and s.pixels.error.size]
    rows = {
        "brightness of the darkest band": [s.pixels.brightness for s in some],
        "size of the change": [s.change for s in some],
        f"spread of {SEEDS} samples": [s.spread for s in some if s.spread is not None],
    }
    lines = [
        "| predictor | rank correlation | AUSE | a tenth is off by, at most |",
        "|---|---|---|---|",
    ]
    for name, values in rows.items():
        found = crossed(some, values)
        lines.append(
            f"| {name} | {found.rank_correlation:.2f} | {found.ause:.2f} | {found.worst:.2f} |"
        )
    return [f"Predictors on {len(some)} samples, each half of the places by the other:", "", *lines]


def panel(title: str, found: Reliability) -> Panel:
    """Measured against expected, and what calibrated would be."""
    points = [(PERCENT * a, PERCENT * b) for a, b in found.bins]
    line = [(a, a) for a, _ in points]
    return Panel(title, "expected, % of the range", {"measured": points, "calibrated": line})


def main() -> None:
    """Calibrate and measure one model, and write its part of the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--count", type=int, default=320)
    parser.add_argument("--spread", type=int, default=24)
    parser.add_argument("--keep", action="store_true", help="leave the bundle as it is")
    options = parser.parse_args()
    recipe = read_recipe(options.recipe, options.root)
    assert recipe.name in EMBEDDED
    path = embedded_path(recipe.name)
    card = read_card(path)
    models = [load_restorer(path, seed=seed) for seed in range(SEEDS)]
    _, imagery = read_split(recipe)
    samples = tried(models, recipe, imagery, options.count, options.spread)
    pixels = [sample.pixels for sample in samples]
    settings = deciding(models[0], card.parts)
    places = len({one.place for one in pixels})
    about = f"{len(pixels)} simulated skies over {places} places that were held out of training"
    table = fitted(pixels, settings, about)
    simulated = cross_validated(pixels, settings)
    relative = options.recipe.resolve().relative_to(ROOT)
    more = " --pairs PAIRS" if options.pairs is not None else ""
    lines = [
        "```bash",
        f"python docs/make_uncertainty.py {relative} --root IMAGERY{more} --count {options.count} "
        f"--spread {options.spread}",
        "```",
        "",
        f"Fitted on {about}; with {', '.join(f'{k} {v}' for k, v in settings.items())}. Expected "
        f"errors reach from {PERCENT * table.error[0]:.1f} to {PERCENT * table.error[-1]:.1f} % of "
        "the range.",
        "",
        f"**Simulated skies over places that the table did not see.** {sentence(simulated)}",
        "",
        *bins(simulated),
        "",
        outcome(simulated),
    ]
    panels = [panel("simulated skies", simulated)]
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "calibrated.safetensors"
        save_with_card(path, bundle, replace(card, errors=table))
        config = DecloudConfig(model=str(bundle), error_map=True)
        source, truth = scene_of(recipe.bands)
        runs = {f"`{source.name}`": [mapped(source, truth, config)]}
        if options.pairs is not None:
            files = list_pairs(options.pairs, "folders")
            real = replace(config, bands="r,g,b")
            runs[f"{len(files)} real pairs"] = [mapped(p.cloudy, p.clear, real) for p in files]
        if not options.keep:
            save_with_card(path, path, replace(card, errors=table if shipped(simulated) else None))
    own = [] if options.pairs is None else own_table(path, options.pairs)
    for name, found in runs.items():
        one, part = told(f"`decr declouds --error-map` on {name}", found)
        lines += part
        panels.append(panel(name.strip("`").removesuffix(".tif"), one))
    picture = ROOT / "docs" / "pictures" / f"uncertainty_{recipe.name}.png"
    picture.write_bytes(png(chart(panels)))
    lines += [*own, "", *others(samples)]
    lines += ["", f"![measured against expected error](pictures/{picture.name})"]
    fill(PAGE, recipe.name, lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
