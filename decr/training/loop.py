"""One training loop for all stages: exactly resumable, time-boxed, and safe to interrupt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from decr.dataset.samples import Draw
from decr.diffusion.schedule import NoiseSchedule
from decr.files import writable_folder
from decr.training.identity import Identity
from decr.training.interrupt import interrupts_deferred
from decr.training.loading import batch_of, batches, default_loaders, lost_loaders_told
from decr.training.log import Log
from decr.training.losses import mask_logits
from decr.training.norms import recalibrate
from decr.training.place import Place
from decr.training.settings import TrainConfig
from decr.training.stage_run import StageRun, TrainResult
from decr.training.stages import Stage
from decr.training.validation import Watch, look

if TYPE_CHECKING:
    from decr.training.published import Objective

_NORM_BATCHES = 16
"""Fresh batches over which a detector's norms are measured at the end."""
_LOG_EVERY = 20
"""Steps between lines of the log."""


def train_stage(
    stage: Stage,
    parts: Mapping[str, nn.Module],
    draw: Draw,
    run_dir: Path,
    config: TrainConfig,
    noise_schedule: NoiseSchedule,
    on_step: Callable[[int, float], None] | None = None,
    *,
    published: Objective | None = None,
    place: Place | None = None,
    watch: Watch | None = None,
    tensorboard: bool = False,
    loaders: int | None = None,
    samples: Identity | None = None,
) -> TrainResult:
    """Train the parts of a stage, resuming from ``run_dir`` if it holds a checkpoint.

    Parameters
    ----------
    parts
        Networks by name, on the place's device; those in ``stage.trains`` are updated in place and
        end as their averaged weights, "discriminator" is trained beside them where ``published``
        needs it, the others are only used.
    draw
        Gives one :class:`Sample` from a generator, already of the stage's size.
    run_dir
        Receives ``STAGE.pt`` (latest checkpoint), ``STAGE.jsonl`` (a line per 20 steps, and
        one per look at ``watch``) and
        ``samples/STAGE_STEP.png``.
    published
        Objective of a published reference network; None for decr's own.
    place
        Device, precision and process; None is this one in float32 on the CPU.
    watch
        Samples to look at every ``config.validate_every`` steps.
    loaders
        Processes that draw samples; 0 is a thread of this one, None what suits the place. The
        samples do not depend on it.
    samples
        What decides the samples that ``draw`` gives, by name; a checkpoint of others is refused.

    Returns
    -------
    TrainResult
        ``finished`` is False when time ran out or ctrl-C was pressed; calling again goes on with
        the very numbers an uninterrupted run would have had.

    Raises
    ------
    DatasetError
        If the loss stops being a number, and the last good checkpoint is kept; if a process that
        draws samples was killed or cannot hand them over; or if the checkpoint there was made with
        other settings, samples or networks.
    OutputError
        If a checkpoint cannot be written.

    Notes
    -----
    Samples and noise depend on neither ``config.accumulate`` nor the number of processes, and
    losses that are means over samples give the same steps up to rounding. Batch norms, the soft
    Jaccard of the detector, the CVAE's latent draws and divergence, and the spectral norms and
    drawn penalty of MSDA-CR's discriminator do see how a batch is cut.
    """
    place = place or Place()
    writable_folder(run_dir)
    run = StageRun(stage, parts, run_dir, config, noise_schedule, published, place, samples)
    rows = place.rows(config.batch)
    if loaders is None:
        loaders = default_loaders(place)
    with (
        interrupts_deferred() as interrupted,
        _log(run, tensorboard) as log,
        lost_loaders_told(run_dir),
    ):
        for images in batches(draw, config, stage, run.step, rows, loaders, place.size):
            run.advance(images)
            if log is not None:
                _tell(run, log, watch, on_step)
            if run.step % config.save_every == 0:
                run.save()
            if place.any(run.out_of_time or interrupted()):
                break
    result = run.finish()
    if stage.loss == "mask" and result.finished:
        detector = parts["detector"]
        ahead = (
            batch_of(draw, config, stage, config.last + i, rows)[0].to(place.device)
            for i in range(_NORM_BATCHES)
        )
        recalibrate(detector, ahead, lambda view: mask_logits(detector, view))
    # All of several processes get here, each with its own signals; a signal in the last step, too,
    # ends the run.
    return replace(result, interrupted=place.any(interrupted()))


@contextmanager
def _log(run: StageRun, tensorboard: bool) -> Iterator[Log | None]:
    """The stage's log in the process that writes, None in the others."""
    if not run.place.leads:
        yield None
        return
    with Log(run.run_dir, run.stage.name, tensorboard, after=run.step) as log:
        yield log


def _tell(
    run: StageRun, log: Log, watch: Watch | None, on_step: Callable[[int, float], None] | None
) -> None:
    """Log a step, look at the networks when it is time to, and report."""
    config = run.config
    if run.step % _LOG_EVERY == 0:
        log.write(run.step, loss=round(run.loss, 5), lr=config.rate(run.step - 1))
    # Also at the end, which may come before it is time.
    due = config.validate_every and (
        run.step % config.validate_every == 0 or run.step == config.last
    )
    if watch is not None and due:
        loss = look(run, watch)
        if loss is not None:
            log.write(run.step, validation_loss=round(loss, 5))
    if on_step is not None:
        on_step(run.step, run.loss)
