"""The published objectives: known answers, gradients, learning, both numbers of bands."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decr.errors import ConfigError
from decr.models import cvae
from decr.models.msda import MSDADiscriminator
from decr.models.patchgan import PatchGAN
from decr.models.registry import create
from decr.training.published import ARCHITECTURES, objective
from decr.training.published_terms import laplacian_residual

ADVERSARIAL = ("msda", "spagan", "amgan")
SIZES: dict[str, dict[str, int]] = {
    "memorynet": {"width": 8, "growth": 4, "extra": 4, "blocks": 1},
    "msda": {"width": 8, "growth": 4},
    "spagan": {"width": 8},
    "amgan": {"width": 8},
    "cvae": {"width": 64, "latent": 10},
}
JUDGES: dict[str, Callable[[int], nn.Module]] = {
    "msda": lambda bands: MSDADiscriminator(bands, width=8),
    "spagan": lambda bands: PatchGAN(bands, width=4),
    "amgan": lambda bands: PatchGAN(bands, width=4),
}

DEAD = {
    "spagan": re.compile(r"SAM1\.(attention_layer|conv_in)\."),
    "amgan": re.compile(r"res_block6\."),
    "msda": re.compile(
        r"offset_conv[12]\."
        r"|rdb_\w+(\.\d_\d)?\.(coefficient$|rt_residual_dense_layers\.|conv_1x1_c\.|conv_[ar]\.)"
    ),
}
"""Parameters that published networks carry but never use."""
MAY_BE_SHUT = re.compile(r".*\.(ca\.ca|CA\.conv_du|channel_attn\d?)\.|.*bias$")
"""Bottlenecks of channel attention: with one or two channels, all can be rectified to zero.

And biases that a normalisation right behind them takes out again.
"""


@pytest.fixture(autouse=True)
def _small_cvae(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a CVAE work on 64 x 64 pixels, sixteen times as fast as on 256 x 256."""
    monkeypatch.setattr(cvae, "SIDE", 64)
    monkeypatch.setattr(cvae, "_TOKENS_PER_SIDE", 4)


def small(name: str, bands: int) -> tuple[nn.Module, nn.Module | None]:
    torch.manual_seed(0)
    network = create(name, bands, SIZES[name]).train()
    return network, JUDGES[name](bands).train() if name in JUDGES else None


def pair(bands: int) -> tuple[Tensor, Tensor]:
    """Smooth ground, and the same under a cloud that hides a quarter of it."""
    generator = torch.Generator().manual_seed(7)
    coarse = torch.rand(2, bands, 5, 5, generator=generator)
    clear = F.interpolate(coarse, size=(32, 32), mode="bilinear").mul(0.6)
    cloud = torch.zeros(1, 1, 32, 32)
    cloud[..., 8:24, 8:24] = 0.8
    return clear * (1 - cloud) + cloud, clear


def learn(loss: Callable[[], Tensor], network: nn.Module, steps: int, rate: float) -> list[float]:
    """Take steps of the published Adam, faster; return the losses, all with the same draws."""
    chosen = objective("memorynet")
    optimiser = torch.optim.Adam(
        network.parameters(), rate, chosen.betas, weight_decay=chosen.weight_decay
    )
    values = []
    for _ in range(steps):
        torch.manual_seed(1)
        value = loss()
        optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        values.append(float(value.detach()))
    return values


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_optimiser_is_the_published_one(name: str) -> None:
    chosen = objective(name)
    assert (chosen.betas, chosen.weight_decay) == ((0.5, 0.999), 1e-5)
    assert (chosen.discriminator is None) == (name not in ADVERSARIAL)
    assert (chosen.make_discriminator is None) == (name not in ADVERSARIAL)


@pytest.mark.parametrize(
    ("name", "bands", "count"),
    [
        ("msda", 3, 6_027_457),
        ("msda", 4, 6_029_057),
        ("spagan", 3, 2_762_945),
        ("amgan", 4, 2_763_969),
    ],
)
def test_discriminators_have_the_published_size(name: str, bands: int, count: int) -> None:
    make = objective(name).make_discriminator
    assert make is not None
    assert sum(p.numel() for p in make(bands).parameters()) == count


def test_another_architecture_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"'compact'.*memorynet, msda, spagan, amgan, cvae"):
        objective("compact")


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_an_adversarial_loss_needs_its_discriminator(name: str) -> None:
    cloudy, clear = pair(3)
    with pytest.raises(ValueError, match="discriminator"):
        objective(name).generator(small(name, 3)[0], None, cloudy, clear)


@pytest.mark.parametrize("bands", [3, 4])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_gradients_reach_every_live_parameter_and_no_discriminator(name: str, bands: int) -> None:
    network, judge = small(name, bands)
    loss = objective(name).generator(network, judge, *pair(bands))
    assert loss.shape == ()
    assert math.isfinite(float(loss.detach()))
    loss.backward()  # type: ignore[no-untyped-call]
    silent = {key for key, p in network.named_parameters() if p.grad is None}
    dead = DEAD.get(name)
    assert silent == {k for k, _ in network.named_parameters() if dead and dead.match(k)}
    learning = {k: p.grad for k, p in network.named_parameters() if p.grad is not None}
    assert all(torch.isfinite(gradient).all() for gradient in learning.values())
    still = {k for k, gradient in learning.items() if not gradient.any()}
    assert {k for k in still if not MAY_BE_SHUT.match(k)} == set()
    if judge is not None:
        assert all(p.grad is None and p.requires_grad for p in judge.parameters())


@pytest.mark.parametrize("bands", [3, 4])
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_the_discriminators_loss_reaches_it_and_not_the_network(name: str, bands: int) -> None:
    network, judge = small(name, bands)
    chosen = objective(name).discriminator
    assert chosen is not None
    assert judge is not None
    loss = chosen(network, judge, *pair(bands))
    assert math.isfinite(float(loss.detach()))
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in network.parameters())
    gradients = {k: p.grad for k, p in judge.named_parameters()}
    assert all(g is not None and torch.isfinite(g).all() for g in gradients.values())
    still = {k for k, g in gradients.items() if g is not None and not g.any()}
    # MSDA-CR's attention is faded in from zero, so at first only its gate learns; a bias before
    # batch normalisation never does; a last bias cancels out between made and real.
    assert {k for k in still if not k.startswith("att.") and not k.endswith("bias")} == set()
    assert "att.gamma" not in still


@pytest.mark.parametrize("bands", [3, 4])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_few_steps_lower_the_loss(name: str, bands: int) -> None:
    network, judge = small(name, bands)
    cloudy, clear = pair(bands)
    run = objective(name).generator
    values = learn(lambda: run(network, judge, cloudy, clear), network, 4, 3e-3)
    assert values[-1] < 0.97 * values[0]


@pytest.mark.parametrize("bands", [3, 4])
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_the_discriminator_learns_to_tell(name: str, bands: int) -> None:
    network, judge = small(name, bands)
    chosen = objective(name).discriminator
    cloudy, clear = pair(bands)
    assert chosen is not None
    assert judge is not None
    values = learn(lambda: chosen(network, judge, cloudy, clear), judge, 10, 4e-3)
    assert values[-1] < values[0]
    with torch.no_grad():
        made = network(cloudy)
        given = (cloudy,) if name != "msda" else ()
        assert float(judge(*given, clear).mean()) > float(judge(*given, made).mean())


class Stages(nn.Module):
    """MemoryNet's training path with known errors."""

    def stages(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return y + 0.1, y - 0.2, y + 2.0


def test_memorynets_loss_counts_every_stage_unclamped() -> None:
    x = torch.rand(2, 4, 16, 16)
    loss = objective("memorynet").generator(Stages(), None, x, x)
    # A constant error has edges only at the border, in every stage in proportion to it.
    border = laplacian_residual(torch.ones_like(x))
    edges = [((error * border).square() + 1e-6).sqrt().mean() for error in (0.1, 0.2, 2.0)]
    distances = [math.sqrt(error**2 + 1e-6) for error in (0.1, 0.2, 2.0)]
    assert float(loss) == pytest.approx(sum(distances) + 0.05 * float(sum(edges)), rel=1e-4)


class Indifferent(nn.Module):
    """A discriminator that says one number of every patch; remembers what it judged."""

    def __init__(self, says: float) -> None:
        super().__init__()
        self.says, self.judged = says, list[tuple[Tensor, ...]]()

    def forward(self, *images: Tensor) -> Tensor:
        self.judged.append(images)
        return images[0].new_full((len(images[0]), 1, 2, 2), self.says)


class Attentive(nn.Module):
    """An attention path whose image is 2 too bright and whose map is 1 everywhere."""

    def with_attention(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return y + 2.0, torch.ones_like(y[:, :1])


@pytest.mark.parametrize(
    ("name", "weights"), [("spagan", (1.0, 100.0, 1.0)), ("amgan", (0.1, 10.0, 10.0))]
)
def test_losses_of_the_attentive_networks_are_weighted_sums_of_their_terms(
    name: str, weights: tuple[float, float, float]
) -> None:
    clear = 0.5 * torch.rand(2, 4, 32, 32)
    cloudy = clear.clone()
    cloudy[..., :8] += 0.25  # a quarter of the target is 1
    judge = Indifferent(0.7)
    loss = objective(name).generator(Attentive(), judge, cloudy, clear)
    terms = (math.log1p(math.exp(-0.7)), 2.0 + 0.25 / 4, 0.75)
    wanted = sum(weight * term for weight, term in zip(weights, terms, strict=True))
    assert float(loss) == pytest.approx(wanted, rel=1e-5)
    ((first, second),) = judge.judged
    assert torch.equal(first, cloudy)
    assert torch.equal(second, cloudy + 2.0)  # not clamped


@pytest.mark.parametrize("name", ["spagan", "amgan"])
def test_patches_are_judged_made_and_real_beside_the_cloudy_image(name: str) -> None:
    cloudy, clear = pair(4)
    judge = Indifferent(0.7)
    chosen = objective(name).discriminator
    assert chosen is not None
    loss = chosen(Attentive(), judge, cloudy, clear)
    assert float(loss) == pytest.approx(math.log1p(math.exp(0.7)) + math.log1p(math.exp(-0.7)))
    (a, made), (b, real) = judge.judged
    assert torch.equal(a, cloudy)
    assert torch.equal(b, cloudy)
    assert torch.equal(made, cloudy + 2.0)
    assert torch.equal(real, clear)


class Shift(nn.Module):
    """A network that is wrong by a constant."""

    def __init__(self, error: float) -> None:
        super().__init__()
        self.error = error

    def forward(self, y: Tensor) -> Tensor:
        return y + self.error


@pytest.mark.parametrize(("error", "smooth"), [(0.5, 0.125), (3.0, 2.5)])
def test_msdas_loss_without_its_perceptual_term(error: float, smooth: float) -> None:
    x = torch.rand(2, 4, 8, 8)
    loss = objective("msda").generator(Shift(error), Indifferent(4.0), x, x)
    assert float(loss) == pytest.approx(1.2 * smooth - 0.05 * 4.0, rel=1e-4)


class Brightness(nn.Module):
    """A discriminator whose score is a multiple of an image's sum."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x.flatten(1).sum(dim=1, keepdim=True)


def test_msdas_discriminator_wants_real_above_made_and_slopes_of_one() -> None:
    x = torch.rand(2, 4, 2, 2)
    chosen = objective("msda").discriminator
    assert chosen is not None
    loss = chosen(Shift(-0.25), Brightness(), x, x)
    # 16 numbers an image: scores differ by 0.5 * 16 * 0.25, the slope is 0.5 * sqrt(16) = 2.
    assert float(loss.detach()) == pytest.approx(-2.0 + 10 * (2 - 1) ** 2, rel=1e-4)


class Drawn(nn.Module):
    """A variational path: the image is off by the drawn noise, the distribution by a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Module()
        self.encoder.mu = nn.Linear(1, 6)
        self.noises: list[Tensor] = []

    def with_distribution(self, y: Tensor, noise: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        self.noises.append(noise)
        mu = torch.ones_like(noise)
        return (mu, torch.zeros_like(mu)), y + 0.1 * noise[:, :1, None, None]


def test_cvaes_loss_is_of_the_mean_of_ten_images() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 4, 8, 8)
    network = Drawn()
    loss = objective("cvae").generator(network, None, x, x)
    noises = torch.stack(network.noises)
    assert noises.shape == (10, 2, 6)
    assert len(noises.flatten().unique()) == noises.numel()
    error = 0.1 * noises[..., 0].mean(dim=0)
    smooth = F.smooth_l1_loss(error, torch.zeros(2), beta=0.5)
    # Each of the 2 x 6 latent numbers has mean 1; a constant error has no Laplacian.
    assert float(loss) == pytest.approx(float(smooth) + 0.01 * 12 * 0.5, abs=1e-5)


def test_draws_follow_torchs_generator() -> None:
    x = torch.rand(2, 4, 8, 8)
    judge = MSDADiscriminator(4, width=8).eval()  # norms are not estimated anew at each call
    msda = objective("msda").discriminator
    assert msda is not None
    losses: list[Callable[[], Tensor]] = [
        lambda: objective("cvae").generator(Drawn(), None, x, x),
        lambda: msda(Shift(-0.25), judge, x, x),
    ]
    for loss in losses:
        values = []
        for seed in (3, 3, 4):
            torch.manual_seed(seed)
            values.append(float(loss().detach()))
        assert values[0] == values[1] != values[2]
