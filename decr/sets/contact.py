"""Contact sheets of sets on disk: a few pixels of each pair, with one stretch for both images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from decr.dataset.manifest import PairFile
from decr.dataset.read_pair import mask_file
from decr.geo.layers import NODATA
from decr.geo.opening import opened
from decr.geo.quicklook import quicklook, shown_bands, stretched
from decr.geo.scene import Scene, open_scene
from decr.report.contact import MOST_PAIRS, SIDE_PX, PairPicture, contact_sheet


def sheet_of(
    title: str,
    pairs: Sequence[PairFile],
    figures: Sequence[tuple[str, str, str]],
    facts: Mapping[str, str],
    said: Mapping[str, str] | None = None,
) -> str:
    """The page of a set.

    Parameters
    ----------
    pairs
        All of them; at most `MOST_PAIRS` are read and shown, evenly spaced.
    figures, facts
        See `decr.report.contact.contact_sheet`.
    said
        Words for each pair by its name; its split if absent.

    Raises
    ------
    SceneError
        If an image cannot be read.
    """
    groups: dict[str, list[float]] = {}
    for pair in pairs:
        of_split = groups.setdefault(pair.split, [])
        if pair.ccp is not None:
            of_split.append(pair.ccp)
    step = max(1.0, (len(pairs) - 1) / (MOST_PAIRS - 1))
    shown = [pairs[round(i * step)] for i in range(min(len(pairs), MOST_PAIRS))]
    words = said or {}
    pictures = [_picture(pair, words.get(pair.name, pair.split)) for pair in shown]
    return contact_sheet(title, pictures, len(pairs), groups, figures, facts)


def _picture(pair: PairFile, said: str) -> PairPicture:
    cloudy, clear = (_small(open_scene(path, pair.bands)) for path in (pair.cloudy, pair.clear))
    truth, seen = stretched(clear, cloudy)
    return PairPicture(pair.name, seen, truth, _mask(pair, seen.shape[:2]), pair.ccp, said)


def _small(scene: Scene) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(3, h, w) means of whole cells, and which hold data."""
    k = max(1, max(scene.grid.height, scene.grid.width) // SIDE_PX)
    return quicklook(scene, k, shown_bands(scene.bands))


def _mask(pair: PairFile, shape: tuple[int, int]) -> NDArray[np.uint8] | None:
    """Codes of the mask that sets built by decr hold beside their images."""
    path = mask_file(pair)
    if path is None:
        return None
    with opened(str(path)) as file:
        codes = file.read(1, out_shape=shape)
    return np.where(codes == NODATA, np.uint8(2), (codes != 0).astype(np.uint8))
