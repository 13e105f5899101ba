"""One training loop for all stages: exactly resumable, time-boxed, and safe to interrupt."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from decr.dataset.samples import Sample
from decr.diffusion.schedule import NoiseSchedule
from decr.errors import ConfigError, DatasetError
from decr.training.ema import Ema
from decr.training.interrupt import interrupts_deferred
from decr.training.losses import diffusion_loss, mask_logits, mask_loss, restore_loss
from decr.training.norms import recalibrate
from decr.training.stages import Stage

_NORM_BATCHES = 16
"""Fresh batches over which a detector's norms are measured at the end."""

Draw = Callable[[np.random.Generator], Sample]
"""One sample from one generator: the same generator gives the same sample."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How a stage is run.

    Attributes
    ----------
    steps
        Optimiser steps of the whole stage; the learning rate is planned over them.
    batch
        Samples per step.
    lr
        Peak learning rate, after ``warmup`` steps; falls to 2 % along a cosine.
    ema
        Final decay of the averaged weights.
    max_minutes
        Stop (resumably) after this long; None runs all steps.
    seed
        Every sample and every noise is a function of the seed and the step.
    save_every
        Steps between checkpoints.
    """

    steps: int = 1000
    batch: int = 8
    lr: float = 4e-4
    warmup: int = 50
    ema: float = 0.998
    max_minutes: float | None = None
    seed: int = 0
    save_every: int = 100

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or self.lr <= 0 or self.save_every < 1:
            raise ConfigError("steps, batch and save_every must be at least 1 and lr above 0")

    def rate(self, step: int) -> float:
        """Learning rate at a step: linear warm-up, then a cosine down to 2 % of the peak."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.lr * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


@dataclass(frozen=True, slots=True)
class TrainResult:
    """How far a stage came."""

    step: int
    finished: bool
    loss: float
    seconds: float


def _batch(draw: Draw, config: TrainConfig, stage: Stage, step: int) -> tuple[Tensor, ...]:
    """The batch of a step, (cloudy, clear, mask) tensors; a pure function of seed and step."""
    samples = [
        draw(np.random.default_rng([config.seed, zlib_id(stage.name), step, index]))
        for index in range(config.batch)
    ]
    cloudy, clear, mask = (
        torch.from_numpy(np.stack([getattr(s, field) for s in samples]))
        for field in ("cloudy", "clear", "cloud_mask")
    )
    return cloudy, clear, mask


def zlib_id(name: str) -> int:
    """A small stable number for a name."""
    return int.from_bytes(name.encode()[:4].ljust(4, b"\0"), "little")


def _batches(draw: Draw, config: TrainConfig, stage: Stage, first: int) -> Iterator[Any]:
    """Batches from step ``first`` on, the next one prepared while this one is used."""
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(_batch, draw, config, stage, first)
        for step in range(first, config.steps):
            batch = ahead.result()
            if step + 1 < config.steps:
                ahead = pool.submit(_batch, draw, config, stage, step + 1)
            yield batch


def _save(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint so that an interruption leaves the old one or the new one, whole."""
    part = path.with_suffix(".part")
    torch.save(dict(state), part)
    part.replace(path)


class _Run:
    """A stage in progress: all that a checkpoint holds, and how to go one step further."""

    def __init__(
        self, stage: Stage, parts: Mapping[str, nn.Module], run_dir: Path, config: TrainConfig
    ) -> None:
        self.stage, self.parts, self.run_dir, self.config = stage, parts, run_dir, config
        self.checkpoint = run_dir / f"{stage.name}.pt"
        self.trained = nn.ModuleDict({name: parts[name] for name in stage.trains})
        for name in stage.frozen:
            parts[name].requires_grad_(False).eval()
        self.trained.requires_grad_(True).train()
        self.optimiser = torch.optim.AdamW(
            self.trained.parameters(), lr=config.lr, weight_decay=0.0
        )
        self.ema = Ema(self.trained, config.ema)
        self.step, self.loss, self.spent = 0, math.nan, 0.0
        self.began = time.monotonic()
        if self.checkpoint.exists():
            self._resume()

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        self.trained.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        for key, value in state["ema"].items():
            self.ema.average[key].copy_(value)
        self.step, self.spent = int(state["step"]), float(state["seconds"])

    @property
    def seconds(self) -> float:
        """Time spent on this stage, earlier runs included."""
        return self.spent + time.monotonic() - self.began

    @property
    def out_of_time(self) -> bool:
        """Whether this run has had its minutes."""
        minutes = (time.monotonic() - self.began) / 60
        return self.config.max_minutes is not None and minutes >= self.config.max_minutes

    def save(self) -> None:
        """Write the checkpoint."""
        state = {
            "model": self.trained.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "ema": self.ema.average,
            "step": self.step,
            "seconds": self.seconds,
        }
        _save(self.checkpoint, state)

    def advance(self, batch: tuple[Tensor, ...], schedule: NoiseSchedule) -> None:
        """Take one optimiser step."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.rate(self.step)
        # Dropout draws from torch's own generator: it, too, must be a function of seed and step.
        with torch.random.fork_rng():
            torch.manual_seed(self.config.seed * 1_000_003 + self.step)
            loss = _loss(self.stage, self.parts, batch, schedule, self.config.seed, self.step)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise DatasetError(
                f"{self.run_dir}: the loss of stage {self.stage.name} became {value} at step "
                f"{self.step}; the checkpoint before it is kept; resume with a lower learning rate"
            )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.trained.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        self.ema.update(self.trained, self.step)
        self.loss = value if math.isnan(self.loss) else 0.95 * self.loss + 0.05 * value

    def finish(self) -> TrainResult:
        """Save, and leave the averaged weights in the networks."""
        self.save()
        self.trained.load_state_dict(self.ema.average)
        self.trained.eval()
        return TrainResult(self.step, self.step >= self.config.steps, self.loss, self.seconds)


def train_stage(
    stage: Stage,
    parts: Mapping[str, nn.Module],
    draw: Draw,
    run_dir: Path,
    config: TrainConfig,
    schedule: NoiseSchedule,
    on_step: Callable[[int, float], None] | None = None,
) -> TrainResult:
    """Train the parts of a stage, resuming from ``run_dir`` if it holds a checkpoint.

    Parameters
    ----------
    parts
        Networks by name; those in ``stage.trains`` are updated in place and end as their averaged
        weights, the others are only used.
    draw
        Gives one :class:`Sample` from a generator, already of the stage's size.
    run_dir
        Receives ``STAGE.pt`` (latest checkpoint) and ``STAGE.jsonl`` (one line per 20 steps).

    Returns
    -------
    TrainResult
        ``finished`` is False when time ran out or ctrl-C was pressed; calling again goes on with
        the very numbers an uninterrupted run would have had.

    Raises
    ------
    DatasetError
        If the loss stops being a number; the last good checkpoint is kept.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    run = _Run(stage, parts, run_dir, config)
    with (run_dir / f"{stage.name}.jsonl").open("a") as log, interrupts_deferred() as interrupted:
        for batch in _batches(draw, config, stage, run.step):
            run.advance(batch, schedule)
            if run.step % 20 == 0:
                rate = config.rate(run.step)
                log.write(
                    json.dumps({"step": run.step, "loss": round(run.loss, 5), "lr": rate}) + "\n"
                )
                log.flush()
            if on_step is not None:
                on_step(run.step, run.loss)
            if run.step % config.save_every == 0:
                run.save()
            if run.out_of_time or interrupted():
                break
    result = run.finish()
    if stage.loss == "mask" and result.finished:
        detector = parts["detector"]
        ahead = (_batch(draw, config, stage, config.steps + i)[0] for i in range(_NORM_BATCHES))
        recalibrate(detector, ahead, lambda view: mask_logits(detector, view))
    return result


def _loss(
    stage: Stage,
    parts: Mapping[str, nn.Module],
    batch: tuple[Tensor, ...],
    schedule: NoiseSchedule,
    seed: int,
    step: int,
) -> Tensor:
    cloudy, clear, mask = batch
    device = next(parts[stage.trains[0]].parameters()).device
    cloudy = cloudy.to(device, memory_format=torch.channels_last)
    clear = clear.to(device, memory_format=torch.channels_last)
    if stage.loss == "mask":
        return mask_loss(parts["detector"], cloudy, mask.to(device))
    if stage.loss == "restore":
        return restore_loss(parts["reference"], cloudy, clear)
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    return diffusion_loss(stage.loss, parts, schedule, cloudy, clear, generator)
