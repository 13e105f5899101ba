"""Batch normalisation after training: statistics that belong to the averaged weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn


@torch.no_grad()
def recalibrate(
    module: nn.Module, inputs: Iterable[Tensor], run: Callable[[Tensor], object]
) -> None:
    """Measure the statistics of all batch norms anew over some inputs; none without batch norms.

    Running statistics follow weights that no longer exist: those of the averaged weights differ,
    and a detector that is used with the old ones calls clear ground cloudy.

    Parameters
    ----------
    inputs
        Batches as ``run`` takes them.
    run
        Passes a batch through the module.
    """
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        # None: the plain mean over all batches.
        norm.momentum = None
    module.train()
    for batch in inputs:
        run(batch)
    module.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
