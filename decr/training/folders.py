"""A recipe made from a few folders, for those who have images and no recipe."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from decr.dataset.clear import Folder
from decr.dataset.layouts import layout_of, list_pairs
from decr.dataset.pairs import PairFolder
from decr.dataset.published import facts_of
from decr.errors import ConfigError, DatasetError
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
    """
    for key, value in (("gsd_m", gsd_m), ("white", white)):
        if value is not None:
            number(key, value, above=0)
    if not clear and not pairs:
        raise ConfigError("nothing to train on; give --clear FOLDER, --pairs FOLDER or --recipe")
    sets = tuple(PairFolder(f, layout_of(f, layout), bands, gsd_m, white) for f in pairs)
    first = _first_clear(clear[0], bands) if clear else _first_pair(sets[0])
    path = _start(start, stage, first) if start else None
    card = read_card(path) if path else None
    preset = preset or ("finetune" if path else "fast")
    parts = dict(card.parts) if card else default_parts(ORDER if stage != "detector" else [stage])
    own = {name: stage_settings(preset, name, parts) for name in _possible(parts)}
    if not own:
        raise ConfigError(f"{path}: holds {', '.join(parts)}; no stage can be trained with that")
    if steps is not None:
        own = {name: replace(config, steps=steps) for name, config in own.items()}
    gsd, gsd_range = _gsd(gsd_m, card, first, coarser=2 if clear else 1)
    return Recipe(
        name=name,
        bands=_bands(card, first),
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


def _possible(parts: Collection[str]) -> list[str]:
    """Stages for which all networks are there, in order."""
    return [s for s in STAGES if {*STAGES[s].trains, *STAGES[s].frozen} <= set(parts)]


_Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class _First:
    """What the first image says; it holds for all."""

    path: str
    bands: tuple[str, ...]
    gsd_m: float | None


def _first_clear(folder: Path, bands: str | None) -> _First:
    scene = open_scene(Folder(folder).files()[0], bands)
    return _First(scene.path, scene.bands.data_roles, scene.grid.gsd_m)


def _first_pair(folder: PairFolder) -> _First:
    listed = list_pairs(folder.path, folder.layout)
    if not listed:
        raise DatasetError(f"{folder.path}: no pair there; check the folder's name")
    pair = listed[0]
    scene = open_scene(pair.clear, folder.bands or pair.bands)
    nir = ("nir",) if pair.clear_nir is not None else ()
    gsd_m = pair.gsd_m or scene.grid.gsd_m or facts_of(folder.path, folder.layout).gsd_m
    return _First(scene.path, (*scene.bands.data_roles, *nir), gsd_m)


def _start(start: str, stage: str, first: _First) -> Path:
    if stage == "detector" and start == "embedded":
        return embedded_path("embedded-detector")
    return find_bundle(start, "nir" in first.bands)


def _bands(card: Card | None, first: _First) -> tuple[str, ...]:
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
    gsd_m: float | None, card: Card | None, first: _First, coarser: int
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
