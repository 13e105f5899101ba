"""Settings of all stages under one name: quick ones, gentle ones, and the published ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from decr.training.settings import TrainConfig

PUBLISHED_REFERENCE = TrainConfig(
    steps=100_000,
    batch=2,
    lr=1e-4,
    warmup=0,
    ema=0.0,
    size_px=256,
    shrink="whole",
    schedule="constant",
    clip=0.0,
    ema_warmup=False,
    save_every=1000,
    validate_every=1000,
)
"""The reference networks of the paper: Adam, whole images shrunk to 256 px, batches of 2, a
constant rate, no average.

They were trained for 200 epochs; how many steps that is depends on the number of images.
"""

_PAPER_COARSE = replace(PUBLISHED_REFERENCE, batch=64, lr=1e-5, ema=0.9999, size_px=64)
_DETECTOR = TrainConfig(steps=900, batch=8, lr=2e-3, size_px=192)

PRESETS: Mapping[str, Mapping[str, TrainConfig]] = {
    # Small networks, minutes to hours on a CPU; the recipes of the embedded models began with it.
    "fast": {
        "reference": TrainConfig(steps=1300, batch=8, lr=1e-3),
        "coarse": TrainConfig(steps=1000, batch=16, lr=1e-3, size_px=64, shrink=2),
        "weights": TrainConfig(steps=200, batch=8, lr=1e-3),
        "joint": TrainConfig(steps=300, batch=8, lr=4e-4),
        "detector": _DETECTOR,
    },
    # Goes on from a trained bundle: fewer steps and lower rates, as for the three-band model.
    "finetune": {
        "reference": TrainConfig(steps=500, batch=8, lr=5e-4),
        "coarse": TrainConfig(steps=200, batch=16, lr=5e-4, size_px=64, shrink=2),
        "weights": TrainConfig(steps=80, batch=8, lr=5e-4),
        "joint": TrainConfig(steps=200, batch=8, lr=4e-4),
        "detector": TrainConfig(steps=300, batch=8, lr=5e-4, size_px=192),
    },
    # Sui et al. 2024 and the published code. Neither says how many steps; a recipe should.
    # 256 px is named for the last stage only, so the second keeps the size of the first.
    "paper": {
        "reference": PUBLISHED_REFERENCE,
        "coarse": _PAPER_COARSE,
        "weights": _PAPER_COARSE,
        "joint": replace(_PAPER_COARSE, batch=16, size_px=256),
        "detector": _DETECTOR,
    },
}
"""Preset -> stage -> settings. The paper trains no detector: its entry is that of "fast"."""
