"""Tests of the averaged weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from decr.training.ema import Ema


def module(value: float) -> nn.BatchNorm1d:
    out = nn.BatchNorm1d(1)
    nn.init.constant_(out.weight, value)
    return out


def test_it_starts_as_a_copy() -> None:
    net = module(3.0)
    ema = Ema(net, 0.9)
    nn.init.zeros_(net.weight)
    assert ema.average["weight"].item() == 3.0


def test_the_decay_of_an_average_begins_low() -> None:
    ema = Ema(module(0.0), 0.9)
    ema.update(module(1.0), 1)  # decay 2 / 11
    assert ema.average["weight"].item() == pytest.approx(9 / 11)
    ema.update(module(0.0), 2)  # decay 3 / 12
    assert ema.average["weight"].item() == pytest.approx(9 / 11 / 4)


def test_without_a_warm_up_the_decay_is_that_from_the_start() -> None:
    ema = Ema(module(0.0), 0.9, warmup=False)
    ema.update(module(1.0), 1)
    assert ema.average["weight"].item() == pytest.approx(0.1)
    none = Ema(module(0.0), 0.0, warmup=False)
    none.update(module(0.3), 1)
    assert none.average["weight"].item() == torch.tensor(0.3).item()


def test_later_the_decay_is_the_one_asked_for() -> None:
    ema = Ema(module(1.0), 0.9)
    ema.update(module(0.0), 10_000)
    assert ema.average["weight"].item() == pytest.approx(0.9)


def test_counters_are_copied_and_not_averaged() -> None:
    net = module(1.0)
    ema = Ema(net, 0.5)
    net.num_batches_tracked.fill_(7)
    ema.update(net, 1)
    assert ema.average["num_batches_tracked"].item() == 7
    assert ema.average["num_batches_tracked"].dtype == torch.int64
