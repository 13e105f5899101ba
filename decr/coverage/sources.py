"""What a report of cloud coverage is of: scenes, archives, folders of chips, sets with splits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from decr.dataset.published import cloudy_side
from decr.dataset.set_tree import key_of, split_on_way
from decr.errors import ConfigError, SceneError
from decr.files import folder_there
from decr.geo.delivery import is_zarr, passed_over, rasters_of
from decr.geo.layers import is_ours
from decr.geo.names import stem_of

REPORT = "ccp.json"
PICTURE = "histogram.png"
LAYERS = ("mask", "probability", "weight")
"""Files of every report of coverage, and kinds of rasters with it: NAME_mask.tif and so on; the
last only where clouds have a soft edge."""
_IMAGES = (".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg")


@dataclass(frozen=True, slots=True)
class Source:
    """An image to look at.

    Attributes
    ----------
    name
        Unique in a report; names its rasters. May have folders: "train/0001".
    path
        As GDAL opens it.
    group
        Its split, such as "train", or None.
    gsd_m
        Metres per pixel as its set says; None if it does not.
    """

    name: str
    path: str
    group: str | None = None
    gsd_m: float | None = None


def find_sources(paths: Sequence[str], report: Path | None = None) -> list[Source]:
    """All images behind some paths.

    Parameters
    ----------
    paths
        Rasters, URLs, /vsi paths, .zip files; or folders. Of a set of pairs (see
        `decr.dataset.layouts`) the cloudy images count, with their splits. Of another folder all
        images count, at any depth, and a folder train, val or test on the way is their split.
    report
        Where rasters will be written: what lies there is not looked at.

    Raises
    ------
    SceneError
        If a folder or archive holds no image.
    ConfigError
        If two images would have one name, or the report would lie among the images.
    """
    found: dict[str, Source] = {}
    for path in paths:
        for source in _sources(path, report):
            if len(paths) > 1 and folder_there(path):
                source = replace(source, name=f"{Path(path).resolve().name}/{source.name}")
            if source.name in found:
                raise ConfigError(
                    f"{found[source.name].path} and {source.path} would both be called "
                    f"{source.name}; look at them in two calls"
                )
            found[source.name] = source
    return list(found.values())


def _sources(path: str, report: Path | None) -> list[Source]:
    folder = Path(path)
    if not folder_there(folder) or is_zarr(folder):
        return [Source(stem_of(raster), raster) for raster in rasters_of(path)]
    if report is not None and report.resolve() == folder.resolve():
        raise ConfigError(f"{report}: holds the images; give the report a folder of its own")
    chosen = cloudy_side(folder)
    if chosen is not None:
        pairs, gsd_m = chosen
        # Several cloudy images may share the name of a pair's clear one, never their own.
        return [
            Source(key_of(pair.cloudy, folder), str(pair.cloudy), pair.split, pair.gsd_m or gsd_m)
            for pair in {pair.cloudy: pair for pair in pairs}.values()
        ]
    made = {raster for file in folder.rglob(REPORT) for raster in _rasters_beside(file)}
    files = sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in _IMAGES
        and file.is_file()
        and not passed_over(file.relative_to(folder))
        and not (report is not None and file.resolve().is_relative_to(report.resolve()))
        and file not in made
    )
    if not files:
        raise SceneError(f"{path}: holds no image ({', '.join(_IMAGES)})")
    return [
        Source(key_of(file, folder), str(file), split_on_way(file.relative_to(folder)))
        for file in files
    ]


def _rasters_beside(report: Path) -> Iterator[Path]:
    """What `decr ccp` has written beside a report, none of which is a scene."""
    try:
        names = [str(scene["name"]) for scene in json.loads(report.read_text())["scenes"]]
    except (OSError, ValueError, KeyError, TypeError):
        return  # another program's
    yield report.with_name(PICTURE)
    yield from (report.parent / f"{name}_{kind}.tif" for name in names for kind in LAYERS)
    # A report that was written again does not name all that is there.
    for file in report.parent.rglob("*_*.tif"):
        if file.stem.rpartition("_")[2] in LAYERS and is_ours(file):
            yield file


def mask_of(masks: str, source: Source) -> Path | str:
    """The mask of an image: the file itself, or that of the image's name in a folder.

    Raises
    ------
    SceneError
        If there is none, or more than one.
    """
    if not folder_there(masks):
        return masks
    for name in dict.fromkeys((source.name, PurePosixPath(source.name).name)):
        place = Path(masks) / name
        fitting = [place.with_name(place.name + suffix) for suffix in _IMAGES]
        there = [file for file in fitting if file.is_file()]
        if len(there) > 1:
            raise SceneError(f"{masks}: {there[0].name} and {there[1].name}; keep one of the two")
        if there:
            return there[0]
    raise SceneError(
        f"{masks}: no mask is called {PurePosixPath(source.name).name} ({', '.join(_IMAGES)}); "
        f"masks must have the names of their images"
    )
