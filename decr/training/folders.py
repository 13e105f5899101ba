"""A recipe made from a few folders, for those who have images and no recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from decr.dataset.clear import Folder
from decr.dataset.layouts import layout_of, list_pairs
from decr.dataset.manifest import PairFile
from decr.dataset.pairs import PairFolder
from decr.dataset.published import facts_of
from decr.errors import ConfigError, DatasetError, DecrError, warn
from decr.geo.scene import open_scene
from decr.training.checks import number
from decr.training.recipe import Recipe, default_parts, stage_settings
from decr.training.stages import ORDER, STAGES
from decr.zoo.bundle import read_card
from decr.zoo.card import Card
from decr.zoo.embedded import embedded_path, find_bundle

_ORDER_OF_BANDS = ("red", "green", "blue", "nir", "pan")


def recipe_from_folders(
    stage: str,
    *,
    name: str,
    clear: Sequence[Path] = (),
    pairs: Sequence[Path] = (),
    layout: str | None = None,
    bands: str | None = None,
    gsd_m: float | None = None,
    white: float | None = None,
    holdout: Sequence[str] = (),
    preset: str | None = None,
    start: str | None = None,
    steps: int | None = None,
) -> Recipe:
    """The recipe for a stage, or "all", on some folders.

    Parameters
    ----------
    clear, pairs
        Folders of clear images (clouds are simulated) and of real cloudy and clear pairs.
    layout
        Of the folders of pairs; None recognises it.
    bands
        Roles of the files' bands in file order; None reads them from each file.
    gsd_m, white
        For all files; None reads them from each file.
    start
        Bundle to go on from: a file, an embedded name, or "embedded" for the one of these bands.
    preset
        None is "finetune" with a start and "fast" without.
    steps
        Of every stage; None is the preset's.

    Raises
    ------
    ConfigError
        If there is no folder, no way to know the pixel size, or a number cannot be.

    Warns
    -----
    DecrWarning
        If images have bands that the first one lacks, so that the run does not use them.
    """
    for key, value in (("gsd_m", gsd_m), ("white", white)):
        if value is not None:
            number(key, value, above=0)
    if not clear and not pairs:
        raise ConfigError("nothing to train on; give --clear FOLDER, --pairs FOLDER or --recipe")
    sets = tuple(PairFolder(f, layout_of(f, layout), bands, gsd_m, white) for f in pairs)
    images = _each(clear, sets, bands)
    first = next(images)()
    path = _start(start, stage, first) if start else None
    card = read_card(path) if path else None
    preset = preset or ("finetune" if path else "fast")
    parts = dict(card.parts) if card else default_parts(ORDER if stage != "detector" else [stage])
    own = {
        name: stage_settings(preset, name, parts)
        for name, s in STAGES.items()
        if {*s.trains, *s.frozen} <= set(parts)
    }
    if not own:
        raise ConfigError(f"{path}: holds {', '.join(parts)}; no stage can be trained with that")
    if steps is not None:
        own = {name: replace(config, steps=steps) for name, config in own.items()}
    used = _bands(card, first)
    if bands is None:  # else all images have the same
        _tell_unused(start, stage, first, used, images)
    gsd, gsd_range = _gsd(gsd_m, card, first, coarser=2 if clear else 1)
    return Recipe(
        name=name,
        bands=used,
        clear=tuple(Folder(f, bands, gsd_m, white) for f in clear),
        labelled=(),
        holdout=tuple(holdout),
        stages=own,
        parts=parts,
        gsd_m=gsd,
        gsd_range_m=gsd_range,
        start=path,
        preset=preset,
        pairs=sets,
        steps=card.steps if card else 10,
        prior_floor=card.prior_floor if card else 0.3,
        level_px=card.level_px if card else 0,
    )


_Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Said:
    """What an image says; what the first one says holds for all."""

    path: str
    bands: tuple[str, ...]
    gsd_m: float | None


def _each(
    clear: Sequence[Path], pairs: Sequence[PairFolder], bands: str | None
) -> Iterator[Callable[[], _Said]]:
    """What opens each image, in order: clear ones, then the clear sides of pairs."""
    for folder in clear:
        for path in Folder(folder).files():
            yield partial(_clear_said, path, bands)
    for one in pairs:
        listed = list_pairs(one.path, one.layout)
        if not listed:
            raise DatasetError(f"{one.path}: no pair there; check the folder's name")
        for pair in listed:
            yield partial(_pair_said, one, pair)


def _clear_said(path: Path, bands: str | None) -> _Said:
    scene = open_scene(path, bands)
    return _Said(scene.path, scene.bands.data_roles, scene.grid.gsd_m)


def _pair_said(folder: PairFolder, pair: PairFile) -> _Said:
    scene = open_scene(pair.clear, folder.bands or pair.bands)
    nir = ("nir",) if pair.clear_nir is not None else ()
    gsd_m = pair.gsd_m or scene.grid.gsd_m or facts_of(folder.path, folder.layout).gsd_m
    return _Said(scene.path, (*scene.bands.data_roles, *nir), gsd_m)


def _tell_unused(
    start: str | None,
    stage: str,
    first: _Said,
    used: Sequence[str],
    others: Iterator[Callable[[], _Said]],
) -> None:
    """Warn of bands that a run would use if other images came first."""
    count, unused = 1, Counter[str]()
    for opened in others:
        count += 1
        with suppress(DecrError):  # told, or refused, once it is read
            said = opened()
            path = _start(start, stage, said) if start else None
            unused.update({*_bands(read_card(path) if path else None, said)} - {*used})
    for band, n in unused.items():
        warn(
            f"{first.path}: is the first image and says that bands are {', '.join(first.bands)}; "
            f"{band}, which {n} of {count} images have, is therefore not used; to train with it, "
            f"move images without it elsewhere"
        )


def _start(start: str, stage: str, first: _Said) -> Path:
    if stage == "detector" and start == "embedded":
        return embedded_path("embedded-detector")
    return find_bundle(start, "nir" in first.bands)


def _bands(card: Card | None, first: _Said) -> tuple[str, ...]:
    """Those of the bundle that the imagery has, or all of the imagery in the usual order."""
    wanted = card.bands if card else _ORDER_OF_BANDS
    found = tuple(band for band in wanted if band in first.bands)
    if not found:
        raise ConfigError(
            f"{first.path}: has bands {', '.join(first.bands)}, the bundle takes "
            f"{', '.join(wanted)}; say which band is which with --bands"
        )
    return found


def _gsd(
    gsd_m: float | None, card: Card | None, first: _Said, coarser: int
) -> tuple[float, _Range]:
    """Pixel size of the bundle to be, and the range it sees in training, metres.

    Clear images are coarsened at random, up to ``coarser`` times; pairs never are.
    """
    known = gsd_m or first.gsd_m
    if known is None and card is not None:
        return card.gsd_m, card.gsd_range_m
    if known is None:
        raise ConfigError(f"{first.path}: does not say how large its pixels are; give --gsd METRES")
    return known, (known, coarser * known)
