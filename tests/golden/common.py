"""What every runner needs: fill a network by the formula, and compare its outputs with a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from tests.golden.vectors import (
    Array,
    Arrays,
    Check,
    VectorFile,
    checksum,
    compare,
    fill_all,
    params_checksum,
    statistics,
)

NETWORK, SAMPLER, SCHEDULE, LOSS, GRADIENT = 1e-5, 1e-4, 1e-12, 1e-6, 1e-4
"""Tolerances on a CPU in float32; those of the schedule and of gradient norms are relative."""

DEVICE = [torch.device("cpu")]
"""Where networks are run: `python -m tests.golden DIR --device cuda` puts another here."""

GIVEN = ("x_T",)
"""Arrays of a file that are inputs."""


def floating_shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Shapes of all floating tensors of a state dict, aliases included."""
    state = module.state_dict()
    return {key: tuple(t.shape) for key, t in state.items() if t.is_floating_point()}


def load(module: nn.Module, params: Mapping[str, Array]) -> None:
    """Load floating tensors strictly; counters keep their zeros."""
    counters = {k: v for k, v in module.state_dict().items() if not v.is_floating_point()}
    module.load_state_dict(counters | {k: torch.from_numpy(v) for k, v in params.items()})
    module.to(DEVICE[0])


def filled(module: nn.Module, seed: int, gain: float, prefix: str = "") -> int:
    """Fill a network; return the checksum of what it was filled with.

    ``prefix`` is what published names have in front of ours.
    """
    shapes = {prefix + key: shape for key, shape in floating_shapes(module).items()}
    params = fill_all(shapes, seed, gain)
    load(module, {key.removeprefix(prefix): value for key, value in params.items()})
    return params_checksum(params)


def tensors(file: VectorFile) -> dict[str, Tensor]:
    """All inputs of a file by name, as tensors."""
    return {name: placed(array) for name, array in file.inputs().items()}


def placed(array: Array) -> Tensor:
    """An array on the device."""
    return torch.from_numpy(array).to(DEVICE[0])


def numbers(tensor: Tensor) -> Array:
    """A tensor of the device as an array."""
    return tensor.detach().cpu().numpy()


def same_checksum(file: VectorFile, name: str, got: int, wanted: int) -> list[Check]:
    """Nothing where the checksums agree: only trouble is worth a line."""
    if got == wanted:
        return []
    return [Check(file.path.name, name, note=f"checksum {got} instead of {wanted}")]


def inputs_agree(file: VectorFile) -> list[Check]:
    """Nothing where the inputs made here are those of the file."""
    inputs, checks = file.inputs(), []
    for name, wanted in file.meta.get("input_crc32", {}).items():
        checks += same_checksum(file, f"input {name}", checksum([inputs[name]]), wanted)
    return checks


def outputs_agree(file: VectorFile, got: Arrays, tolerance: float) -> list[Check]:
    """Compare full outputs with what the file keeps of them: a subset and statistics."""
    checks, name = [], file.path.name
    for entry in file.meta.get("outputs", []):
        for output in (entry["name"], entry["name"] + "__stats"):
            if output not in file.arrays:
                checks.append(Check(name, output, note="named in meta, but not in the file"))
    for output, wanted in file.arrays.items():
        if output in GIVEN:
            continue
        base = output.removesuffix("__stats")
        if base not in got:
            checks.append(Check(name, output, note="not computed"))
        elif output.endswith("__stats"):
            checks.append(compare(name, output, statistics(got[base]), wanted, tolerance))
        else:
            step = file.stride(base)
            part = got[base][..., ::step, ::step] if step > 1 else got[base]
            checks.append(compare(name, output, part, wanted, tolerance))
    return checks


def finish(file: VectorFile, crc: int, got: Arrays, tolerance: float = NETWORK) -> list[Check]:
    """Check inputs, parameters (``crc`` is what they were filled with) and outputs."""
    checks = inputs_agree(file)
    checks += same_checksum(file, "parameters", crc, file.meta["params_crc32"])
    return checks + outputs_agree(file, got, tolerance)


def weight_file(file: VectorFile, name: str) -> Path | None:
    """A published weights file, too large for the vectors themselves; None where there is none.

    Looked for in ``weights`` and ``data/weights`` of the folder of the vectors, of those above it,
    and of that of real data (see the fixture ``shared``).
    """
    ours = Path(os.environ.get("DECR_SHARED") or Path(__file__).resolve().parents[3] / "shared")
    folders = (*file.path.resolve().parents, ours)
    paths = (folder / below / name for folder in folders for below in ("weights", "data/weights"))
    return next((path for path in paths if path.is_file()), None)


def no_weights(name: str, otherwise: str = "") -> str:
    """What a check notes if `weight_file` finds none; ``otherwise`` is one more way out."""
    return (
        f"lacking: no weights {name}; put it into a folder `weights` beside that of the vectors, "
        f"or set DECR_SHARED to the folder that has it under data/weights{otherwise}"
    )
