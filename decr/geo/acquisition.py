"""When a scene was taken: from its tags, from metadata beside it, or as somebody says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

from decr.errors import ConfigError, SceneError
from decr.geo.opening import opened

_TAGS = ("ACQUISITIONDATETIME", "ACQUISITIONDATE", "ACQUISITIONTIME")
_ELEMENTS = (
    "acquisitiondatetime", "acquisitiontime", "acquisitiondate", "imagingtime", "imagingstarttime",
    "scenecentertime", "centertime", "centretime", "sensingtime", "firstlinetime", "starttime",
    "scenedate", "receivetime",
)  # fmt: skip
_MOST_BYTES = 16 * 2**20
_DATE = re.compile(
    r"(\d{4})[-:/. ]?(\d{2})[-:/. ]?(\d{2})(?:[T _]?(\d{2}):?(\d{2}):?(\d{2}(?:\.\d+)?)"
    r"\s*(Z|[+-]\d{2}:?\d{2})?)?"
)


@dataclass(frozen=True, slots=True)
class Acquired:
    """When, in UTC, and who says so."""

    when: datetime
    source: str


def parsed_date(text: str) -> datetime | None:
    """A date with or without a time of day, in UTC unless it says otherwise; None if it is none.

    Examples
    --------
    >>> parsed_date("2024:05:03 10:20:30").isoformat()
    '2024-05-03T10:20:30+00:00'
    >>> parsed_date("20240503").date().isoformat(), parsed_date("soon")
    ('2024-05-03', None)
    """
    found = _DATE.fullmatch(text.strip().strip('"').rstrip(";").strip('"'))
    if found is None:
        return None
    year, month, day, hour, minute, second, zone = found.groups()
    said = f"{year}-{month}-{day}"
    if hour is not None:
        zone = "+00:00" if zone in (None, "Z") else zone
        said += f"T{hour}:{minute}:{second[:2]}{zone}"
    try:
        when = datetime.fromisoformat(said)
    except ValueError:
        return None
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def given_date(text: str) -> Acquired:
    """A date that the user states.

    Raises
    ------
    ConfigError
        If it is none.
    """
    when = parsed_date(text)
    if when is None:
        raise ConfigError(f"{text!r} is no date; write 2024-05-03 or 2024-05-03T10:20:30Z")
    return Acquired(when, "given")


def acquired(path: str) -> Acquired | None:
    """When a file was taken, or None if nothing says.

    Looked at are tags of acquisition (GDAL makes them of IMD and RPB files, too), the XML file of
    the same name beside the image, and last TIFFTAG_DATETIME, which some software sets to the time
    of processing.

    Raises
    ------
    SceneError
        If the image cannot be opened, or its XML file is damaged.
    """
    with opened(path) as dataset:
        tags = {**dataset.tags(ns="IMAGERY"), **dataset.tags()}
    upper = {key.upper().replace("_", "").replace("-", ""): text for key, text in tags.items()}
    for name in _TAGS:
        when = parsed_date(upper.get(name, ""))
        if when is not None:
            return Acquired(when, f"tag {name}")
    if found := _beside(Path(path)):
        return found
    when = parsed_date(tags.get("TIFFTAG_DATETIME", ""))
    return None if when is None else Acquired(when, "tag TIFFTAG_DATETIME")


def _beside(image: Path) -> Acquired | None:
    """What the XML file of a delivery says."""
    names = [image.with_suffix(s) for s in (".xml", ".XML")]
    names += [image.with_name(image.stem + s) for s in ("_meta.xml", "_META.xml", "_MTD.xml")]
    for file in names:
        if not file.is_file():
            continue
        if file.stat().st_size > _MOST_BYTES:
            raise SceneError(f"{file} is too large for metadata; move it away")
        data = file.read_bytes()
        if b"<!ENTITY" in data:
            raise SceneError(f"{file} defines entities, which metadata does not need; move it away")
        try:
            root = ET.fromstring(data)
        except ET.ParseError as error:
            raise SceneError(f"{file} is not XML ({error}); mend it or move it away") from error
        said = {_plain(e.tag): e.text or "" for e in reversed(list(root.iter()))}
        for name in _ELEMENTS:
            when = parsed_date(said.get(name, ""))
            if when is not None:
                return Acquired(when, f"{name} in {file.name}")
    return None


def _plain(tag: object) -> str:
    return str(tag).rpartition("}")[2].lower().replace("_", "")
