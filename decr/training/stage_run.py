"""A stage in progress: all that a checkpoint holds, and how to go one step further."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile

import torch
from torch import Tensor, nn

from decr.device import heavy_in
from decr.diffusion.schedule import NoiseSchedule
from decr.errors import ConfigError, DatasetError, OutputError
from decr.training.ema import Ema
from decr.training.identity import (
    NETWORKS,
    TOLD,
    Identity,
    begun_with,
    refuse_longer,
    refuse_others,
    settings_identity,
)
from decr.training.losses import Batch, draw_noise, stage_loss
from decr.training.place import Place
from decr.training.settings import TrainConfig
from decr.training.stages import Stage

if TYPE_CHECKING:
    from decr.training.published import Objective

Images = tuple[Tensor, Tensor, Tensor]
"""Unit cloudy and clear (N, C, H, W), and cloud mask (N, H, W): a process's rows of a batch."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """How far a stage came; ``interrupted`` by ctrl-C or SIGTERM, be it in its last step."""

    step: int
    finished: bool
    loss: float
    seconds: float
    interrupted: bool = False


_KINDS: dict[str, type] = {
    "model": dict,
    "optimiser": dict,
    "ema": dict,
    "step": int,
    "steps": int,
    "seconds": float,
    "loss": float,
    "identity": dict,
}
"""Entries of a checkpoint."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises
    ------
    DatasetError
        If it is no checkpoint or damaged.
    """
    try:
        with ZipFile(path) as packed:  # torch does not look at checksums
            if packed.testzip() is not None:
                raise BadZipFile("another checksum")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        said = {"steps": 0, "loss": 0.0, "identity": {}, **state}  # an earlier decr left these out
        if not all(isinstance(said[key], kind) for key, kind in _KINDS.items()):
            raise TypeError("entries of other kinds")
    except Exception as error:  # Torch's reader raises nearly anything on a damaged file.
        raise DatasetError(
            f"{path}: not a readable checkpoint; remove it to train this stage anew"
        ) from error
    return state


def turned(images: Tensor, way: int) -> Tensor:
    """(..., H, W) turned by ``way`` quarters and, from way 4 on, mirrored first; 0 to 7."""
    mirrored = images.flip(-1) if way >= 4 else images
    return mirrored.rot90(way % 4, dims=(-2, -1)) if way % 4 else mirrored


def check_cut(stage: Stage, config: TrainConfig, processes: int) -> None:
    """Refuse a batch of which some process would have an empty micro-batch.

    Raises
    ------
    ConfigError
        Naming the numbers.
    """
    if config.batch < config.accumulate * processes:
        raise ConfigError(
            f"stage {stage.name}: a batch of {config.batch} cannot be cut into "
            f"{config.accumulate} micro-batches in each of {processes} processes; raise batch"
        )


class StageRun:
    """Networks, optimisers and averages of a stage that is being trained."""

    def __init__(
        self,
        stage: Stage,
        parts: Mapping[str, nn.Module],
        run_dir: Path,
        config: TrainConfig,
        noise_schedule: NoiseSchedule,
        published: Objective | None,
        place: Place,
        samples: Identity | None = None,
    ) -> None:
        check_cut(stage, config, place.size)
        self.stage, self.parts, self.config = stage, parts, config
        self.noise_schedule, self.published, self.place = noise_schedule, published, place
        self.run_dir, self.checkpoint = run_dir, run_dir / f"{stage.name}.pt"
        self.trained = nn.ModuleDict({name: parts[name] for name in stage.trains})
        for name in stage.frozen:
            parts[name].requires_grad_(False).eval()
        self.trained.requires_grad_(True).train()
        self.optimiser = self._optimiser(self.trained)
        self.discriminator = parts.get("discriminator") if published is not None else None
        self.other_optimiser: torch.optim.Optimizer | None = None
        if self.discriminator is not None:
            self.discriminator.requires_grad_(True).train()
            self.other_optimiser = self._optimiser(self.discriminator)
        self.ema = Ema(self.trained, config.ema, config.ema_warmup)
        self.identity = {
            **settings_identity(config),
            **(samples or {}),
            "precision": str(place.dtype).removeprefix("torch."),
            NETWORKS: begun_with(stage, parts),
        }
        self.step, self.loss, self.spent = 0, math.nan, 0.0
        self.began = time.monotonic()
        if self.checkpoint.exists():
            self._resume(read_checkpoint(self.checkpoint))

    def _optimiser(self, network: nn.Module) -> torch.optim.Optimizer:
        """Adam as published for a published reference, else AdamW as for DE (without decay)."""
        if self.published is None:
            return torch.optim.AdamW(network.parameters(), lr=self.config.lr, weight_decay=0.0)
        return torch.optim.Adam(
            network.parameters(),
            lr=self.config.lr,
            betas=self.published.betas,
            weight_decay=self.published.weight_decay,
        )

    def _resume(self, state: dict[str, Any]) -> None:
        try:
            self.trained.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
            if self.discriminator is not None and self.other_optimiser is not None:
                self.discriminator.load_state_dict(state["discriminator"])
                self.other_optimiser.load_state_dict(state["discriminator_optimiser"])
            for key, value in state["ema"].items():
                self.ema.average[key].copy_(value)
            self.step, self.spent = int(state["step"]), float(state["seconds"])
            self.loss = float(state.get("loss", math.nan))
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise DatasetError(
                f"{self.checkpoint}: was made with other networks or bands than this recipe's; "
                f"name another folder for this run"
            ) from error
        to_come = self.step < self.config.last
        refuse_others(state, self.identity, self.checkpoint, to_come)
        if not to_come:  # of all its steps
            then = state.get("identity") or {}
            self.identity |= {key: then[key] for key in TOLD if key in then}
        refuse_longer(self.step, self.config, self.checkpoint)

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
        """Write the checkpoint: an interruption leaves the old one or the new one, whole.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        if not self.place.leads:
            return
        state = {
            "model": self.trained.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "ema": self.ema.average,
            "step": self.step,
            "steps": self.config.last,
            "seconds": self.seconds,
            "loss": self.loss,
            "identity": self.identity,
        }
        if self.discriminator is not None and self.other_optimiser is not None:
            state["discriminator"] = self.discriminator.state_dict()
            state["discriminator_optimiser"] = self.other_optimiser.state_dict()
        part = self.checkpoint.with_suffix(".part")
        try:
            torch.save(state, part)
            part.replace(self.checkpoint)
        except (OSError, RuntimeError) as error:  # torch's writer says little of a full disk
            raise OutputError(
                f"{self.checkpoint}: the checkpoint of step {self.step} cannot be written (is the "
                f"disk full?); make room and run again to go on from the one before it"
            ) from error
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def advance(self, images: Images) -> None:
        """Take one optimiser step, on this process's rows of the step's batch.

        Raises
        ------
        DatasetError
            If the loss or its gradient is not a number; this network has not changed then.
        """
        pieces = self._pieces(images)
        if self.discriminator is not None and self.other_optimiser is not None:
            self._learn(pieces, self.other_optimiser, self.discriminator, self._discriminating)
        value = self._learn(pieces, self.optimiser, self.trained, self.loss_of)
        self.step += 1
        self.ema.update(self.trained, self.step)
        self.loss = value if math.isnan(self.loss) else 0.95 * self.loss + 0.05 * value

    def _pieces(self, images: Images) -> list[tuple[int, Batch]]:
        """Micro-batches on the device, each with the number of its first sample.

        Noise is drawn for the whole batch, so that cutting it changes no sample's noise.
        """
        config, device, rows = self.config, self.place.device, self.place.rows(self.config.batch)
        generator = torch.Generator().manual_seed(self._seed())
        like = images[0].shape[1:] if self.stage.noisy else ()  # else nobody looks at it
        t, noise = draw_noise((config.batch, *like), len(self.noise_schedule.betas), generator)
        pieces = []
        for index in range(config.accumulate):
            first = len(rows) * index // config.accumulate
            last = len(rows) * (index + 1) // config.accumulate
            cloudy, clear, mask = (
                turned(image[first:last].to(device, non_blocking=True), self.step % config.turns)
                for image in images
            )
            start, stop = rows.start + first, rows.start + last
            batch = Batch(
                cloudy.contiguous(memory_format=self.place.layout),
                clear.contiguous(memory_format=self.place.layout),
                mask,
                t[start:stop].to(device),
                noise[start:stop].to(device),
            )
            pieces.append((start, batch))
        return pieces

    def _seed(self, first: int = 0) -> int:
        """Torch's seed for this step's samples from number ``first`` on; it takes 64 bits."""
        return (self.config.seed * 1_000_003 + self.step + (first << 40)) % 2**63

    def loss_of(self, batch: Batch) -> Tensor:
        """The stage's loss, in the precision of its place."""
        with heavy_in(self.place.dtype, self.place.device):
            return stage_loss(
                self.stage.loss, self.parts, batch, self.noise_schedule, self.published, self.config
            )

    def _discriminating(self, batch: Batch) -> Tensor:
        # In float32: a gradient penalty differentiates twice.
        assert self.published is not None
        assert self.published.discriminator is not None
        assert self.discriminator is not None
        cloudy01, clear01 = (batch.cloudy + 1) / 2, (batch.clear + 1) / 2
        return self.published.discriminator(
            self.parts["reference"], self.discriminator, cloudy01, clear01
        )

    def _learn(
        self,
        pieces: list[tuple[int, Batch]],
        optimiser: torch.optim.Optimizer,
        network: nn.Module,
        loss_of: Any,
    ) -> float:
        """Step one optimiser by the mean loss over all pieces of all processes; that loss."""
        parameters = [p for p in network.parameters() if p.requires_grad]
        optimiser.zero_grad(set_to_none=True)
        total = torch.zeros(1, device=self.place.device)
        for start, batch in pieces:
            share = len(batch.cloudy) / self.config.batch
            # Dropout and drawn losses use torch's own generator: it, too, must be a function of
            # seed, step and place in the batch.
            with torch.random.fork_rng(self.cuda_devices):
                torch.manual_seed(self._seed(start))
                loss = loss_of(batch) * share
            loss.backward()
            total += loss.detach()
        self.place.sum_([total, *(p.grad for p in parameters if p.grad is not None)])
        value = float(total)
        if not math.isfinite(value):
            raise self._lost("loss", value)
        # Finite losses may have gradients that are not: they would be the end of all weights.
        norm = float(nn.utils.clip_grad_norm_(parameters, self.config.clip or math.inf))
        if not math.isfinite(norm):
            raise self._lost("gradient", norm)
        for group in optimiser.param_groups:
            group["lr"] = self.config.rate(self.step)
        optimiser.step()
        return value

    def _lost(self, what: str, value: float) -> DatasetError:
        if self.checkpoint.exists():
            remedy = (
                f"{self.checkpoint.name} is kept; resume with a lower learning rate or, if that "
                f"ends so, too, remove that file to train the stage anew"
            )
        else:
            remedy = "there is no checkpoint yet; begin with a lower learning rate"
        return DatasetError(
            f"{self.run_dir}: the {what} of stage {self.stage.name} became {value} at step "
            f"{self.step}; {remedy}"
        )

    @property
    def cuda_devices(self) -> list[torch.device]:
        """Devices whose random state is set aside with that of the CPU."""
        return [self.place.device] if self.place.device.type == "cuda" else []

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The averaged weights inside a with statement; afterwards the bits of before."""
        kept = {key: value.clone() for key, value in self.trained.state_dict().items()}
        self.trained.load_state_dict(self.ema.average)
        # Norms belong to weights that no longer exist until they are measured anew at the end:
        # till then a detector is looked at with those of the batch itself.
        self.trained.train(self.stage.loss == "mask")
        if self.discriminator is not None:  # its norms, too, would move by being looked with
            self.discriminator.eval()
        try:
            yield
        finally:
            self.trained.load_state_dict(kept)
            self.trained.train()
            if self.discriminator is not None:
                self.discriminator.train()

    def finish(self) -> TrainResult:
        """Save, and leave the averaged weights in the networks."""
        self.save()
        self.trained.load_state_dict(self.ema.average)
        self.trained.eval()
        return TrainResult(self.step, self.step >= self.config.last, self.loss, self.seconds)
