"""A set of pairs as a dataset of torch, whose samples are those that TorchGeo's tools take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from decr.dataset.layouts import layout_of, list_pairs
from decr.dataset.manifest import MANIFEST, PairFile, of_split
from decr.dataset.read_pair import mask_file, open_image, read_whole
from decr.errors import DatasetError, warn
from decr.geo.gdal import gdal_environment
from decr.geo.grid import PixelGrid
from decr.geo.opening import opened

Sample = dict[str, Any]


class PairDataset(Dataset[Sample]):
    """Pairs of one split, read one by one; nothing is kept in memory.

    It follows TorchGeo's ``NonGeoDataset`` (0.8) without needing TorchGeo: samples are
    dictionaries, ``transforms`` takes and gives one, and ``root`` and ``split`` are what its data
    modules pass.

    Parameters
    ----------
    root
        Folder of a set: one that decr made, or any of `decr.dataset.layouts.LAYOUTS`.
    split
        "train", "val" or "test"; "all" takes every pair.
    transforms
        Called with each sample.
    bands
        Roles wanted, in order, such as ("red", "green", "blue"); None takes all of the first pair.
    layout
        See `decr.dataset.layouts.layout_of`.
    geo
        Add ``crs``, ``bounds`` and ``transform``. Batches then need TorchGeo's ``stack_samples`` or
        another function that keeps what is no tensor.

    Raises
    ------
    DatasetError
        If it is no set, has no pair of that split, lacks a band, has masks for some pairs only, or
        ``geo`` is asked of images without map coordinates.
    SceneError
        If an image cannot be read.

    Warns
    -----
    DecrWarning
        If not both files of the first pair say which band is which.

    Notes
    -----
    Samples have

    - ``image``, ``image_clear``: (C, H, W) float32, digital numbers as stored
    - ``mask``: (H, W) int64; 1 cloudy, 0 clear, 255 no data; only in sets that have masks
    - with ``geo``: ``crs``, a `pyproj.CRS`; ``bounds``, slices of x and y with the pixel size as
      step, and of all time, as TorchGeo's ``RasterDataset`` has them (of a rotated chip those
      around it); ``transform``, (6,) float64, a to f of the affine transform
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        transforms: Callable[[Sample], Sample] | None = None,
        bands: Sequence[str] | None = None,
        layout: str | None = None,
        geo: bool = False,
    ) -> None:
        folder = Path(root)
        listed = list_pairs(folder, layout_of(folder, layout))
        self.root, self.split, self.transforms, self.geo = folder, split, transforms, geo
        self.pairs = of_split(listed, split, folder)
        self.masks = _masks(folder, self.pairs)
        with gdal_environment():
            self.bands = tuple(bands or read_whole(self.pairs[0]).bands)
            _tell_guessed(self.pairs[0])
        self._read(0)

    def __len__(self) -> int:
        """How many pairs there are."""
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        """Read a sample.

        Raises
        ------
        IndexError
            If there is none.
        DatasetError, SceneError
            If its files are not as they should be.
        """
        sample = self._read(index)
        return sample if self.transforms is None else self.transforms(sample)

    def __str__(self) -> str:
        """What it is, in words."""
        return f"{len(self)} pairs of {self.root}, split {self.split}: {', '.join(self.bands)}"

    def _read(self, index: int) -> Sample:
        pair = self.pairs[index]
        with gdal_environment():
            whole = read_whole(pair)
            lacking = [band for band in self.bands if band not in whole.bands]
            if lacking:
                raise DatasetError(
                    f"{pair.clear}: lacks {', '.join(lacking)}; it has {', '.join(whole.bands)}"
                )
            picks = [whole.bands.index(band) for band in self.bands]
            sample: Sample = {
                "image": torch.from_numpy(whole.cloudy[picks].astype(np.float32)),
                "image_clear": torch.from_numpy(whole.clear[picks].astype(np.float32)),
            }
            if self.masks is not None:
                with opened(str(self.masks[index])) as file:
                    mask = file.read(1).astype(np.int64)
                if mask.shape != whole.valid.shape:
                    raise DatasetError(f"{self.masks[index]}: differs in size from {pair.cloudy}")
                sample["mask"] = torch.from_numpy(mask)
        return sample | (_place(pair, whole.scene.grid) if self.geo else {})


def _tell_guessed(pair: PairFile) -> None:
    """Warn of bands that are a guess; the other pairs of a set are alike as a rule."""
    sides = [open_image(path, pair.bands) for path in (pair.cloudy, pair.clear)]
    if any(scene.guesses for scene in sides):
        one, two = (",".join(role[0] for role in scene.bands.roles) for scene in sides)
        warn(
            f"not both images say which band is which: {pair.cloudy} is taken for {one} and "
            f"{pair.clear} for {two}: name them in the files, or as bands in {MANIFEST}"
        )


def _masks(folder: Path, pairs: Sequence[PairFile]) -> list[Path] | None:
    """The mask of each pair, or None if none has one."""
    found = [mask_file(pair) for pair in pairs]
    there = [path for path in found if path is not None]
    if there and len(there) < len(pairs):
        name = pairs[found.index(None)].name
        raise DatasetError(f"{folder}: {name} has no mask, but others have; add it or delete all")
    return there or None


def _place(pair: PairFile, grid: PixelGrid) -> Sample:
    """Where a sample lies; both packages come with rioxarray, and take a while to load."""
    import pandas
    import pyproj

    outline = grid.footprint(grid.window)
    if outline is None or grid.crs is None:
        raise DatasetError(f"{pair.clear}: has no map coordinates; leave geo out")
    t = grid.transform
    xres, yres = float(np.hypot(t.a, t.d)), float(np.hypot(t.b, t.e))
    west, south, east, north = outline.bounds
    time = slice(pandas.Timestamp.min, pandas.Timestamp.max, 1)
    return {
        "crs": pyproj.CRS.from_wkt(grid.crs.to_wkt()),
        "bounds": (slice(west, east, xres), slice(south, north, yres), time),
        "transform": torch.tensor([t.a, t.b, t.c, t.d, t.e, t.f], dtype=torch.float64),
    }
