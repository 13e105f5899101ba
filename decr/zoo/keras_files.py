"""Arrays of Keras files: HDF5 in its layouts since Keras 2, and the zip archive of Keras 3."""

from __future__ import annotations

import io
import json
import lzma
import math
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from decr.errors import BundleError
from decr.zoo.limits import check_size, reason, shown

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
KERAS_MEMBER = "model.weights.h5"
"""The archive's member that holds the weights."""

_DEPTH = 8
_GROUPS = 10_000
"""Most that a file may have; the largest published one has a few hundred."""
_CHECKPOINT_ROOTS = ("layers", "_layer_checkpoint_dependencies")
"""Where Keras 3, and the last versions of Keras 2, keep numbered variables."""

_VARIABLES = {
    "conv2d": ("kernel", "bias"),
    "conv2d_transpose": ("kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
}
"""What the numbered variables of a layer are, by the kind of layer."""

_NUMBERED = re.compile(r"(.*?)(?:_(\d{1,9}))?", re.DOTALL)

Place = tuple[str, ...]
"""Names of the groups down to a dataset, and its own."""


def read_h5(path: Path) -> dict[str, Tensor]:
    """Read a Keras HDF5 file: a whole model, or weights alone, of any Keras since version 2.

    Tensors are by "layer/leaf", layers of each kind numbered from 1 in order of construction,
    whatever number they started at.

    Raises
    ------
    BundleError
        If h5py is missing, or the file damaged, not by Keras, or a trap.
    """
    return _read(path, path, {})


def read_keras(path: Path, archive: zipfile.ZipFile) -> dict[str, Tensor]:
    """Read the weights inside a ``.keras`` archive, opened by `opened_zip`; see `read_h5`."""
    try:
        data = archive.read(KERAS_MEMBER)
        config = archive.read("config.json") if "config.json" in archive.namelist() else b"{}"
        names = _configured_names(json.loads(config))
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        OSError,
        ValueError,
        RuntimeError,
        RecursionError,
    ) as error:
        raise BundleError(
            f"{path}: a damaged .keras file ({reason(error)}); it may be truncated, download it "
            f"again"
        ) from error
    return _read(path, io.BytesIO(data), names)


def _configured_names(config: Any) -> dict[str, str]:
    """Map the group of each layer to the layer's own name, as an archive's configuration says.

    Groups are called by class and counted in the order of the graph, in which the two branches of
    a block alternate; names count in order of construction.
    """
    names: dict[str, str] = {}
    seen: Counter[str] = Counter()
    inner = config.get("config") if isinstance(config, dict) else None
    layers = inner.get("layers") if isinstance(inner, dict) else None
    for layer in layers if isinstance(layers, list) else []:
        if not isinstance(layer, dict) or not isinstance(layer.get("config"), dict):
            continue
        kind = _snake_case(str(layer.get("class_name")))
        group = f"{kind}_{seen[kind]}" if seen[kind] else kind
        seen[kind] += 1
        names[group] = str(layer["config"].get("name", group))
    return names


def _snake_case(name: str) -> str:
    """Keras' own rule: "Conv2DTranspose" is "conv2d_transpose"."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _h5py(path: Path) -> ModuleType:
    try:
        import h5py
    except ImportError as error:
        raise BundleError(
            f'{path}: a Keras file, which needs h5py; install it with pip install "decr[keras]"'
        ) from error
    module: ModuleType = h5py
    return module


def _read(path: Path, source: Path | io.BytesIO, names: Mapping[str, str]) -> dict[str, Tensor]:
    h5py = _h5py(path)
    try:
        with h5py.File(source, "r") as file:
            arrays = _named(path, file, dict(_datasets(path, h5py, file, (), count())), names)
            check_size(path, sum(_held(dataset) for dataset in arrays.values()))
            values = {name: _tensor(path, name, dataset) for name, dataset in arrays.items()}
    except BundleError:
        raise
    except Exception as error:  # A damaged file makes the HDF5 library raise anything.
        raise BundleError(
            f"{path}: a damaged HDF5 file ({reason(error)}); it may be truncated, download it again"
        ) from error
    return _renumbered(values)


def _held(dataset: Any) -> int:
    """Bytes that reading an array takes: a chunk, which is unpacked whole, may be larger."""
    chunk = math.prod(dataset.chunks or ()) * int(dataset.dtype.itemsize)
    return max(int(dataset.nbytes), chunk)


def _datasets(
    path: Path, h5py: ModuleType, group: Any, at: Place, met: Iterator[int]
) -> Iterator[tuple[Place, Any]]:
    """All datasets below a group with their places; links that lead elsewhere are refused.

    ``met`` counts the groups: a small file may link a few into billions of places.
    """
    if next(met) >= _GROUPS:
        raise BundleError(f"{path}: more than {_GROUPS:,} groups, which Keras does not write")
    if len(at) > _DEPTH:
        raise BundleError(f"{path}: groups nested deeper than {_DEPTH}, which Keras does not write")
    for key in group:
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise BundleError(
                f"{path}: {shown('/'.join((*at, key)))} links to another place, which weights need "
                f"not; get the file from its authors again"
            )
        item = group[key]
        if isinstance(item, h5py.Group):
            yield from _datasets(path, h5py, item, (*at, key), met)
        elif isinstance(item, h5py.Dataset):
            yield (*at, key), item


def _named(
    path: Path, file: Any, found: Mapping[Place, Any], names: Mapping[str, str]
) -> dict[str, Any]:
    """Name the datasets that are weights "layer/leaf", in whichever layout they lie."""
    for root in _CHECKPOINT_ROOTS:
        numbered = [at for at in found if at[0] == root and len(at) > 3 and at[-2] == "vars"]
        if numbered:
            pairs = [(_of_checkpoint(file, at, names), at) for at in numbered]
            break
    else:
        root = "model_weights" if "model_weights" in file else ""
        pairs = _of_layers([at for at in found if not root or at[0] == root], 1 if root else 0)
    arrays = {name: found[at] for name, at in pairs}
    if len(arrays) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise BundleError(f"{path}: two arrays are called {shown(twice)}; save the model alone")
    return arrays


def _of_checkpoint(file: Any, at: Place, names: Mapping[str, str]) -> str:
    """Name of ``layers/GROUP/vars/NUMBER``: new files say the layer's name at ``vars``."""
    group, number = at[-3], at[-1]
    said = file["/".join(at[:-1])].attrs.get("name")
    layer = said if isinstance(said, str) else names.get(group, group)
    leaves = dict(enumerate(_VARIABLES.get(_split(group)[0], ())))
    leaf = leaves.get(int(number), number) if re.fullmatch(r"\d", number) else number
    return f"{layer}/{leaf}"


def _of_layers(places: Sequence[Place], root: int) -> list[tuple[str, Place]]:
    """Names in the layout ``LAYER/.../LEAF:0``; in a nested model the last group is the layer."""
    named = [((at[root], at[-1].split(":")[0]), at) for at in places if len(at) > root + 1]
    often = Counter(name for name, _ in named)
    nested = {layer for (layer, _), times in often.items() if times > 1}
    return [(f"{at[-2] if layer in nested else layer}/{leaf}", at) for (layer, leaf), at in named]


def _tensor(path: Path, name: str, dataset: Any) -> Tensor:
    if dataset.dtype.kind not in "fiu" or dataset.is_virtual or dataset.external:
        raise BundleError(
            f"{path}: array {shown(name)} is {dataset.dtype!s:.40} or lies in another file; "
            f"weights are numbers in the file itself"
        )
    array: NDArray[Any] = np.asarray(dataset[()])
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("=")))


def _split(layer: str) -> tuple[str, int]:
    """Kind and number of a layer: "conv2d_3" is ("conv2d", 3), "conv2d" is ("conv2d", 0)."""
    found = _NUMBERED.fullmatch(layer)
    assert found is not None
    return found[1], int(found[2] or 0)


def _renumbered(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Number the layers of each known kind from 1: Keras goes on counting within a session."""
    layers = {key.rsplit("/", 1)[0] for key in values}
    canonical: dict[str, str] = {}
    for kind in _VARIABLES:
        mine = sorted(
            (number, layer) for layer in layers for k, number in [_split(layer)] if k == kind
        )
        canonical |= {layer: f"{kind}_{index}" for index, (_, layer) in enumerate(mine, start=1)}
    renamed: dict[str, Tensor] = {}
    for key, value in values.items():
        layer, leaf = key.rsplit("/", 1)
        renamed[f"{canonical.get(layer, layer)}/{leaf}"] = value
    return renamed
