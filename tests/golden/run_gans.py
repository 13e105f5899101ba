"""How to compute the vector files of SpA-GAN, AMGAN-CR and the CVAE."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from decr.models.amgan import AMGAN
from decr.models.cvae import CVAE
from decr.models.patchgan import PatchGAN
from decr.models.spagan import SpAGAN
from tests.golden.common import (
    DEVICE,
    NETWORK,
    filled,
    finish,
    no_weights,
    numbers,
    placed,
    tensors,
    weight_file,
)
from tests.golden.vectors import Array, Check, VectorFile, compare, statistics

GENERATOR, DISCRIMINATOR = "gen.gen.", "dis.dis."
"""What published names have in front of ours."""

REACH = 1 + 17 * 2 + 1
"""Pixels around one that its output depends on: convolutions and dilated blocks.

Attention reaches two pixels beside a block that reaches as far.
"""

ROUNDING = 0.5 / 255 + 1e-5
"""How far a picture of 8 bits is from the image that was saved in it."""


def run_generator(file: VectorFile, net: SpAGAN | AMGAN) -> list[Check]:
    """Compute the unclamped image and the attention map."""
    crc = filled(net, file.meta["seed"], file.meta["gain"], GENERATOR)
    with torch.no_grad():
        image, attention = net.eval().with_attention(tensors(file)["y"])
    return finish(file, crc, {"out": numbers(image), "att": numbers(attention)})


def run_spagan(file: VectorFile) -> list[Check]:
    """Run SpA-GAN's generator."""
    return run_generator(file, SpAGAN(file.meta["bands"]))


def run_amgan(file: VectorFile) -> list[Check]:
    """Run AMGAN-CR's generator."""
    return run_generator(file, AMGAN(file.meta["bands"]))


def run_discriminator(file: VectorFile) -> list[Check]:
    """Judge the image ``b`` beside the cloudy ``a``."""
    net = PatchGAN(file.meta["bands"]).eval()
    crc = filled(net, file.meta["seed"], file.meta["gain"], DISCRIMINATOR)
    x = tensors(file)
    with torch.no_grad():
        logits = net(x["a"], x["b"])
    return finish(file, crc, {"logits": numbers(logits)})


def run_cvae(file: VectorFile) -> list[Check]:
    """Compute the distribution and the unclamped image of its mean."""
    net = CVAE(file.meta["bands"]).eval()
    crc = filled(net, file.meta["seed"], file.meta["gain"])
    with torch.no_grad():
        (mu, log_var), image = net.with_distribution(tensors(file)["y"])
    got = {"mu": mu, "log_var": log_var, "out": image}
    return finish(file, crc, {key: numbers(value) for key, value in got.items()})


def weights_of(file: VectorFile) -> Path | Check:
    """Where the published weights of a file lie, or what is wrong with them."""
    dataset = re.search(r"RICE\d", file.meta["weights"])
    name = f"spagan_{dataset[0].lower()}.pth" if dataset else "?"
    path = weight_file(file, name)
    if path is None:
        return Check(file.path.name, "all", note=no_weights(name))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != file.meta["weights_sha256"]:
        return Check(file.path.name, "all", note=f"{path} has SHA-256 {digest}")
    return path


def load_generator(path: Path) -> SpAGAN:
    """SpA-GAN with published weights."""
    state: dict[str, Tensor] = torch.load(path, weights_only=True, map_location="cpu")
    net = SpAGAN(3).eval()
    net.load_state_dict({key.removeprefix(GENERATOR): value for key, value in state.items()})
    return net.to(DEVICE[0])


def run_real(file: VectorFile) -> list[Check]:
    """Run SpA-GAN with its published weights on a real image.

    The file also has pictures of a run over the larger image that this one was cut from: equal
    where no border of the cut can be felt, if there is such a place in it.
    """
    path = weights_of(file)
    if isinstance(path, Check):
        return [path]
    rgb = file.arrays["cloudy_rgb_u8"].astype(np.float32) / np.float32(255)
    y = placed(np.ascontiguousarray(rgb[..., ::-1].transpose(2, 0, 1)))[None]
    with torch.no_grad():
        outputs = load_generator(path).with_attention(y)
    image, attention = (numbers(output) for output in outputs)
    checks, name, wanted = [], file.path.name, file.arrays
    for key, got in (("out", image), ("att", attention)):
        step = got.shape[-1] // wanted[key].shape[-1]
        checks.append(compare(name, key, got[..., ::step, ::step], wanted[key], NETWORK))
        checks.append(
            compare(name, f"{key}__stats", statistics(got), wanted[f"{key}__stats"], NETWORK)
        )
    picture = image[0, ::-1].transpose(1, 2, 0)
    whole, saved = wanted["full_image_out_rgb"], wanted["published_out_rgb_u8"]
    step = len(picture) // len(whole)
    picture = picture[::step, ::step]
    if not inside(picture, step).size:
        return checks
    checks.append(
        compare(name, "full_image_out_rgb", inside(picture, step), inside(whole, step), NETWORK)
    )
    got, levels = inside(picture.clip(0, 1), step), inside(saved, step) / 255.0
    checks.append(compare(name, "published_out_rgb_u8", got, levels, ROUNDING))
    return checks


def inside(picture: Array, step: int) -> Array:
    """Cut off what a border can be felt in, from a picture of every ``step``-th pixel."""
    border = -(-REACH // step)
    return picture[border:-border, border:-border]


GANS: dict[str, Callable[[VectorFile], list[Check]]] = {
    "spagan": run_spagan,
    "spagan_real": run_real,
    "spagan_dis": run_discriminator,
    "amgan": run_amgan,
    "amgan_dis": run_discriminator,
    "cvae": run_cvae,
}
"""By the "model" of a file."""
