"""Measure models on real pairs and write docs/results.md.

    python docs/make_results.py --pairs PAIRS --lpips WEIGHTS --spagan CHECKPOINT

Then the analyses of the embedded model at their small setting, 64 px. Figures that show
imagery are of the simulated sample scene, for real pairs may not be passed on.

PAIRS is a folder with ``cloudy`` and ``clear`` (three images of RICE2 for the page as it stands),
WEIGHTS an AlexNet backbone as `decr.evaluation.perceptual` reads it, CHECKPOINT the published
SpA-GAN generator for RICE2 as its authors give it.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from decr.evaluation.analyse import ANALYSES  # noqa: E402
from decr.evaluation.analysis import Analysis, Setting  # noqa: E402
from decr.evaluation.evaluate import Evaluation, EvaluationConfig, evaluate  # noqa: E402
from decr.evaluation.subjects import Sampling  # noqa: E402
from decr.evaluation.summary import markdown  # noqa: E402
from decr.evaluation.tiles import PairSource  # noqa: E402
from decr.zoo.imports import import_checkpoint  # noqa: E402

PAGE = ROOT / "docs" / "results.md"
PICTURES = ROOT / "docs" / "pictures"
PROTOCOLS = ("standard", "de-paper")
SIDE = 64
SHOW_IMAGERY = ("weights", "trajectory", "uncertainty")
"""Analyses whose figures hold pictures of tiles."""
TOLD_TWICE = ("ablation",)
"""Analyses that are told of the simulated sample scene, too."""
SAMPLE = ROOT / "sample_scenes"
TITLES = {
    "weights": "Weight of the prior (the paper's Figs. 8 and 9)",
    "trajectory": "Estimates over the steps (Fig. 4)",
    "steps": "Steps",
    "floor": "Floor of W, the paper's eta (Fig. 11)",
    "cost": "Cost (Table X)",
    "gsd": "Pixel size (Table VII)",
    "ablation": "Ablation (Tables VIII and IX)",
    "uncertainty": "Spread of samples against error",
}
SAID = {
    "weights": "W is the share of the reference's output in the estimate. It falls towards the last steps, as in the paper, "
    "and falls most under clouds.",
    "trajectory": "With the prior the first estimate is already good; without it, this small noise predictor stays below the "
    "untouched image in PSNR.",
    "steps": "Means over tiles. Seconds were measured on two shared CPU cores, one thread.",
    "floor": "The paper finds the best PSNR at 0.1 and the best SSIM at 0.3.",
    "cost": "See `decr models cost` for what the columns mean.",
    "gsd": "One model meets several pixel sizes; all are scored on the coarsest grid. The paper trains a model for each size.",
    "ablation": "The paper puts the learnt fusion above all others. Each line says whether these tiles agree, and the second table "
    "why: it tells how near to the truth any W could come. The diffusion's x_t is made of its own last fused estimate, so by the "
    "last step both estimates err alike: the nearer their correlation is to 1, the less a weight between them can gain over 0.5, "
    "whoever chooses it. Over the same pairs as whole images shrunk to 60 m, with 4 steps, the full model is about as good as its "
    "reference, and under simulated skies better ([quality](quality.md)); here it is worse with 4 steps, too (see the steps above). "
    "Whether pixel size decides or what a tile of 64 px shows was not tried.",
    "uncertainty": "Eight samples per tile. The reference has no noise, so where W is near 1 samples cannot differ: they are "
    "far too sure, and their spread must not be read as a confidence.",
}

HEAD = """# Results on real pairs

Written by `docs/make_results.py`; do not edit it by hand. How to measure your own models and pairs, and what the columns
mean: [how to evaluate](howto/evaluate.md).

```bash
python docs/make_results.py --pairs PAIRS --lpips WEIGHTS --spagan CHECKPOINT
```

The same by hand, without this page:

```bash
decr models import CHECKPOINT -o spagan_rice2.safetensors
decr evaluate --data PAIRS --model embedded,spagan_rice2.safetensors,none --split all --lpips-backbone WEIGHTS
decr evaluate --data PAIRS --model embedded,spagan_rice2.safetensors,none --split all --lpips-backbone WEIGHTS --protocol de-paper
```

**Read this first.** The pairs are real ones of RICE2 (Landsat 8, 30 m, false colour), all real pairs that were at hand.
They are too few to rank models by, and bootstrap intervals of so few images are too narrow. SpA-GAN's weights were
trained on RICE2 by their authors, perhaps on these very images: their split of it was not at hand. The embedded model
was trained for 0.3 to 2 m and never saw RICE. The tables tell that the chain from import to scores works, and that the
embedded model does better than nothing far outside what it was made for; they do not tell which method is the better one.
"""


def section(found: Evaluation) -> str:
    """One protocol's part of the page."""
    facts = found.facts
    models = "\n".join(
        f"| {name} | `{said['sha256'][:16] or '-'}` | "
        + ", ".join(f"{k} {v}" for k, v in said.items() if k not in ("sha256", "bands"))
        + " |"
        for name, said in facts["models"].items()
    )
    copies = ", ".join(f"{d['second']} of {d['first']}" for d in facts["duplicates"])
    versions = ", ".join(f"{k} {v}" for k, v in facts["versions"].items())
    return f"""
## Protocol {facts["protocol"]}

{facts["images"]} images; {facts["protocol_says"]}. LPIPS backbone SHA-256 `{facts["lpips"].get("backbone_sha256", "left out")[:16]}`.
Copies among the clear images: {copies or "none found"}. {facts["mask"][0].upper()}{facts["mask"][1:]}.

| model | weights, SHA-256 | settings |
|---|---|---|
{models}

Means with 95 % bootstrap intervals over images; PSNR in dB, MAE as a share of white, SAM in degrees.

{markdown(found)}
{versions}.
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """An analysis, the seconds that it took, and the same on the sample scene if that is told."""

    found: Analysis
    seconds: float
    sample: Analysis | None = None


def analyses(setting: Setting) -> list[Ran]:
    """All of them on one set of pairs."""
    done = []
    for analyser in ANALYSES.values():
        started = time.perf_counter()
        found = analyser(setting)
        done.append(Ran(found, time.perf_counter() - started))
    return done


def sample_pair(folder: Path) -> Path:
    """The simulated sample scene as a set of one pair."""
    for side in ("cloudy", "clear"):
        (folder / side).mkdir(parents=True)
        shutil.copy(SAMPLE / f"harbour_rotated_{side}.tif", folder / side / "harbour.tif")
    return folder


def analysis_section(done: Sequence[Ran]) -> str:
    """The analyses' part of the page."""
    whole = sum(one.seconds for one in done)
    lines = [
        "",
        "## Analyses of the embedded model",
        "",
        f"Tiles of {SIDE} x {SIDE} px of the same pairs, those half under cloud first, restored with 10 steps unless said "
        f"otherwise; {whole:.0f} s together. `PAIRS` and `WEIGHTS` as above:",
        "",
        "```bash",
        *(
            f"decr analyse {one.found.name} --data PAIRS --split all --gsd 30 --size {SIDE} "
            "--lpips-backbone WEIGHTS -o analysis/"
            for one in done
        ),
        "```",
    ]
    for one in done:
        name = one.found.name
        lines += ["", f"### {TITLES[name]}", "", SAID[name]]
        if name in SHOW_IMAGERY:
            lines += [
                "The numbers are of the real pairs, the figure of the simulated sample scene."
            ]
        lines += [
            "",
            "```text",
            one.found.text,
            "```",
            "",
            f"![{name}](pictures/analysis_{name}.png)",
            *(_also(one.sample) if one.sample is not None else []),
        ]
    return "\n".join(lines) + "\n"


def _also(sample: Analysis) -> list[str]:
    """What an analysis says of the sample scene."""
    return [
        "",
        "The same on the simulated sample scene, which has the pixel size, natural colours and simulated clouds that the model "
        "was trained for, if not real ground:",
        "",
        "```text",
        sample.text,
        "```",
    ]


def page(parts: list[Evaluation], done: Sequence[Ran]) -> str:
    """The whole page."""
    return HEAD + "".join(section(found) for found in parts) + analysis_section(done)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--lpips", type=Path, required=True)
    parser.add_argument("--spagan", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        spagan = Path(folder) / "spagan_rice2.safetensors"
        import_checkpoint(options.spagan, spagan)
        parts = [
            evaluate(
                EvaluationConfig(
                    PairSource(options.pairs, split="all"),
                    ("embedded", str(spagan), "none"),
                    protocol=protocol,
                    backbone=options.lpips,
                    sampling=Sampling(device="cpu"),
                )
            )
            for protocol in PROTOCOLS
        ]
        setting = Setting(
            PairSource(options.pairs, split="all", gsd_m=30.0),
            side_px=SIDE,
            backbone=options.lpips,
            device="cpu",
        )
        done = analyses(setting)
        pictured = replace(
            setting, source=PairSource(sample_pair(Path(folder) / "sample"), split="all")
        )
        for one in done:
            name = one.found.name
            shown = ANALYSES[name](pictured) if name in SHOW_IMAGERY else one.found
            (PICTURES / f"analysis_{name}.png").write_bytes(shown.figure)
        done = [
            replace(one, sample=ANALYSES[one.found.name](pictured))
            if one.found.name in TOLD_TWICE
            else one
            for one in done
        ]
    PAGE.write_text(page(parts, done))


if __name__ == "__main__":
    main()
