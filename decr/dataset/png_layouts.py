"""The layouts of CUHK-CR and RICE: names of folders and files, and the PNG files of a pair."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from decr.geo.encode import png_bytes

COLOURS = ("red", "green", "blue")
"""Bands of each image, in file order."""
CUHK = ("cloud", "label")
"""Folders of cloudy and of clear images; also of other sets that were published after it."""
RICE = ("cloudy_image", "ground_truth")
NIR = "nir"
"""CUHK-CR's folder of near infrared, with the same two folders: see `nir_tree`."""
EXPORTS: Mapping[str, tuple[str, str]] = MappingProxyType({"cuhk-cr": CUHK, "rice": RICE})
"""Layouts that pairs can be stored in, and the names of their two sides."""


def nir_tree(path: Path, root: Path) -> Path | None:
    """The tree of near infrared that goes with a folder: inside it, or beside the set.

    Parameters
    ----------
    path
        Folder of the set.
    root
        Folder with the two sides: the set's own, or that of a split.
    """
    beside = path.resolve().parent / NIR / path.resolve().name / root.relative_to(path)
    for nir in (root / NIR, beside):
        if all((nir / side).is_dir() for side in CUHK):
            return nir
    return None


def png_names(layout: str, split: str, name: str, nir: bool) -> dict[str, str]:
    """Files of a pair, relative to the set, by their keys in a manifest.

    Parameters
    ----------
    layout
        One of `EXPORTS`; only CUHK-CR's holds near infrared.
    nir
        Whether the pair has near infrared.

    Examples
    --------
    >>> png_names("rice", "train", "a", nir=True)
    {'cloudy': 'train/cloudy_image/a.png', 'clear': 'train/ground_truth/a.png'}
    """
    sides = dict(zip(("cloudy", "clear"), EXPORTS[layout], strict=True))
    names = {key: f"{split}/{side}/{name}.png" for key, side in sides.items()}
    if nir and layout == "cuhk-cr":
        names |= {f"{key}_nir": f"{split}/{NIR}/{side}/{name}.png" for key, side in sides.items()}
    return names


def png_files(
    names: Mapping[str, str], images: Mapping[str, NDArray[np.uint8]], bands: Sequence[str]
) -> dict[str, bytes]:
    """What the files of a pair hold, by the same keys: colours, or near infrared three times.

    Parameters
    ----------
    names
        Of `png_names`.
    images
        "cloudy" and "clear", (bands, H, W) uint8, 255 is white.
    bands
        Roles of the images' bands.
    """
    files = {}
    for key in names:
        roles = ("nir",) * 3 if key.endswith("_nir") else COLOURS
        image = images[key.removesuffix("_nir")]
        files[key] = png_bytes(image[[bands.index(role) for role in roles]])
    return files


def lacking_colours(bands: Collection[str]) -> str:
    """The colours that bands lack for these layouts, for a message; empty if they have them all."""
    return ", ".join(sorted({*COLOURS} - {*bands}))
