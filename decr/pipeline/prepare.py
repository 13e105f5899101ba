"""All choices made for a scene before any pixel is restored: model, detector, radiometry, grid."""

from __future__ import annotations

from dataclasses import dataclass, replace

from decr.calibration import ErrorTable
from decr.cloud.detector import Detector
from decr.config import DecloudConfig
from decr.device import resolved
from decr.errors import ConfigError, SceneError
from decr.geo.aoi import Aoi, read_aoi
from decr.geo.frame import doubt_of_frame
from decr.geo.lattice import Blocks, Lattice
from decr.geo.missing import nodata_differs
from decr.geo.names import absolute_name
from decr.geo.opening import opened
from decr.geo.scene import Scene, open_scene
from decr.geo.sources import FileState, local_files, state_of
from decr.pipeline.compose import Composer
from decr.pipeline.engine import Engine
from decr.pipeline.networks import (
    DetectorChoice,
    Named,
    detector_of,
    in_any_folder,
    model_choice,
    named,
    restorer_of,
)
from decr.pipeline.range import radiometry_of
from decr.pipeline.survey import survey_factor
from decr.pipeline.words import warn
from decr.plugins import detector_plugin, model_plugin
from decr.predictor import Restorer
from decr.radiometry import Radiometry, for_detector, shows_reflectance

BLOCK_STRIDES = 6


_WIDE_PX = 16_384
"""Width from which rows as blocks of a file are told: time goes with its square."""


_FROM_THE_TOP = {"PNG", "JPEG", "GIF", "BIGGIF", "WEBP"}
"""GDAL's drivers of formats of which no part can be decoded without all that is above it."""
_MANY_PX = 2**26
"""Pixels from which that is told: time goes with their square."""


_STATES = 1000
"""Files of a raster whose states travel: an array may have a million, and a few tell a copy."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Prepared:
    """All choices made for a scene, before any pixel is restored.

    Attributes
    ----------
    restorer
        This process's own.
    detector, k
        What looks at this scene, in cells of ``k`` x ``k`` scene pixels; it may be a part of the
        one in ``networks``.
    networks
        What tasks carry of restorer and detector, in this order: these themselves, or their names,
        by which another process loads its own. This process needs both networks anyway.
    detector_radiometry
        Over all bands; the detector may be shown another range than the model.
    composer
        What feeds the model, and the scene's range.
    blocks, factor
        The tile lattice on the work grid, cut into blocks, and scene pixels per pixel of that grid
        along each axis.
    aoi
        What limits the work, if anything does.
    """

    scene: Scene
    config: DecloudConfig
    restorer: Restorer
    detector: Detector
    k: int
    networks: tuple[Restorer | Named, Detector | Named]
    detector_radiometry: Radiometry
    composer: Composer
    blocks: Blocks
    factor: int
    aoi: Aoi | None


def prepare(
    path: str,
    config: DecloudConfig,
    restorer: Restorer | None = None,
    engine: Engine | None = None,
) -> Prepared:
    """Open the scene and settle model, detector, bands, radiometry and grid.

    Raises
    ------
    DecrError
        For anything the user can mend: see `decr.errors`.
    """
    _check_given(restorer, engine)
    scene = open_scene(path, config.bands)
    _tell_doubts(scene, config.tile_px)
    if engine is not None:
        scene = replace(scene, files=_states(scene.path, config, engine.elsewhere))
    networks, restorer, whole = _networks(config, "nir" in scene.bands.roles, restorer, engine)
    if config.steps == 1 and restorer.settings.get("prior_floor", "1") != "1":
        warn(
            "a single step of diffusion leaves noise where it restores, for it takes the noise "
            "that it begins with for the image; choose 2 steps or more",
        )
    if config.error_map:
        table_of(restorer)
    factor = _work_factor(scene, config, restorer)
    feed = scene.feed(restorer.bands)
    radiometry = radiometry_of(scene, config.dn_range, restorer.ranges)
    k = survey_factor(scene, whole, restorer.gsd_m)
    seen = for_detector(radiometry, scene.range_dtype)
    detector = whole.for_scene(k, scene.bands.fed_roles)
    if config.dn_range is None and scene.range_dtype in detector.ranges:
        seen = radiometry_of(scene, None, detector.ranges)
    if shows_reflectance(seen, scene.range_dtype):
        detector = detector.for_reflectance(scene.bands.fed_roles)
    height, width = -(-scene.grid.height // factor), -(-scene.grid.width // factor)
    blocks = Blocks(Lattice(height, width, config.tile_px, config.overlap_px), BLOCK_STRIDES)
    return Prepared(
        scene=scene,
        config=config,
        restorer=restorer,
        detector=detector,
        k=k,
        networks=networks,
        detector_radiometry=seen,
        composer=Composer(feed, radiometry, scene.nodata),
        blocks=blocks,
        factor=factor,
        aoi=None if config.aoi is None else read_aoi(config.aoi, scene.grid),
    )


def _tell_doubts(scene: Scene, tile_px: int) -> None:
    """Warn of what is guessed of a scene, of what a GeoTIFF says otherwise, and of slow files."""
    for warning in scene.warnings:
        warn(warning)
    if frame := doubt_of_frame(scene):
        warn(frame)
    if nodata_differs(scene.nodata, scene.bands):
        values = ", ".join("none" if value is None else f"{value:g}" for value in scene.nodata)
        warn(
            f"{scene.path}: nodata differs by band ({values}), and a GeoTIFF has one for all; the "
            "output has a mask in their place",
        )
    if scene.mask_kind == "per_band":
        warn(
            f"{scene.path}: bands have masks of their own, and a GeoTIFF has one for all; in the "
            "output a pixel is missing that is missing in one band",
        )
    slow = _slow_to_read(scene, tile_px)
    if slow is not None:
        warn(
            f"{scene.path}: {slow}; gdal_translate -co TILED=YES -co BIGTIFF=YES makes one that "
            "takes less time",
        )


def _check_given(restorer: object, engine: object) -> None:
    """Refuse what is no restorer or engine, such as a name or a network."""
    for name, given, kind, home in (
        ("restorer", restorer, Restorer, "decr.predictor.load_restorer(...) of a bundle file"),
        ("engine", engine, Engine, "decr.pipeline.cluster.open_engine(...)"),
    ):
        if given is not None and not isinstance(given, kind):
            raise ConfigError(
                f"{name} must be a {kind.__module__}.{kind.__name__}, not a "
                f"{type(given).__name__}; make one by {home}, or leave it out"
            )


def _slow_to_read(scene: Scene, tile_px: int) -> str | None:
    """How a file is stored, if that makes blocks of it cost much more time than their share."""
    rows, cols = scene.block_shape
    with opened(scene.path) as dataset:
        driver = dataset.driver
    if driver in _FROM_THE_TOP and scene.grid.window.area >= _MANY_PX:
        return (
            f"a {driver} of {scene.grid.window.area / 1e6:.0f} million pixels, decoded from its "
            "top for every block"
        )
    if cols >= _WIDE_PX and rows < tile_px // 2:
        return f"stored in rows of {cols} px, which are read many times over"
    return None


def _states(path: str, config: DecloudConfig, elsewhere: bool) -> tuple[FileState, ...]:
    """States of files on this machine that all blocks, in whatever process, must find alike."""
    found: list[FileState] = []
    for raster in (path, config.cloud_mask):
        files = [] if raster is None else local_files(absolute_name(str(raster)))
        relative = next((file for file in files if not file.is_absolute()), None)
        if elsewhere and relative is not None:
            raise ConfigError(
                f"{raster}: other processes would look for {relative} in their own folders; write "
                f"{relative.absolute()} in its place"
            )
        found += [state_of(str(file)) for file in files[:_STATES]]
    return tuple(found)


def _networks(
    config: DecloudConfig, nir: bool, restorer: Restorer | None, engine: Engine | None
) -> tuple[tuple[Restorer | Named, Detector | Named], Restorer, Detector]:
    """What tasks carry of restorer and detector, and the two themselves, as this process needs."""
    if engine is None or not engine.travels:
        restorer = restorer or restorer_of(model_choice(config, nir))
        detector = detector_of(DetectorChoice(config.detector, config.device))
        return (restorer, detector), restorer, detector
    if restorer is not None:
        raise ConfigError(
            "a restorer in memory cannot travel to other processes; offer it as an entry point of "
            "the group decr.models, or use one process"
        )
    # Workers may have other hardware than this process: theirs decides what "auto" means.
    device, precision = engine.ask(resolved, config.device, config.precision)
    choice = replace(model_choice(config, nir), device=device, precision=precision)
    choice = replace(choice, model=in_any_folder(choice.model, model_plugin))
    detector_name = in_any_folder(config.detector, detector_plugin)
    watched = DetectorChoice(detector_name, device)
    restorer = restorer_of(replace(choice, device="cpu", compile_px=None))
    detector = detector_of(replace(watched, device="cpu"))
    if "device" in restorer.settings:
        compiled = {} if choice.compile_px is None else {"compiled": "yes"}
        kind = device.partition(":")[0]  # cuda:1 computes like cuda:0
        settings = {**restorer.settings, "device": kind, **compiled}
        restorer = replace(restorer, settings=settings)
    names = named(choice, restorer, engine.lanes), named(watched, detector, engine.lanes)
    return names, restorer, detector


def table_of(restorer: Restorer) -> ErrorTable:
    """The restorer's table of expected errors.

    Raises
    ------
    ConfigError
        If it has none, or one that was measured with other settings.
    """
    if restorer.errors is None:
        raise ConfigError(
            f"the model {restorer.name} has no table of expected errors, which --error-map needs; "
            f"measure one (decr models calibrate MODEL --data PAIRS -o calibrated.safetensors) and "
            f"give that file as --model; a model of another package has none unless that package "
            f"measured one (Restorer's errors)"
        )
    for key, wanted in restorer.errors.settings.items():
        found = restorer.settings.get(key, "none")
        if found != wanted:
            raise ConfigError(
                f"the expected errors of {restorer.name} were measured with {key} {wanted}, this "
                f"run has {found}; leave the option out, or drop --error-map"
            )
    return restorer.errors


def _work_factor(scene: Scene, config: DecloudConfig, restorer: Restorer) -> int:
    """Scene pixels per pixel of the work grid; warns when GSDs stay far apart."""
    gsd_m, wanted = scene.grid.gsd_m, restorer.gsd_m
    if gsd_m is None or wanted is None:
        if config.gsd == "model":
            raise ConfigError(
                f"{scene.path}: its ground sampling distance is unknown, so --gsd model cannot be "
                f"followed; use --gsd native"
            )
        return 1
    if not gsd_m > 0:
        raise SceneError(f"{scene.path}: its transform says that pixels have no size; mend it")
    ratio = wanted / gsd_m
    factor = max(1, round(ratio)) if config.gsd == "model" else 1
    if factor > max(scene.grid.height, scene.grid.width):
        raise ConfigError(
            f"{scene.path}: all of it is less than one pixel of the model, {wanted:.2g} m; its own "
            f"are {gsd_m:.2g} m: use --gsd native"
        )
    left = max(ratio / factor, factor / ratio)
    if left > 1.5:
        hint = "; try --gsd model" if ratio > 1.5 and factor == 1 else ""
        warn(
            f"{scene.path}: pixels of {gsd_m:.2g} m, but the model was trained at {wanted:.2g} m; "
            f"expect a worse result{hint}",
        )
    return factor
