"""Measure what each part of an embedded model adds, and how many steps pay; write quality.md.

    python docs/make_quality.py docs/recipes/embedded_rgb.toml --root IMAGERY --lpips WEIGHTS

Protocol. Samples: seeded, 256 px, of the recipe's held-out images, half under the default skies and
half under those fitted to real clouds; "thin and medium" where clouds change their pixels by less
than 0.4 of [-1, 1] on average, "thick" else. With --pairs also real pairs, shrunk to 256 px by
means of whole pixels. All pixels are restored. PSNR: 10 log10(4 / MSE), one mean squared error over
all pixels and bands of a set; "mean" averages the images' own PSNR instead. SSIM (7 x 7 uniform
window, range 2) and LPIPS (AlexNet, values in [-1, 1], four bands one by one) are means over
images. "Under clouds" counts the pixels of the cloud mask; for LPIPS, which needs whole images, all
others are replaced by the truth's. "Reference, told levels" is its output moved, under the clouds
of an image and band by band, to the mean of the truth: how much of its error is one level for all.

IMAGERY holds the folders that the recipe names; WEIGHTS is an AlexNet backbone as
`decr.evaluation.perceptual` reads it; PAIRS holds ``cloudy`` and ``clear``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from decr.dataset.changed import changed  # noqa: E402
from decr.dataset.pairs import PairFolder, read_pairs  # noqa: E402
from decr.dataset.samples import Sample, Variety, area_shrunk, restoration_sample  # noqa: E402
from decr.evaluation.metrics import psnr, ssim  # noqa: E402
from decr.evaluation.perceptual import Lpips, load_lpips, lpips_of  # noqa: E402
from decr.predictor import load_restorer  # noqa: E402
from decr.training.imagery import Imagery, read_split  # noqa: E402
from decr.training.recipe import Recipe, read_recipe  # noqa: E402
from decr.zoo.bundle import load_bundle  # noqa: E402
from decr.zoo.embedded import EMBEDDED, embedded_path  # noqa: E402

PAGE = ROOT / "docs" / "quality.md"
SEED = 40_000
SIDE = 256
THIN = 0.4
TABLE_STEPS = (1, 4, 10, 50)
CURVE_STEPS = (1, 2, 3, 4, 6, 10, 20, 50)
HEAD = (
    "| | PSNR | SSIM | LPIPS | PSNR under clouds | mean | SSIM under clouds | LPIPS under clouds |",
    "|---|---|---|---|---|---|---|---|",
)


@dataclass(frozen=True, slots=True)
class Scores:
    """Means over a set: whole tiles, then under clouds alone."""

    psnr: float
    ssim: float
    lpips: float
    cloudy_psnr: float
    cloudy_psnr_mean: float
    cloudy_ssim: float
    cloudy_lpips: float

    @property
    def cells(self) -> str:
        """As cells of a table."""
        return (
            f"{self.psnr:.2f} | {self.ssim:.3f} | {self.lpips:.4f} | "
            f"{self.cloudy_psnr:.2f} | {self.cloudy_psnr_mean:.2f} | "
            f"{self.cloudy_ssim:.3f} | {self.cloudy_lpips:.4f}"
        )


def simulated(recipe: Recipe, imagery: Imagery, count: int) -> dict[str, list[Sample]]:
    """``count`` samples of each kind, by the kind's name."""
    kept = [image for image in imagery.clear if min(image.dn.shape[1:]) >= SIDE]
    sets: dict[str, list[Sample]] = {"thin and medium": [], "thick": []}
    for n in range(100 * count):
        sample = restoration_sample(
            np.random.default_rng([SEED, n]),
            kept,
            recipe.bands,
            SIDE,
            recipe.gsd_range_m,
            Variety(clear_share=0.0, fitted_share=0.5),
        )
        if sample.cloud_mask.mean() < 0.05:
            continue
        change = np.abs(sample.cloudy - sample.clear)[:, sample.cloud_mask].mean()
        chosen = sets["thin and medium" if change < THIN else "thick"]
        if len(chosen) < count:
            chosen.append(sample)
        if min(map(len, sets.values())) == count:
            break
    return sets


def real(folder: Path, bands: tuple[str, ...]) -> list[Sample]:
    """Real pairs at 256 px; cloudy is what differs much between the two."""
    samples = []
    for pair in read_pairs(PairFolder(folder, bands="r,g,b", gsd_m=30.0, split="all"), bands):
        k = min(pair.clear.shape[1:]) // SIDE
        cloudy, clear = (
            area_shrunk(np.asarray(side, np.float32) / pair.white * 2 - 1, k)
            for side in (pair.cloudy, pair.clear)
        )
        samples.append(Sample(cloudy, clear, changed((cloudy + 1) / 2, (clear + 1) / 2)))
    return samples


def scores(outputs: Sequence[np.ndarray], chosen: Sequence[Sample], network: Lpips) -> Scores:
    """Compare outputs with the truths of their samples."""
    clear = [sample.clear for sample in chosen]
    masks = [sample.cloud_mask for sample in chosen]
    pasted = [np.where(m, o, c) for o, c, m in zip(outputs, clear, masks, strict=True)]
    wide = [np.concatenate(images, axis=2) for images in (outputs, clear)]
    return Scores(
        psnr(*wide, 2.0),
        float(np.mean([ssim(o, c, 2.0) for o, c in zip(outputs, clear, strict=True)])),
        float(np.mean([lpips_of(o, c, network) for o, c in zip(outputs, clear, strict=True)])),
        psnr(*wide, 2.0, np.concatenate(masks, axis=1)),
        float(np.mean([psnr(o, c, 2.0, m) for o, c, m in zip(outputs, clear, masks, strict=True)])),
        float(np.mean([ssim(o, c, 2.0, m) for o, c, m in zip(outputs, clear, masks, strict=True)])),
        float(np.mean([lpips_of(p, c, network) for p, c in zip(pasted, clear, strict=True)])),
    )


def restored(path: Path, chosen: Sequence[Sample], steps: int, alone: bool) -> list[np.ndarray]:
    """Every sample as a tile of a place of its own."""
    model = load_restorer(path, steps=steps, prior_floor=1.0 if alone else None)
    return [model.restore(s.cloudy[None], [(0, 1000 * n)])[0] for n, s in enumerate(chosen)]


def told(output: np.ndarray, sample: Sample) -> np.ndarray:
    """The output, (C, H, W), with the truth's mean under the clouds, band by band."""
    error = (output - sample.clear)[:, sample.cloud_mask].mean(axis=1)
    moved = output - error[:, None, None]
    return np.where(sample.cloud_mask, moved, output).astype(np.float32)


def measured(path: Path, chosen: Sequence[Sample], network: Lpips) -> dict[str, Scores]:
    """Scores by name of what was done to the samples of a set."""
    # One step of weight 1 is the reference's output.
    alone = restored(path, chosen, 1, True)
    levelled = [told(o, s) for o, s in zip(alone, chosen, strict=True)]
    found = {
        "no change": scores([s.cloudy for s in chosen], chosen, network),
        "reference alone": scores(alone, chosen, network),
        "reference, told levels": scores(levelled, chosen, network),
    }
    for steps in CURVE_STEPS:
        found[f"DE, {steps}"] = scores(restored(path, chosen, steps, False), chosen, network)
    return found


def table(found: dict[str, Scores]) -> list[str]:
    """The rows that are printed."""
    wanted = [name for name in found if not name.startswith("DE, ")]
    wanted += [f"DE, {steps}" for steps in TABLE_STEPS]
    return [*HEAD, *(f"| {name} | {found[name].cells} |" for name in wanted)]


def curve(found: dict[str, dict[str, Scores]], target: Path) -> None:
    """Quality against steps, the reference alone as a dashed line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, (name, rows) in enumerate(found.items()):
        for axes, field in ((left, "cloudy_psnr"), (right, "cloudy_lpips")):
            values = [getattr(rows[f"DE, {steps}"], field) for steps in CURVE_STEPS]
            axes.plot(CURVE_STEPS, values, "o-", color=f"C{number}", label=name)
            alone = getattr(rows["reference alone"], field)
            axes.axhline(alone, color=f"C{number}", linestyle="--", linewidth=0.8)
    for axes, label in ((left, "PSNR under clouds, dB"), (right, "LPIPS under clouds")):
        axes.set(xscale="log", xlabel="DDIM steps", ylabel=label, xticks=CURVE_STEPS)
        axes.set_xticklabels([str(steps) for steps in CURVE_STEPS])
        axes.minorticks_off()
    left.legend(fontsize=8)
    figure.savefig(target, dpi=110)


def fill(page: Path, name: str, lines: Sequence[str]) -> None:
    """Replace what stands between the page's two comments for a model."""
    begin, end = f"<!-- measured:{name} -->\n", f"<!-- /measured:{name} -->"
    text = page.read_text()
    head, rest = text.split(begin)
    _, tail = rest.split(end)
    page.write_text(head + begin + "\n".join([*lines, ""]) + end + tail)


def main() -> None:
    """Measure one model and write its part of the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--lpips", type=Path, required=True)
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--count", type=int, default=16)
    options = parser.parse_args()
    recipe = read_recipe(options.recipe, options.root)
    assert recipe.name in EMBEDDED
    path, network = embedded_path(recipe.name), load_lpips(options.lpips)
    sets = simulated(recipe, read_split(recipe)[1], options.count)
    if options.pairs is not None:
        sets["real pairs"] = real(options.pairs, recipe.bands)
    found = {name: measured(path, chosen, network) for name, chosen in sets.items()}
    picture = ROOT / "docs" / "pictures" / f"quality_{recipe.name}.png"
    curve(found, picture)
    relative = options.recipe.resolve().relative_to(ROOT)
    more = " --pairs PAIRS" if options.pairs is not None else ""
    card = load_bundle(path).card
    lines = [
        "```bash",
        f"python docs/make_quality.py {relative} --root IMAGERY --lpips WEIGHTS{more} "
        f"--count {options.count}",
        "```",
        "",
        f"The card's own number of steps is {card.steps}, its floor of W {card.prior_floor:g}.",
    ]
    for name, rows in found.items():
        lines += [
            "",
            f"**{name[0].upper()}{name[1:]}**, {len(sets[name])} images",
            "",
            *table(rows),
        ]
    lines += ["", f"![quality against steps](pictures/{picture.name})"]
    fill(PAGE, recipe.name, lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
