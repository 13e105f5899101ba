"""Write pairs of a cloudy and a clear chip to a folder: simulated skies over clear images."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decr import __version__
from decr.bins import counts
from decr.dataset.chips import PLACE_CHIPS, Chip, apart, chip_grid, choose_chips, open_sources
from decr.dataset.manifest import MANIFEST, SIMULATION, TEST_SHARE
from decr.dataset.png_layouts import lacking_colours, png_files, png_names
from decr.dataset.set_folder import Made, Record, entries, make_set, note, raster_mark, written
from decr.dataset.simulate import Simulated, simulate_clouds
from decr.dataset.sky import PRESETS, CloudParams, SkyMix, draw_params
from decr.dataset.splits import check_share
from decr.errors import BandError, ConfigError, warn
from decr.files import work_folder
from decr.geo.encode import tiff_bytes
from decr.progress import OnProgress, each_told, silent

_MOST_CHIPS = 10_000_000
_LAYOUTS = ("folders", "cuhk-cr")


@dataclass(frozen=True, slots=True)
class PairOptions:
    """What is to be simulated, and how it is stored.

    Attributes
    ----------
    size_px
        Side of a chip.
    count
        Number of pairs; None takes one of each place of the images.
    skies
        Distribution of skies.
    seed
        Of the choice of places and of the skies.
    bands, gsd_m, white
        What the images do not say themselves: see `decr.dataset.chips.open_sources`.
    layout
        ``folders``: GeoTIFFs of all bands as they are, in SPLIT/cloudy and SPLIT/clear.
        ``cuhk-cr``: 8-bit PNG, red, green and blue in SPLIT/cloud and SPLIT/label; near infrared,
        three times the same channel, in SPLIT/nir/cloud and SPLIT/nir/label.
    truth
        Write the cloud mask (1 is cloudy) and optical thickness of each chip too.
    test_share
        Share of places for testing.

    Raises
    ------
    ConfigError
        If a number or the layout is impossible.
    """

    size_px: int = 512
    count: int | None = None
    skies: SkyMix = PRESETS["default"]
    seed: int = 0
    bands: str | None = None
    gsd_m: float | None = None
    white: float | None = None
    layout: str = "folders"
    truth: bool = False
    test_share: float = TEST_SHARE

    def __post_init__(self) -> None:
        if self.layout not in _LAYOUTS:
            raise ConfigError(f"no layout is called {self.layout!r}; use {' or '.join(_LAYOUTS)}")
        if self.size_px < 16:
            raise ConfigError(f"chips of {self.size_px} px: give at least 16 px")
        if self.count is not None and not 1 <= self.count <= _MOST_CHIPS:
            raise ConfigError(f"{self.count} chips: give a count of 1 to {_MOST_CHIPS}")
        stated = (self.gsd_m, self.white)
        if any(value is not None and not 0 < value < math.inf for value in stated):
            raise ConfigError(f"GSD {self.gsd_m} and white {self.white} must be numbers above 0")
        check_share(self.test_share)


def plan_pairs(clear: Sequence[Path], options: PairOptions) -> list[Chip]:
    """The chips that `simulate_pairs` would use, in order of their names; nothing is written.

    Raises
    ------
    DatasetError, BandError, SceneError
        If an image cannot be used, or none has room for a chip.

    Warns
    -----
    DecrWarning
        See `decr.dataset.chips.apart`; or if nothing is left to test on.
    """
    sources = open_sources(clear, options.bands, options.gsd_m, options.white)
    if options.layout == "cuhk-cr":
        for source in sources:
            if lacking := lacking_colours(source.scene.bands.data_roles):
                raise BandError(
                    f"{source.scene.path} lacks {lacking}, which the layout cuhk-cr needs; use "
                    "--layout folders"
                )
        with_nir = {"nir" in source.scene.bands.data_roles: source.scene.path for source in sources}
        if len(with_nir) == 2:
            raise BandError(
                f"{with_nir[True]} has near infrared and {with_nir[False]} has not; the layout "
                "cuhk-cr holds it of all images or of none: use --layout folders, or two calls"
            )
    chosen = choose_chips(sources, options.size_px, options.count, options.seed)
    chips = apart(chosen, options.test_share)
    if options.test_share > 0 and all(c.split(options.test_share) == "train" for c in chips):
        warn(
            f"all {len(chips)} pairs are for training: places of {PLACE_CHIPS} x {PLACE_CHIPS} "
            "chips are on one side, and these are few; give more images, or a larger --test-share"
        )
    return chips


def simulate_pairs(
    clear: Sequence[Path], out: Path, options: PairOptions, on_progress: OnProgress = silent
) -> list[dict[str, Any]]:
    """Put simulated skies over clear images and write the pairs, a manifest and checksums.

    Each chip depends on the seed, its image's name and pixels and its place; not on the order of
    images or chips. Work happens in ``OUT.decr-work``, which becomes ``out`` when all is there.
    After an interruption the same call goes on; with other options it begins anew, and warns if
    finished pairs are thrown away.

    Parameters
    ----------
    clear
        Images or folders of them.
    out
        Folder to make. One that this very call has made before is checked and left.
    on_progress
        Called with ("simulate", done, total), of pairs.

    Returns
    -------
    list of dict
        Lines of the manifest, by name: ``cloudy``, ``clear``, ``split``, ``bands``, ``gsd_m``,
        ``white``, ``ccp``, and ``about`` with the seed, the source and the sky.

    Raises
    ------
    DatasetError, BandError, SceneError
        See `plan_pairs`.
    OutputError
        If ``out`` holds something else, is damaged, or cannot be written.
    """
    chips = plan_pairs(clear, options)
    job = _job_text(chips, options)

    def make(done: dict[str, Record]) -> Made:
        work = work_folder(out)
        for chip in each_told("simulate", chips, on_progress):
            if chip.name not in done:
                done[chip.name] = record = _make(chip, options, work)
                note(work, chip.name, record)
        return [done[chip.name] for chip in chips], {}

    make_set(out, job, SIMULATION, make)
    return entries(out / MANIFEST)


def planned(chips: Sequence[Chip], options: PairOptions) -> str:
    """What `simulate_pairs` would write of these chips: pairs per split, their side, images."""
    test = sum(chip.split(options.test_share) == "test" for chip in chips)
    images = len({chip.source.key for chip in chips})
    return (
        f"{len(chips)} pairs ({len(chips) - test} train, {test} test) of {options.size_px} px "
        f"from {images} images"
    )


def described(pairs: Sequence[Mapping[str, Any]]) -> str:
    """One line on a set: pairs per split, mean CCP, and its histogram in bins of 0.1."""
    ccp = [pair["ccp"] for pair in pairs]
    test = sum(pair["split"] == "test" for pair in pairs)
    return (
        f"{len(ccp)} pairs ({len(ccp) - test} train, {test} test), CCP mean {np.mean(ccp):.3f}, "
        f"by tenths {' '.join(str(n) for n in counts(ccp))}"
    )


def _make(chip: Chip, options: PairOptions, work: Path) -> Record:
    """Simulate one chip and write its files."""
    rng = chip.rng(options.seed)
    roles = chip.source.scene.bands.data_roles
    sky = draw_params(rng, roles, options.skies)
    dn = chip.read()
    clear = dn.astype(np.float32) / np.float32(chip.source.white)
    seen = simulate_clouds(clear, roles, rng, gsd_m=chip.source.gsd_m, params=sky)
    named = dict(_files(chip, options, dn, clear, seen))
    sums = written(work, ((name, data) for name, (_, data) in named.items()))
    by_use = {use: name for name, (use, _) in named.items()}
    return Record(_entry(chip, options, sky, seen, by_use), sums)


def _entry(
    chip: Chip, options: PairOptions, sky: CloudParams, seen: Simulated, by_use: dict[str, str]
) -> dict[str, Any]:
    """One line of the manifest."""
    letters = "rgb" if options.layout == "cuhk-cr" else [r[0] for r in _roles(chip)]
    images = ("cloudy", "clear", "cloudy_nir", "clear_nir")
    others = {use: name for use, name in by_use.items() if use not in images}
    return {
        **{use: by_use[use] for use in images if use in by_use},
        "split": chip.split(options.test_share),
        "bands": ",".join(letters),
        "gsd_m": chip.source.gsd_m,
        "white": 255.0 if options.layout == "cuhk-cr" else chip.source.white,
        "ccp": round(float(seen.cloud_mask.mean()), 6),
        "about": {
            "seed": options.seed,
            "source": Path(chip.source.scene.path).name,
            "window": [chip.window.row, chip.window.col, *chip.window.shape],
            **others,
            "sky": asdict(sky),
        },
    }


def _roles(chip: Chip) -> tuple[str, ...]:
    return chip.source.scene.bands.data_roles


def _files(
    chip: Chip, options: PairOptions, dn: NDArray[Any], clear: NDArray[np.float32], seen: Simulated
) -> Iterator[tuple[str, tuple[str, bytes]]]:
    """Relative name, use and bytes of each file of a chip."""
    split, grid, roles = chip.split(options.test_share), chip_grid(chip), _roles(chip)
    if options.layout == "folders":
        # A bright roof may exceed white; it must not be cut where no cloud is.
        top = min(max(chip.source.white, float(dn.max())), float(np.iinfo(dn.dtype).max))
        cloudy = _quantised(seen.cloudy, chip.source.white, top).astype(dn.dtype)
        for use, pixels in (("cloudy", cloudy), ("clear", dn)):
            yield f"{split}/{use}/{chip.name}.tif", (use, tiff_bytes(pixels, grid, roles))
    else:
        images = {
            use: _quantised(image, 255.0, 255.0).astype(np.uint8)
            for use, image in (("cloudy", seen.cloudy), ("clear", clear))
        }
        names = png_names(options.layout, split, chip.name, "nir" in roles)
        for use, data in png_files(names, images, roles).items():
            yield names[use], (use, data)
    if options.truth:
        mask = seen.cloud_mask[None].astype(np.uint8)
        yield f"{split}/mask/{chip.name}.tif", ("mask", tiff_bytes(mask, grid, ("cloudy",)))
        depth = tiff_bytes(seen.thickness[None], grid, ("optical thickness",))
        yield f"{split}/thickness/{chip.name}.tif", ("thickness", depth)


def _quantised(image: NDArray[np.float32], white: float, top: float) -> NDArray[np.float64]:
    """Whole numbers from 0 to ``top``."""
    return np.rint(np.clip(image.astype(np.float64) * white, 0.0, top))


def _job_text(chips: Sequence[Chip], options: PairOptions) -> str:
    """Everything that decides the bytes of the set, as JSON."""
    images = {}
    for source in {chip.source.key: chip.source for chip in chips}.values():
        images[source.key] = {
            "bands": ",".join(source.scene.bands.roles),
            "file": raster_mark(source.scene.path),
        }
    job = {"decr": __version__, "options": asdict(options), "images": images}
    return json.dumps(job, indent=1, sort_keys=True)
