"""Tiles in, tiles out: loads a bundle once and runs it with the same bits for any batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from decr.calibration import ErrorTable
from decr.cloud.detector import Detector
from decr.device import Recorded, default_lanes, heavy_in, micro_batch, pick_precision, ready_device
from decr.diffusion.fusion import FusedDenoiser, prior_of
from decr.diffusion.noise import noise_field, noise_window
from decr.diffusion.samplers import ddim
from decr.errors import BundleError, ConfigError
from decr.lanes import in_lanes
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
    restore_weighed
        As ``restore``, and also W (N, H, W) float32 in [0, 1]: the weight of the reference's
        output in the fusion, mean over steps and bands. The tiles have the same bits. None if the
        model has no such weight.
    errors
        How wrong it is on average, if that was measured.
    """

    name: str
    version: str
    bands: tuple[str, ...]
    gsd_m: float | None
    ranges: Mapping[str, tuple[float, float]]
    settings: Mapping[str, str]
    restore: Callable[[Float32, Sequence[Corner]], Float32]
    side_by_side: int = 1
    restore_weighed: Callable[[Float32, Sequence[Corner]], tuple[Float32, Float32]] | None = None
    errors: ErrorTable | None = None


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
    seed
        Of the noise field.
    device
        "auto", "cpu", "cuda" or "cuda:N"; auto is CUDA where there is any.
    precision
        Of the heavy arithmetic: "auto", "float32" or "bfloat16"; auto is bfloat16 where the device
        has units for it.
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
        If the noise schedule cannot be cut into ``steps``; if the device is unknown or absent, or
        the precision unknown; if the networks were to be compiled and torch cannot do so here.

    Notes
    -----
    ``restore`` raises ConfigError for tiles of a size that the network cannot take.
    """
    bundle = _restoring(path)
    card, target = bundle.card, ready_device(device)
    dtype = pick_precision(precision, target)
    steps = card.steps if steps is None else steps
    floor = card.prior_floor if prior_floor is None else prior_floor
    for network in bundle.networks.values():
        _move(network, target)
    # run: tensors on the device; call: arrays and corners of one batch; restore: any number of
    # tiles, cut into batches and shared by the lanes.
    run = _runner(bundle, steps, floor, target, dtype)
    size, side_by_side = micro_batch(target), lanes or default_lanes(target)
    call = _from_corners(run, seed, len(card.bands), target, side_by_side)
    if compile_px is not None:
        shape = (size, len(card.bands), compile_px, compile_px)
        # In a lane: torch's compiler fits code to the threads it finds.
        list(in_lanes(lambda _: _compile(bundle, shape, target, dtype), [None], side_by_side))

    restore, restore_weighed = _in_batches(call, card.name, target, size, side_by_side)
    # A reference alone knows nothing of steps and noise.
    sampling = {"steps": str(steps), "prior_floor": f"{floor:g}", "seed": str(seed)}
    settings = {
        **(sampling if "cnp" in card.parts else {}),
        "precision": str(dtype).removeprefix("torch."),
        "device": target.type,
    }
    if compile_px is not None:
        settings["compiled"] = "yes"  # other kernels round differently
    return Restorer(
        name=card.name,
        version=bundle.sha256,
        bands=card.bands,
        gsd_m=card.gsd_m,
        ranges=card.ranges,
        settings=settings,
        restore=restore,
        side_by_side=side_by_side * size,
        restore_weighed=restore_weighed if "wa" in card.parts else None,
        errors=card.errors,
    )


def _restoring(path: Path) -> Bundle:
    """A bundle that holds networks to restore with."""
    bundle = load_bundle(path)
    kinds = set(bundle.card.parts)
    if kinds not in ({"reference"}, {"reference", "cnp", "wa"}, {"cnp"}):
        raise BundleError(
            f"{path}: holds {', '.join(sorted(kinds))}; a restoring model needs a reference alone, "
            f"or a reference, cnp and wa, or a cnp alone (plain conditional diffusion)"
        )
    return bundle


Run = Callable[[Tensor, Tensor, bool], Tensor]
"""(cloudy, noise, whether W is wanted) -> clear (N, C, H, W), or with mean W as one more band."""
Call = Callable[[Float32, Sequence[Corner], bool], Float32]
"""The same from a batch's corners: the noise under them is made on the way."""


def _from_corners(run: Run, seed: int, bands: int, device: torch.device, lanes: int) -> Call:
    if device.type == "cuda":
        field = noise_field(seed, bands, device)

        def recorded(weighed: bool) -> Recorded:
            return Recorded(
                lambda tiles, corners: run(tiles, field(corners, *tiles.shape[2:]), weighed),
                device,
                lanes,
            )

        plain, with_weights = recorded(False), recorded(True)

        def on_cuda(tiles: Float32, corners: Sequence[Corner], weighed: bool) -> Float32:
            chosen = with_weights if weighed else plain
            places = torch.tensor(corners, dtype=torch.int64)
            result: Float32 = chosen(torch.from_numpy(tiles), places).numpy()
            return result

        return on_cuda

    def on_cpu(tiles: Float32, corners: Sequence[Corner], weighed: bool) -> Float32:
        noise = np.stack([noise_window(seed, r, c, *tiles.shape[1:]) for r, c in corners])
        result: Float32 = run(torch.from_numpy(tiles), torch.from_numpy(noise), weighed).numpy()
        return result

    return on_cpu


def _in_batches(
    call: Call, name: str, device: torch.device, size: int, side_by_side: int
) -> tuple[
    Callable[[Float32, Sequence[Corner]], Float32],
    Callable[[Float32, Sequence[Corner]], tuple[Float32, Float32]],
]:
    """``restore`` and ``restore_weighed`` of a restorer, ``size`` tiles to a batch."""

    def restored(first: int, tiles: Float32, corners: Sequence[Corner], weighed: bool) -> Float32:
        part, places = tiles[first : first + size], list(corners[first : first + size])
        count = len(part)
        if count < size:
            part = np.pad(part, ((0, size - count), (0, 0), (0, 0), (0, 0)))
            places += [(0, 0)] * (size - count)
        try:
            return call(part, places, weighed)[:count]
        except ValueError as error:
            raise ConfigError(f"model {name}: {error}") from error
        except torch.OutOfMemoryError as error:
            raise ConfigError(
                f"model {name}: {device} has too little memory for {side_by_side * size} tiles of "
                f"{part.shape[-1]} px at a time; free some, or use --device cpu"
            ) from error

    def every(tiles: Float32, corners: Sequence[Corner], weighed: bool) -> list[Float32]:
        firsts = range(0, len(tiles), size)
        return list(
            in_lanes(lambda first: restored(first, tiles, corners, weighed), firsts, side_by_side)
        )

    def restore(tiles: Float32, corners: Sequence[Corner]) -> Float32:
        return np.concatenate([tiles[:0], *every(tiles, corners, False)])

    def restore_weighed(tiles: Float32, corners: Sequence[Corner]) -> tuple[Float32, Float32]:
        found = every(tiles, corners, True)
        clear = np.concatenate([tiles[:0], *(both[:, :-1] for both in found)])
        return clear, np.concatenate([tiles[:0, 0], *(both[:, -1] for both in found)])

    return restore, restore_weighed


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
        once(torch.zeros(shape), torch.zeros(shape), False)
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
) -> Run:
    networks, card = bundle.networks, bundle.card
    short = card.respaced(steps) if "cnp" in networks else None

    @torch.inference_mode()
    def run(cloudy: Tensor, noise: Tensor, weighed: bool) -> Tensor:
        # One layout for all steps: compiled networks would be compiled again for another.
        cloudy = cloudy.to(device).contiguous(memory_format=torch.channels_last)
        noise = noise.to(device).contiguous(memory_format=torch.channels_last)
        prior: Tensor | None = None
        with heavy_in(dtype, device):
            if "reference" in networks:
                prior = prior_of(networks["reference"], cloudy)
                if short is None:
                    return prior.clamp(-1.0, 1.0)
            assert short is not None
            weights: list[Tensor] = []
            wa, keep = networks.get("wa"), _kept(weights, floor) if weighed else None
            denoise = FusedDenoiser(
                networks["cnp"], wa, card.schedule, cloudy, prior, floor, keep, card.level_px
            )
            clear = ddim(denoise, noise, short).clamp(-1.0, 1.0)
        return torch.cat([clear, torch.stack(weights).mean(0)], 1) if weighed else clear

    return run


def _kept(weights: list[Tensor], floor: float) -> Callable[[int, Tensor, Tensor], None]:
    """Keep the W that counts, mean over bands, of every step."""
    return lambda step, eps, weight: weights.append(weight.clamp(floor, 1.0).mean(1, keepdim=True))


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
    target = ready_device(device)
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
        card.name,
        bundle.sha256,
        card.bands,
        card.gsd_m,
        probability,
        card.ranges,
        span,
        darkest=bool(card.parts["detector"].size.get("darkest", False)),
    )
