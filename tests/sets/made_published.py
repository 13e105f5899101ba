"""A published set made up for tests of `decr dataset import`, and its command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner, Result
from PIL import Image
from scipy import ndimage

from cli.main import main
from decr.config import CcpConfig

SIDE = 64
QUICK = CcpConfig(detector="threshold")
ALL = ("red", "green", "blue", "nir")


def ground(seed: int) -> np.ndarray:
    """(4, SIDE, SIDE) uint8: red, green, blue, infrared."""
    rng = np.random.default_rng(seed)
    look = ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), 3)
    own = 3 * rng.standard_normal((4, SIDE, SIDE))
    return np.clip(80 + 25 * look / look.std() + own, 1, 200).astype(np.uint8)


def clouded(clear: np.ndarray, rows: int) -> np.ndarray:
    cloudy = clear.copy()
    cloudy[:, :rows] = 250
    return cloudy


def png(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.moveaxis(pixels, 0, -1)).save(path)


def cuhk(root: Path, images: Mapping[str, np.ndarray]) -> Path:
    """A set as CUHK-CR's loaders want it, with near infrared inside."""
    for number, (name, clear) in enumerate(images.items()):
        split, stem = name.split("/")
        for side, dn in (("cloud", clouded(clear, 8 + number)), ("label", clear)):
            png(root / split / side / f"{stem}.png", dn[:3])
            png(root / split / "nir" / side / f"{stem}.png", dn[[3, 3, 3]])
    return root


def images() -> dict[str, np.ndarray]:
    """Eight training and four test images; copies of every kind are planted."""
    found = {f"train/{n}": ground(n) for n in range(8)}
    found |= {f"test/{n}": ground(n) for n in range(20, 24)}
    found["train/7"] = found["train/1"]
    found["test/20"] = found["train/2"]
    near = np.clip(found["train/3"] * 1.1 + 4, 1, 255).astype(np.uint8)
    found["test/21"], found["test/22"] = near, near
    return found


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["dataset", "import", *(str(a) for a in arguments), "-q"])


def lines(out: Path) -> list[dict[str, Any]]:
    """The manifest of a set."""
    return [json.loads(line) for line in (out / "pairs.jsonl").read_text().splitlines()]
