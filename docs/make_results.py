"""Measure models on real pairs and write docs/results.md.

    python docs/make_results.py --pairs PAIRS --lpips WEIGHTS --spagan CHECKPOINT

PAIRS is a folder with ``cloudy`` and ``clear`` (three images of RICE2 for the page as it stands),
WEIGHTS an AlexNet backbone as `decr.evaluation.perceptual` reads it, CHECKPOINT the published
SpA-GAN generator for RICE2 as its authors give it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from decr.evaluation.evaluate import Evaluation, EvaluationConfig, evaluate  # noqa: E402
from decr.evaluation.subjects import Sampling  # noqa: E402
from decr.evaluation.summary import markdown  # noqa: E402
from decr.zoo.imports import import_checkpoint  # noqa: E402

PAGE = ROOT / "docs" / "results.md"
PROTOCOLS = ("standard", "de-paper")

HEAD = """# Results on real pairs

Written by `docs/make_results.py`; do not edit it by hand. How to measure your own models and pairs, and what the columns
mean: [how to evaluate](howto/evaluate.md).

```bash
python docs/make_results.py --pairs PAIRS --lpips WEIGHTS --spagan CHECKPOINT
```

The same by hand, without this page:

```bash
decr models import spagan_rice2.pth -o spagan_rice2.safetensors
decr evaluate --data PAIRS --model embedded,spagan_rice2.safetensors,none --split all
decr evaluate --data PAIRS --model embedded,spagan_rice2.safetensors,none --split all --protocol de-paper
```

**Read this first.** The pairs are real ones of RICE2 (Landsat 8, 30 m, false colour), all real pairs that were at hand.
They are too few to rank models by, and bootstrap intervals of so few images are too narrow. SpA-GAN's weights were
trained on RICE2 by their authors, in all likelihood on these very images, since no list says otherwise. The embedded model
was trained at 0.3 to 2 m with simulated clouds and never saw RICE. The table tells that the chain from import to
scores works, and that the embedded model does better than nothing far outside what it was made for; it does not tell
which method is the better one.
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

{facts["images"]} images; {facts["protocol_says"]}. LPIPS backbone SHA-256 `{facts["lpips"]["backbone_sha256"][:16]}`.
Copies among the clear images: {copies or "none found"}. {facts["mask"][0].upper()}{facts["mask"][1:]}.

| model | weights, SHA-256 | settings |
|---|---|---|
{models}

Means with 95 % bootstrap intervals over images; PSNR in dB, MAE as a share of white, SAM in degrees.

{markdown(found)}
{versions}.
"""


def page(parts: list[Evaluation]) -> str:
    """The whole page."""
    return HEAD + "".join(section(found) for found in parts)


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
                    options.pairs,
                    ("embedded", str(spagan), "none"),
                    protocol=protocol,
                    split="all",
                    backbone=options.lpips,
                    sampling=Sampling(device="cpu"),
                )
            )
            for protocol in PROTOCOLS
        ]
    PAGE.write_text(page(parts))


if __name__ == "__main__":
    main()
