"""What the networks do while they train: pictures, and the loss on imagery they do not learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from decr.dataset.samples import Sample
from decr.device import heavy_in
from decr.diffusion.fusion import FusedDenoiser, prior_of
from decr.diffusion.samplers import ddim
from decr.errors import OutputError
from decr.files import write_whole
from decr.geo.encode import png_bytes
from decr.geo.opening import quiet
from decr.training.loading import stacked
from decr.training.losses import Batch, draw_noise, mask_logits
from decr.training.stage_run import StageRun

_SHOWN = 4
"""Samples in a picture."""
_GAP = 2
"""Pixels between the images of a picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Watch:
    """Samples to look at, the same ones at every look.

    Attributes
    ----------
    samples
        Of the stage's size.
    rgb
        Which bands are shown as red, green and blue.
    held_out
        Whether the samples are of imagery that is not trained on: only then is their loss told.
    steps, prior_floor, level_px
        How pictures are sampled: as the bundle to be will.
    """

    samples: tuple[Sample, ...]
    rgb: Sequence[int]
    held_out: bool
    steps: int = 10
    prior_floor: float = 0.3
    level_px: int = 0


def look(run: StageRun, watch: Watch) -> float | None:
    """Write ``RUN/samples/STAGE_STEP.png`` by the averaged weights; the loss if held out.

    The picture has a row per sample: cloudy, restored, clear; for a detector: the image, its cloud
    probability, the true mask. Training goes on with the same bits as without a look.
    """
    batch = _batch(run, watch.samples)
    with (
        run.averaged(),
        torch.no_grad(),
        torch.random.fork_rng(run.cuda_devices),
        heavy_in(run.place.dtype, run.place.device),
    ):
        torch.manual_seed(0)
        loss = float(run.loss_of(batch)) if watch.held_out else None
        images = _columns(run, batch, watch)
    name = f"{run.stage.name}_{run.step:05d}.png"
    write_png(run.run_dir / "samples" / name, mosaic(images))
    return loss


def _batch(run: StageRun, samples: tuple[Sample, ...]) -> Batch:
    cloudy, clear, mask = (image.to(run.place.device) for image in stacked(samples))
    t, noise = draw_noise(
        tuple(clear.shape), len(run.noise_schedule.betas), torch.Generator().manual_seed(0)
    )
    return Batch(cloudy, clear, mask, t.to(cloudy.device), noise.to(cloudy.device))


def _columns(run: StageRun, batch: Batch, watch: Watch) -> list[NDArray[np.float32]]:
    """The three columns of a picture, each (N, 3, H, W) in [0, 1]."""
    rgb = list(watch.rgb)
    cloudy, clear, noise = (tensor[:_SHOWN] for tensor in (batch.cloudy, batch.clear, batch.noise))
    shown = [(cloudy[:, rgb] + 1) / 2]
    if run.stage.loss == "mask":
        probability = torch.sigmoid(mask_logits(run.parts["detector"], cloudy))
        for mask in (probability, batch.mask[:_SHOWN].float()):
            shown.append(mask[:, None].expand(-1, 3, -1, -1))
    else:
        restored = _restored(run, cloudy, noise, watch)
        shown += [(image[:, rgb] + 1) / 2 for image in (restored, clear)]
    return [image.clamp(0, 1).float().cpu().numpy() for image in shown]


def _restored(run: StageRun, cloudy: Tensor, noise: Tensor, watch: Watch) -> Tensor:
    """What the stage's networks make of cloudy images, (N, C, H, W) unit."""
    parts, schedule, wa, prior = run.parts, run.noise_schedule, None, None
    if run.stage.loss != "noise":
        prior = prior_of(parts["reference"], cloudy)
        if run.stage.loss == "restore":
            return prior
        wa = parts["wa"]
    floor, level_px = watch.prior_floor, watch.level_px
    denoise = FusedDenoiser(parts["cnp"], wa, schedule, cloudy, prior, floor, level_px=level_px)
    return ddim(denoise, noise, schedule.respaced(watch.steps))


def mosaic(columns: list[NDArray[np.float32]]) -> NDArray[np.uint8]:
    """Images side by side, a row per sample, white between them.

    Parameters
    ----------
    columns
        Each (N, 3, H, W) in [0, 1].

    Returns
    -------
    ndarray
        (3, N * (H + 2) - 2, columns * (W + 2) - 2), uint8.
    """
    count, _, height, width = columns[0].shape
    shape = (3, count * (height + _GAP) - _GAP, len(columns) * (width + _GAP) - _GAP)
    picture = np.full(shape, 255, np.uint8)
    for c, column in enumerate(columns):
        for r, image in enumerate(column):
            top, left = r * (height + _GAP), c * (width + _GAP)
            picture[:, top : top + height, left : left + width] = np.rint(image * 255)
    return picture


def write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write (3, H, W) uint8 as a PNG file.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with quiet():
        content = png_bytes(picture)
    try:
        write_whole(path, content)
    except OSError as error:
        raise OutputError(
            f"{path}: the picture cannot be written ({error.strerror}); make room, or choose "
            f"another folder"
        ) from error
