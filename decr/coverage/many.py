"""`decr ccp`: the cloud coverage of many images in one call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from decr.config import CcpConfig
from decr.coverage.ccp import MISSED, SceneCcp, looking, scene_ccp
from decr.coverage.report_files import check_folder
from decr.coverage.sources import Source, find_sources
from decr.errors import DecrError, one_line
from decr.geo.gdal import gdal_environment
from decr.geo.quicklook import LONGEST_PX
from decr.pipeline.engine import local_engine
from decr.pipeline.words import warn
from decr.progress import OnProgress
from decr.report.page import MOST_PICTURES, SHEET_PX

MOST_SEEN = 480
"""Scenes of one call that have a quicklook, from which the page takes its pictures: evenly spaced
among all, so that those of many thousand chips do not fill the memory (0.3 MB each)."""


@dataclass(frozen=True, slots=True, eq=False)
class CcpOutcome:
    """What became of one image: a result, or what is wrong with it in one line."""

    source: Source
    result: SceneCcp | None = None
    error: str | None = None


def ccp_scenes(
    paths: Sequence[str],
    config: CcpConfig,
    folder: Path | None = None,
    *,
    on_progress: OnProgress | None = None,
) -> Iterator[CcpOutcome]:
    """Find the cloud coverage of images, each told when it is done; one that fails stops no other.

    Parameters
    ----------
    paths
        See `decr.coverage.sources.find_sources`.
    folder
        For rasters, made if it is not there; None writes none. See `decr.coverage.ccp.scene_ccp`.
    on_progress
        Of one image as for `scene_ccp`; of several ("images", done, total).

    Raises
    ------
    DecrError
        If nothing can be looked at at all: no image, no such detector, features that cannot be
        read, no such folder, or one whose files a report would replace although decr did not write
        them.

    Warns
    -----
    DecrWarning
        At the end, if the features of ``config.aoi`` touch none of the images.
    """
    sources = find_sources(paths, folder)
    few = len(sources) <= MOST_PICTURES
    step = -(-len(sources) // MOST_SEEN)
    with gdal_environment(), local_engine() as engine:
        look = looking(config, engine)
        if folder is not None:
            check_folder(folder, features=config.aoi is not None)
        inner = on_progress if len(sources) == 1 else None
        missed = []
        for number, source in enumerate(sources):
            if on_progress is not None and len(sources) > 1:
                on_progress("images", number, len(sources))
            pictured = folder is not None and number % step == 0
            picture_side_px = (LONGEST_PX if few else SHEET_PX) if pictured else None
            try:
                result = scene_ccp(source, look, folder, picture_side_px, inner)
            except DecrError as error:
                yield CcpOutcome(source, error=one_line(error))
            else:
                missed.append((result.name, result.facts.get(MISSED)))
                yield CcpOutcome(source, result)
    tell_missed(missed)


def tell_missed(scenes: Sequence[tuple[str, str | None]]) -> None:
    """Warn where the features touch none of the scenes, which is hardly meant.

    Of each scene there are its name, and what the fact `MISSED` says.

    Warns
    -----
    DecrWarning
        With what is wrong, of the first.
    """
    if scenes and all(why is not None for _, why in scenes):
        name, why = scenes[0]
        others = f" (and {len(scenes) - 1} more)" if len(scenes) > 1 else ""
        warn(f"{name}{others}: {why}")
