"""An exponential moving average of parameters, with or without a warm-up."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Ema:
    """Averages that follow the parameters; ``average`` is a state dict in float32.

    With a warm-up the decay grows as (1 + step) / (10 + step) up to ``decay``, so that short runs
    are not averages of their random start.
    """

    def __init__(self, module: nn.Module, decay: float, warmup: bool = True) -> None:
        self.decay, self.warmup = decay, warmup
        self.average: dict[str, Tensor] = {
            key: value.detach().clone() for key, value in module.state_dict().items()
        }

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move the averages towards the module's present parameters; copy integer buffers."""
        decay = min(self.decay, (1.0 + step) / (10.0 + step)) if self.warmup else self.decay
        for key, value in module.state_dict().items():
            if value.is_floating_point():
                self.average[key].lerp_(value.detach(), 1.0 - decay)
            else:
                self.average[key].copy_(value)
