"""PatchGAN: sizes, names, shapes of its verdicts, gradients, how its weights start."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from decr.models.patchgan import PatchGAN
from tests.models.published import published_shapes, shapes, without_gradient


def small(bands: int = 4) -> PatchGAN:
    torch.manual_seed(0)
    return PatchGAN(bands, width=4)


@pytest.mark.parametrize("bands", [3, 4])
@pytest.mark.parametrize("model", ["spagan", "amgan"])
def test_names_and_shapes_are_the_published_ones(shared: Path, model: str, bands: int) -> None:
    ours = {f"dis.dis.{key}": shape for key, shape in shapes(PatchGAN(bands)).items()}
    assert ours == published_shapes(shared, f"{model}_dis_{bands}band")


@pytest.mark.parametrize(("rows", "cols"), [(16, 16), (32, 64), (47, 51)])
def test_every_whole_16_px_patch_gets_one_logit(rows: int, cols: int) -> None:
    net = small().eval()
    with torch.no_grad():
        logits = net(torch.rand(2, 4, rows, cols), torch.rand(2, 4, rows, cols))
    assert logits.shape == (2, 1, rows // 16, cols // 16)
    assert logits.isfinite().all()


def test_cloudy_and_image_play_different_parts() -> None:
    net = small().eval()
    a, b = torch.rand(1, 4, 32, 32), torch.rand(1, 4, 32, 32)
    with torch.no_grad():
        assert not torch.equal(net(a, b), net(b, a))


def test_gradients_reach_every_parameter() -> None:
    net = small().train()
    net(torch.rand(2, 4, 64, 64), torch.rand(2, 4, 64, 64)).square().mean().backward()
    assert {key for key, p in net.named_parameters() if p.grad is None} == set()
    # Normalisation takes away what a bias before it adds.
    assert {key for key in without_gradient(net) if not key.endswith(".c.bias")} == set()


def test_stands_still_in_eval_mode() -> None:
    net = small().eval()
    a, b = torch.rand(1, 4, 32, 32), torch.rand(1, 4, 32, 32)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with torch.no_grad():
        assert torch.equal(net(a, b), net(a, b))
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


def test_initial_weights_have_the_published_spread() -> None:
    torch.manual_seed(0)
    params = PatchGAN(3).state_dict()
    weight, scale = params["c3.c.weight"], params["c3.batchnorm.weight"]
    assert float(weight.std()) == pytest.approx(0.02, rel=0.02)
    assert float(scale.mean()) == pytest.approx(1.0, abs=0.005)
    assert float(scale.std()) == pytest.approx(0.02, rel=0.2)
    assert not params["c3.batchnorm.bias"].any()
    assert params["c3.c.bias"].any()
