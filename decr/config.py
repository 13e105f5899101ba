"""Options of restoring and of counting clouds as frozen dataclasses, checked when they are made."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from decr.errors import ConfigError

Precision = Literal["auto", "float32", "bfloat16"]
WorkGsd = Literal["native", "model"]


@dataclass(frozen=True, slots=True)
class DecloudConfig:
    """How a scene is restored.

    Attributes
    ----------
    model
        "embedded", the name of an embedded bundle or of an installed package's model, or a path.
    detector
        "compact" (embedded weights), "threshold", "cloudnet", "omnicloudmask", the name of an
        installed package's, the path of a detector's bundle, or "file:MASK", which is the same as
        ``cloud_mask``.
    bands
        Roles of the scene's bands in file order, such as "b,g,r,n"; None reads them from the file.
    dn_range
        DN that map to -1 and +1; None asks the model card, then the scene.
    tile_px, overlap_px
        Inference tile and how far neighbours overlap.
    steps, prior_floor
        DDIM steps and the paper's eta; None takes the model card's.
    seed
        Of the noise field.
    full
        Restore every valid pixel, as the paper does, not only cloudy ones.
    cloud_mask
        A raster whose non-zero pixels are cloudy, instead of a detector; as str if it is a /vsi
        path or URL. Exactly these may change if ``margin_m`` and ``feather_m`` are 0; else the
        detector's cells that hold one, grown and faded.
    threshold
        Cloud probability from which a pixel counts as cloudy.
    margin_m, feather_m
        Clouds grow by the margin, then the change fades out over the feather, metres; on a scene
        of large pixels at least 3 and 4 pixels, unless 0.
    ground
        Move restored tiles towards the level of clear ground nearby; see `decr.pipeline.ground`.
        Without effect where every pixel is restored (``full``), for no ground is known to be clear.
    aoi
        GeoJSON that limits what is restored; the whole scene is read and written all the same.
    error_map
        Also write how far off restored pixels are to be expected; see
        `decr.pipeline.error_map`.
    gsd
        "native" works on the scene's pixels, "model" at the model's ground sampling distance.
    batch
        Tiles handed to the model at once, for each that it computes side by side. Results do not
        depend on it.
    device
        "auto", "cpu" or "cuda".
    precision
        "auto" is bfloat16 where the device has units for it, else float32.
    compile
        Compile the networks with torch before the first tile. Takes minutes and needs a C++
        compiler; on a CPU in float32 it was measured to be slower.
    """

    model: Path | str = "embedded"
    detector: str = "compact"
    bands: str | None = None
    dn_range: tuple[float, float] | None = None
    tile_px: int = 256
    overlap_px: int = 64
    steps: int | None = None
    prior_floor: float | None = None
    seed: int = 0
    full: bool = False
    cloud_mask: Path | str | None = None
    threshold: float = 0.5
    margin_m: float = 12.0
    feather_m: float = 16.0
    ground: bool = True
    aoi: Path | str | None = None
    error_map: bool = False
    gsd: WorkGsd = "native"
    batch: int = 4
    device: str = "auto"
    precision: Precision = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        _check_kinds(self)
        _as_flags(self, "full", "ground", "error_map", "compile")
        _check(
            isinstance(self.model, str | os.PathLike),
            f"model must be a name or the path of a bundle file, not {self.model!r}",
        )
        mask = mask_named(self.detector)
        # One number has one name, in tags and in what decides whether work may go on.
        _as_numbers(self, float, "threshold", "prior_floor", "margin_m", "feather_m")
        _as_numbers(self, operator.index, "tile_px", "overlap_px", "steps", "seed", "batch")
        for name, known in (("gsd", get_args(WorkGsd)), ("precision", get_args(Precision))):
            value = getattr(self, name)
            _check(value in known, f"{name} must be one of {', '.join(known)}, not {value!r}")
        if self.cloud_mask is not None:
            object.__setattr__(self, "cloud_mask", _mask_path(self.cloud_mask))
        if mask is not None:
            _check(
                self.cloud_mask is None or _place(self.cloud_mask) == _place(mask),
                f"two cloud masks, {mask} and {self.cloud_mask}; drop one of them",
            )
            # One way to say it, so that both give the same bytes.
            object.__setattr__(self, "cloud_mask", mask)
            object.__setattr__(self, "detector", "compact")
        _check(
            32 <= self.tile_px <= 4096 and self.tile_px % 16 == 0,
            f"tile must be a multiple of 16 from 32 to 4096 px, not {self.tile_px}",
        )
        _check(
            0 <= self.overlap_px <= self.tile_px // 2,
            f"overlap must lie in 0..{self.tile_px // 2} px for tiles of {self.tile_px} px, "
            f"not {self.overlap_px}",
        )
        _check(
            self.steps is None or 1 <= self.steps <= 1000,
            f"steps must lie in 1..1000, not {self.steps}",
        )
        _check(
            self.prior_floor is None or 0 <= self.prior_floor <= 1,
            f"the prior floor must lie in 0..1, not {self.prior_floor}",
        )
        _check(0 < self.threshold <= 1, f"the threshold must lie in (0, 1], not {self.threshold}")
        _check(
            0 <= self.margin_m < math.inf and 0 <= self.feather_m < math.inf,
            "the cloud margin and feather must be metres from 0 up, "
            f"not {self.margin_m} and {self.feather_m}",
        )
        _check(self.batch >= 1, f"batch must be at least 1, not {self.batch}")
        _check(
            self.dn_range is None or self.dn_range[0] < self.dn_range[1],
            f"the DN range {self.dn_range} is empty; the first number must be the smaller",
        )
        _check(
            not (self.full and self.cloud_mask is not None),
            "full restores every pixel, so a cloud mask would have no effect; drop one of them",
        )


@dataclass(frozen=True, slots=True)
class CcpConfig:
    """How cloud coverage (CCP) is found.

    Attributes
    ----------
    detector, bands, device
        As in `DecloudConfig`; with "file:FOLDER" each scene has its mask there under its own name.
    dn_range
        DN that the detector sees as 0 and 1; None asks the detector, then the scene.
    threshold
        Cloud probability from which a pixel counts as cloudy.
    min_object_m2
        Clouds of less ground than this are left out.
    margin_m
        Clouds grow by so many metres, and by 3 scene pixels at least, unless 0.
    feather_m
        Over how many metres beyond the margin a soft edge falls from 1 to 0, and 4 pixels at least,
        unless 0. It makes a raster of weights; coverage does not depend on it.
    tile_px
        Side of the square tiles that CCP is told for, scene pixels.
    aoi
        A vector file; CCP is told for each of its features.
    gsd_m
        Metres per pixel of images that do not say.
    fast
        Read the coarsest overview that is still fine enough for the detector.
    cloudy, thin
        With "file:": the mask's numbers for cloud (empty: all but 0), and for thin cloud.
    """

    detector: str = "compact"
    bands: str | None = None
    dn_range: tuple[float, float] | None = None
    threshold: float = 0.5
    min_object_m2: float = 0.0
    margin_m: float = 0.0
    feather_m: float = 0.0
    tile_px: int = 512
    aoi: Path | str | None = None
    gsd_m: float | None = None
    fast: bool = False
    cloudy: Sequence[int] = ()
    thin: Sequence[int] = ()
    device: str = "auto"

    def __post_init__(self) -> None:
        _check_kinds(self)
        _as_flags(self, "fast")
        for name in ("cloudy", "thin"):
            object.__setattr__(self, name, _whole_numbers(name, getattr(self, name)))
        mask = mask_named(self.detector)
        _as_numbers(self, float, "threshold", "min_object_m2", "margin_m", "feather_m", "gsd_m")
        _as_numbers(self, operator.index, "tile_px")
        _check(0 < self.threshold <= 1, f"the threshold must lie in (0, 1], not {self.threshold}")
        for name in ("min_object_m2", "margin_m", "feather_m"):
            value = getattr(self, name)
            _check(0 <= value < math.inf, f"{name} must not be negative or endless, not {value}")
        _check(
            1 <= self.tile_px < 2**31,
            f"tiles must have at least 1 px, and less than 2 billion, not {self.tile_px}",
        )
        _check(
            self.gsd_m is None or 0 < self.gsd_m < math.inf,
            f"the GSD must be a number of metres above 0, not {self.gsd_m}",
        )
        _check(
            mask is not None or not (self.cloudy or self.thin),
            "which numbers are cloudy or thin can be said of a mask only: --detector file:MASK",
        )
        _check(
            not (mask is not None and self.fast),
            "a mask is read pixel by pixel, so overviews cannot be used; drop fast",
        )


_Options = TypeVar("_Options", DecloudConfig, CcpConfig)


def options(kind: type[_Options], given: _Options | None) -> _Options:
    """The options given, or the defaults.

    Raises
    ------
    ConfigError
        If they are something else, such as those of another function.

    Examples
    --------
    >>> options(CcpConfig, None).detector
    'compact'
    """
    if given is None:
        return kind()
    _check(
        isinstance(given, kind),
        f"config must be a decr.{kind.__name__}, not a {type(given).__name__}; "
        f"write decr.{kind.__name__}(...) with the options",
    )
    return given


def mask_named(detector: str) -> str | None:
    """The mask that a detector "file:MASK" names; None for all other detectors.

    Examples
    --------
    >>> mask_named("file:clouds.tif"), mask_named("compact")
    ('clouds.tif', None)
    """
    kind, colon, name = detector.partition(":")
    if kind != "file" or not colon:
        return None
    _check(bool(name), "the detector file: names no mask; write file:MASK")
    return name


def _mask_path(mask: Path | str) -> str:
    try:
        return os.fspath(mask)
    except TypeError:
        raise ConfigError(
            f"cloud_mask must be the path of a raster, not a {type(mask).__name__}; write an array "
            f"to a file first: mask.astype('uint8').rio.to_raster('mask.tif')"
        ) from None


def _place(mask: Path | str) -> str:
    """A mask's name, alike for one file however it is written."""
    name = os.fspath(mask)
    return name if name.startswith("/vsi") or "://" in name else os.path.normpath(name)


def _check_kinds(config: DecloudConfig | CcpConfig) -> None:
    """Check what both have and is no single number; DN are made floats."""
    for name in ("detector", "bands", "device"):
        value = getattr(config, name)
        absent = value is None and name == "bands"
        _check(absent or isinstance(value, str), f"{name} must be text, not {value!r}")
    _check(
        config.aoi is None or isinstance(config.aoi, str | os.PathLike),
        f"aoi must be the path of a vector file, not a {type(config.aoi).__name__}; write a "
        f"shapely geometry to one first: Path('aoi.geojson').write_text(shapely.to_geojson(area))",
    )
    if config.dn_range is not None:
        try:
            low, high = (float(dn) for dn in config.dn_range)
        except (TypeError, ValueError, OverflowError):
            told = f"dn_range must be two numbers (low, high), not {config.dn_range!r}"
            raise ConfigError(told) from None
        object.__setattr__(config, "dn_range", (low, high))


def _as_flags(config: Any, *names: str) -> None:
    """Make True or False of numpy's; text is neither, whatever it says."""
    for name in names:
        value = getattr(config, name)
        _check(value in (True, False), f"{name} must be True or False, not {value!r}")
        object.__setattr__(config, name, bool(value))


def _whole_numbers(name: str, value: Any) -> tuple[int, ...]:
    try:
        return tuple(operator.index(number) for number in value)
    except TypeError:
        raise ConfigError(
            f"{name} must be a mask's whole numbers, such as (1, 3), not {value!r}"
        ) from None


def _as_numbers(config: Any, kind: Callable[[Any], int | float], *names: str) -> None:
    """Make numbers of one kind of some options, unless they are None."""
    for name in names:
        value = getattr(config, name)
        if value is None and name in ("steps", "prior_floor", "gsd_m"):
            continue
        try:
            object.__setattr__(config, name, kind(value))
        except (TypeError, ValueError, OverflowError):
            whole = "whole " if kind is operator.index else ""
            raise ConfigError(f"{name} must be a {whole}number, not {value!r}") from None


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)
