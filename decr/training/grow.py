"""Begin a compact reference of more levels with the weights of one that has fewer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from decr.models.unet import UNetSize

_KINDS = {"op": "down", "conv": "up", "qkv": "attention", "proj_out": "attention"}
"""First names of a module's parameters, by which its kind is known; all others are residual."""


def grows_into(small: UNetSize, large: UNetSize) -> bool:
    """Whether ``large`` has all levels of ``small`` and more below; attention may differ.

    Examples
    --------
    >>> small = UNetSize(3, 3, 16, (1, 2), blocks=1)
    >>> grows_into(small, replace(small, multipliers=(1, 2, 4))), grows_into(small, small)
    (True, False)
    """
    shared = replace(
        large,
        multipliers=small.multipliers,
        attention_factors=small.attention_factors,
        heads=small.heads,
    )
    count = len(small.multipliers)
    return shared == small and large.multipliers[:count] == small.multipliers < large.multipliers


def grown(
    source: Mapping[str, Tensor], small: UNetSize, own: Mapping[str, Tensor], large: UNetSize
) -> dict[str, Tensor]:
    """The large network's weights with those of the small one where both have the same module.

    Parameters
    ----------
    source, own
        Parameters of two compact references of the same bands by name; see :func:`grows_into`.

    Returns
    -------
    dict
        A tensor of its shape for every name of ``own``. Levels that are new, attention that the
        small one lacks, and the middle keep the weights of ``own``; where the small one's deepest
        level takes up more or fewer channels from below than before, only those of its skip are
        carried over.
    """
    there = {_address(name, small): tensor for name, tensor in source.items()}
    taken = {}
    for name, tensor in own.items():
        side, *_ = address = _address(name, large)
        old = there.get(address)
        if old is None or side == "middle_block":
            taken[name] = tensor
        elif old.shape == tensor.shape:
            taken[name] = old
        else:
            taken[name] = _skip_channels(old, tensor, small)
    return taken


def _address(name: str, size: UNetSize) -> tuple[str, ...]:
    """A parameter's place as side, level, block and kind of module, whatever the depth."""
    side, *rest = name.removeprefix("unet.").split(".")
    if side not in ("input_blocks", "output_blocks"):
        return (side, *rest)
    number, per_level = int(rest[0]), size.blocks + 1
    if side == "input_blocks":
        # The first of all is the convolution that takes the image in.
        level, block = divmod(number - 1, per_level)
    else:
        level, block = divmod(number, per_level)
        level = len(size.multipliers) - 1 - level
    # A norm of its own belongs to attention: those of residual blocks lie within sequences.
    kind = "attention" if rest[2] == "norm" else _KINDS.get(rest[2], "residual")
    return (side, str(level), str(block), kind, *rest[2:])


def _skip_channels(old: Tensor, own: Tensor, small: UNetSize) -> Tensor:
    """``own`` with the small network's skip channels, the last ones along its first other axis."""
    axis = next(n for n in range(old.ndim) if old.shape[n] != own.shape[n])
    skip = small.width * small.multipliers[-1]
    joined = own.clone()
    joined.narrow(axis, own.shape[axis] - skip, skip).copy_(
        old.narrow(axis, old.shape[axis] - skip, skip)
    )
    return joined
