"""Write the model card of an embedded bundle: what it is, and what it does on held-out imagery.

    python docs/make_model_cards.py docs/recipes/embedded_rgbn.toml --root IMAGERY

With `--bundle FILE` it prints the table of another bundle, as of one that was trained again.

The protocol is fixed: seeded 256 px samples of the recipe's held-out images under simulated skies,
thin to thick, and under no sky at all; PSNR with the range [-1, 1] (peak 2) of one mean squared
error over all samples' chosen pixels and bands. Detectors: views of 192 px (cells) of held-out
imagery under simulated skies, and the held-out labelled images whole, in the detector's own bands,
each from 0 to its own 99.9 % brightest or 0.4 of reflectance, whichever is more; all pixels of a
set together; a pixel is cloudy from probability 0.5. `decr ccp`, which shows reflectance from 0
to 1 and tells ice by near infrared, is measured by docs/make_ccp_tables.py.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from decr.cloud.detector import Detector, threshold_detector  # noqa: E402
from decr.dataset.collage import LabelledImage, detection_sample  # noqa: E402
from decr.dataset.fine_views import fine_sample  # noqa: E402
from decr.dataset.samples import Sample, Variety, restoration_sample  # noqa: E402
from decr.predictor import Restorer, load_detector, load_restorer  # noqa: E402
from decr.training.imagery import Imagery, read_split  # noqa: E402
from decr.training.recipe import Recipe, read_recipe  # noqa: E402
from decr.training.validation import write_png  # noqa: E402
from decr.zoo.bundle import load_bundle  # noqa: E402
from decr.zoo.describe import described  # noqa: E402
from decr.zoo.embedded import EMBEDDED, embedded_path  # noqa: E402

SEED = 20_000
STEPS = (1, 2, 4, 10)
WORST = 4
LABELLED = (
    "Real: each image is shown from 0 to its own 99.9 % brightest, in red, green and blue alone. "
    "One of the three is all ice, and both take nearly all of it for cloud. `decr ccp` shows the "
    "same three from 0 to 1 and tells ice by near infrared, and does better: see [how well clouds "
    "are found](../../docs/detectors.md)."
)


def psnr(pairs: Sequence[tuple[np.ndarray, np.ndarray]], masks: Sequence[np.ndarray]) -> float:
    """PSNR in dB over the chosen pixels of all pairs, (C, H, W) in unit each."""
    squared = [((a - b)[:, m] ** 2).ravel() for (a, b), m in zip(pairs, masks, strict=True)]
    mse = float(np.concatenate(squared).mean())
    return 10 * float(np.log10(4.0 / mse)) if mse > 0 else float("inf")


def samples(recipe: Recipe, imagery: Imagery, count: int, clear: bool) -> list[Sample]:
    """Seeded held-out samples of 256 px, all clouded or all clear."""
    kept = [i for i in imagery.clear if min(i.dn.shape[1:]) >= 256]
    return [
        restoration_sample(
            np.random.default_rng([SEED, int(clear), n]),
            kept,
            recipe.bands,
            256,
            recipe.gsd_range_m,
            variety=Variety(clear_share=1.0 if clear else 0.0),
        )
        for n in range(count)
    ]


def restored(restorer: Restorer, chosen: Sequence[Sample]) -> list[np.ndarray]:
    """Each sample through a model, as a tile of its own place."""
    return [restorer.restore(s.cloudy[None], [(0, 1000 * n)])[0] for n, s in enumerate(chosen)]


def gain(output: np.ndarray, sample: Sample) -> float:
    """PSNR gained over leaving a sample as it is, dB, over its cloudy pixels."""
    mask = [sample.cloud_mask]
    return psnr([(output, sample.clear)], mask) - psnr([(sample.cloudy, sample.clear)], mask)


def worst_picture(
    outputs: Sequence[np.ndarray], chosen: Sequence[Sample], bands: Sequence[str], target: Path
) -> list[str]:
    """Draw the samples that were helped least, or harmed; a caption and a link, in Markdown."""
    order = sorted(range(len(chosen)), key=lambda n: gain(outputs[n], chosen[n]))[:WORST]
    rgb = [bands.index(role) for role in ("red", "green", "blue")]
    rows = [
        np.concatenate([side[rgb] for side in (chosen[n].cloudy, outputs[n], chosen[n].clear)], 2)
        for n in order
    ]
    picture = np.clip((np.concatenate(rows, axis=1) + 1) * 127.5, 0, 255).astype(np.uint8)
    write_png(target, picture)
    gains = ", ".join(f"{gain(outputs[n], chosen[n]):+.1f}" for n in order)
    harmed = sum(gain(o, s) < 0 for o, s in zip(outputs, chosen, strict=True))
    return [
        "## Where it fails",
        "",
        f"The {WORST} clouded samples that it helped least, or harmed: cloudy, restored, truth. "
        f"PSNR gained under their clouds: {gains} dB. It harmed {harmed} of {len(chosen)}.",
        "",
        f"![failures](../../docs/pictures/{target.name})",
        "",
    ]


def restoring_table(path: Path, recipe: Recipe, count: int) -> list[str]:
    """Markdown rows: no change, reference alone, DE at several numbers of steps; then failures."""
    _, imagery = read_split(recipe)
    clouded = samples(recipe, imagery, count, clear=False)
    # Samples whose sky left nothing to do say nothing about clouds.
    clouded = [s for s in clouded if s.cloud_mask.any()]
    blue = samples(recipe, imagery, max(8, count // 4), clear=True)
    masks = [s.cloud_mask for s in clouded]
    thin = [
        n for n, s in enumerate(clouded) if np.abs(s.cloudy - s.clear)[:, s.cloud_mask].mean() < 0.4
    ]
    everywhere = [np.ones(s.cloud_mask.shape, bool) for s in blue]
    rows = [
        "| | cloudy pixels, all skies | cloudy pixels, thin skies | clear tiles |",
        "|---|---|---|---|",
    ]

    def row(name: str, outputs: list[np.ndarray], clear_outputs: list[np.ndarray]) -> str:
        pairs = [(o, s.clear) for o, s in zip(outputs, clouded, strict=True)]
        all_skies = psnr(pairs, masks)
        thin_skies = psnr([pairs[n] for n in thin], [masks[n] for n in thin])
        untouched = psnr(
            [(o, s.clear) for o, s in zip(clear_outputs, blue, strict=True)], everywhere
        )
        return f"| {name} | {all_skies:.2f} | {thin_skies:.2f} | {untouched:.2f} |"

    rows.append(row("no change", [s.cloudy for s in clouded], [s.cloudy for s in blue]))
    alone = load_restorer(path, steps=1, prior_floor=1.0)
    rows.append(row("reference alone", restored(alone, clouded), restored(alone, blue)))
    for steps in STEPS:
        model = load_restorer(path, steps=steps)
        rows.append(row(f"DE, {steps} steps", restored(model, clouded), restored(model, blue)))
    ships = path == embedded_path(recipe.name)
    folder = ROOT / "docs" / "pictures" if ships else path.parent
    target = folder / f"failures_{recipe.name}.png"
    failures = worst_picture(restored(load_restorer(path), clouded), clouded, recipe.bands, target)
    head = (
        f"PSNR in dB on {len(clouded)} clouded ({len(thin)} of them thin: mean change below "
        f"0.4) and {len(blue)} clear samples of {len(imagery.clear)} held-out images."
    )
    return [head, "", *rows, "", *failures[:-1]]


def scores(detector: Detector, views: Sequence[tuple[np.ndarray, np.ndarray]]) -> str:
    """IoU, precision and recall over views in [0, 1] and masks, as table cells.

    Of views with the darkest pixels of cells after the means a detector takes what it needs.
    """
    both = either = found = true = 0
    for view, mask in views:
        shown = view if detector.darkest else view[: len(detector.bands)]
        cloudy = detector.probability(shown[None])[0] >= 0.5
        both += int((cloudy & mask).sum())
        either += int((cloudy | mask).sum())
        found += int(cloudy.sum())
        true += int(mask.sum())
    return f"{both / max(1, either):.3f} | {both / max(1, found):.3f} | {both / max(1, true):.3f}"


def labelled_view(image: LabelledImage, bands: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A labelled image as a scene would be encoded: up to its 99.9 % brightest, at least 0.4."""
    order = [image.bands.index(band) for band in bands]
    pixels = image.reflectance[order]
    high = max(float(np.quantile(pixels, 0.999)), 0.4)
    return np.clip(pixels / high, 0, 1).astype(np.float32), image.cloud_mask


def detector_table(path: Path, recipe: Recipe, count: int) -> list[str]:
    """Markdown rows: the detector and the threshold, on simulated and on real clouds."""
    _, imagery = read_split(recipe)
    detector = load_detector(path)
    rngs = (np.random.default_rng([SEED, number]) for number in range(count))
    drawn = [
        fine_sample(rng, imagery.clear, [], recipe.bands, 192)
        if detector.darkest
        else detection_sample(rng, imagery.clear, [], recipe.bands, 192)
        for rng in rngs
    ]
    simulated = [((s.cloudy + 1) / 2, s.cloud_mask) for s in drawn]
    # Labelled images have one pixel a cell: they are not for a detector that wants more.
    real = [] if detector.darkest else [labelled_view(i, recipe.bands) for i in imagery.labelled]
    views = f"On {count} simulated views of {len(imagery.clear)} held-out images"
    rows = [
        f"{views}, and on {len(real)} held-out labelled images."
        if real
        else f"{views}; no labelled images are as fine as it needs.",
        "",
        "| | clouds | IoU | precision | recall |",
        "|---|---|---|---|---|",
    ]
    for name, other in (
        ("this detector", detector),
        ("threshold", threshold_detector()),
    ):
        rows.append(f"| {name} | simulated | {scores(other, simulated)} |")
        if real:
            rows.append(f"| {name} | real | {scores(other, real)} |")
    if real:
        rows += ["", LABELLED]
    return rows


def measured(path: Path, recipe: Recipe, count: int) -> list[str]:
    """Markdown rows: what a bundle of this recipe does on held-out imagery."""
    detects = set(load_bundle(path).card.parts) == {"detector"}
    return (detector_table if detects else restoring_table)(path, recipe, count)


def card(recipe_path: Path, root: Path, count: int) -> tuple[Path, str]:
    """Where the card belongs and its text."""
    recipe = read_recipe(recipe_path, root)
    path = embedded_path(recipe.name)
    bundle = load_bundle(path)
    relative = recipe_path.resolve().relative_to(ROOT)
    text = [
        f"# Model card: {recipe.name}",
        "",
        "Written by `docs/make_model_cards.py`; the protocol stands in its first lines.",
        "",
        "```bash",
        f"python docs/make_model_cards.py {relative} --root IMAGERY --count {count}",
        "```",
        "",
        "```text",
        described(bundle),
        "```",
        "",
        "## On held-out imagery",
        "",
        *measured(path, recipe, count),
        "",
        "## What it was not trained on",
        "",
        "11-bit or 16-bit satellite imagery, real clouds over 0.5 m ground (they were simulated), "
        "open sea, snow, large forest, cropland at 0.5 m, and nearly everything outside the United "
        "States. Radiometry was varied in their place (gain, gamma, offset, range).",
        "",
        f"Recipe: [{relative}](../../{relative}).",
        "",
    ]
    return path.with_suffix(".md"), "\n".join(text)


def main() -> None:
    """Write one card."""
    parser = argparse.ArgumentParser(description="Write the model card of an embedded bundle.")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--count", type=int, default=48)
    parser.add_argument("--bundle", type=Path, help="print the table of this one instead")
    options = parser.parse_args()
    if options.bundle:
        recipe = read_recipe(options.recipe, options.root)
        print("\n".join(measured(options.bundle, recipe, options.count)))
        return
    assert options.recipe.stem.replace("_", "-") in EMBEDDED
    target, text = card(options.recipe, options.root, options.count)
    target.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
