"""Write tag domains into a finished GeoTIFF, in room that was reserved for them.

GDAL's COG driver loses tags whichever way it is asked: with ``COPY_SRC_MDD=YES`` the default
domain of bands of a virtual raster, otherwise all other domains. A finished COG may not be opened
for update without breaking its layout. So a placeholder tag is handed to the driver, and its
bytes are overwritten afterwards: no offset in the file changes.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO
from xml.sax.saxutils import escape, quoteattr

from decr.errors import OutputError

Domains = Mapping[str, Mapping[str, str]]

ROOM_KEY = "DECR_ROOM"

_GDAL_METADATA = 42112
_PLACEHOLDER = re.compile(rb'[ \t]*<Item name="' + ROOM_KEY.encode() + rb'">_*</Item>\n?')
_END = b"</GDALMetadata>"


def room_for(dataset: Domains, bands: Sequence[Domains]) -> str:
    """Value of the placeholder tag `ROOM_KEY` that leaves enough room for `fill_room`."""
    return "_" * max(1, len(_items(dataset, bands)))


def fill_room(path: Path, dataset: Domains, bands: Sequence[Domains]) -> None:
    """Replace the placeholder tag in a GeoTIFF by tag domains; nothing else in it moves.

    Parameters
    ----------
    path
        GeoTIFF or COG, classic or BigTIFF, written with the tag `ROOM_KEY` = `room_for`.
    dataset
        Tags of the file by domain; XML domains hold their document under the key "doc".
    bands
        The same for each band.

    Raises
    ------
    OutputError
        If the placeholder is not there, that is, if GDAL did not write the file.
    """
    with path.open("r+b") as file:
        offset, size = _find_ascii_tag(file, path)
        file.seek(offset)
        old = file.read(size).rstrip(b"\0")
        bare = _PLACEHOLDER.sub(b"", old, count=1)
        if len(bare) == len(old) or not bare.rstrip().endswith(_END):
            raise OutputError(f"{path}: no room for tags in it; {_REMEDY}")
        body = bare[: bare.rindex(_END)] + _items(dataset, bands)
        # Blanks between elements mean nothing.
        padding = size - 1 - len(body) - len(_END)
        assert padding >= 0, "room_for counted too little"
        file.seek(offset)
        file.write(body + b" " * padding + _END + b"\0")


_REMEDY = "this GDAL writes tags differently, try another version of rasterio"


def _items(dataset: Domains, bands: Sequence[Domains]) -> bytes:
    """XML of the tags as GDAL keeps them in TIFF tag 42112."""
    lines = [*_lines(dataset, "")]
    for index, domains in enumerate(bands):
        lines += _lines(domains, f' sample="{index}"')
    return "".join(lines).encode()


def _lines(domains: Domains, sample: str) -> Iterator[str]:
    for domain in sorted(domains):
        for key, value in domains[domain].items():
            attributes = f"name={quoteattr(key)}{sample} domain={quoteattr(domain)}"
            # GDAL escapes values once more than XML asks for, and unescapes them twice.
            yield f"  <Item {attributes}>{escape(escape(value))}</Item>\n"


def _find_ascii_tag(file: BinaryIO, path: Path) -> tuple[int, int]:
    """Offset and number of bytes of GDAL's tag in the first directory of a TIFF file."""
    start = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(start[:2], "<")
    magic = struct.unpack(f"{order}H", start[2:4])[0]
    if magic not in (42, 43):
        raise OutputError(f"{path}: not a TIFF file; {_REMEDY}")
    big = magic == 43
    word, number, entry = ("Q", "Q", "HHQQ") if big else ("I", "H", "HHII")
    where = struct.unpack(f"{order}{word}", start[8:16] if big else start[4:8])[0]
    file.seek(where)
    size = struct.calcsize(f"{order}{number}")
    count = struct.unpack(f"{order}{number}", file.read(size))[0]
    size = struct.calcsize(f"{order}{entry}")
    for tag, _, length, offset in struct.iter_unpack(f"{order}{entry}", file.read(count * size)):
        if tag == _GDAL_METADATA:
            return int(offset), int(length)
    raise OutputError(f"{path}: holds no tags; {_REMEDY}")
