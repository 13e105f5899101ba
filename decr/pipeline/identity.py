"""What decides an output's bytes: for the journal, to go on with the same only, and as tags."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import decr
from decr.errors import SceneError
from decr.files import file_sha256
from decr.geo.names import settled_name
from decr.geo.sources import local_files, state_of
from decr.pipeline.networks import in_any_folder
from decr.pipeline.plan import Plan
from decr.pipeline.prepare import Prepared
from decr.pipeline.tiles import STRIP_ROWS
from decr.plugins import detector_plugin, model_plugin

_UNDECIDING = ("bands", "batch", "device")
"""``batch`` decides no byte; ``bands`` are in the scene, the kind of device in model settings."""


def job_of(prepared: Prepared) -> dict[str, Any]:
    """Everything that decides the output's bytes, or how work is kept.

    The batch does not; the kind of device does, by the model's settings. Nor does how a file's name
    is written, or whether its bands are named in the file or by an option.
    """
    scene, config, radiometry = prepared.scene, prepared.config, prepared.composer.radiometry
    options = {k: str(v) for k, v in asdict(config).items() if k not in _UNDECIDING}
    files = raster_files(prepared)
    if config.aoi is not None:
        aoi, *state = state_of(str(Path(config.aoi).resolve()))
        files[aoi] = state
        options["aoi"] = settled_name(str(config.aoi))
    if config.cloud_mask is not None:
        options["cloud_mask"] = settled_name(str(config.cloud_mask))
    for name, offered in (("model", model_plugin), ("detector", detector_plugin)):
        found = in_any_folder(options[name], offered)
        options[name] = settled_name(found) if found.startswith("/") else found
    return {
        "decr": decr.__version__,
        "scene": settled_name(scene.path),
        # Not of scenes elsewhere: they are taken to stay as they are.
        "files": files,
        "grid": [list(scene.grid.transform), scene.grid.crs and scene.grid.crs.to_wkt()],
        "bands": scene.bands.roles,
        "nodata": [str(value) for value in scene.nodata],
        "mask": str(scene.mask_kind),
        "blocks": prepared.blocks.strides,
        "strip_rows": STRIP_ROWS,
        "model": prepared.restorer.version,
        "model_settings": dict(prepared.restorer.settings),
        "detector": prepared.detector.version,
        "detector_range": [
            prepared.detector_radiometry.low[0],
            prepared.detector_radiometry.high[0],
        ],
        "radiometry": [list(radiometry.low), list(radiometry.high)],
        "options": options,
    }


def raster_files(prepared: Prepared) -> dict[str, list[int]]:
    """Bytes, and nanosecond of the last change, of the files of this machine that pixels are of."""
    scene, mask = prepared.scene.path, prepared.config.cloud_mask
    rasters = [scene] if mask is None else [scene, str(mask)]
    files = sorted({file.resolve() for path in rasters for file in local_files(path)})
    return {name: state for name, *state in (state_of(str(file)) for file in files)}


def check_files(prepared: Prepared, job: Mapping[str, Any]) -> None:
    """Refuse to go on once the files of scene and mask are others than where the run began.

    Unlike `check_states`, which every window asks for, of however many parts a scene has.

    Raises
    ------
    SceneError
        Naming one of them.
    """
    now = raster_files(prepared)
    others = [
        name
        for name, state in now.items()
        # Overviews that somebody adds meanwhile, to look at the scene, change no pixel.
        if job["files"].get(name) != state and (name in job["files"] or not name.endswith(".ovr"))
    ]
    if others:
        raise SceneError(
            f"{others[0]}: was changed, or has come, since the run began; leave all files of the "
            f"scene be, and start again"
        )


def _sum_of(mask: Path | str | None) -> str | None:
    """SHA-256 of the files of a user's mask; empty of one that lies elsewhere, None of none."""
    if mask is None:
        return None
    digest, files = hashlib.sha256(), local_files(str(mask))
    for path in files:
        digest.update(bytes.fromhex(file_sha256(path)))
    return digest.hexdigest() if files else ""


def tags_of(prepared: Prepared, plan: Plan) -> Mapping[str, str]:
    """The output's DECR domain. No times or paths: the same job gives the same bytes."""
    config, radiometry = prepared.config, prepared.composer.radiometry
    mask, drawn = _sum_of(config.cloud_mask), config.ground and not config.full
    counted = "in cloudy cells" if mask is None else "that the mask marks"
    return {
        # First, for a model of another package may have settings of these names.
        **{key.upper(): value for key, value in prepared.restorer.settings.items()},
        "VERSION": decr.__version__,
        "MODEL": prepared.restorer.name,
        "MODEL_SHA256": prepared.restorer.version,
        "DETECTOR": "file" if config.cloud_mask else prepared.detector.name,
        "DETECTOR_VERSION": prepared.detector.version if mask is None else mask,
        "BANDS": ",".join(prepared.scene.bands.roles),
        "TILE_PX": str(config.tile_px),
        "OVERLAP_PX": str(config.overlap_px),
        "WORK_FACTOR": str(prepared.factor),
        "DN_RANGE": f"{radiometry.low[0]:g},{radiometry.high[0]:g}",
        "DN_RANGE_SOURCE": radiometry.source,
        "CHANGED": "all valid pixels" if config.full else "cloudy pixels",
        "CLOUD_THRESHOLD": f"{config.threshold:g}",
        "MARGIN_M": f"{config.margin_m:g}",
        "FEATHER_M": f"{config.feather_m:g}",
        "GROUND": "clear ground nearby, if any" if drawn else "not used",
        "CCP_BEFORE": f"{plan.ccp:.6f}",
        "CCP_DEFINITION": f"valid pixels {counted} / valid pixels",
        "TILES_RESTORED": str(plan.restore),
    }
