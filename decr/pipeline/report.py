"""What the page of a restoration shows: quicklooks, masks, and the clouds of the output."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from decr.cloud.change import cloudy_cells
from decr.geo.names import without_keys
from decr.geo.quicklook import look_px_of, quicklook, shown_bands, stretched
from decr.geo.scene import Scene, open_scene
from decr.pipeline.allocation import gathered
from decr.pipeline.change_map import ChangeMap
from decr.pipeline.engine import local_engine
from decr.pipeline.journal import WorkDir
from decr.pipeline.plan import Plan
from decr.pipeline.prepare import Prepared
from decr.pipeline.survey import Survey, survey_scene
from decr.progress import Counted
from decr.report.values import RestorationReport

if TYPE_CHECKING:
    from decr.pipeline.declouds import DecloudResult

_TAGS = {
    "VERSION": "decr",
    "MODEL": "Model",
    "MODEL_SHA256": "Model weights, SHA-256",
    "STEPS": "Diffusion steps",
    "PRIOR_FLOOR": "Least W of the reference",
    "SEED": "Seed of the noise",
    "PRECISION": "Precision",
    "DEVICE": "Device",
    "DETECTOR": "Detector",
    "DETECTOR_VERSION": "Detector, SHA-256 or version",
    "BANDS": "Bands",
    "TILE_PX": "Tile, px",
    "OVERLAP_PX": "Overlap of tiles, px",
    "WORK_FACTOR": "Scene pixels per work pixel",
    "DN_RANGE": "Range, DN",
    "DN_RANGE_SOURCE": "Range from",
    "CHANGED": "May change",
    "GROUND": "Levels drawn to",
    "CLOUD_THRESHOLD": "Cloudy from probability",
    "MARGIN_M": "Margin of clouds, m",
    "FEATHER_M": "Feather, m",
}
"""Tags of the output in words; those with numbers that the page shows elsewhere are left out."""
_ELSEWHERE = ("CCP_BEFORE", "CCP_DEFINITION", "TILES_RESTORED")


def looked_at(
    prepared: Prepared, change: ChangeMap, plan: Plan, work: WorkDir, out: Path, told: Counted
) -> RestorationReport:
    """Read scene and output once more each, block by block, and find the clouds of the output.

    Everything that is read is no larger than a quicklook; `restoration_report` adds the rest.

    The detector is run again on the output, in this process: as much work as the survey of the
    scene. A cloud mask that was given says nothing of the output, which then has no CCP.

    Raises
    ------
    SceneError
        If a file has gone or is damaged.
    """
    scene, threshold = prepared.scene, prepared.config.threshold
    px = look_px_of(scene.grid)
    result = open_scene(str(out), ",".join(scene.bands.roles))
    bands = shown_bands(scene.bands)
    was, valid = quicklook(scene, px, bands)
    now = quicklook(result, px, bands)
    after, before = stretched(now, (was, valid))
    weight = np.where(valid, np.rint(255 * change.quicklook(px)), 0).astype(np.uint8)
    # A mask says nothing of the output.
    masked = prepared.config.cloud_mask is not None
    return RestorationReport(
        name=out.name,
        before=before,
        after=after,
        overlay=_overlay(change.survey, threshold, px, valid),
        weight=weight,
        allocation=gathered(work, [block.index for block in plan.work], valid.shape),
        ccp_before=plan.ccp,
        ccp_after=None if masked else _ccp(prepared, change.survey, result, work, told),
    )


def _overlay(
    survey: Survey, threshold: float, px: int, valid: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Codes of the cells at the centres of quicklook pixels."""
    rows, cols = (
        np.minimum(((np.arange(count) + 0.5) * px / survey.k).astype(np.intp), cells - 1)
        for count, cells in zip(valid.shape, survey.stored.shape, strict=True)
    )
    cells = np.asarray(survey.stored[np.ix_(rows, cols)])
    return np.where(valid, cloudy_cells(cells, threshold), 2).astype(np.uint8)


def _ccp(prepared: Prepared, before: Survey, result: Scene, work: WorkDir, told: Counted) -> float:
    """Cloud coverage of the output, found as that of the scene was."""
    with local_engine() as engine:
        survey = survey_scene(
            result,
            prepared.detector_radiometry,
            prepared.detector,
            before.k,
            prepared.config.threshold,
            engine,
            store=work.path,
            told=told,
        )
    return survey.ccp


def restoration_report(
    scene: Scene, looks: RestorationReport, result: DecloudResult
) -> RestorationReport:
    """Everything the page shows."""
    seams = asdict(result.seams)
    return replace(
        looks,
        seams={name: value for name, value in seams.items() if value is not None},
        stages_s=result.stages_s,
        facts={
            "Scene": without_keys(scene.path),
            "Output": result.out,
            **_of_scene(scene),
            **_of_result(result),
            **_of_tags(result.tags),
        },
    )


def _of_tags(tags: Mapping[str, str]) -> dict[str, str]:
    kept = {tag: value for tag, value in tags.items() if tag not in _ELSEWHERE}
    return {_TAGS.get(tag, tag): re.sub(r",(?! )", ", ", value) for tag, value in kept.items()}


def _of_result(result: DecloudResult) -> dict[str, str]:
    after, of_mask = "the same detector, run on the output", {}
    if result.ccp_after is None:
        after = "not measured: clouds came from a mask, which is of the input"
        of_mask = {"CCP": f"{result.tags['CCP_DEFINITION']}; 1 = all cloud"}
    return {
        **of_mask,
        "Tiles": f"{result.restored:,} restored, {result.copied:,} copied, "
        f"{result.skipped:,} without data",
        "Pixels changed": f"{result.changed_px:,}",
        "CCP after": after,
    }


def _of_scene(scene: Scene) -> dict[str, str]:
    grid = scene.grid
    return {
        "Size, px": f"{grid.width:,} × {grid.height:,} (width × height)",
        "GSD": "unknown" if grid.gsd_m is None else f"{grid.gsd_m:.3g} m",
        "CRS": "none" if grid.crs is None else _of_crs(grid.crs),
        "Type": scene.dtype,
    }


def _of_crs(crs: Any) -> str:
    """Its code, or the beginning of its definition, which may fill a page."""
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else str(crs.to_string())[:80]
