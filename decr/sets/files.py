"""What the files that describe a set have in common, however the set was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rasterio.crs import CRS
from shapely.geometry.base import BaseGeometry

import decr
from decr.cloud.coverage import definition
from decr.config import mask_named
from decr.coverage.ccp import Looking
from decr.dataset.manifest import SPLITS, PairFile
from decr.errors import ConfigError, warn
from decr.files import file_sha256
from decr.geo.geoparquet import geoparquet, in_one_crs, require_pyarrow
from decr.report.histogram import histogram_png, histogram_svg

CARD = "README.md"
PARQUET = "chips.parquet"

_DECIDING = (
    "bands",
    "dn_range",
    "threshold",
    "min_object_m2",
    "margin_m",
    "cloudy",
    "thin",
    "gsd_m",
)


def masks_folder(detector: str) -> str | None:
    """The folder of a detector "file:FOLDER", None for another.

    Raises
    ------
    ConfigError
        If there is no such folder.
    """
    masks = mask_named(detector)
    if masks is not None and not Path(masks).is_dir():
        raise ConfigError(
            f"the detector file:{masks} is no folder; name one that holds the masks of the images, "
            "under their names"
        )
    return masks


def clouds_job(look: Looking) -> dict[str, Any]:
    """All that decides which pixels count as cloudy, as plain values."""
    named, detector = mask_named(look.config.detector), look.detector
    masks = None if named is None else Path(named)
    return {
        # The last word is of what it is shown (ADR 20): others find other clouds.
        "detector": "file"
        if detector is None
        else [detector.name, detector.versions, "as bright as it is"],
        "clouds": {key: getattr(look.config, key) for key in _DECIDING},
        "masks": {}
        if masks is None
        else {
            f.relative_to(masks).as_posix(): file_sha256(f)
            for f in sorted(masks.rglob("*"))
            if f.is_file()
        },
    }


def clouds_found_by(look: Looking) -> dict[str, str]:
    """The same for people."""
    config, detector = look.config, look.detector
    name, threshold = "the user's masks", None
    if detector is not None:
        threshold = config.threshold
        short = (part[:12] + part[64:] for part in detector.versions.split("+"))
        name = f"{detector.name} {'+'.join(short)}"
    return {"CCP": definition(threshold, config.min_object_m2, config.margin_m), "Detector": name}


def histograms(entries: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    """The histogram of CCP by split, as SVG and PNG."""
    by_split = {
        side: [e["ccp"] for e in entries if e["split"] == side]
        for side in SPLITS
        if any(e["split"] == side for e in entries)
    }
    about = ("CCP of cloudy chips", "chips")
    return {
        "histogram.svg": histogram_svg(by_split, *about).encode(),
        "histogram.png": histogram_png(by_split, *about),
    }


def parquet_bytes(
    columns: Mapping[str, Sequence[Any]],
    outlines: Sequence[BaseGeometry | None],
    crs: Sequence[CRS | None],
) -> bytes | None:
    """Chips with footprints as GeoParquet; None without pyarrow.

    Warns
    -----
    DecrWarning
        If it is left out, since pyarrow is not installed.
    """
    try:
        require_pyarrow()
    except ConfigError as error:
        warn(f"{PARQUET} is left out: {error}")
        return None
    placed, common = in_one_crs(outlines, crs)
    return geoparquet(columns, placed, common, {"decr": decr.__version__})


def signed(value: float, digits: int) -> str:
    """A number with its sign, but no minus before zero.

    Examples
    --------
    >>> signed(-0.0004, 3), signed(2.3, 2)
    ('+0.000', '+2.30')
    """
    return f"{round(value, digits) + 0.0:+.{digits}f}"


def facts_table(facts: Mapping[str, str]) -> list[str]:
    """What decided, as lines of the card."""
    rows = [f"| {key} | {cell(value)} |" for key, value in facts.items()]
    return ["## How it was made", "", "| setting | value |", "|---|---|", *rows, ""]


def cell(value: object) -> str:
    """Text that stays in a cell of a table."""
    return str(value).replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def pair_files(
    work: Path, entries: Sequence[Mapping[str, Any]]
) -> tuple[list[PairFile], dict[str, str]]:
    """Pairs of a manifest as the readers have them, and words on each by its name."""
    found, said = [], {}
    for entry in entries:
        about = entry["about"]
        found.append(
            PairFile(
                about["name"],
                work / entry["cloudy"],
                work / entry["clear"],
                entry["split"],
                bands=entry["bands"],
                ccp=entry["ccp"],
            )
        )
        said[about["name"]] = ", ".join(filter(None, [entry["split"], about.get("subset")]))
    return found, said
