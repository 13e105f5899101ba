"""What a set built of acquisitions consists of: chips considered, pairs accepted, their files."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decr.dataset.acquisitions import Acquisitions
from decr.dataset.chip_rules import BUFFER, EXACT, NEAR, TOO_EMPTY, ChipFacts, Limits
from decr.dataset.duplicates import Fingerprint, find_copies
from decr.dataset.manifest import MANIFEST, TEST_SHARE, manifest_bytes
from decr.dataset.measure import PairFacts, PairPixels
from decr.dataset.png_layouts import EXPORTS, lacking_colours, png_files, png_names
from decr.dataset.set_folder import Record, written
from decr.dataset.splits import block_split, check_distances, check_share, random_split
from decr.dataset.white import full_scale
from decr.errors import ConfigError, DatasetError, warn
from decr.geo.align import corners_lonlat
from decr.geo.encode import tiff_bytes
from decr.geo.grid import PixelGrid, Window
from decr.geo.layers import NODATA


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How a set is built.

    Attributes
    ----------
    size_px
        Side of a chip.
    limits
        What a pair must be like.
    match
        Store the clear chips in the cloudy ones' radiometry; it is measured in any case.
    resample
        Allow clear images of another CRS or pixel size.
    split
        "block" or "random".
    test_share
        Of pairs.
    block_m, buffer_m
        Of the block split, metres.
    seed
        Of the split.
    exports
        Of `decr.dataset.png_layouts.EXPORTS`: 8-bit PNG copies in a folder of that name.
    white
        DN that becomes 255 in exports and 1 in training; None takes the full scale of the bits
        that the set's chips use.
    opaque_dn
        See `decr.dataset.measure.measure_pair`.

    Raises
    ------
    ConfigError
        If a number or a name is impossible.
    """

    size_px: int = 512
    limits: Limits = field(default_factory=Limits)
    match: bool = False
    resample: bool = False
    split: str = "block"
    test_share: float = TEST_SHARE
    block_m: float = 1000.0
    buffer_m: float = 250.0
    seed: int = 0
    exports: tuple[str, ...] = ()
    white: float | None = None
    opaque_dn: float | None = None

    def __post_init__(self) -> None:
        if self.split not in ("block", "random"):
            raise ConfigError(f"no split is called {self.split!r}; use block or random")
        unknown = [name for name in self.exports if name not in EXPORTS]
        if unknown:
            raise ConfigError(f"no export is called {unknown[0]!r}; use {', '.join(EXPORTS)}")
        if self.size_px < 32:
            raise ConfigError(f"chips must have at least 32 px, not {self.size_px}")
        check_share(self.test_share)
        check_distances(self.block_m, self.buffer_m)
        if any(v is not None and not 0 < v < math.inf for v in (self.white, self.opaque_dn)):
            raise ConfigError(
                f"white {self.white} and opaque {self.opaque_dn} must be numbers above 0"
            )


@dataclass(frozen=True, slots=True)
class Considered:
    """A chip that was looked at.

    Attributes
    ----------
    name, pair
        Its own and its acquisitions'.
    row, col
        Of its first pixel in the cloudy scene.
    facts
        What was measured.
    reason
        Why it is rejected, or None.
    thin_share
        Of cloudy pixels, as the detector tells; None if it does not.
    top
        Largest DN of pixels with data in both images.
    digest, bits
        `Fingerprint` of the clear chip.
    """

    name: str
    pair: str
    row: int
    col: int
    facts: ChipFacts
    reason: str | None
    thin_share: float | None = None
    top: float = 0.0
    digest: str = ""
    bits: str | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """What becomes of all chips.

    Attributes
    ----------
    side
        "train" or "test" of accepted chips, by name in order.
    reasons
        Of the others.
    """

    side: Mapping[str, str]
    reasons: Mapping[str, str]


def decide(
    chips: Sequence[Considered], pairs: Mapping[str, Acquisitions], options: BuildOptions
) -> Decided:
    """Leave out copies, then split: a pure function of what was measured.

    A chip is a copy if its clear image is (nearly) that of one that came before it.

    Raises
    ------
    DatasetError
        If no chip is left, or a split leaves nothing to train on.

    Warns
    -----
    DecrWarning
        If nothing is left to test on.
    """
    reasons = {chip.name: chip.reason for chip in chips if chip.reason is not None}
    fit = [chip for chip in chips if chip.reason is None]
    copies = find_copies((chip.name, Fingerprint(chip.digest, chip.bits)) for chip in fit)
    # Those of one that is itself left out are left out as well: they show the same.
    for copy in copies:
        reasons.setdefault(copy.second, EXACT if copy.exact else NEAR)
    fit = [chip for chip in fit if chip.name not in reasons]
    if not fit:
        counted = ", ".join(f"{why}: {n}" for why, n in Counter(reasons.values()).most_common())
        rest = "look at the acquisitions, or change the limits"
        if TOO_EMPTY in reasons.values():
            rest = (
                "images lack data there: give a smaller --size or a larger --max-nodata, or cut "
                f"off edges without data (gdal_translate -srcwin); else {rest}"
            )
        raise DatasetError(
            f"none of {len(chips)} chips makes a pair ({counted or 'no chip fits'}); {rest}"
        )
    names = [chip.name for chip in fit]
    if options.split == "random":
        side: Mapping[str, str] = random_split(names, options.test_share, options.seed)
    else:
        outlines = {
            c.name: corners_lonlat(pairs[c.pair].cloudy.grid, window_of(c, options)) for c in fit
        }
        found = block_split(
            outlines, options.test_share, options.block_m, options.buffer_m, options.seed
        )
        side = found.side
        reasons |= dict.fromkeys(sorted(found.dropped), BUFFER)
    if options.test_share < 1 and "train" not in side.values():
        raise DatasetError(
            f"no chip is left to train on: all {len(fit)} are for testing or within "
            f"{options.buffer_m:g} m of those; give a smaller --buffer or --block, or --split "
            "random"
        )
    if options.test_share > 0 and "test" not in side.values():
        if options.split == "random":
            why = "they are too few; give more, or a larger --test-share"
        else:
            where = f"in one block of {options.block_m:g} m"
            why = f"they lie {where} or are too few; give a smaller --block"
        warn(f"all {len(fit)} pairs are for training: {why} for pairs to test on")
    return Decided({name: side[name] for name in names if name in side}, reasons)


def window_of(chip: Considered, options: BuildOptions) -> Window:
    """Its place in the cloudy scene."""
    return Window(chip.row, chip.col, options.size_px, options.size_px)


def white_of(
    pair: Acquisitions,
    chips: Sequence[Considered],
    pairs: Mapping[str, Acquisitions],
    options: BuildOptions,
) -> float:
    """DN of white of a pair's chips: that of all accepted chips of its type alike."""
    dtype = pair.cloudy.dtype
    top = max(chip.top for chip in chips if pairs[chip.pair].cloudy.dtype == dtype)
    return options.white or full_scale(dtype, top)


def chip_record(
    chip: Considered,
    pair: Acquisitions,
    facts: PairFacts,
    seen: PairPixels,
    side: str,
    subset: str,
    white: float,
    options: BuildOptions,
    work: Path,
) -> Record:
    """Write a chip's files, and say what they are."""
    window = window_of(chip, options)
    grid = pair.cloudy.grid
    placed = PixelGrid(*window.shape, grid.window_transform(window), grid.crs)
    match = facts.match if options.match else None
    truth = seen.clear if match is None else match.apply(seen.clear)
    sums = written(work, _files(chip.name, side, pair, seen, truth, placed, white, options))
    entry = {
        "cloudy": f"{side}/cloudy/{chip.name}.tif",
        "clear": f"{side}/clear/{chip.name}.tif",
        "split": side,
        "bands": ",".join(role[0] for role in pair.bands),
        "gsd_m": grid.gsd_m,
        "white": white,
        "ccp": _rounded(chip.facts.ccp),
        "about": {
            "name": chip.name,
            "subset": subset,
            "pair": pair.name,
            "site": pair.site,
            "mask": f"{side}/mask/{chip.name}.tif",
            "window": [window.row, window.col, *window.shape],
            "corners_lonlat": np.round(corners_lonlat(grid, window), 8).tolist(),
            "cloudy_date": pair.cloudy_date.when.isoformat(),
            "clear_date": pair.clear_date.when.isoformat(),
            "matched": match is not None,
            **{k: _rounded(v) for k, v in asdict(chip.facts).items() if k != "ccp"},
        },
    }
    return Record(entry, sums)


def _files(
    name: str,
    side: str,
    pair: Acquisitions,
    seen: PairPixels,
    truth: NDArray[Any],
    grid: PixelGrid,
    white: float,
    options: BuildOptions,
) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each file of a chip."""
    sides = (("cloudy", seen.cloudy, seen.cloudy_mask), ("clear", truth, seen.clear_mask))
    for folder, pixels, clouds in sides:
        chip = tiff_bytes(pixels, grid, pair.bands, valid=clouds != NODATA)
        yield f"{side}/{folder}/{name}.tif", chip
    mask = np.where(seen.clear_mask == NODATA, np.uint8(NODATA), seen.cloudy_mask)[None]
    yield f"{side}/mask/{name}.tif", tiff_bytes(mask, grid, ("cloudy",), NODATA)
    for export in options.exports:
        images = {
            folder: _scaled(np.where(clouds != NODATA, pixels, 0), white)
            for folder, pixels, clouds in sides
        }
        names = png_names(export, side, name, "nir" in pair.bands)
        for key, data in png_files(names, images, pair.bands).items():
            yield f"{export}/{names[key]}", data


def _scaled(pixels: NDArray[Any], white: float) -> NDArray[np.uint8]:
    """DN as whole numbers of 8 bits, 255 is white."""
    return np.rint(np.clip(pixels * (255.0 / white), 0, 255)).astype(np.uint8)


def export_manifests(
    entries: Sequence[Mapping[str, Any]], exports: Sequence[str]
) -> dict[str, bytes]:
    """A manifest for each export, by its name: PNG files do not say their metres per pixel.

    Parameters
    ----------
    entries
        Lines of the set's own manifest.
    """
    return {
        f"{export}/{MANIFEST}": manifest_bytes(_exported(entry, export) for entry in entries)
        for export in exports
    }


def _exported(entry: Mapping[str, Any], export: str) -> dict[str, Any]:
    """The line of a pair in an export's manifest."""
    split, name = entry["split"], entry["about"]["name"]
    images = png_names(export, split, name, "n" in entry["bands"].split(","))
    said = {key: entry[key] for key in ("gsd_m", "ccp")}
    return {**images, "split": split, "bands": "r,g,b", "white": 255.0, **said}


def check_exports(pairs: Sequence[Acquisitions], options: BuildOptions) -> None:
    """Refuse exports that need other bands.

    Raises
    ------
    ConfigError
        If a pair lacks a colour, or only some have near infrared, which CUHK-CR's layout holds of
        all or none.
    """
    for pair in pairs:
        lacking = lacking_colours(pair.bands)
        if options.exports and lacking:
            raise ConfigError(
                f"{pair.name} lacks {lacking}, which --export {options.exports[0]} needs; leave "
                "the export out"
            )
    with_nir = {"nir" in pair.bands: pair.name for pair in pairs}
    if "cuhk-cr" in options.exports and len(with_nir) == 2:
        raise ConfigError(
            f"{with_nir[True]} has near infrared and {with_nir[False]} has not; --export cuhk-cr "
            "holds it of all pairs or of none: leave the export out, or make two sets"
        )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
