"""Tests of compiled networks: compiled before the first tile, recorded, or refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from decr.config import DecloudConfig
from decr.errors import ConfigError
from decr.predictor import load_restorer
from tests.tiny import PARTS, tiny_bundle

TILE = np.random.default_rng(0).uniform(-1, 1, (1, 4, 16, 16)).astype(np.float32)


class Compilers:
    """Stands in for `nn.Module.compile`: notes the networks and the calls after it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fails: Exception | None = None) -> None:
        self.compiled: list[str] = []
        self.shapes: list[tuple[int, ...]] = []

        def compile_it(network: nn.Module, **options: Any) -> None:
            assert options == {"dynamic": False}
            self.compiled.append(type(network).__name__)

            def note(_: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
                if fails is not None:
                    raise fails
                self.shapes.append(tuple(given[0].shape))

            network.register_forward_pre_hook(note)

        monkeypatch.setattr(nn.Module, "compile", compile_it)


def test_networks_are_compiled_and_warm_before_the_first_tile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Compilers(monkeypatch)
    path = tiny_bundle(tmp_path, 4)
    compiled = load_restorer(path, device="cpu", precision="float32", compile_px=32)
    assert sorted(seen.compiled) == ["CNP", "WA"]
    assert seen.shapes == [(1, 4, 32, 32)] * 2
    assert compiled.settings["compiled"] == "yes"


def test_a_reference_alone_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Compilers(monkeypatch)
    path = tiny_bundle(tmp_path, 4, {"reference": PARTS["reference"]})
    load_restorer(path, device="cpu", precision="float32", compile_px=16)
    assert seen.compiled == ["CompactReference"]


def test_nothing_is_compiled_unless_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Compilers(monkeypatch)
    assert DecloudConfig().compile is False
    assert "compiled" not in load_restorer(tiny_bundle(tmp_path, 4), device="cpu").settings
    assert not seen.compiled


def test_without_a_compiler_there_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Compilers(monkeypatch, RuntimeError("\nNo working C++ compiler found\nin many places"))
    with pytest.raises(ConfigError) as caught:
        load_restorer(tiny_bundle(tmp_path, 4), device="cpu", compile_px=16)
    assert str(caught.value) == (
        "model tiny: torch cannot compile it here (No working C++ compiler found); install a C++ "
        "compiler such as g++, or leave out --compile"
    )


def test_traced_networks_give_what_eager_ones_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The whole way through torch's tracer; only the C++ compiler behind it is left out.
    def trace(network: nn.Module, **options: Any) -> None:
        call = torch.compile(network.forward, backend="eager", fullgraph=True, **options)
        monkeypatch.setattr(network, "forward", call)

    path = tiny_bundle(tmp_path, 4, {"cnp": PARTS["cnp"]})
    eager = load_restorer(path, device="cpu", precision="float32").restore(TILE, [(0, 0)])
    monkeypatch.setattr(nn.Module, "compile", trace)
    graphs = torch._dynamo.utils.counters["stats"]
    before = graphs["unique_graphs"]
    compiled = load_restorer(path, device="cpu", precision="float32", compile_px=16)
    assert graphs["unique_graphs"] == before + 1
    np.testing.assert_allclose(compiled.restore(TILE, [(0, 0)]), eager, atol=1e-5)
    assert graphs["unique_graphs"] == before + 1, "compiled again at a later step"
