"""Cloud coverage of a scene: two streamed passes, then counts of whole pixels.

The first pass is the survey that `decr declouds` begins with. The second counts pixels by tile and
by feature, and writes the rasters.

Source -> `prepare_ccp` -> `survey_scene` (probabilities of cells) -> `cloud_cells` (which are
cloudy) -> `Count` (pixels) -> `SceneCcp`. `decr.coverage.many` goes from image to image,
`report_files` writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import decr
from decr.cloud.coverage import DENOMINATOR, POLARITY, Coverage, definition
from decr.cloud.detector import Detector
from decr.config import CcpConfig, mask_named
from decr.coverage.cells import CloudCells, check_metres, cloud_cells
from decr.coverage.count import FULL_BYTE, Count, Tiles, check_tiles, picture
from decr.coverage.prepare import PreparedCcp, name_in_facts, prepare_ccp
from decr.coverage.sources import LAYERS, Source
from decr.errors import OutputError, SceneError
from decr.files import scratch_folder, writable_folder
from decr.geo.features import VectorFile, read_features, read_vectors, why_missed
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
from decr.geo.reader import reader
from decr.geo.scene import Scene
from decr.geo.sources import check_states, local_files
from decr.pipeline.engine import Engine
from decr.pipeline.networks import DetectorChoice, detector_of
from decr.pipeline.range import ALL_NODATA
from decr.pipeline.survey import survey_scene
from decr.progress import OnProgress, silent

CHUNK_BYTES = 2**27
"""Of the scene's pixels, that the second pass holds at a time."""

MISSED = "features missed"
"""The fact that says why, of a scene that none of the features touches."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
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
    vectors
        The features of ``config.aoi``, if it is given.
    """

    config: CcpConfig
    detector: Detector | None
    engine: Engine
    vectors: VectorFile | None


def looking(config: CcpConfig, engine: Engine) -> Looking:
    """Load the detector, and read the features.

    Raises
    ------
    DecrError
        If either cannot be done.
    """
    vectors = None if config.aoi is None else read_vectors(config.aoi)
    masked = mask_named(config.detector) is not None
    detector = None if masked else detector_of(DetectorChoice(config.detector, config.device))
    return Looking(config, detector, engine, vectors)


def scene_ccp(
    source: Source,
    look: Looking,
    folder: Path | None = None,
    picture_side_px: int | None = None,
    on_progress: OnProgress | None = None,
) -> SceneCcp:
    """Find the cloud coverage of one scene.

    Parameters
    ----------
    folder
        Where rasters go: NAME_mask.tif (1 cloudy, 0 clear, 255 no data; a second band for thin
        cloud where it is told), NAME_probability.tif, and NAME_weight.tif with a soft edge. None
        writes nothing.
    picture_side_px
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
        ready = prepare_ccp(source, config, look.detector)
        check_tiles(source.path, ready.scene.grid, config.tile_px)
        check_metres(source.path, config, ready.pixel_m)
        told = on_progress or silent
        features = [] if look.vectors is None else read_features(look.vectors, ready.scene.grid)
        store = None
        if folder is not None:
            stem = folder / source.name
            store = writable_folder(stem.parent) / f".{stem.name}.decr-ccp"
            stack.enter_context(scratch_folder(store, stem))
        survey = survey_scene(
            ready.scene,
            ready.radiometry,
            ready.detector,
            ready.k,
            config.threshold,
            look.engine,
            mask=ready.mask,
            store=store,
            told=partial(told, "survey"),
        )
        if survey.valid_px == 0:
            raise SceneError(ALL_NODATA.format(source.path))
        shape = ready.scene.grid.window.shape
        cells = cloud_cells(survey, config, shape, ready.pixel_m, store)
        facts = _facts(ready, config, cells)
        if look.vectors is not None:
            why = why_missed(look.vectors, features, ready.scene.grid)
            path = look.vectors.path
            facts |= {} if why is None else {MISSED: why.replace(path, name_in_facts(path))}
        layers = []
        if store is not None:
            outs = {kind: _raster(stem, kind, ready) for kind in LAYERS}
            if not cells.soft and is_ours_or_torn(weight := outs.pop("weight")):
                weight.unlink()  # an earlier run's
            layers = [
                (kind, stack.enter_context(_layer(out, store, kind, ready, cells, facts)))
                for kind, out in outs.items()
            ]
        pixels = stack.enter_context(reader(ready.scene))
        count = Count(pixels, cells, config.tile_px, features, layers, picture_side_px)
        chunks = list(_chunks(ready.scene))
        for done, window in enumerate(chunks, 1):
            count.add(window)
            told("count", done, len(chunks))
        quicklook = None
        if picture_side_px is not None and count.overlay is not None:
            quicklook = picture(pixels, picture_side_px, count.overlay)
        check_states(ready.scene.files)  # of one replaced meanwhile parts would be counted
        named = zip((feature.name for feature in features), count.features, strict=True)
        return SceneCcp(
            name=source.name,
            path=source.path,
            group=source.group,
            grid=ready.scene.grid,
            tiles=count.tiles,
            features=tuple(named),
            facts=facts,
            file_px=ready.file_px,
            quicklook=quicklook,
            overlay=count.overlay,
        )


def _facts(ready: PreparedCcp, config: CcpConfig, cells: CloudCells) -> dict[str, str]:
    """What the numbers rest on; no times and no folders, so that equal runs give equal bytes."""
    grid, radiometry = ready.scene.grid, ready.radiometry
    facts = {
        "definition": definition(
            config.threshold if ready.mask is None else None,
            config.min_object_m2,
            config.margin_m,
            cells.tells_thin,
        ),
        "polarity": POLARITY,
        "denominator": DENOMINATOR,
        "detector": ready.detector.name,
        "detector version": ready.detector.version or "none",
        "threshold": f"{config.threshold:g}",
        "smallest cloud": f"{config.min_object_m2:g} m2",
        "margin": f"{config.margin_m:g} m",
        "soft edge": f"{config.feather_m:g} m",
        "cell": f"{ready.k} x {ready.k} pixels",
        "tile": f"{config.tile_px} pixels",
        "read": ready.read,
        "GSD": "unknown" if ready.gsd_m is None else f"{ready.gsd_m:.4g} m",
        "CRS": "none" if grid.crs is None else grid.crs.to_string()[:60],
        "decr": decr.__version__,
    }
    if config.aoi is not None:
        facts["features of"] = name_in_facts(config.aoi)
    if ready.mask is None:
        facts["DN range"] = f"{radiometry.low[0]:g} to {radiometry.high[0]:g} ({radiometry.source})"
    elif config.cloudy or config.thin:
        facts["cloudy numbers"] = ", ".join(map(str, config.cloudy)) or "all but 0"
        facts["thin numbers"] = ", ".join(map(str, config.thin)) or "none"
    return facts


def _raster(stem: Path, kind: str, ready: PreparedCcp) -> Path:
    """The name of a raster of one kind, which must not be a file that is read."""
    out = stem.with_name(f"{stem.name}_{kind}.tif")
    read = [ready.scene.path] if ready.mask is None else [ready.scene.path, str(ready.mask.path)]
    if out.exists() and any(out.samefile(file) for path in read for file in local_files(path)):
        raise OutputError(f"{out}: is read by this very run; give another folder")
    return out


def _layer(
    out: Path,
    store: Path,
    kind: str,
    ready: PreparedCcp,
    cells: CloudCells,
    facts: Mapping[str, str],
) -> AbstractContextManager[LayerWriter]:
    """An open raster of one kind."""
    bands = {
        "mask": ["cloudy", "thin"][: 2 if cells.tells_thin else 1],
        "probability": ["probability of cloud"],
        "weight": ["weight of the soft edge"],
    }[kind]
    scale = 1.0 if kind == "mask" else 1 / FULL_BYTE
    tags = {key.upper().replace(" ", "_"): value for key, value in facts.items()}
    layer = Layer(bands, scale, tags, rpcs=rpcs_of(ready.scene))
    return layer_writer(out, ready.scene.grid, layer, store)


def _chunks(scene: Scene) -> Iterator[Window]:
    """Windows that partition a scene, on the storage blocks of the rasters that are written."""
    column_bytes = BLOCK_PX * scene.count * np.dtype(scene.dtype).itemsize
    cols = max(BLOCK_PX, CHUNK_BYTES // column_bytes // BLOCK_PX * BLOCK_PX)
    return block_windows(scene.grid, cols)
