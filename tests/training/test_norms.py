"""Batch norms are measured anew, or left alone where there are none."""

from __future__ import annotations

import torch
from torch import nn

from decr.training.norms import recalibrate


def test_statistics_become_those_of_the_inputs() -> None:
    norm = nn.BatchNorm2d(2, momentum=0.01)
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(8, 2, 16, 16, generator=generator) * 3 + 5 for _ in range(4)]
    recalibrate(norm, batches, norm)
    stacked = torch.stack(batches)
    torch.testing.assert_close(norm.running_mean, stacked.mean(dim=(0, 1, 3, 4)), rtol=1e-4, atol=0)
    torch.testing.assert_close(norm.running_var, stacked.var(dim=(0, 1, 3, 4)), rtol=2e-2, atol=0)
    assert norm.momentum == 0.01
    assert not norm.training


def test_networks_without_batch_norms_are_left_alone() -> None:
    seen: list[torch.Tensor] = []
    recalibrate(nn.Conv2d(1, 1, 1), [torch.zeros(1, 1, 2, 2)], seen.append)
    assert not seen
