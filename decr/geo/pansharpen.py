"""Pansharpening: two images fused by GDAL, a mask of what either lacks, and a COG of both."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from decr.errors import BandError, ConfigError, DecrError, GridMismatchError, OutputError, warn
from decr.files import scratch_folder, writable_folder
from decr.geo.fused import Laid, described_xml, fused_xml, laid_over
from decr.geo.gdal import gdal_environment
from decr.geo.grid import PixelGrid, Window
from decr.geo.layers import Layer, block_windows, layer_writer
from decr.geo.names import without_keys
from decr.geo.opening import check_not_negative, opened
from decr.geo.output import check_sidecars, write_cog
from decr.geo.reader import SceneReader, reader
from decr.geo.scene import Scene, open_scene
from decr.geo.sources import check_states, local_files, states_of

_REACH = {"Cubic": 2, "Nearest": 0, "Bilinear": 1, "CubicSpline": 2, "Lanczos": 3, "Average": 1}
"""How many multispectral pixels away each resampling looks."""
RESAMPLING = tuple(_REACH)
_COLS = 8192


@dataclass(frozen=True, slots=True)
class PansharpenOptions:
    """How colours are put on the panchromatic image.

    Attributes
    ----------
    bands
        Roles of the multispectral file's bands in file order; None reads them from it.
    weights
        Share of each data band in the panchromatic one; None takes all alike.
    resampling
        Of the multispectral image; one of `RESAMPLING`.

    Raises
    ------
    ConfigError
        For weights that are not positive numbers, or another resampling.
    """

    bands: str | None = None
    weights: tuple[float, ...] | None = None
    resampling: str = "Cubic"

    def __post_init__(self) -> None:
        if self.resampling not in RESAMPLING:
            raise ConfigError(f"resampling is one of {', '.join(RESAMPLING)}")
        given = self.weights
        if given is not None and not (all(0 <= w < math.inf for w in given) and sum(given) > 0):
            raise ConfigError(f"weights {given} must not be negative, and not all 0")


def pansharpen(
    pan: Path | str, ms: Path | str, out: Path, options: PansharpenOptions | None = None
) -> Scene:
    """Fuse two images of one acquisition by GDAL's weighted Brovey transform; return the fused.

    What both cover is written, on the pixels of the panchromatic image; colours lie where they are
    to half such a pixel, whatever the corners of the two.

    Bands keep their names; CRS, transform, ground control points, RPCs, scale, offset and unit are
    those of the panchromatic image; the time of acquisition is kept as a tag, also if only an XML
    file beside the image says it. Where a pixel is missing in either image (nodata, alpha, mask,
    NaN) a mask in ``out`` says so, and as far around missing multispectral pixels as resampling
    reaches, unless both images have one nodata number, which GDAL leaves out of its means.

    Parameters
    ----------
    pan
        One panchromatic band, or one and alpha; /vsi paths and URLs as str.
    ms
        Bands of larger pixels over the same ground.
    out
        COG; appears whole or not at all.

    Raises
    ------
    SceneError, BandError
        If an image cannot be read, is replaced meanwhile, or the bands are others.
    GridMismatchError
        If the two do not lie over one another.
    OutputError
        If ``out`` or a file that would be taken for a part of it (``OUT.msk``, ``OUT.ovr``,
        ``OUT.aux.xml``) is there already, or ``out`` cannot be written.

    Warns
    -----
    DecrWarning
        If the names of bands, which are written into ``out``, are guessed.
    """
    options = options or PansharpenOptions()
    work = out.with_name(f".{out.name}.decr-pansharpen")
    if out.exists():
        if work.exists():
            with scratch_folder(work, out):  # of a run that was killed after its rename
                pass
        raise _exists(out)
    with gdal_environment():
        one, many = _opened_pan(pan), open_scene(ms, options.bands)
        files = states_of([one.path, many.path])
        _check(one, many, options)
        for guess in many.guesses:
            warn(guess)
        check_sidecars(out, lambda: local_files(one.path) + local_files(many.path))
        writable_folder(out.parent)
        with scratch_folder(work, out), _explained(out):
            if out.exists():  # by a process that was at work until now
                raise _exists(out)
            fused, source = work / "fused.vrt", work / "described.vrt"
            laid, weights = laid_over(one, many), _weights(many, options)
            fused.write_bytes(fused_xml(one, many, laid, weights, options.resampling, work))
            reach = 0 if _gdal_knows(one, many) else _REACH[options.resampling]
            mask = _written_mask(one, many, laid, reach, work / "mask.tif", out)
            source.write_bytes(described_xml(one, fused, laid, mask))
            names = {"PAN": pan, "MS": ms}
            tags = {tag: Path(without_keys(str(image))).name for tag, image in names.items()}
            tags["METHOD"] = "GDAL weighted Brovey"
            tags["WEIGHTS"] = ",".join(f"{w:.6g}" for w in weights)
            tags["RESAMPLING"] = options.resampling
            both = " with ".join(without_keys(str(image)) for image in (pan, ms))
            # Of an image that was replaced meanwhile parts would be fused.
            write_cog(str(source), [], out, tags, work, lambda _: check_states(files), both)
        return open_scene(out)


def _exists(out: Path) -> OutputError:
    return OutputError(f"{out} exists already; delete it or give another name")


@contextmanager
def _explained(out: Path) -> Iterator[None]:
    """Say what to do when the virtual files on the way cannot be written."""
    try:
        yield
    except DecrError:
        raise
    except OSError as error:
        raise OutputError(
            f"{out}: cannot be written ({error.strerror or error}); make sure that {out.parent} "
            f"has free space, then run again"
        ) from error


def _opened_pan(path: Path | str) -> Scene:
    """The panchromatic image, which may have alpha beside its band."""
    with opened(os.fspath(path)) as dataset:
        alpha = dataset.count == 2 and dataset.colorinterp[1].name == "alpha"
        if dataset.count != 1 and not alpha:
            raise BandError(
                f"{path}: PAN has one band, this has {dataset.count}; are PAN and MS swapped?"
            )
        check_not_negative(dataset, str(path), option="")
    return open_scene(path, "p,a" if alpha else "p")


def _gdal_knows(pan: Scene, ms: Scene) -> bool:
    """Whether GDAL's resampling leaves out what is missing: by one number, the same in both."""
    numbers = {ms.nodata[band] for band in ms.bands.data_indices} | {pan.nodata[0]}
    integers = np.dtype(ms.dtype).kind in "iu"  # others may be NaN, whatever the file declares
    return integers and ms.mask_kind in ("nodata", "none") and len(numbers) == 1


def _written_mask(
    pan: Scene, ms: Scene, laid: Laid, reach: int, mask: Path, out: Path
) -> Path | None:
    """Write 255 where both images hold data, 0 elsewhere; None where nothing is missing.

    A pixel takes the multispectral pixel that its centre lies in, and asks for so many around it.
    """
    both, grid = laid.both, pan.grid
    if grid.has_transform:
        grid = PixelGrid(*both.shape, grid.window_transform(both), grid.crs)
    on_pan = np.arange(both.row, both.row_stop), np.arange(both.col, both.col_stop)
    on_ms = (
        _pixels(on_pan[0], laid.rows, laid.ms.row, laid.ms.height),
        _pixels(on_pan[1], laid.cols, laid.ms.col, laid.ms.width),
    )
    missing = False
    layer = Layer(("mask",), 1, {}, nodata=0)
    with reader(pan) as one, reader(ms) as many, layer_writer(mask, grid, layer, None, out) as file:
        for window in block_windows(grid, _COLS):
            valid = np.ones(window.shape, np.bool_)
            down, across = window.slices()
            for source, (rows, cols), around in ((one, on_pan, 0), (many, on_ms, reach)):
                valid &= _valid(source, rows[down], cols[across], around)
            missing |= not valid.all()
            file.write(window, valid[None] * np.uint8(255))
    return mask if missing else None


def _pixels(
    fine: NDArray[np.int64], canvas: tuple[int, int], first: int, count: int
) -> NDArray[np.int64]:
    """Rows or columns of the multispectral image in which centres of fine ones lie."""
    scale = count / (canvas[1] - canvas[0])
    found: NDArray[np.int64] = first + np.floor((fine + 0.5 - canvas[0]) * scale).astype(np.int64)
    return found


def _valid(
    source: SceneReader, rows: NDArray[np.int64], cols: NDArray[np.int64], reach: int
) -> NDArray[np.bool_]:
    """Whether pixels at rows and columns, and so many around them, hold data; (rows, cols)."""
    size = int(np.ptp(rows)) + 1, int(np.ptp(cols)) + 1
    window = Window(int(rows.min()), int(cols.min()), *size)
    window = window.expand(reach, source.scene.grid.window)
    valid = source.valid(window)
    if reach:
        valid = ndimage.minimum_filter(valid, 2 * reach + 1, mode="nearest")
    return np.asarray(valid[np.ix_(rows - window.row, cols - window.col)])


def _weights(ms: Scene, options: PansharpenOptions) -> Sequence[float]:
    count = len(ms.bands.data_indices)
    if options.weights is None:
        return [1 / count] * count
    total = sum(options.weights)
    return [w / total for w in options.weights]


def _check(pan: Scene, ms: Scene, options: PansharpenOptions) -> None:
    """Refuse what cannot be fused."""
    count = len(ms.bands.data_indices)
    if options.weights is not None and len(options.weights) != count:
        raise ConfigError(f"{len(options.weights)} weights for {count} bands of {ms.path}")
    if "pan" in ms.bands.data_roles:
        raise BandError(f"{ms.path} is panchromatic; the multispectral image comes second")
    if pan.dtype != ms.dtype:
        raise BandError(
            f"{pan.path} holds {pan.dtype} but {ms.path} {ms.dtype} numbers; store both in one type"
        )
    if pan.grid.has_transform != ms.grid.has_transform or pan.grid.crs != ms.grid.crs:
        raise GridMismatchError(
            f"{pan.path} and {ms.path} are not in one CRS; warp one with gdalwarp first"
        )
    if not pan.grid.has_transform:
        ratios = (pan.grid.height / ms.grid.height, pan.grid.width / ms.grid.width)
        if max(ratios) / min(ratios) > 1.01:
            raise GridMismatchError(
                f"{pan.path} and {ms.path} have no map coordinates and other proportions: they do "
                "not cover the same ground"
            )
        return
    one, other = pan.grid.footprint(), ms.grid.footprint()
    assert one is not None
    assert other is not None
    if not one.intersection(other).area > 0:
        raise GridMismatchError(f"{pan.path} and {ms.path} do not overlap; check their names")
    _check_axes(pan, ms)
    if math.hypot(ms.grid.transform.a, ms.grid.transform.d) < math.hypot(
        pan.grid.transform.a, pan.grid.transform.d
    ):
        raise GridMismatchError(f"{ms.path} has smaller pixels than {pan.path}; swap the two")


def _check_axes(pan: Scene, ms: Scene) -> None:
    """Refuse grids whose rows and columns do not run alike."""
    turned = ~pan.grid.transform @ ms.grid.transform
    along = max(abs(turned.b), abs(turned.d)) < 1e-6 * max(abs(turned.a), abs(turned.e))
    if not along or turned.a <= 0 or turned.e <= 0:
        raise GridMismatchError(
            f"rows and columns of {pan.path} and {ms.path} run other ways; bring one to the grid "
            "of the other with gdalwarp first"
        )
