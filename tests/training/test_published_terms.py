"""Terms of the published losses: known answers, independent forms, properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor, nn

from decr.training.published_terms import (
    cloud_target,
    gradient_penalty,
    kl_divergence,
    laplacian_l1,
    laplacian_residual,
    pyramid_edge_loss,
)


def images(bands: int = 3, seed: int = 0, rows: int = 12, cols: int = 17, n: int = 2) -> Tensor:
    return torch.rand(n, bands, rows, cols, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bands", [1, 3, 4])
def test_pyramid_residual_is_what_scipy_makes_of_it(bands: int) -> None:
    x = images(bands)
    taps = np.array([0.05, 0.25, 0.4, 0.25, 0.05])

    def blur(band: np.ndarray) -> np.ndarray:
        along = ndimage.correlate1d(band, taps, axis=0, mode="nearest")
        return ndimage.correlate1d(along, taps, axis=1, mode="nearest")

    wanted = np.empty(x.shape)
    for index in np.ndindex(*x.shape[:2]):
        band = x[index].double().numpy()
        kept = np.zeros_like(band)
        kept[::2, ::2] = 4 * blur(band)[::2, ::2]
        wanted[index] = band - blur(kept)
    np.testing.assert_allclose(laplacian_residual(x).numpy(), wanted, atol=1e-6)


def test_pyramid_residual_of_a_constant_and_inside_a_ramp_is_zero() -> None:
    constant = torch.full((1, 4, 16, 16), 0.7)
    # The sparse grid goes on with its outermost pixels, which leaves a trace at the border only.
    assert laplacian_residual(constant)[..., 2:-3, 2:-3].abs().max() < 1e-6
    ramp = torch.arange(24.0).expand(1, 1, 24, 24) / 24
    assert laplacian_residual(ramp)[..., 4:-5, 4:-5].abs().max() < 1e-6


def test_pyramid_edge_loss_sees_a_change_in_the_last_band() -> None:
    a = images(4)
    b = a.clone()
    b[:, 3, 6, 8] += 0.5
    assert float(pyramid_edge_loss(a, a)) == pytest.approx(1e-3)
    assert float(pyramid_edge_loss(a, b)) > 2e-3


@pytest.mark.parametrize("band", [0, 1, 2, 3])
def test_the_laplacian_of_a_point_is_that_worked_out_by_hand(band: int) -> None:
    a = torch.zeros(1, 4, 5, 5)
    b = a.clone()
    b[0, band, 2, 2] = 1.0
    # Of the inner 3 x 3 pixels one is 8 and eight are -1; the three other bands are 0.
    assert float(laplacian_l1(a, b)) == pytest.approx((8 + 8) / 9 / 4, rel=1e-5)


@given(slope=st.floats(-1, 1), offset=st.floats(-1, 1))
def test_laplacian_ignores_brightness_and_slopes(slope: float, offset: float) -> None:
    a = images()
    b = a + offset + slope * torch.arange(17.0) / 17
    assert float(laplacian_l1(a, b)) == pytest.approx(0, abs=1e-5)


def test_kl_divergence_is_a_sum() -> None:
    zero = torch.zeros(2, 50)
    assert float(kl_divergence(zero, zero)) == 0
    assert float(kl_divergence(zero + 3, zero)) == pytest.approx(2 * 50 * 4.5)
    log_var = zero + math.log(4.0)
    assert float(kl_divergence(zero, log_var)) == pytest.approx(100 * (1.5 - math.log(2.0)))


@given(mu=st.floats(-3, 3), log_var=st.floats(-3, 3))
def test_kl_divergence_is_that_of_torch_distributions(mu: float, log_var: float) -> None:
    ours = kl_divergence(torch.tensor([[mu]]), torch.tensor([[log_var]]))
    given = torch.distributions.Normal(mu, math.exp(0.5 * log_var))
    wanted = torch.distributions.kl_divergence(given, torch.distributions.Normal(0.0, 1.0))
    assert float(ours) == pytest.approx(float(wanted), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("bands", [3, 4])
def test_cloud_target_counts_grey_levels_over_bands(bands: int) -> None:
    clear = torch.full((1, bands, 1, 4), 0.5)
    brighter = torch.tensor([0.0, 0.125, 3.0, -3.0])  # grey levels per band
    target = cloud_target(clear + brighter / 255, clear)
    assert target.shape == (1, 1, 1, 4)
    wanted = torch.tensor([0.0, 0.125 * bands, 1.0, 0.0])
    torch.testing.assert_close(target.flatten(), wanted, atol=1e-4, rtol=0)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_cloud_target_is_a_share(seed: int) -> None:
    target = cloud_target(images(4, seed), images(4, seed + 1))
    assert ((target >= 0) & (target <= 1)).all()


class Slopes(nn.Module):
    """Two scores per image with given gradients; remembers where it was asked."""

    def __init__(self, first: float, second: float) -> None:
        super().__init__()
        self.slopes = nn.Parameter(torch.tensor([first, second]))
        self.asked = torch.empty(0)

    def forward(self, x: Tensor) -> Tensor:
        self.asked = x.detach()
        return x.flatten(1).sum(dim=1, keepdim=True) * self.slopes


def test_gradient_penalty_of_a_plane_is_known_and_teaches() -> None:
    judge = Slopes(0.25, 0.5)
    real, fake = images(4, 0), images(4, 1)
    penalty = gradient_penalty(judge, real, fake)
    norm = 0.75 * math.sqrt(real[0].numel())
    assert float(penalty.detach()) == pytest.approx((norm - 1) ** 2, rel=1e-5)
    penalty.backward()  # type: ignore[no-untyped-call]
    slope = 2 * (norm - 1) * math.sqrt(real[0].numel())
    assert judge.slopes.grad is not None
    assert judge.slopes.grad.tolist() == pytest.approx([slope, slope], rel=1e-4)


def test_gradient_penalty_looks_between_the_images_one_place_per_image() -> None:
    torch.manual_seed(0)
    judge, real, fake = Slopes(1.0, 1.0), images(3, 0, n=64), images(3, 1, n=64)
    gradient_penalty(judge, real, fake)
    share = ((judge.asked - fake) / (real - fake)).flatten(1).median(dim=1).values
    torch.testing.assert_close(
        judge.asked, torch.lerp(fake, real, share[:, None, None, None]), atol=1e-4, rtol=0
    )
    assert ((share >= 0) & (share <= 1)).all()
    assert share.min() < 0.15
    assert share.max() > 0.85
    assert abs(float(share.mean()) - 0.5) < 0.12
