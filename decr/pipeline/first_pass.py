"""The first pass over a scene: where its clouds are, and what to do with every tile."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import partial

import numpy as np

from decr.cloud.change import ChangeRule, rule_in_cells
from decr.config import DecloudConfig, options
from decr.errors import SceneError
from decr.geo.gdal import gdal_environment
from decr.geo.missing import differs_by_band
from decr.geo.names import name_of
from decr.geo.output import write_memory_bytes
from decr.pipeline.change_map import ChangeMap, exact_mask
from decr.pipeline.cluster import open_engine
from decr.pipeline.engine import Engine
from decr.pipeline.journal import WorkDir, still_whole
from decr.pipeline.mapped import flushed
from decr.pipeline.plan import Plan, make_plan
from decr.pipeline.prepare import Prepared, prepare
from decr.pipeline.range import ALL_NODATA
from decr.pipeline.room import Load
from decr.pipeline.survey import CLOUDS_FILE, MaskSource, Survey, survey_scene
from decr.plugins import checked
from decr.progress import OnProgress, silent


def survey_and_plan(
    prepared: Prepared,
    engine: Engine,
    work: WorkDir | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[ChangeMap, Plan]:
    """Find the clouds of a scene, then what to do with every tile.

    Parameters
    ----------
    work
        Keeps the survey, so that a run that goes on need not repeat it; None keeps nothing.

    Raises
    ------
    SceneError
        If the scene holds no valid pixel.
    """
    scene, config = prepared.scene, prepared.config
    on_progress = on_progress or silent
    survey = _survey(prepared, engine, work, on_progress)
    if survey.valid_px == 0:
        raise SceneError(ALL_NODATA.format(scene.path))
    change = ChangeMap(
        scene.grid.window.shape,
        survey,
        None if config.full else _rule(prepared, survey),
        prepared.aoi,
        exact_mask(config, scene.grid),
    )
    masked = differs_by_band(scene.mask_kind, scene.nodata, scene.bands)
    load = Load(
        bytes_per_pixel=np.dtype(scene.dtype).itemsize * scene.count,
        beside=4 * config.error_map + 2 * masked,
        channels=len(prepared.composer.feed),
        write_bytes=write_memory_bytes(scene),
        side_by_side=prepared.restorer.side_by_side,
        batch=config.batch,
        at_once=engine.at_once,
    )
    told = partial(on_progress, "plan")
    plan = make_plan(prepared.blocks, prepared.factor, change, scene.grid.window, load, told)
    return change, replace(plan, bands=scene.bands.roles)


def _survey(
    prepared: Prepared, engine: Engine, work: WorkDir | None, on_progress: OnProgress
) -> Survey:
    """Survey the scene, or take the finished survey of an interrupted run."""
    scene, config = prepared.scene, prepared.config
    if work is not None:
        work.forget_damaged("survey", CLOUDS_FILE)
        if found := work.done.get(("survey", 0, 0)):
            with still_whole(work.path / CLOUDS_FILE, work.path):
                stored = np.load(work.path / CLOUDS_FILE, mmap_mode="r")
            return Survey(prepared.k, stored, found["cloudy_px"], found["valid_px"])
    survey = survey_scene(
        scene,
        prepared.detector_radiometry,
        prepared.detector,
        prepared.k,
        config.threshold,
        engine,
        networks=prepared.networks[1],
        mask=None if config.cloud_mask is None else MaskSource(config.cloud_mask),
        work=work,
        told=partial(on_progress, "survey"),
    )
    if work is not None and survey.valid_px:
        flushed(survey.stored)
        facts = {"cloudy_px": survey.cloudy_px, "valid_px": survey.valid_px}
        work.note_raster("survey", CLOUDS_FILE, **facts)
    return survey


def _rule(prepared: Prepared, survey: Survey) -> ChangeRule:
    """The mask rule in cells of the survey; a scene without a GSD is taken to have the model's."""
    gsd_m = prepared.scene.grid.gsd_m or prepared.restorer.gsd_m or 1.0
    config = prepared.config
    return rule_in_cells(config.threshold, config.margin_m, config.feather_m, gsd_m, survey.k)


def probed(prepared: Prepared, plan: Plan) -> Plan:
    """The plan with a measured time per tile: one batch to warm up, one against the clock."""
    if not plan.restore:
        return replace(plan, seconds_per_tile=0.0)
    model, side = prepared.restorer, prepared.config.tile_px
    count = min(model.side_by_side, plan.restore)
    tiles, corners = np.zeros((count, len(model.bands), side, side), np.float32), [(0, 0)] * count
    checked(model.name, model.restore(tiles, corners), tiles.shape)
    began = time.perf_counter()
    model.restore(tiles, corners)
    return replace(plan, seconds_per_tile=(time.perf_counter() - began) / count)


def plan_scene(
    path: str | os.PathLike[str],
    config: DecloudConfig | None = None,
    on_progress: OnProgress | None = None,
) -> Plan:
    """What `declouds` would do, with a time estimate; nothing is left on disk.

    Clouds are looked for in the whole scene, and the model restores two batches. What is found lies
    in a temporary file meanwhile: a byte for each cell of the detector.

    Parameters
    ----------
    path
        Any raster GDAL reads: a path, /vsi path or URL.
    config
        Options of the restoration; None takes the defaults.
    on_progress
        Called while working, from threads of this process but one at a time.

    Returns
    -------
    Plan
        Tiles and blocks to restore, cloud coverage (0..1), most memory and disk (2^20 bytes), and
        seconds per tile.

    Raises
    ------
    DecrError
        For anything the user can mend, as `declouds` does.
    """
    config = options(DecloudConfig, config)
    with gdal_environment(), open_engine(device=config.device) as engine:
        prepared = prepare(name_of(path), config)
        _, plan = survey_and_plan(prepared, engine, None, on_progress)
        return probed(prepared, plan)
