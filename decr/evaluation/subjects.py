"""What is evaluated: models of bundles or of packages, and doing nothing; images of any size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from decr.errors import ConfigError
from decr.geo.lattice import FEATHER_SUM, Lattice
from decr.offered import offered_restorer
from decr.plugins import checked
from decr.predictor import Restorer, load_restorer
from decr.zoo.bundle import read_card
from decr.zoo.embedded import find_bundle, others_model

Float32 = NDArray[np.float32]

NONE = "none"
_ORDER = ("red", "green", "blue", "nir")
MULTIPLE = 16
"""Sides that every network of decr can take."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that turns cloudy images into clear ones.

    Attributes
    ----------
    name
        Unique among those of a run.
    version
        SHA-256 of the weights; "" for none.
    bands
        Roles it takes, in the order in which it takes them; empty if it takes any.
    settings
        What else decides its result.
    reference_alone
        Whether there is no diffusion in it.
    restore
        (C, H, W) float32 unit, bands in the model's order, to the same; None leaves it as it is.
    """

    name: str
    version: str
    bands: tuple[str, ...]
    settings: dict[str, str]
    reference_alone: bool
    restore: Callable[[Float32], Float32] | None


@dataclass(frozen=True, slots=True)
class Sampling:
    """How models are run; None takes the card's."""

    steps: int | None = None
    prior_floor: float | None = None
    seed: int = 0
    device: str = "auto"
    tile_px: int = 256

    def __post_init__(self) -> None:
        if self.tile_px < MULTIPLE or self.tile_px % MULTIPLE:
            raise ConfigError(
                f"tiles of {self.tile_px} px: give a multiple of {MULTIPLE}, 256 as a rule"
            )
        check_prior_floor(self.prior_floor)
        check_numbers(self.steps, self.seed)

    @property
    def overlap_px(self) -> int:
        """Pixels that neighbouring tiles share: a quarter of their side."""
        return self.tile_px // 4


def check_numbers(steps: int | None, seed: int) -> None:
    """Refuse steps that are none, and seeds that no generator takes.

    Raises
    ------
    ConfigError
        If there are fewer than 1 steps, or the seed is negative.
    """
    if steps is not None and steps < 1:
        raise ConfigError(f"{steps} DDIM steps: give at least 1")
    if seed < 0:
        raise ConfigError(f"the seed must not be negative, not {seed}")


def check_prior_floor(prior_floor: float | None) -> None:
    """Refuse a least W that is no share.

    Raises
    ------
    ConfigError
        If it lies outside 0..1.
    """
    if prior_floor is not None and not 0.0 <= prior_floor <= 1.0:
        raise ConfigError(f"the floor of W is {prior_floor:g}; it must lie in 0..1")


def subjects_of(models: Sequence[str], nir: bool, sampling: Sampling) -> list[Subject]:
    """Load models by name; ``none`` is the image as it is.

    Parameters
    ----------
    models
        Embedded names, bundle files, names that installed packages offer, or `NONE`.
    nir
        Whether the images have near infrared, for the name "embedded".

    Raises
    ------
    BundleError
        If one cannot be loaded.
    ConfigError
        If none is named, the same one twice, or two take different bands.
    """
    if not models:
        raise ConfigError("no model to evaluate; name some with --model, or none")
    found = _told_apart([_subject(model, nir, sampling) for model in models])
    names = [subject.name for subject in found]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ConfigError(f"the model {name!r} is named twice; name each once")
    if len({frozenset(s.bands) for s in found if s.bands}) > 1:
        told = "; ".join(f"{s.name}: {','.join(s.bands)}" for s in found if s.bands)
        raise ConfigError(
            f"models of different bands cannot be compared ({told}); evaluate them apart"
        )
    return found


def common_bands(subjects: Sequence[Subject]) -> tuple[str, ...] | None:
    """Bands that all models take, red, green and blue first; None if none of them says."""
    bands = next((s.bands for s in subjects if s.bands), None)
    return None if bands is None else tuple(sorted(bands, key=(*_ORDER, *bands).index))


def restored_by(subject: Subject, image: Float32, bands: tuple[str, ...]) -> Float32:
    """Restore an image (C, H, W) by a model whose bands are in another order."""
    assert subject.restore is not None, subject.name
    there = [bands.index(band) for band in subject.bands]
    back = [subject.bands.index(band) for band in bands]
    return subject.restore(np.ascontiguousarray(image[there]))[back]


def _told_apart(found: list[Subject]) -> list[Subject]:
    """Models of one name, as of two trainings by one recipe, get the start of their hash, too."""
    names = [subject.name for subject in found]
    return [
        replace(s, name=f"{s.name} {s.version[:8]}") if s.version and names.count(s.name) > 1 else s
        for s in found
    ]


def _subject(model: str, nir: bool, sampling: Sampling) -> Subject:
    if model == NONE:
        return Subject("no change", "", (), {}, True, None)
    alone = False
    plugin = others_model(model)
    if plugin is None:
        path = find_bundle(model, nir)
        card = read_card(path)
        alone = set(card.parts) == {"reference"}
        if "cnp" in card.parts:
            card.respaced(sampling.steps)  # An error names the model.
        restorer = load_restorer(
            path,
            steps=sampling.steps,
            prior_floor=sampling.prior_floor,
            seed=sampling.seed,
            device=sampling.device,
            precision="float32",
        )
    else:
        restorer = offered_restorer(plugin, sampling.seed, sampling.device)
    return Subject(
        restorer.name,
        restorer.version,
        restorer.bands,
        dict(restorer.settings),
        alone,
        lambda image: restored(restorer, image, sampling.tile_px, sampling.overlap_px),
    )


def restored(restorer: Restorer, image: Float32, tile_px: int, overlap_px: int) -> Float32:
    """Restore every pixel of an image, in tiles that are blended where they overlap.

    An image that fits in a tile is one, extended by its mirror at the right and bottom to sides
    that networks can take.

    Parameters
    ----------
    image
        (C, H, W) float32 unit.

    Returns
    -------
    ndarray
        (C, H, W) float32 unit.
    """
    _, height, width = image.shape
    extended = _extended(image)
    lattice = Lattice(extended.shape[1], extended.shape[2], tile_px, overlap_px)
    windows = [lattice.tile(i, j) for i, j in lattice]
    tiles = np.stack([extended[:, *w.slices()] for w in windows])
    corners = [(w.row, w.col) for w in windows]
    clear = checked(restorer.name, restorer.restore(tiles, corners), tiles.shape)
    total = np.zeros(extended.shape, np.float64)
    for (i, j), window, tile in zip(lattice, windows, clear, strict=True):
        rows, cols = window.slices()
        total[:, rows, cols] += tile * lattice.tile_weights(i, j)
    blended: Float32 = (total / FEATHER_SUM**2).astype(np.float32)
    return blended[:, :height, :width]


def _extended(image: Float32) -> Float32:
    """With sides that are multiples of `MULTIPLE`."""
    down, right = -image.shape[1] % MULTIPLE, -image.shape[2] % MULTIPLE
    # A mirror cannot show more pixels than there are.
    mirrored = down < image.shape[1] and right < image.shape[2]
    return np.pad(image, ((0, 0), (0, down), (0, right)), "reflect" if mirrored else "edge")
