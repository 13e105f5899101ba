"""All choices made for a scene before any pixel is restored: model, detector, radiometry, grid."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from decr.cloud.detector import Detector, threshold_detector
from decr.config import DecloudConfig
from decr.errors import ConfigError, DecrWarning
from decr.geo.lattice import Blocks, Lattice
from decr.geo.scene import Scene, open_scene
from decr.pipeline.compose import Composer
from decr.pipeline.range import radiometry_of
from decr.plugins import made, model_plugin
from decr.predictor import Restorer, load_detector, load_restorer
from decr.radiometry import Radiometry
from decr.zoo.embedded import embedded_path, find_bundle

BLOCK_STRIDES = 8


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """All choices made for a scene, before any pixel is restored."""

    scene: Scene
    config: DecloudConfig
    restorer: Restorer
    detector: Detector
    radiometry: Radiometry
    detector_radiometry: Radiometry
    composer: Composer
    blocks: Blocks
    factor: int


def prepare(path: str, config: DecloudConfig, restorer: Restorer | None = None) -> Prepared:
    """Open the scene and settle model, detector, bands, radiometry and grid.

    Raises
    ------
    DecrError
        For anything the user can mend: see `decr.errors`.
    """
    scene = open_scene(path, config.bands)
    for warning in scene.warnings:
        warnings.warn(warning, DecrWarning, stacklevel=2)
    if restorer is None:
        restorer = _restorer(config, "nir" in scene.bands.roles)
    feed = scene.bands.model_map(restorer.bands)
    detector = _detector(config, scene)
    radiometry = radiometry_of(scene, config.dn_range, restorer.ranges)
    seen = radiometry
    if config.dn_range is None and scene.dtype in detector.ranges:
        seen = radiometry_of(scene, None, detector.ranges)
    factor = _work_factor(scene, config, restorer)
    height, width = -(-scene.grid.height // factor), -(-scene.grid.width // factor)
    blocks = Blocks(Lattice(height, width, config.tile_px, config.overlap_px), BLOCK_STRIDES)
    composer = Composer(feed, radiometry, scene.nodata)
    return Prepared(scene, config, restorer, detector, radiometry, seen, composer, blocks, factor)


def _restorer(config: DecloudConfig, scene_has_nir: bool) -> Restorer:
    """The model: of an installed package, embedded, or a bundle file."""
    plugin = model_plugin(config.model)
    if plugin is not None:
        restorer = made(plugin, seed=config.seed, device=config.device)
        if not isinstance(restorer, Restorer):
            raise ConfigError(f"the model {config.model!r} of {plugin.value} made no Restorer")
        return restorer
    return load_restorer(
        find_bundle(config.model, scene_has_nir),
        steps=config.steps,
        prior_floor=config.prior_floor,
        seed=config.seed,
        device=config.device,
        precision=config.precision,
        compile_px=config.tile_px if config.compile else None,
    )


def _detector(config: DecloudConfig, scene: Scene) -> Detector:
    if config.detector == "threshold":
        return threshold_detector()
    if config.detector == "compact":
        return load_detector(embedded_path("embedded-detector"), config.device)
    if Path(config.detector).exists():
        return load_detector(Path(config.detector), config.device)
    raise ConfigError(
        f"{config.detector}: neither a detector's bundle file nor one of compact and threshold"
    )


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
    ratio = wanted / gsd_m
    factor = max(1, round(ratio)) if config.gsd == "model" else 1
    left = max(ratio / factor, factor / ratio)
    if left > 1.5:
        hint = "; try --gsd model" if ratio > 1.5 and factor == 1 else ""
        warnings.warn(
            f"{scene.path}: pixels of {gsd_m:.2g} m, but the model was trained at {wanted:.2g} m; "
            f"expect a worse result{hint}",
            DecrWarning,
            stacklevel=3,
        )
    return factor
