"""Write a scene with some rectangles replaced as a Cloud Optimised GeoTIFF that loses nothing."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.drivers import raster_driver_extensions
from rasterio.io import MemoryFile
from rasterio.windows import Window as RasterioWindow

from decr.errors import DecrError, OutputError, OutputExistsError, SceneError, warn
from decr.forks import is_forked
from decr.geo.layers import Layer, layer_writer
from decr.geo.metadata import OUR_DOMAIN, compare_metadata
from decr.geo.missing import calls_fourth_alpha, differs_by_band
from decr.geo.opening import (
    REFUSALS,
    first_line,
    forget_failures,
    quiet,
    quietly_open,
    remedy_of,
    unlinked,
)
from decr.geo.overlay import Overlay, Patch, overlay, without_alpha
from decr.geo.reader import reader
from decr.geo.scene import Scene
from decr.geo.sources import check_states
from decr.geo.tiff_tags import call_fourth_alpha, fill_room

_CACHE_BYTES = 32 * 2**20
_MAX_CACHE_BYTES = 2 * 2**30
_BUFFER_BYTES = 64 * 2**20
"""What GDAL holds beside its cache while it copies and makes overviews; measured, as the next
(tests/benchmarks/writing.py)."""
_BLOCKS_PER_THREAD = 12
"""Blocks of the output that each thread which compresses has before it, and after it."""

# Each open file keeps a decoded block of its own: with GDAL's 450, hundreds of patches would cost
# more than the cache does. Patches are read in the order in which they lie, so few do.
_OPEN_FILES = 4
_OPEN_PARTS = 32
"""The same of a scene that is a virtual raster itself. GDAL's pool of them then lasts until the
process ends, and each thread that reads a virtual raster needs a place there, or two if parts of it
are virtual; decr has up to 13."""

# What GDAL and others keep beside a raster; left over from an earlier file of that name, they
# would be taken for the new one's.
_SIDECARS = (".aux.xml", ".ovr", ".msk")

_ARCHIVES = ("zip", "gz", "tgz", "tar", "7z", "rar")
"""What names of archives end in, of which GDAL says nothing."""

_BLOCK_PX = 512
"""Side of the output's storage blocks."""
_THREADS = 4
"""That compress. More than a few would only wait for the one that reads the scene and makes
overviews, and each takes 25 MB for 4 bands of uint16."""


def _creation_options() -> dict[str, str]:
    """Of GDAL's COG driver; the bytes do not depend on the threads."""
    return {
        "COMPRESS": _best_compression(),
        "PREDICTOR": "YES",
        "BLOCKSIZE": str(_BLOCK_PX),
        "BIGTIFF": "IF_SAFER",
        "OVERVIEWS": "IGNORE_EXISTING",
        "RESAMPLING": "AVERAGE",
        "OVERVIEW_RESAMPLING": "AVERAGE",
        "STATISTICS": "NO",
        "NUM_THREADS": str(_running()),
    }


def _running() -> int:
    """Threads that will compress on this machine; GDAL's pool of them survives no fork."""
    return 1 if is_forked() else min(_THREADS, os.cpu_count() or 1)


def write_cog(
    source: str,
    patches: Sequence[Patch],
    out: Path,
    tags: Mapping[str, str],
    work_dir: Path,
    before_rename: Callable[[Path], None] | None = None,
    called: str | None = None,
    scene: Scene | None = None,
) -> None:
    """Write a scene with patches over it as a COG with overviews and all metadata of the scene.

    Pixels outside the patches are those of the scene, bit for bit. Statistics of patched bands
    are left out, since they would no longer be true.

    Parameters
    ----------
    source
        The scene: file name, /vsi path or URL. It is only read.
    patches
        New pixels; where they overlap, the later ones count.
    out
        Appears whole or not at all; an existing file is replaced, with its sidecar files.
    tags
        Go into the tag domain ``DECR``.
    work_dir
        Existing folder on the file system of ``out``, for files named ``cog.*``.
    before_rename
        Called with the finished file just before it becomes ``out``.
    called
        What messages call a scene that was made on the way, and is gone after a failure.
    scene
        The source as it was opened: what it knows better than the file. Overviews leave nothing out
        for a fourth band that is called alpha, and is none. Where nodata or masks differ by band,
        of which a GeoTIFF holds one, a mask says in their place which pixels are missing.

    Raises
    ------
    OutputError
        If the disk is full, the folder may not be written, or ``out`` is the scene itself.
    SceneError
        If the scene has gone, or is another by now.
    GridMismatchError
        If a patch does not fit the scene.

    Warns
    -----
    DecrWarning
        If the scene says something that a GeoTIFF cannot say.
    """
    if Path(source).exists() and out.exists() and out.samefile(source):
        raise OutputError(f"{out}: is the scene itself; give another name for the output")
    cog, vrt = work_dir / "cog.tif", work_dir / "cog.vrt"
    with _gdal(work_dir), _explained(source, out, work_dir, called, scene):
        _clear(work_dir)
        mask = None if scene is None else _valid_mask(scene, work_dir / "cog.mask.tif", out)
        with _opened(source) as dataset:
            content = overlay(dataset, patches, {OUR_DOMAIN: dict(tags)}, mask)
            bytes_per_px = sum(np.dtype(name).itemsize for name in dataset.dtypes)
            cache = _cache_bytes(dataset.block_shapes[0], dataset.shape, bytes_per_px)
            # Where there is a mask, GDAL makes overviews by that, and not by alpha.
            unlike = scene and not mask and calls_fourth_alpha(dataset, scene.bands)
            open_files = _OPEN_PARTS if dataset.driver == "VRT" else _OPEN_FILES
        vrt.write_bytes(without_alpha(content.xml) if unlike else content.xml)
        with rasterio.Env(GDAL_CACHEMAX=cache, GDAL_MAX_DATASET_POOL_SIZE=open_files):
            rasterio.shutil.copy(str(vrt), str(cog), driver="COG", **_creation_options())
        if unlike:
            call_fourth_alpha(cog)
        _finish(cog, vrt, content)
        # What GDAL kept beside the file does not come along.
        cog.with_name(cog.name + ".aux.xml").unlink(missing_ok=True)
        # The first band of a GeoTIFF has a colour, if only this one.
        told = compare_metadata(source, cog)
        lost = [line for line in told if line != "band 1 colour: undefined -> gray"]
        if before_rename is not None:
            before_rename(cog)
        publish(cog, out)
        _clear(work_dir)
    if lost:
        warn(f"{out}: a GeoTIFF cannot say all that {called or source} says: {'; '.join(lost)}")


def _gdal(work_dir: Path) -> rasterio.Env:
    """Bounds GDAL's memory and keeps its temporary files in the work directory."""
    return rasterio.Env(
        GDAL_CACHEMAX=_CACHE_BYTES, CPL_TMPDIR=str(work_dir), GDAL_TIFF_INTERNAL_MASK=True
    )


def _cache_bytes(block: tuple[int, int], shape: tuple[int, int], bytes_per_px: int) -> int:
    """Memory for decoded blocks, so that strips are not decoded anew for each output block."""
    rows, cols = block
    height, width = shape
    if cols <= 4 * _BLOCK_PX:
        return _CACHE_BYTES
    strips = (_BLOCK_PX + rows - 2) // rows + 1
    # A tenth more, for the masks and for what is being written.
    needed = min(strips * rows, height) * width * bytes_per_px * 11 // 10
    return min(max(_CACHE_BYTES, needed), _MAX_CACHE_BYTES)


def write_memory_bytes(scene: Scene) -> int:
    """Memory that `write_cog` takes for a scene, beside what the process holds already."""
    bytes_per_px = np.dtype(scene.dtype).itemsize * scene.count
    cache = _cache_bytes(scene.block_shape, scene.grid.window.shape, bytes_per_px)
    blocks = _running() * _BLOCKS_PER_THREAD
    return cache + _BUFFER_BYTES + blocks * _BLOCK_PX**2 * bytes_per_px


def _valid_mask(scene: Scene, mask: Path, out: Path) -> Path | None:
    """Write 255 where all data bands hold data, 0 elsewhere; None if all bands say so alike."""
    if not differs_by_band(scene.mask_kind, scene.nodata, scene.bands):
        return None
    layer = Layer(("mask",), 1, {}, nodata=0)
    with reader(scene) as source, layer_writer(mask, scene.grid, layer, called=out) as file:
        for piece in source.pieces():
            file.write(piece, source.valid(piece)[None] * np.uint8(255))
    return mask


@contextmanager
def _opened(source: str) -> Iterator[Any]:
    """Open the scene; not being able to is no fault of the output."""
    try:
        dataset = quietly_open(source)
    except REFUSALS as error:
        told = f"{source} can no longer be opened: {first_line(error)}; run again"
        raise SceneError(told) from unlinked(error)
    with dataset:
        yield dataset


@contextmanager
def _explained(
    source: str, out: Path, work_dir: Path, called: str | None, scene: Scene | None
) -> Iterator[None]:
    """Turn what GDAL and the system say into one sentence, leaving no half file."""
    try:
        yield
    except DecrError:
        _clear(work_dir)
        forget_failures()
        raise
    except REFUSALS as error:
        _clear(work_dir)
        forget_failures()
        if scene is not None:
            check_states(scene.files)  # or the output would be blamed
        reason = first_line(error)
        if "IReadBlock" in reason and "cog.tif" not in reason:
            raise SceneError(
                f"{called or source}: cannot be read to its end: {reason}; {remedy_of(reason)}"
            ) from unlinked(error)
        raise OutputError(
            f"{out}: cannot be written: {reason}; make sure that {out.parent} has free space and "
            f"may be written, and that {called or source} is whole, then run again"
            + ("" if called else ": finished work is kept")
        ) from unlinked(error)


def _clear(work_dir: Path) -> None:
    """Remove our files, also those of a run that was killed."""
    for path in work_dir.glob("cog.*"):
        path.unlink(missing_ok=True)


def _finish(cog: Path, vrt: Path, content: Overlay) -> None:
    """Add the tags that GDAL left out, and make sure that the file is whole."""
    fill_room(cog, content.dataset_tags, content.band_tags, content.xmp)
    with cog.open("rb") as file:
        os.fsync(file.fileno())
    with quietly_open(vrt) as expected, quietly_open(cog) as written:
        same = (expected.shape, expected.dtypes) == (written.shape, written.dtypes)
        last = _last_block(written)
        # The last block is the last that GDAL writes: it is missing if anything is.
        if not same or not np.array_equal(
            expected.read(window=last).view(np.uint8), written.read(window=last).view(np.uint8)
        ):
            raise OutputError(f"{cog}: is not what was written; check the disk and run again")
        levels = len(written.overviews(1))
    for level in range(levels):
        with quietly_open(cog, overview_level=level) as overview:
            last = _last_block(overview)
            overview.read(window=last)
            overview.read_masks(1, window=last)


def _last_block(dataset: Any) -> RasterioWindow:
    height, width = dataset.block_shapes[0]
    row = (dataset.height - 1) // height * height
    col = (dataset.width - 1) // width * width
    return RasterioWindow(col, row, dataset.width - col, dataset.height - row)


def publish(finished: Path, out: Path) -> None:
    """Give a finished file its name; files that would be taken for parts of it are deleted."""
    for sidecar in _sidecars(out):
        sidecar.unlink(missing_ok=True)
    finished.replace(out)


def check_sidecars(out: Path, read: Callable[[], Sequence[Path]], overwrite: bool = False) -> None:
    """Refuse an output for which `publish` would delete files of others, or that is such a file.

    Also one whose name says that it is of another format than GeoTIFF, or no file.

    Parameters
    ----------
    read
        To the files that the run reads; asked only if there is one that would be deleted.
    overwrite
        Whether files may be deleted that lie where parts of the output would.

    Raises
    ------
    OutputError
        Naming the file.
    """
    if out.name.endswith(_SIDECARS):
        raise OutputError(
            f"{out}: GDAL would take it for a part of another raster; choose another name, which "
            f"ends in .tif"
        )
    suffix = out.suffix.lower()
    if out.name == "-":
        raise OutputError(f"{out}: outputs go to files; choose a name that ends in .tif")
    format_of = {**raster_driver_extensions(), **dict.fromkeys(_ARCHIVES, "an archive")}
    if format_of.get(suffix.removeprefix("."), "GTiff") != "GTiff":
        raise OutputError(
            f"{out}: GeoTIFFs are written, and {suffix} means another format; choose a name that "
            f"ends in .tif"
        )
    for sidecar in _sidecars(out):
        if not sidecar.exists():
            continue
        if any(sidecar.samefile(file) for file in read()):
            raise OutputError(
                f"{sidecar}: is read by this run, and would be taken for a part of {out}; give "
                f"another name for the output"
            )
        if not out.exists() and not overwrite:
            raise OutputExistsError(
                f"{sidecar}: would be taken for a part of {out}; move or delete it"
            )


def _sidecars(out: Path) -> Iterator[Path]:
    return (out.with_name(out.name + suffix) for suffix in _SIDECARS)


@functools.cache
def _best_compression() -> str:
    """ZSTD unless GDAL was built without it."""
    profile = {"driver": "GTiff", "width": 1, "height": 1, "count": 1, "dtype": "uint8"}
    try:
        with quiet(), MemoryFile() as file, file.open(**profile, compress="ZSTD") as dataset:
            dataset.write(np.zeros((1, 1, 1), dtype=np.uint8))
    except REFUSALS:
        return "DEFLATE"
    return "ZSTD"
