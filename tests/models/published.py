"""The published state dicts: every key and shape, read from the folder of real data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from torch import nn


def published_shapes(shared: Path, name: str) -> dict[str, tuple[int, ...]]:
    """Shapes by key of a published checkpoint, "memorynet_3band" for example."""
    path = shared / "reference" / "state_dicts" / f"{name}.json"
    if not path.is_file():
        pytest.skip(f"real data absent: no file {path}")
    return {e["key"]: tuple(e["shape"]) for e in json.loads(path.read_text())["entries"]}


def shapes(net: nn.Module) -> dict[str, tuple[int, ...]]:
    """Shapes by key of our network."""
    return {key: tuple(value.shape) for key, value in net.state_dict().items()}


def size(net: nn.Module) -> int:
    """Number of parameters, shared ones counted once."""
    return sum(p.numel() for p in net.parameters())


def without_gradient(net: nn.Module) -> set[str]:
    """Parameters that no gradient has reached."""
    return {k for k, p in net.named_parameters() if p.grad is None or not p.grad.any()}
