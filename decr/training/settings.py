"""How a stage is run: steps, batch, learning rate, sample size; plain values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from decr.errors import ConfigError
from decr.training.checks import number, whole, wrong

_WHOLE = (
    "steps",
    "batch",
    "warmup",
    "save_every",
    "size_px",
    "accumulate",
    "validate_every",
    "turns",
)
_NUMBERS = ("lr", "ema", "clip", "perceptual", "clear_weight", "squares")
_YES_OR_NO = ("ema_warmup", "from_reference")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How a stage is run.

    Attributes
    ----------
    steps
        Optimiser steps of the whole stage; the learning rate is planned over them.
    batch
        Samples per optimiser step, over all micro-batches and all processes.
    lr
        Peak learning rate.
    warmup
        Steps over which the rate rises to its peak.
    ema
        Final decay of the averaged weights; 0 keeps the last weights.
    max_minutes
        Stop (resumably) after this long; None runs all steps.
    seed
        Every sample and every noise is a function of the seed and the step.
    save_every
        Steps between checkpoints.
    size_px
        Side of the samples, pixels.
    shrink
        Factor by which samples of ``size_px * shrink`` are shrunk first; "whole" shrinks each whole
        image to about ``size_px``.
    accumulate
        Micro-batches that a process cuts its share of a batch into, to save memory.
    schedule
        "cosine" falls to 2 % of the peak, "constant" stays there.
    clip
        Largest norm of the gradient; 0 does not clip.
    ema_warmup
        Whether the averages follow faster at first, so that short runs are not averages of their
        random start.
    validate_every
        Steps between pictures and validation losses; 0 makes none.
    from_reference
        In the stages with a weight allocator, make x_t of the reference's output, as the sampler
        does, instead of the clear image, as published.
    perceptual
        Weight of a term in the stages with a weight allocator that is not published: LPIPS of the
        fused estimate.
    clear_weight
        How much pixels more than 8 px from clouds count in the loss of the compact reference, above
        0 and up to 1; below 1 samples with little cloud count as much as others, too.
    squares
        Weight of the mean squared error beside the loss of the compact reference: above 0 a haze
        that cannot be told from dull ground is lifted halfway rather than not at all.
    turns
        Steps that use a drawn batch, each turned or mirrored another way: for a device that takes
        samples faster than they are drawn. At most 8.
    until
        End the stage after this step; the rates are still those of ``steps``.
    """

    steps: int = 1000
    batch: int = 8
    lr: float = 4e-4
    warmup: int = 50
    ema: float = 0.998
    max_minutes: float | None = None
    seed: int = 0
    save_every: int = 100
    size_px: int = 128
    shrink: int | Literal["whole"] = 1
    accumulate: int = 1
    schedule: Literal["cosine", "constant"] = "cosine"
    clip: float = 1.0
    ema_warmup: bool = True
    validate_every: int = 100
    from_reference: bool = False
    perceptual: float = 0.0
    clear_weight: float = 1.0
    squares: float = 0.0
    turns: int = 1
    until: int | None = None

    def __post_init__(self) -> None:
        self._check_types()
        if self.steps < 1 or self.batch < 1 or self.lr <= 0 or self.save_every < 1:
            raise ConfigError(
                f"steps, batch and save_every must be at least 1 and lr above 0, not {self.steps}, "
                f"{self.batch}, {self.save_every} and {self.lr}"
            )
        if self.warmup < 0 or self.clip < 0 or self.validate_every < 0:
            raise ConfigError(
                f"warmup, clip and validate_every cannot be negative, as are {self.warmup}, "
                f"{self.clip} or {self.validate_every}"
            )
        if self.until is not None and not 1 <= self.until <= self.steps:
            raise ConfigError(f"until must lie in 1..{self.steps} (steps), not {self.until}")
        self._check_losses()
        if not 0 <= self.ema < 1:
            raise ConfigError(f"ema must lie in 0..1, below 1, not {self.ema}")
        if self.size_px < 16 or self.size_px % 16:
            raise ConfigError(f"size_px must be a multiple of 16, not {self.size_px}")
        if self.shrink != "whole" and not (isinstance(self.shrink, int) and self.shrink >= 1):
            raise ConfigError(f'shrink must be a whole number from 1 or "whole", not {self.shrink}')
        if not 1 <= self.accumulate <= self.batch:
            raise ConfigError(f"accumulate must lie in 1..batch, not {self.accumulate}")
        if self.schedule not in ("cosine", "constant"):
            raise ConfigError(f'schedule must be "cosine" or "constant", not {self.schedule!r}')

    def _check_types(self) -> None:
        for key in _WHOLE:
            whole(key, getattr(self, key))
        for key in _NUMBERS:
            number(key, getattr(self, key))
        for key in _YES_OR_NO:
            if not isinstance(getattr(self, key), bool):
                raise wrong(key, getattr(self, key), "true or false")
        whole("seed", self.seed, least=0)
        if self.until is not None:
            whole("until", self.until)
        if self.max_minutes is not None:
            number("max_minutes", self.max_minutes, least=0)

    def _check_losses(self) -> None:
        if self.perceptual < 0 or not 0 < self.clear_weight <= 1:
            raise ConfigError(
                f"perceptual must be at least 0, not {self.perceptual}, and clear_weight in 0..1, "
                f"above 0, not {self.clear_weight}"
            )
        if self.squares < 0 or not 1 <= self.turns <= 8:
            raise ConfigError(
                f"squares must be at least 0, not {self.squares}, and turns in 1..8, not "
                f"{self.turns}"
            )

    @property
    def last(self) -> int:
        """The step after which the stage is finished."""
        return self.steps if self.until is None else self.until

    @property
    def least_px(self) -> int:
        """Side that an image must have to be cut into samples."""
        return self.size_px * (self.shrink if isinstance(self.shrink, int) else 1)

    def rate(self, step: int) -> float:
        """Learning rate at a step: a linear warm-up, then constant or a cosine down to 2 %."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        if self.schedule == "constant":
            return self.lr
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.lr * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))
