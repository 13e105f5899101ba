"""How to compute each kind of vector file with our networks, and compare it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from decr.diffusion.fusion import FusedDenoiser
from decr.diffusion.losses import de_losses
from decr.diffusion.samplers import Step, ddim
from decr.diffusion.schedule import NoiseSchedule
from decr.models.amgan import AMGAN
from decr.models.cloudnet import CloudNet, keras_names, state_dict_from_keras
from decr.models.cnp import CNP, cnp_size
from decr.models.cvae import CVAE
from decr.models.memorynet import MemoryNet
from decr.models.msda import MSDA, MSDADiscriminator
from decr.models.spagan import SpAGAN
from decr.models.wa import WA, wa_size
from tests.golden.common import (
    DEVICE,
    GRADIENT,
    LOSS,
    SAMPLER,
    SCHEDULE,
    filled,
    finish,
    floating_shapes,
    inputs_agree,
    load,
    numbers,
    placed,
    same_checksum,
    tensors,
)
from tests.golden.run_gans import GANS, GENERATOR
from tests.golden.run_metrics import METRICS
from tests.golden.vectors import Arrays, Check, VectorFile, compare, fill_all, params_checksum

WA_PREFIX = "sjlnet."
"""Published checkpoints hold CNP and WA in one file, the latter under this prefix."""

REFERENCES: dict[str, Callable[[int], nn.Module]] = {
    "amgan": AMGAN,
    "cvae": CVAE,
    "memorynet": MemoryNet,
    "msda": MSDA,
    "spagan": SpAGAN,
}


@lru_cache(maxsize=3)  # filling is half of the time; several files share a seed
def de_networks(bands: int, seed: int, gain: float) -> tuple[CNP, WA, int]:
    """CNP and WA filled as one checkpoint, and its checksum."""
    cnp, wa = CNP(cnp_size(bands)).eval(), WA(wa_size(bands)).eval()
    cnp_params = fill_all(floating_shapes(cnp.unet), seed, gain)
    wa_shapes = {WA_PREFIX + key: shape for key, shape in floating_shapes(wa.unet).items()}
    wa_params = fill_all(wa_shapes, seed, gain)
    load(cnp.unet, cnp_params)
    load(wa.unet, {key.removeprefix(WA_PREFIX): value for key, value in wa_params.items()})
    return cnp, wa, params_checksum(cnp_params | wa_params)


def _de(file: VectorFile) -> tuple[CNP, WA, int]:
    return de_networks(file.meta["bands"], file.meta["seed"], file.meta["gain"])


def run_cnp(file: VectorFile) -> list[Check]:
    """Run the noise predictor once."""
    cnp, _, crc = _de(file)
    x = tensors(file)
    with torch.no_grad():
        eps = cnp(x["x_t"], x["t"], x["y"])
    return finish(file, crc, {"eps": numbers(eps)})


def run_wa(file: VectorFile) -> list[Check]:
    """Run weight allocation once, unclipped."""
    _, wa, crc = _de(file)
    x = tensors(file)
    with torch.no_grad():
        w = wa(x["x_t"], x["t"], x["y"], x["x0E"])
    return finish(file, crc, {"w": numbers(w)})


def run_memorynet(file: VectorFile) -> list[Check]:
    """Compute three unclamped stages and the clamped image."""
    net = MemoryNet(file.meta["bands"]).eval()
    crc = filled(net, file.meta["seed"], file.meta["gain"])
    y = tensors(file)["y"]
    with torch.no_grad():
        third, second, first = net.stages(y)
        got = {"stage3": third, "stage2": second, "stage1": first, "out": net(y)}
    return finish(file, crc, {key: numbers(value) for key, value in got.items()})


def run_msda(file: VectorFile) -> list[Check]:
    """Run the generator."""
    net = MSDA(file.meta["bands"]).eval()
    crc = filled(net, file.meta["seed"], file.meta["gain"])
    with torch.no_grad():
        out = net(tensors(file)["y"])
    return finish(file, crc, {"out": numbers(out)})


def run_msda_dis(file: VectorFile) -> list[Check]:
    """Run the discriminator in training mode, first call, hence one power iteration."""
    net = MSDADiscriminator(file.meta["bands"]).train()
    crc = filled(net, file.meta["seed"], file.meta["gain"])
    with torch.no_grad():
        score = net(tensors(file)["y"])
    return finish(file, crc, {"score": numbers(score)})


def run_cloudnet(file: VectorFile) -> list[Check]:
    """Run the cloud detector, from Keras arrays and a channels-last image."""
    net = CloudNet(file.meta["bands"]).eval()
    ours = floating_shapes(net)
    shapes: dict[str, tuple[int, ...]] = {}
    for key, name in keras_names().items():
        shape = ours[name]
        shapes[key] = tuple(shape[axis] for axis in (2, 3, 1, 0)) if len(shape) == 4 else shape
    params = fill_all(shapes, file.meta["seed"], file.meta["gain"])
    net.load_state_dict(state_dict_from_keras(params))
    net.to(DEVICE[0])
    with torch.no_grad():
        prob = net(tensors(file)["y"].movedim(-1, 1)).movedim(1, -1)
    return finish(file, params_checksum(params), {"prob": numbers(prob)})


def x0_prior_of(file: VectorFile) -> tuple[Tensor, list[Check]]:
    """x0E as published: where a network does not clamp its image, neither is x0E, unlike decr's."""
    net = REFERENCES[file.meta["reference"]](file.meta["bands"]).eval()
    prefix = GENERATOR if isinstance(net, SpAGAN | AMGAN) else ""
    crc = filled(net, file.meta["seed"], file.meta["reference_gain"], prefix)
    previous = tensors(file)["previous"]
    with torch.no_grad():
        if isinstance(net, SpAGAN | AMGAN):
            image, _ = net.with_attention(previous)
        elif isinstance(net, CVAE):
            _, image = net.with_distribution(previous)
        else:
            image = net(previous)
    wanted = file.meta["reference_params_crc32"]
    return 2.0 * image - 1.0, same_checksum(file, "reference parameters", crc, wanted)


def run_sampler(file: VectorFile) -> list[Check]:
    """Run the whole DE sampler, from x_T to the image, every step compared."""
    cnp, wa, crc = _de(file)
    x0_prior, checks = x0_prior_of(file)
    previous = tensors(file)["previous"]
    schedule = NoiseSchedule.linear()
    floor, ceiling = file.meta["w_clip"]
    if file.meta["eta"] != 0 or ceiling != 1:
        return [Check(file.path.name, "all", note="lacking: only eta 0 and W up to 1")]
    raw: list[tuple[int, Tensor, Tensor]] = []
    done: list[Step] = []
    with torch.no_grad():
        denoise = FusedDenoiser(
            cnp,
            wa,
            schedule,
            2.0 * previous - 1.0,
            x0_prior,
            prior_floor=floor,
            on_weights=lambda t, eps, w: raw.append((t, eps, w)),
        )
        x_T = placed(file.arrays["x_T"])
        ddim(denoise, x_T, _chain(schedule, file.meta["respacing"]), on_step=done.append)
    got: Arrays = {"x0E": numbers(x0_prior)}
    for i, ((t, eps, w), step) in enumerate(zip(raw, done, strict=True)):
        got |= {f"s{i}_t": np.full(len(previous), t), f"s{i}_eps": numbers(eps)}
        got |= {f"s{i}_w": numbers(w)}
        got |= {f"s{i}_x0": numbers(step.x0), f"s{i}_x": numbers(step.x_prev)}
    return checks + finish(file, crc, got, SAMPLER)


def run_train_loss(file: VectorFile) -> list[Check]:
    """Compute per-sample losses and the norms of some gradients of their mean."""
    cnp, wa, crc = _de(file)
    x0_prior, checks = x0_prior_of(file)
    x = tensors(file)
    t, cloudy = torch.tensor(file.meta["t"], device=DEVICE[0]), 2.0 * x["previous"] - 1.0
    losses = de_losses(cnp, wa, NoiseSchedule.linear(), x["label"], cloudy, x0_prior, t, x["noise"])
    assert losses.weight is not None
    params = dict(cnp.unet.named_parameters())
    params |= {WA_PREFIX + key: p for key, p in wa.unet.named_parameters()}
    keys = [str(key) for key in file.arrays["grad_keys"]]
    gradients = torch.autograd.grad(losses.total.mean(), [params[key] for key in keys])
    norms = np.array([float(g.double().norm()) for g in gradients])
    name, wanted = file.path.name, file.arrays
    checks += inputs_agree(file)
    checks += same_checksum(file, "parameters", crc, file.meta["params_crc32"])
    parts = {"loss": losses.total, "mse_noise": losses.noise, "l1_fused": losses.weight}
    for part, value in parts.items():
        checks.append(compare(name, part, numbers(value), wanted[part], LOSS))
    checks.append(compare(name, "grad_norms", norms, wanted["grad_norms"], GRADIENT, True))
    return checks


def _chain(full: NoiseSchedule, named: str) -> NoiseSchedule:
    """The chain that is called "ddimN", of one stride, or "N", evenly spaced."""
    if named.startswith("ddim"):
        return full.respaced(int(named.removeprefix("ddim")))
    return full.spaced_evenly(int(named))


def run_schedule(file: VectorFile) -> list[Check]:
    """Compute the coefficients of the full and of every respaced chain, in float64."""
    checks = []
    chains: dict[str, dict[str, Any]] = {}
    for key, wanted in file.arrays.items():
        chain, _, quantity = key.partition("_")
        if chain not in chains:
            full = NoiseSchedule.linear()
            kept = full if chain == "full" else _chain(full, chain)
            of_x0, of_x_t = kept.posterior_mean_coefficients()
            chains[chain] = {
                "timesteps": kept.timesteps,
                "betas": kept.betas,
                "alphas_cumprod": kept.alpha_bar,
                "posterior_variance": kept.posterior_variance(),
                "posterior_log_variance_clipped": kept.posterior_log_variance_clipped(),
                "posterior_mean_coef1": of_x0,
                "posterior_mean_coef2": of_x_t,
            }
        got = np.asarray(chains[chain][quantity])
        checks.append(compare(file.path.name, key, got, wanted, SCHEDULE, relative=True))
    return checks


RUNNERS: dict[str, Callable[[VectorFile], list[Check]]] = {
    "cnp": run_cnp,
    "wa": run_wa,
    "memorynet": run_memorynet,
    "msda": run_msda,
    "msda_dis": run_msda_dis,
    "cloudnet": run_cloudnet,
    "de_sampler": run_sampler,
    "de_training_loss": run_train_loss,
    "schedule": run_schedule,
    **METRICS,
    **GANS,
}
"""By the "model" of a file; what is not here is reported as lacking."""


def run_file(path: Path) -> list[Check]:
    """Check one file; what cannot be checked gives one failed line that says why."""
    try:
        file = VectorFile.read(path)
        model = file.model
    except Exception as error:  # what is cut off or damaged raises nearly anything
        return [Check(path.name, "file", note=f"not a vector file: {error!r}")]
    reference = file.meta.get("reference")
    if model not in RUNNERS:
        return [Check(path.name, "all", note=f"lacking: no {model} here")]
    if reference is not None and reference not in REFERENCES:
        return [Check(path.name, "all", note=f"lacking: no {model} over {reference} here")]
    try:
        return RUNNERS[model](file) or [Check(path.name, "all", note="holds no output")]
    except Exception as error:  # one broken file must not hide the others
        return [Check(path.name, "all", note=f"{type(error).__name__}: {error}")]
