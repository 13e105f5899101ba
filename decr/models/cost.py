"""What a network costs: parameters, true multiply-accumulates, and the way the paper counted them.

True numbers come from torch's own counter. The paper's Table X was made with a profiler that adds
up fixed rules over the modules of a network, for a batch of two images; `paper_macs` repeats these
rules, errors included, so that the table can be understood.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from decr.errors import BundleError
from decr.models.registry import create

SIDE = 256
"""Rows and columns of the image that is counted, pixels."""
PAPER_IMAGES = 2
"""Images in the batch that Table X was counted on."""

TABLE_X = {
    "spagan": (33.97, 0.22),
    "amgan": (96.97, 0.24),
    "cvae": (92.88, 15.56),
    "memorynet": (1097.30, 3.64),
    "msda": (106.89, 3.91),
    "de": (397.65, 36.80),
}
"""Complexity and Params as printed in Table X of Sui et al., TGRS 2024; "de" is CNP and WA."""

COUNTED = ("spagan", "amgan", "cvae", "memorynet", "msda", "cnp", "wa", "de", "cloudnet")
"""What `decr models cost` lists."""

_BILINEAR = 11
"""Operations per output number that the profiler charges a bilinear enlargement."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one network, or CNP and WA together, costs for an image of 256 x 256 pixels.

    Attributes
    ----------
    parameters
        Trainable numbers, shared ones once, dead ones too.
    gmac
        Multiply-accumulates of one forward pass over one image, 10^9: convolutions, linear layers
        and attention products, as torch counts them.
    paper_gmac
        The same by the profiler's rules; times two images it is Table X's "Complexity".
    table_x
        (Complexity, Params in 10^6) as printed, None for what the table does not hold.
    """

    name: str
    bands: int
    parameters: int
    gmac: float
    paper_gmac: float
    table_x: tuple[float, float] | None


def cost(name: str, bands: int) -> Cost:
    """Count one network of the published size.

    Raises
    ------
    BundleError
        For a name that is no network.
    """
    if name not in COUNTED:
        raise BundleError(f"no network {name!r} is counted; there are {', '.join(COUNTED)}")
    parts = ("cnp", "wa") if name == "de" else (name,)
    # Only shapes count: on the meta device nothing is computed.
    with torch.device("meta"):
        networks = {part: create(part, bands).eval() for part in parts}
        return Cost(
            name,
            bands,
            sum(p.numel() for network in networks.values() for p in network.parameters()),
            sum(true_macs(n, inputs(part, bands)) for part, n in networks.items()) / 1e9,
            sum(paper_macs(n, inputs(part, bands)) for part, n in networks.items()) / 1e9,
            TABLE_X.get(name) if bands == 3 else None,
        )


def inputs(name: str, bands: int) -> tuple[Tensor, ...]:
    """Zeros of the shapes that a network takes: one image, and the time where it is asked for."""
    image = torch.zeros(1, bands, SIDE, SIDE)
    t = torch.zeros(1, dtype=torch.long)
    return {"cnp": (image, t, image), "wa": (image, t, image, image)}.get(name, (image,))


@torch.no_grad()
def true_macs(network: nn.Module, given: tuple[Tensor, ...]) -> int:
    """Multiply-accumulates of a forward pass; torch counts each as two operations."""
    with FlopCounterMode(display=False) as counter:
        network(*given)
    return int(counter.get_total_flops()) // 2


@torch.no_grad()
def paper_macs(network: nn.Module, given: tuple[Tensor, ...]) -> int:
    """Multiply-accumulates by the rules of the profiler `thop` 0.1.1, on the published modules.

    It sees modules, not operations: attention products and activations cost nothing. A transposed
    convolution is charged as if it were not strided. A module with several names is hooked once
    per name and added up once per name: MemoryNet's one PReLU has 55, hence 55 x 55 times its
    work. What published code computes and drops is charged as well.
    """
    names = Counter(
        module
        for _, module in network.named_modules(remove_duplicate=False)
        if not any(module.children())
    )
    charged: Counter[nn.Module] = Counter()

    def charge(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        charged[module] += names[module] * _charge(module, given[0], output)

    handles = [module.register_forward_hook(charge) for module in names]
    try:
        network(*given)
    finally:
        for handle in handles:
            handle.remove()
    return sum(names[module] * work for module, work in charged.items()) + _dropped(network)


def _charge(module: nn.Module, x: Tensor, output: Tensor) -> int:
    """What the profiler charges one call of a leaf module."""
    for kinds, rule in _RULES.items():
        if isinstance(module, kinds):
            return rule(module, x, output)
    return 0


def _convolution(module: Any, x: Tensor, output: Tensor) -> int:
    return int(output.numel() * (module.in_channels // module.groups) * prod(module.kernel_size))


def _norm(module: Any, x: Tensor, output: Tensor) -> int:
    has_scale = getattr(module, "affine", False) or getattr(module, "elementwise_affine", False)
    return (4 if has_scale else 2) * x.numel()


def _enlargement(module: Any, x: Tensor, output: Tensor) -> int:
    return output.numel() * (_BILINEAR if module.mode == "bilinear" else 1)


_RULES: Mapping[tuple[type[nn.Module], ...], Callable[[Any, Tensor, Tensor], int]] = {
    (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d): _convolution,
    (nn.Linear,): lambda module, x, output: output.numel() * module.in_features,
    (nn.BatchNorm2d, nn.LayerNorm, nn.InstanceNorm2d): _norm,
    (nn.PReLU,): lambda module, x, output: x.numel(),
    (nn.Upsample,): _enlargement,
    (nn.AdaptiveAvgPool2d,): lambda module, x, output: output.numel() * (prod(x.shape[2:]) + 1),
}
"""GroupNorm and activations other than PReLU are free."""


def _dropped(network: nn.Module) -> int:
    """What published modules compute in vain, or ours compute by other means."""
    from decr.models.cvae import CVAE, HEADS, LAYERS
    from decr.models.msda import MSDA
    from decr.models.spagan import SpAGAN

    if isinstance(network, SpAGAN):
        # Weights of the four directions, at full resolution, for each of the four groups.
        branch = network.SAM1.attention_layer.parameters()
        return 4 * SIDE**2 * sum(p.numel() for p in branch if p.ndim > 1)
    if isinstance(network, MSDA):
        # Offsets of a deformable convolution that is not there, at a quarter of the resolution.
        offsets = (network.offset_conv1.weight, network.offset_conv2.weight)
        return (SIDE // 4) ** 2 * sum(weight.numel() for weight in offsets)
    if isinstance(network, CVAE):
        # Softmax is a module there; ours is inside the fused attention.
        tokens = network.encoder.patch_embedding.position_embeddings.shape[1]
        return LAYERS * HEADS * tokens * (3 * tokens - 1)
    return 0


def described(costs: list[Cost]) -> str:
    """A table for people, with what its columns mean."""
    head = f"{'network':10} {'bands':>5} {'parameters':>12} {'GMAC':>9} {'paper GMAC':>11}"
    lines = [f"{head} {'x 2 images':>11}  Table X: complexity, params"]
    for one in costs:
        printed = "" if one.table_x is None else f"{one.table_x[0]:.2f}, {one.table_x[1]:.2f} M"
        lines.append(
            f"{one.name:10} {one.bands:5} {one.parameters:12,} {one.gmac:9.3f} "
            f"{one.paper_gmac:11.3f} {PAPER_IMAGES * one.paper_gmac:11.2f}  {printed}"
        )
    return "\n".join([*lines, "", *_MEANING])


_MEANING = (
    "GMAC        10^9 multiply-accumulates of one pass over one 256 x 256 image, by torch,",
    "            without branches of SpA-GAN and MSDA that change nothing, which decr does not run",
    "paper GMAC  the same by the rules of the profiler behind Table X; times two images it is",
    "            'Complexity'. It leaves out attention, charges transposed convolutions as if not",
    "            strided, and MemoryNet's one PReLU 55 x 55 times. 'de' is one evaluation of CNP",
    "            and WA: a sample takes one per step, and the reference network besides.",
    "parameters  with dead tensors of published checkpoints, without statistics of norms. Table",
    "            X's 15.56 M for CVAE is neither the 3-band nor the 4-band network.",
)
