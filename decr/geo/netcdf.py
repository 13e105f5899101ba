"""How long a netCDF file of the classic formats is by what its head says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import BinaryIO

_BYTES = (0, 1, 1, 2, 4, 4, 8)
"""Of a number, by what the format calls its type."""
_UNKNOWN = 2**32 - 1
"""In place of the count of records while they are being written."""


def stated_bytes(file: Path) -> int:
    """Bytes that a whole file has at the least; 0 of other formats, HDF5 among them.

    The head is taken to be sound: GDAL opens none else.
    """
    with file.open("rb") as head:
        magic = head.read(4)
        if magic not in (b"CDF\x01", b"CDF\x02"):
            return 0
        records = _number(head)
        lengths = [_dimension(head) for _ in range(_entries(head))]
        _pass_over_attributes(head)
        ends, slabs = [0], []
        for _ in range(_entries(head)):
            begin, shape, each = _variable(head, lengths, 4 if magic[3] == 1 else 8)
            if shape and shape[0] == 0:
                slabs.append((begin, math.prod(shape[1:]) * each))
            else:
                ends.append(begin + math.prod(shape) * each)
    # A record has a slab of each variable, padded unless there is but one.
    record = slabs[0][1] if len(slabs) == 1 else sum(_padded(size) for _, size in slabs)
    if records not in (0, _UNKNOWN):
        ends += [begin + (records - 1) * record + size for begin, size in slabs]
    return max(ends)


def _dimension(head: BinaryIO) -> int:
    """Its length; 0 of that along which records lie."""
    _pass_over(head, 1)
    return _number(head)


def _variable(head: BinaryIO, lengths: list[int], place: int) -> tuple[int, list[int], int]:
    """Where it begins, its shape, and bytes of a number."""
    _pass_over(head, 1)
    shape = [lengths[_number(head)] for _ in range(_number(head))]
    _pass_over_attributes(head)
    each = _BYTES[_number(head)]
    _number(head)  # bytes of all, which do not always fit
    return _number(head, place), shape, each


def _pass_over_attributes(head: BinaryIO) -> None:
    for _ in range(_entries(head)):
        _pass_over(head, 1)
        _pass_over(head, _BYTES[_number(head)])


def _entries(head: BinaryIO) -> int:
    """How many entries a list has, behind a mark of what is listed."""
    _number(head)
    return _number(head)


def _pass_over(head: BinaryIO, each: int) -> None:
    """Leave out a name, or numbers of so many bytes each, behind their count."""
    head.seek(_padded(_number(head) * each), 1)


def _number(head: BinaryIO, size: int = 4) -> int:
    return int.from_bytes(head.read(size), "big")


def _padded(size: int) -> int:
    return -(-size // 4) * 4
