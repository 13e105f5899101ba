"""Cloud coverage of a scene: two streamed passes, then counts of whole pixels.

The first pass is the survey that `decr declouds` begins with. The second counts pixels by tile and
by feature, and writes the rasters.

Source -> `survey_scene` (probabilities of cells) -> `cloud_cells` (which are cloudy) -> `Count`
(pixels) -> `SceneCcp`. `decr.pipeline.ccp_many` goes from image to image, `ccp_files` writes.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

import decr
from decr.cloud.coverage import DENOMINATOR, POLARITY, Coverage, definition
from decr.cloud.detector import Detector
from decr.config import CcpConfig, mask_named
from decr.errors import OutputError, SceneError
from decr.files import scratch_folder, writable_folder
from decr.geo.features import read_features, why_missed
from decr.geo.gdal import gdal_environment
from decr.geo.grid import PixelGrid, Window
from decr.geo.layers import (
    BLOCK_PX,
    Layer,
    LayerWriter,
    block_windows,
    is_ours_or_torn,
    layer_writer,
    rpcs_of,
)
from decr.geo.mask_file import MaskClasses
from decr.geo.opening import local_files, without_keys
from decr.geo.scene import Scene, open_scene, overview_factors, overview_of, reader
from decr.pipeline.ccp_count import FULL_BYTE, Count, Tiles, check_tiles, quicklook
from decr.pipeline.ccp_sources import LAYERS, Source, mask_of
from decr.pipeline.cells import CloudCells, check_metres, cloud_cells
from decr.pipeline.engine import Engine
from decr.pipeline.networks import DetectorChoice, detector_of
from decr.pipeline.range import ALL_NODATA, radiometry_of
from decr.pipeline.survey import MaskSource, survey_factor, survey_scene
from decr.pipeline.words import warn
from decr.progress import OnProgress, silent
from decr.radiometry import Radiometry, for_detector, of_bytes

CHUNK_BYTES = 2**27
"""Of the scene's pixels, that the second pass holds at a time."""

MISSED = "features missed"
"""The fact that says why, of a scene that none of the features touches."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class SceneCcp:
    """Cloud coverage of one scene.

    Attributes
    ----------
    name, path, group
        What it is called, where it lies (of an array: ""), and its split ("train", "test"...), if
        it has one.
    grid
        The pixels that were counted: the scene's, or those of an overview.
    tiles
        Counts by tile.
    features
        (name, counts) of each feature of the vector file, in its order.
    facts
        Detector, threshold, definition and all else that the numbers rest on, as text.
    file_px
        Pixels of the file in each that was counted: above 1 if those are an overview's, and with a
        fraction if that does not divide the file.
    quicklook, overlay
        (h, w, 3) and (h, w) uint8 for people, as `decr.report.values.SceneReport` has them; None if
        not asked for.
    """

    name: str
    path: str
    group: str | None
    grid: PixelGrid
    tiles: Tiles
    features: tuple[tuple[str, Coverage], ...]
    facts: Mapping[str, str]
    file_px: float = 1.0
    quicklook: Bytes | None = None
    overlay: Bytes | None = None

    @property
    def coverage(self) -> Coverage:
        """Counts of the whole scene."""
        return self.tiles.total

    @property
    def file_coverage(self) -> Coverage:
        """The same in pixels of the file: scenes of which other overviews were read add up."""
        counts, each = self.coverage, self.file_px
        thin = None if counts.thin_px is None else round(counts.thin_px * each)
        return Coverage(round(counts.cloudy_px * each), round(counts.valid_px * each), thin)

    @property
    def ccp(self) -> float:
        """Cloudy valid pixels / valid pixels, 0..1."""
        ccp = self.coverage.ccp
        assert ccp is not None  # a scene without a valid pixel is refused
        return ccp


@dataclass(frozen=True, slots=True, eq=False)
class Looking:
    """What the coverage of a scene is found with: one for all scenes of a run.

    Attributes
    ----------
    detector
        None where the user has masks.
    """

    config: CcpConfig
    detector: Detector | None
    engine: Engine


def looking(config: CcpConfig, engine: Engine) -> Looking:
    """Load the detector.

    Raises
    ------
    DecrError
        If it cannot be loaded.
    """
    if mask_named(config.detector) is not None:
        return Looking(config, None, engine)
    return Looking(config, detector_of(DetectorChoice(config.detector, config.device)), engine)


def scene_ccp(
    source: Source,
    look: Looking,
    folder: Path | None = None,
    quicklook_px: int | None = None,
    on_progress: OnProgress | None = None,
) -> SceneCcp:
    """Find the cloud coverage of one scene.

    Parameters
    ----------
    folder
        Where rasters go: NAME_mask.tif (1 cloudy, 0 clear, 255 no data; a second band for thin
        cloud where it is told), NAME_probability.tif, and NAME_weight.tif with a soft edge. None
        writes nothing.
    quicklook_px
        Longest side of a picture for people; None makes none.
    on_progress
        Called with ("survey", done, total), then ("count", done, total).

    Raises
    ------
    DecrError
        For anything the user can mend.
    """
    config = look.config
    with gdal_environment(), ExitStack() as stack:
        seen = _seen(source, look)
        check_tiles(source.path, seen.scene.grid, config.tile_px)
        check_metres(source.path, config, seen.pixel_m)
        told = on_progress or silent
        features = [] if config.aoi is None else read_features(config.aoi, seen.scene.grid)
        if folder is None:
            store = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="decr-")))
        else:
            stem = folder / source.name
            store = writable_folder(stem.parent) / f".{stem.name}.decr-ccp"
            stack.enter_context(scratch_folder(store, stem))
        survey = survey_scene(
            seen.scene,
            seen.radiometry,
            seen.detector,
            seen.k,
            config.threshold,
            look.engine,
            mask=seen.mask,
            store=store / "clouds.npy",
            on_progress=partial(told, "survey"),
        )
        if survey.valid_px == 0:
            raise SceneError(ALL_NODATA.format(source.path))
        shape = (seen.scene.grid.height, seen.scene.grid.width)
        cells = cloud_cells(survey, config, shape, seen.pixel_m, store)
        facts = _facts(seen, look, cells)
        if config.aoi is not None:
            why = why_missed(config.aoi, features, seen.scene.grid)
            short = _short(config.aoi)
            facts |= {} if why is None else {MISSED: why.replace(str(config.aoi), short)}
        layers = []
        if folder is not None:
            outs = {kind: _raster(stem, kind, seen) for kind in LAYERS}
            if not cells.soft and is_ours_or_torn(weight := outs.pop("weight")):
                weight.unlink()  # an earlier run's
            layers = [
                (kind, stack.enter_context(_layer(out, store, kind, seen, cells, facts)))
                for kind, out in outs.items()
            ]
        pixels = stack.enter_context(reader(seen.scene))
        count = Count(pixels, cells, config.tile_px, features, layers, quicklook_px)
        chunks = list(_chunks(seen.scene))
        for done, window in enumerate(chunks, 1):
            count.add(window)
            told("count", done, len(chunks))
        picture = None
        if quicklook_px is not None and count.overlay is not None:
            picture = quicklook(pixels, quicklook_px, count.overlay)
        named = zip((feature.name for feature in features), count.features, strict=True)
        return SceneCcp(
            source.name,
            source.path,
            source.group,
            seen.scene.grid,
            count.tiles,
            tuple(named),
            facts,
            seen.file_px,
            picture,
            count.overlay,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """A scene, and the choices made for it before any pixel is looked at.

    Attributes
    ----------
    read, file_px
        What of the file is read, for people, and its pixels in each of the scene's.
    pixel_m
        Metres along both sides of a pixel, by the scene or as stated; None if nobody says.
    k
        Scene pixels per cell.
    """

    scene: Scene
    read: str
    file_px: float
    pixel_m: tuple[float, float] | None
    detector: Detector
    mask: MaskSource | None
    radiometry: Radiometry
    k: int

    @property
    def gsd_m(self) -> float | None:
        """Mean of `pixel_m`."""
        return None if self.pixel_m is None else (self.pixel_m[0] + self.pixel_m[1]) / 2


def _seen(source: Source, look: Looking) -> _Seen:
    config, detector = look.config, look.detector
    scene, read, file_px = _opened(source, look)
    stated = config.gsd_m or source.gsd_m
    if stated is not None:
        stated *= math.sqrt(file_px)
    gsd_m = scene.grid.gsd_m or stated
    pixel_m = scene.grid.pixel_m or (None if stated is None else (stated, stated))
    known_note = 1 if scene.grid.gsd_m is None else 0  # what it says of its GSD comes last
    for warning in scene.warnings[: len(scene.warnings) - known_note]:
        warn(warning, stacklevel=3)
    if detector is None:
        masks = mask_named(config.detector)
        assert masks is not None
        mask = MaskSource(mask_of(masks, source), MaskClasses(config.cloudy, config.thin))
        # survey_scene wants a detector and a radiometry, and with a mask looks at neither.
        nobody = Detector(f"file:{_short(masks)}", "", (), 0.0, _no_probability)
        radiometry = of_bytes(scene.count)
        return _Seen(scene, read, file_px, pixel_m, nobody, mask, radiometry, 1)
    k = survey_factor(scene, detector, stated_gsd_m=gsd_m)
    detector = detector.for_scene(k, scene.bands.fed_roles)
    scene.feed(detector.bands, "detector")  # before other words of it, and naming the file
    _check_gsd(scene, detector, gsd_m, k)
    radiometry = for_detector(radiometry_of(scene, config.dn_range, detector.ranges), scene.dtype)
    return _Seen(scene, read, file_px, pixel_m, detector, None, radiometry, k)


def _short(file: Path | str) -> str:
    """The name of a file in facts, which are passed on."""
    return PurePosixPath(without_keys(str(file))).name


def _no_probability(views: NDArray[np.float32]) -> NDArray[np.float32]:
    raise AssertionError("a mask is read, nothing is detected")


def _opened(source: Source, look: Looking) -> tuple[Scene, str, float]:
    """The scene, or the coarsest of its overviews that is fine enough; which, in words.

    And how many pixels of the file are in each of these.
    """
    scene = open_scene(source.path, look.config.bands)
    if not look.config.fast or look.detector is None:
        return scene, "every pixel", 1.0
    k = survey_factor(scene, look.detector, stated_gsd_m=look.config.gsd_m or source.gsd_m)
    factors = overview_factors(source.path)
    fit = [level for level, factor in enumerate(factors) if factor <= k]
    if not fit:
        warn(
            f"{source.path}: has no overview that is fine enough; every pixel is read "
            f"(gdaladdo makes overviews)",
            stacklevel=4,
        )
        return scene, "every pixel, for want of overviews", 1.0
    words = f"overview 1:{factors[fit[-1]]} of the file; pixels are its pixels"
    overview = overview_of(scene, fit[-1])
    return overview, words, scene.grid.window.area / overview.grid.window.area


def _check_gsd(scene: Scene, detector: Detector, gsd_m: float | None, k: int) -> None:
    """Warn where the detector sees what it was not made for."""
    if gsd_m is None:
        warn(
            "images that do not say how large their pixels are are looked at nearly pixel by "
            "pixel; say it with --gsd if you know it",
            stacklevel=4,
        )
        return
    low, high = detector.gsd_range_m
    if not low * 0.99 <= gsd_m * k <= high * 1.01:
        warn(
            f"{scene.path}: detector {detector.name} sees pixels of {gsd_m * k:.3g} m, but was "
            f"made for {low:g} to {high:g} m; trust its clouds less",
            stacklevel=4,
        )


def _facts(seen: _Seen, look: Looking, cells: CloudCells) -> dict[str, str]:
    """What the numbers rest on; no times and no folders, so that equal runs give equal bytes."""
    config, grid, radiometry = look.config, seen.scene.grid, seen.radiometry
    facts = {
        "definition": definition(
            config.threshold if seen.mask is None else None,
            config.min_object_m2,
            config.margin_m,
            cells.tells_thin,
        ),
        "polarity": POLARITY,
        "denominator": DENOMINATOR,
        "detector": seen.detector.name,
        "detector version": seen.detector.version or "none",
        "threshold": f"{config.threshold:g}",
        "smallest cloud": f"{config.min_object_m2:g} m2",
        "margin": f"{config.margin_m:g} m",
        "soft edge": f"{config.feather_m:g} m",
        "cell": f"{seen.k} x {seen.k} pixels",
        "tile": f"{config.tile_px} pixels",
        "read": seen.read,
        "GSD": "unknown" if seen.gsd_m is None else f"{seen.gsd_m:.4g} m",
        "CRS": "none" if grid.crs is None else grid.crs.to_string()[:60],
        "decr": decr.__version__,
    }
    if config.aoi is not None:
        facts["features of"] = _short(config.aoi)
    if seen.mask is None:
        facts["DN range"] = f"{radiometry.low[0]:g} to {radiometry.high[0]:g} ({radiometry.source})"
    elif config.cloudy or config.thin:
        facts["cloudy numbers"] = ", ".join(map(str, config.cloudy)) or "all but 0"
        facts["thin numbers"] = ", ".join(map(str, config.thin)) or "none"
    return facts


def _raster(stem: Path, kind: str, seen: _Seen) -> Path:
    """The name of a raster of one kind, which must not be a file that is read."""
    out = stem.with_name(f"{stem.name}_{kind}.tif")
    read = [seen.scene.path] if seen.mask is None else [seen.scene.path, str(seen.mask.path)]
    if out.exists() and any(out.samefile(file) for path in read for file in local_files(path)):
        raise OutputError(f"{out}: is read by this very run; give another folder")
    return out


def _layer(
    out: Path, store: Path, kind: str, seen: _Seen, cells: CloudCells, facts: Mapping[str, str]
) -> AbstractContextManager[LayerWriter]:
    """An open raster of one kind."""
    bands = {
        "mask": ["cloudy", "thin"][: 2 if cells.tells_thin else 1],
        "probability": ["probability of cloud"],
        "weight": ["weight of the soft edge"],
    }[kind]
    scale = 1.0 if kind == "mask" else 1 / FULL_BYTE
    tags = {key.upper().replace(" ", "_"): value for key, value in facts.items()}
    layer = Layer(bands, scale, tags, rpcs=rpcs_of(seen.scene))
    return layer_writer(out, seen.scene.grid, layer, store)


def _chunks(scene: Scene) -> Iterator[Window]:
    """Windows that partition a scene, on the storage blocks of the rasters that are written."""
    column_bytes = BLOCK_PX * scene.count * np.dtype(scene.dtype).itemsize
    cols = max(BLOCK_PX, CHUNK_BYTES // column_bytes // BLOCK_PX * BLOCK_PX)
    return block_windows(scene.grid, cols)
