"""Tiles in, tiles out: loads a bundle once and runs it with the same bits for any batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from decr.cloud.detector import Detector
from decr.diffusion.fusion import FusedDenoiser
from decr.diffusion.noise import noise_window
from decr.diffusion.samplers import ddim
from decr.errors import BundleError, ConfigError
from decr.lanes import available_lanes, in_lanes
from decr.zoo.bundle import Bundle, load_bundle

Float32 = NDArray[np.float32]
Corner = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Restorer:
    """Anything that turns cloudy tiles into clear ones.

    Attributes
    ----------
    name, version
        What it is, and the SHA-256 of its weights.
    bands
        Roles of the bands it takes and returns, in order.
    gsd_m
        Ground sampling distance it was trained at, metres; None if it does not care.
    ranges
        DN ranges by dtype that its card declares.
    settings
        What else decides its result, for the output's tags.
    restore
        ((N, C, H, W) float32 unit, N top left corners (row, col) on the work grid) to
        (N, C, H, W) float32 unit. A tile's result must depend on that tile and its corner alone.
        Called from several threads.
    side_by_side
        Tiles it computes at a time; handed fewer, it works below its speed.
    """

    name: str
    version: str
    bands: tuple[str, ...]
    gsd_m: float | None
    ranges: Mapping[str, tuple[float, float]]
    settings: Mapping[str, str]
    restore: Callable[[Float32, Sequence[Corner]], Float32]
    side_by_side: int = 1


def pick_device(device: str) -> torch.device:
    """The torch device for "auto", "cpu" or "cuda".

    Raises
    ------
    ConfigError
        If CUDA is asked for and absent.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError("device 'cuda' was asked for, but torch sees no CUDA device here")
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"unknown device {device!r}; use auto, cpu or cuda") from error


def has_bfloat16_units(device: torch.device) -> bool:
    """Whether bfloat16 is faster than float32 there: AVX512-BF16 or AMX, any recent CUDA card."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def pick_precision(precision: str, device: torch.device) -> torch.dtype:
    """The type of the heavy arithmetic for "auto", "float32" or "bfloat16"."""
    if precision == "auto":
        return torch.bfloat16 if has_bfloat16_units(device) else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def resolved(device: str, precision: str) -> tuple[str, str]:
    """What "auto" means in this process: names of the device and of the precision."""
    target = pick_device(device)
    return str(target), str(pick_precision(precision, target)).removeprefix("torch.")


def micro_batch(device: torch.device) -> int:
    """Tiles per network call, fixed per kind of device.

    Convolution kernels may round differently for different batch shapes, so the shape is pinned
    and the last batch padded: results do not depend on how tiles were grouped.
    """
    return 8 if device.type == "cuda" else 1


def default_lanes(device: torch.device) -> int:
    """Network calls at a time: one per core, or one on a device that fills itself."""
    return available_lanes() if device.type == "cpu" else 1


def load_restorer(
    path: Path,
    *,
    steps: int | None = None,
    prior_floor: float | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    compile_px: int | None = None,
    lanes: int | None = None,
) -> Restorer:
    """Load a bundle as a restorer.

    Parameters
    ----------
    path
        A bundle with a reference, a noise predictor and a weight allocator (DE), a reference
        alone, or a noise predictor alone (plain conditional DDIM, the paper's Table VIII, row 1).
    steps, prior_floor
        None takes the card's.
    compile_px
        Compile the networks for tiles of this side, and run them once, which takes minutes; None
        leaves them as they are.
    lanes
        Calls of the networks at a time, each on one thread of the CPU; None takes what there is.
        Results do not depend on it.

    Raises
    ------
    BundleError
        If the file is damaged or holds no restoring networks.
    ConfigError
        If the networks were to be compiled and torch cannot do so here.

    Notes
    -----
    ``restore`` raises ConfigError for tiles of a size that the network cannot take.
    """
    bundle = load_bundle(path)
    card = bundle.card
    kinds = set(card.parts)
    if kinds not in ({"reference"}, {"reference", "cnp", "wa"}, {"cnp"}):
        raise BundleError(
            f"{path}: holds {', '.join(sorted(kinds))}; a restoring model needs a reference alone, "
            f"or a reference, cnp and wa, or a cnp alone (plain conditional diffusion)"
        )
    target = pick_device(device)
    dtype = pick_precision(precision, target)
    steps = steps or card.steps
    floor = card.prior_floor if prior_floor is None else prior_floor
    for network in bundle.networks.values():
        _move(network, target)
    run = _runner(bundle, steps, floor, target, dtype)
    size, side_by_side = micro_batch(target), lanes or default_lanes(target)

    def compiled() -> None:
        shape = (size, len(card.bands), compile_px or 0, compile_px or 0)
        _compile(bundle, shape, target, dtype)

    if compile_px is not None:
        # In a lane: torch's compiler fits code to the threads it finds.
        list(in_lanes(lambda _: compiled(), [None], side_by_side))

    def restored(first: int, tiles: Float32, corners: Sequence[Corner]) -> Float32:
        part, places = tiles[first : first + size], corners[first : first + size]
        noise = np.stack([noise_window(seed, r, c, *part.shape[1:]) for r, c in places])
        count = len(part)
        if count < size:
            fill = ((0, size - count), (0, 0), (0, 0), (0, 0))
            part, noise = np.pad(part, fill), np.pad(noise, fill)
        try:
            result = run(torch.from_numpy(part), torch.from_numpy(noise))
        except ValueError as error:
            raise ConfigError(f"model {card.name}: {error}") from error
        clear: Float32 = result.cpu().numpy()[:count]
        return clear

    def restore(tiles: Float32, corners: Sequence[Corner]) -> Float32:
        firsts = range(0, len(tiles), size)
        parts = in_lanes(lambda first: restored(first, tiles, corners), firsts, side_by_side)
        return np.concatenate([tiles[:0], *parts])

    settings = {
        "steps": str(steps),
        "prior_floor": f"{floor:g}",
        "seed": str(seed),
        "precision": str(dtype).removeprefix("torch."),
        "device": target.type,
    }
    if compile_px is not None:
        settings["compiled"] = "yes"  # other kernels round differently
    return Restorer(
        card.name,
        bundle.sha256,
        card.bands,
        card.gsd_m,
        card.ranges,
        settings,
        restore,
        side_by_side * size,
    )


def _move(network: nn.Module, device: torch.device) -> None:
    """Put a network on a device with the memory layout convolutions like."""
    network.to(device)
    network.to(memory_format=torch.channels_last)


def _compile(
    bundle: Bundle, shape: tuple[int, int, int, int], device: torch.device, dtype: torch.dtype
) -> None:
    """Compile what takes the time for batches of one shape, and wait until it is done.

    CNP and WA run at every step, the reference once per tile: it is compiled only if it is alone.
    """
    networks = bundle.networks
    try:
        for name, network in networks.items():
            if name != "reference" or len(networks) == 1:
                network.compile(dynamic=False)
        # Torch compiles at the first call. One step is enough: the time is a tensor.
        once = _runner(bundle, 1, bundle.card.prior_floor, device, dtype)
        once(torch.zeros(shape), torch.zeros(shape))
    except ValueError as error:
        raise ConfigError(f"model {bundle.card.name}: {error}") from error
    except RuntimeError as error:  # the base of all that torch's compiler raises
        reason = next((line for line in str(error).splitlines() if line.strip()), repr(error))
        raise ConfigError(
            f"model {bundle.card.name}: torch cannot compile it here ({reason}); install a C++ "
            f"compiler such as g++, or leave out --compile"
        ) from error


def _runner(
    bundle: Bundle, steps: int, floor: float, device: torch.device, dtype: torch.dtype
) -> Callable[[Tensor, Tensor], Tensor]:
    networks, schedule = bundle.networks, bundle.card.schedule
    short = schedule.respaced(steps) if "cnp" in networks else None

    def precise() -> AbstractContextManager[Any]:
        if dtype == torch.float32:
            return nullcontext()
        return torch.autocast(device.type, dtype=dtype)

    @torch.inference_mode()
    def run(cloudy: Tensor, noise: Tensor) -> Tensor:
        # One layout for all steps: compiled networks would be compiled again for another.
        cloudy = cloudy.to(device).contiguous(memory_format=torch.channels_last)
        noise = noise.to(device).contiguous(memory_format=torch.channels_last)
        prior: Tensor | None = None
        with precise():
            if "reference" in networks:
                prior = 2.0 * networks["reference"]((cloudy + 1.0) / 2.0).float() - 1.0
                if short is None:
                    return prior.clamp(-1.0, 1.0)
            assert short is not None
            wa = networks.get("wa")
            denoise = FusedDenoiser(networks["cnp"], wa, schedule, cloudy, prior, floor)
            return ddim(denoise, noise, short).clamp(-1.0, 1.0)

    return run


def load_detector(path: Path, device: str = "auto", lanes: int | None = None) -> Detector:
    """Load a bundle as a cloud detector.

    Parameters
    ----------
    lanes
        Views at a time, each on one thread of the CPU; None takes what there is.

    Raises
    ------
    BundleError
        If the file is damaged or holds no detector.
    """
    bundle = load_bundle(path)
    if set(bundle.card.parts) != {"detector"}:
        raise BundleError(f"{path}: holds {', '.join(bundle.card.parts)}, not a cloud detector")
    target = pick_device(device)
    network = bundle.networks["detector"]
    _move(network, target)

    side_by_side = lanes or default_lanes(target)

    # One view at a time: see micro_batch.
    @torch.inference_mode()
    def one(view: Float32) -> Float32:
        found: Float32 = (
            network(torch.from_numpy(view[None]).to(target)).float().cpu()[0, 0].numpy()
        )
        return found

    def probability(views: Float32) -> Float32:
        return np.stack(list(in_lanes(one, views, side_by_side)))

    card = bundle.card
    # A card that says nothing of its range says 0 to 0.
    span = card.gsd_range_m if card.gsd_range_m[1] > 0 else (0.0, math.inf)
    return Detector(
        card.name, bundle.sha256, card.bands, card.gsd_m, probability, card.ranges, span
    )
