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
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from xml.sax.saxutils import escape, quoteattr

from decr.errors import OutputError

Domains = Mapping[str, Mapping[str, str]]

ROOM_KEY = "DECR_ROOM"

_GDAL_METADATA = 42112
_XMP = 700
_EXTRA_SAMPLES = 338
_UNASSOCIATED_ALPHA = 2
_NO_COLOUR = re.compile(rb'(sample="3" role="colorinterp">)Undefined(</Item>\n)')
_PLACEHOLDER = re.compile(rb'[ \t]*<Item name="' + ROOM_KEY.encode() + rb'">_*</Item>\n?')
_END = b"</GDALMetadata>"


def room_for(dataset: Domains, bands: Sequence[Domains]) -> str:
    """Value of the placeholder tag `ROOM_KEY` that leaves enough room for `fill_room`."""
    return "_" * max(1, len(_items(dataset, bands)))


def xmp_room(xmp: str) -> str:
    """Text of a placeholder document in domain ``xml:XMP`` that leaves enough room for another."""
    return "_" * len(_packet(xmp))


def fill_room(
    path: Path, dataset: Domains, bands: Sequence[Domains], xmp: str | None = None
) -> None:
    """Replace the placeholder tag in a GeoTIFF by tag domains; nothing else in it moves.

    Parameters
    ----------
    path
        GeoTIFF or COG, classic or BigTIFF, written with the tag `ROOM_KEY` = `room_for`.
    dataset
        Tags of the file by domain; XML domains hold their document under the key "doc".
    bands
        The same for each band.
    xmp
        Document for the XMP tag, if the file has one with `xmp_room`. GDAL would rearrange it.

    Raises
    ------
    OutputError
        If the placeholder is not there, that is, if GDAL did not write the file.
    """
    with path.open("r+b") as file:
        tags = next(_directories(file, path))
        if _GDAL_METADATA not in tags:
            raise OutputError(f"{path}: holds no tags; {_REMEDY}")
        _fill_metadata(file, tags[_GDAL_METADATA], _items(dataset, bands), path)
        if xmp is not None and _XMP in tags:
            _shorten(file, tags[_XMP], _packet(xmp))


def call_fourth_alpha(path: Path) -> None:
    """Say of the fourth of four bands in a GeoTIFF and its overviews that it is alpha.

    Its pixels stay. GDAL, told so before it makes overviews, would leave out of them the colours of
    pixels that are 0 in it. Colours in another order than red, green, blue are in the tags.

    Raises
    ------
    OutputError
        If GDAL did not write a number for it.
    """
    with path.open("r+b") as file:
        directories = list(_directories(file, path))
        if _GDAL_METADATA in directories[0]:
            tag = directories[0][_GDAL_METADATA]
            file.seek(tag.offset)
            named = _NO_COLOUR.sub(rb"\1Alpha\2    ", file.read(tag.size))
            file.seek(tag.offset)
            file.write(named)
        for tags in directories:
            extra = tags.get(_EXTRA_SAMPLES)
            if extra is None:
                raise OutputError(f"{path}: does not say what its fourth band is; {_REMEDY}")
            room = struct.calcsize(extra.size_format)
            here = 2 * extra.size <= room  # numbers that fit lie where else their offset would
            at = extra.size_at + room if here else extra.offset
            file.seek(at + 2 * (extra.size - 1))
            file.write(struct.pack(f"{extra.size_format[0]}H", _UNASSOCIATED_ALPHA))


@dataclass(frozen=True, slots=True)
class _Tag:
    """An entry of a TIFF directory whose value, of single bytes, lies elsewhere in the file.

    Attributes
    ----------
    offset, size
        Of the value, in bytes.
    size_at, size_format
        Where and how the size itself is stored.
    """

    offset: int
    size: int
    size_at: int
    size_format: str


def _fill_metadata(file: BinaryIO, tag: _Tag, items: bytes, path: Path) -> None:
    """Put items in place of the placeholder."""
    file.seek(tag.offset)
    old = file.read(tag.size).rstrip(b"\0")
    bare = _PLACEHOLDER.sub(b"", old, count=1)
    if len(bare) == len(old) or not bare.rstrip().endswith(_END):
        raise OutputError(f"{path}: no room for tags in it; {_REMEDY}")
    body = bare[: bare.rindex(_END)] + items
    # Blanks between elements mean nothing.
    padding = tag.size - 1 - len(body) - len(_END)
    assert padding >= 0, "room_for counted too little"
    file.seek(tag.offset)
    file.write(body + b" " * padding + _END + b"\0")


def _shorten(file: BinaryIO, tag: _Tag, value: bytes) -> None:
    """Replace a value by one that is not longer."""
    assert len(value) <= tag.size, "xmp_room counted too little"
    file.seek(tag.offset)
    file.write(value.ljust(tag.size))
    file.seek(tag.size_at)
    file.write(struct.pack(tag.size_format, len(value)))


_REMEDY = "this GDAL writes tags differently, try another version of rasterio"


def _packet(xmp: str) -> bytes:
    """Bytes of an XMP document; short values would lie in the directory itself."""
    return xmp.encode().ljust(16)


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


def _directories(file: BinaryIO, path: Path) -> Iterator[dict[int, _Tag]]:
    """Entries of each directory of a TIFF file by code; those of single bytes make sense."""
    start = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(start[:2], "<")
    magic = struct.unpack(f"{order}H", start[2:4])[0]
    if magic not in (42, 43):
        raise OutputError(f"{path}: not a TIFF file; {_REMEDY}")
    big = magic == 43
    word, number = (f"{order}Q", f"{order}Q") if big else (f"{order}I", f"{order}H")
    entry = f"{order}HH{word[1]}{word[1]}"
    where = struct.unpack(word, start[8:16] if big else start[4:8])[0]
    while where:
        file.seek(where)
        count = struct.unpack(number, file.read(struct.calcsize(number)))[0]
        at, step = file.tell(), struct.calcsize(entry)
        entries = file.read(count * step)
        where = struct.unpack(word, file.read(struct.calcsize(word)))[0]
        yield {
            code: _Tag(offset, size, at + i * step + 4, word)
            for i, (code, _, size, offset) in enumerate(struct.iter_unpack(entry, entries))
        }
