"""Tests of netCDF files that are cut off."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from rasterio.shutil import copy as gdal_copy
from scipy.io import netcdf_file

from decr.errors import SceneError
from decr.geo.opening import opened
from tests.geo.scene_files import coded, write


@pytest.mark.parametrize("format_", ["NC", "NC2", "NC4"])
@pytest.mark.parametrize("count", [1, 3])
def test_a_netcdf_file_that_is_cut_off_is_refused(tmp_path: Path, format_: str, count: int) -> None:
    source, file = write(tmp_path / "s.tif", coded(count, 41, 61, "uint8")), tmp_path / "s.nc"
    gdal_copy(source, file, driver="netCDF", FORMAT=format_)
    with opened(str(file)) as dataset:
        names = dataset.subdatasets or [str(file)]
    for name, pixels in zip(names, coded(count, 41, 61, "uint8"), strict=True):
        with opened(name) as dataset:
            np.testing.assert_array_equal(dataset.read(1), pixels)
    whole = file.read_bytes()
    for share in (0.99, 0.5):
        file.write_bytes(whole[: int(len(whole) * share)])
        for name in (str(file), *names):
            with pytest.raises(SceneError, match=r"s\.nc"), opened(name):
                pass


def test_a_netcdf_file_with_dates_is_whole_or_cut_off(tmp_path: Path) -> None:
    file, pixels = tmp_path / "s.nc", coded(3, 41, 61, "int16")
    with netcdf_file(file, "w") as made:
        for name, size in (("time", None), ("y", 41), ("x", 61)):
            made.createDimension(name, size)
        for name in ("red", "nir"):
            made.createVariable(name, "h", ("time", "y", "x"))[:3] = pixels
    name = f'NETCDF:"{file}":nir'
    with opened(name) as dataset:
        np.testing.assert_array_equal(dataset.read()[:, ::-1], pixels)
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(SceneError, match="is cut off; copy it again"), opened(name):
        pass


def netcdf_of_one_record(file: Path, height: int, width: int) -> Path:
    """A sparse one of 4 bytes per pixel, of the format with places of 64 bits."""

    def counts(*numbers: int) -> bytes:
        return b"".join(n.to_bytes(4, "big") for n in numbers)

    lengths, size = {b"t": 0, b"y": height, b"x": width}, height * width * 4
    head = b"CDF\x02" + counts(1, 10, 3)
    head += b"".join(counts(1) + name + bytes(3) + counts(n) for name, n in lengths.items())
    head += counts(0, 0, 11, 1, 3) + b"red\0" + counts(3, 0, 1, 2, 0, 0, 5, min(size, 2**32 - 1))
    begin = len(head) + 8
    with file.open("wb") as made:
        made.write(head + begin.to_bytes(8, "big"))
        made.truncate(begin + size)
    return file


@pytest.mark.parametrize(("height", "width"), [(41, 61), (30_000, 20_000), (40_000, 30_000)])
def test_a_netcdf_file_is_whole_or_cut_off_however_large_its_records_are(
    tmp_path: Path, height: int, width: int
) -> None:
    file = netcdf_of_one_record(tmp_path / "s.nc", height, width)
    with opened(str(file)) as dataset:
        assert (dataset.shape, dataset.count) == ((height, width), 1)
    os.truncate(file, file.stat().st_size - 1)
    with pytest.raises(SceneError, match="is cut off; copy it again"), opened(str(file)):
        pass
