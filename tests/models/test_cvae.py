"""CVAE: image sizes, sampling from a seed, gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from decr.errors import BundleError
from decr.models.cvae import CVAE
from decr.models.padding import pad_to_multiple
from decr.models.registry import create
from tests.models.published import without_gradient


def small(bands: int = 4) -> CVAE:
    torch.manual_seed(0)
    return CVAE(bands, width=64).eval()


def image(n: int = 1, rows: int = 64, cols: int = 80) -> Tensor:
    return torch.rand(n, 4, rows, cols, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("rows", "cols"), [(1, 1), (45, 200), (129, 129), (255, 256), (256, 64), (256, 256)]
)
def test_images_of_any_size_up_to_256_come_back_in_it(rows: int, cols: int) -> None:
    net, y = small(), image(1, rows, cols)
    with torch.no_grad():
        out, whole = net(y), net(pad_to_multiple(y, 256))
    assert out.shape == y.shape
    assert whole.shape == (1, 4, 256, 256)
    assert torch.equal(out, whole[..., :rows, :cols])
    assert ((out >= 0) & (out <= 1)).all()


@pytest.mark.parametrize(("rows", "cols"), [(257, 64), (64, 257), (512, 512)])
def test_larger_images_are_refused_with_a_remedy(rows: int, cols: int) -> None:
    net = small()
    with pytest.raises(ValueError, match=f"not {rows} x {cols}; cut them into tiles of 256"):
        net(torch.zeros(1, 4, rows, cols))


def test_takes_the_mean_unless_told_otherwise() -> None:
    net, y = small(), image()
    with torch.no_grad():
        (mu, log_var), mean = net.with_distribution(y)
        _, still = net.with_distribution(y, torch.zeros(1, 50))
        assert torch.equal(net(y), mean.clamp(0, 1))
    assert mu.shape == log_var.shape == (1, 50)
    assert not torch.equal(mu, log_var)
    assert torch.equal(mean, still)
    assert float((mean - y).abs().max()) < 1.0


def test_noise_moves_the_latent_vector_by_standard_deviations() -> None:
    net, y = small(), image()
    seen: list[Tensor] = []
    hook = net.decoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    noise = torch.linspace(-2, 2, 50)[None]
    with torch.no_grad():
        (mu, log_var), _ = net.with_distribution(y, noise)
    hook.remove()
    torch.testing.assert_close(seen[0], mu + log_var.exp().sqrt() * noise)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"width": 100}, "multiple of 64, not 100"),
        ({"width": 0}, "multiple of 64, not 0"),
        ({"latent": 10**9}, r"latent must lie in 1\.\.512"),
    ],
)
def test_impossible_sizes_are_refused(wrong: dict[str, object], says: str) -> None:
    with torch.device("meta"), pytest.raises(BundleError, match=says):
        create("cvae", 4, wrong)


def test_gradients_reach_every_parameter() -> None:
    net = small().train()
    noise = torch.randn(2, 50, generator=torch.Generator().manual_seed(2))
    _, out = net.with_distribution(image(2), noise)
    out.square().mean().backward()
    assert {key for key, p in net.named_parameters() if p.grad is None} == set()
    # A bottleneck this narrow may be wholly below zero, where ReLU passes no gradient.
    assert {key for key in without_gradient(net) if ".channel_attn." not in key} == set()
