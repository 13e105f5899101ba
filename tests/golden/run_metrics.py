"""How to compute the vector files of the resize rule and of the metrics."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from decr.errors import BundleError
from decr.evaluation.imresize import imresize
from decr.evaluation.metrics import paper_ssim, psnr
from decr.evaluation.perceptual import (
    BACKBONE_VARIABLE,
    find_backbone,
    load_lpips,
    lpips_of,
)
from tests.golden.common import no_weights, outputs_agree, same_checksum, weight_file
from tests.golden.vectors import Array, Check, VectorFile, checksum, compare, uniform

GREY, SCORE, PERCEPTUAL = 1e-3, 1e-6, 1e-4
"""Tolerances: grey levels of 255, PSNR (dB) and SSIM, LPIPS."""

PAIR = ("pred_u8", "gt_u8")
"""Arrays of a metrics file that are inputs."""


BACKBONE = "lpips_alexnet.npz"


def backbone(file: VectorFile) -> Path | None:
    """Backbone of LPIPS: what the environment names, else near the vectors, else torch's cache."""
    near = None if os.environ.get(BACKBONE_VARIABLE) else weight_file(file, BACKBONE)
    try:
        return near or find_backbone()
    except BundleError:
        return None


def grey_image(file: VectorFile) -> Array:
    """The input of the resize file, (H, W, C) float32 whole grey levels.

    Its rule is not one of the network inputs' kinds.
    """
    (entry,) = file.meta["inputs"]
    if entry["rule"] != "floor(float32(255*u01))":
        raise ValueError(f"unknown rule {entry['rule']!r}")
    r = uniform("input:" + entry["name"], tuple(entry["shape"]), file.meta["seed"])
    return np.floor((255.0 * (0.5 + 0.5 * r)).astype(np.float32))


def run_imresize(file: VectorFile) -> list[Check]:
    """Resize by every factor; files are channels last, we are not."""
    grey = grey_image(file)
    checks, got = [], {}
    for name, crc in file.meta["input_crc32"].items():
        checks += same_checksum(file, f"input {name}", checksum([grey]), crc)
    for scale in file.meta["scales"]:
        small = imresize(grey.transpose(2, 0, 1), scale)
        got[f"scale_{round(1000 * scale)}_1000"] = small.transpose(1, 2, 0)
    return checks + outputs_agree(file, got, GREY)


def run_metrics(file: VectorFile) -> list[Check]:
    """Score one pair of byte images in the published and the standard way."""
    name, (a, b) = file.path.name, (file.arrays[key] for key in PAIR)
    got = {"psnr": (psnr(a, b, 255.0), SCORE), "ssim": (paper_ssim(a, b), SCORE)}
    asked = any(output.startswith("lpips") for output in file.arrays)
    path, checks = backbone(file) if asked else None, []
    if asked and path is None:
        note = no_weights(BACKBONE, f", or set {BACKBONE_VARIABLE} to AlexNet's weights")
        checks.append(Check(name, "lpips", note=note))
    elif path is not None:
        network = load_lpips(path)
        sym_a, sym_b = (x.astype(np.float32) / np.float32(127.5) - np.float32(1) for x in (a, b))
        got["lpips_paper"] = lpips_of(a, b, network), PERCEPTUAL
        got["lpips_standard"] = lpips_of(sym_a, sym_b, network), PERCEPTUAL
    for output, wanted in file.arrays.items():
        if output in got:
            value, tolerance = got[output]
            checks.append(compare(name, output, np.array(value), wanted, tolerance))
        elif output not in PAIR and not (path is None and output.startswith("lpips")):
            checks.append(Check(name, output, note="not computed"))
    return checks


METRICS: dict[str, Callable[[VectorFile], list[Check]]] = {
    "imresize": run_imresize,
    "metrics": run_metrics,
}
"""By the "model" of a file."""
