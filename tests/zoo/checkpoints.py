"""Fake published checkpoints of every network and kind of file."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from decr.models.cloudnet import keras_names
from decr.models.registry import create
from decr.zoo import bundle as bundle_module
from decr.zoo import published as published_module
from tests.tiny import randomised

Arrays = dict[str, NDArray[Any]]

PREFIXES = {"spagan": "gen.gen.", "amgan": "gen.gen.", "wa": "sjlnet."}
"""What published files have before every key."""

SMALL: dict[str, dict[str, Any]] = {
    "cnp": {"width": 8, "multipliers": [1, 2], "blocks": 1},
    "wa": {"width": 8, "multipliers": [1, 2], "blocks": 1},
    "memorynet": {"width": 8, "growth": 4, "extra": 4, "blocks": 1},
    "msda": {"width": 4, "growth": 4},
    "spagan": {"width": 8},
    "amgan": {"width": 8},
    "cvae": {"width": 64, "latent": 4},
    "cloudnet": {"width": 2},
}
"""Sizes that build in no time."""


def make_sizes_small(patch: pytest.MonkeyPatch) -> None:
    """Let small networks pass for published ones; they are recognised by the published keys still.

    Halves of DE have to be called by name then: their small sizes have other keys.
    """
    for name in (*published_module.NETWORKS, "patchgan", "msda_discriminator"):
        published_module._published_keys(name)
    uncached = published_module._published_shapes.__wrapped__
    patch.setattr(published_module, "_published_shapes", uncached)
    for module in (published_module, bundle_module):
        patch.setattr(module, "create", _small)


def _small(name: str, bands: int, size: Any = None) -> nn.Module:
    return create(name, bands, size or SMALL.get(name))


def network(name: str, bands: int, size: dict[str, Any] | None = None, seed: int = 0) -> nn.Module:
    """A seeded network in evaluation mode."""
    torch.manual_seed(seed)
    return randomised(create(name, bands, size), seed, scale=0.02).eval()


def published(name: str, net: nn.Module) -> dict[str, Tensor]:
    """State dict of a network under its published keys."""
    prefix = PREFIXES.get(name, "")
    return {prefix + k.removeprefix("unet."): v for k, v in net.state_dict().items()}


def de_checkpoint(cnp: nn.Module, wa: nn.Module) -> dict[str, Tensor]:
    """The combined checkpoint of a noise predictor and a weight allocator."""
    return {**published("cnp", cnp), **published("wa", wa)}


def keras_arrays(net: nn.Module) -> Arrays:
    """Arrays of a Cloud-Net as Keras lays them out, under canonical names."""
    state = {key: value.numpy() for key, value in net.state_dict().items()}
    return {
        key: state[ours].transpose(2, 3, 1, 0) if key.endswith("/kernel") else state[ours]
        for key, ours in keras_names().items()
    }


def torch_zip(path: Path, payload: Any) -> None:
    torch.save(payload, path)


def torch_legacy(path: Path, payload: Any) -> None:
    torch.save(payload, path, _use_new_zipfile_serialization=False)


def safetensors(path: Path, payload: dict[str, Tensor]) -> None:
    save_file({key: value.clone().contiguous() for key, value in payload.items()}, str(path))


def renamed(arrays: Arrays, first: int) -> dict[tuple[str, str], NDArray[Any]]:
    """Arrays by (layer, leaf), each kind of layer counted from ``first``; Keras leaves out a 0."""
    out: dict[tuple[str, str], NDArray[Any]] = {}
    for key, array in arrays.items():
        layer, leaf = key.split("/")
        kind, number = layer.rsplit("_", 1)
        index = int(number) - 1 + first
        out[f"{kind}_{index}" if index else kind, leaf] = array
    return out


def h5_model(path: Path, arrays: Arrays, first: int = 1, ending: str = ":0") -> None:
    """A whole model as Keras 2 saves it, with layers that have no weights and an optimiser."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Functional"})
        file.create_dataset("optimizer_weights/Adam/iterations:0", data=np.int64(7))
        _layers(file.create_group("model_weights"), arrays, first, ending)


def h5_weights(path: Path, arrays: Arrays, first: int = 1, ending: str = ":0") -> None:
    """The weights alone as Keras 2 saves them."""
    with h5py.File(path, "w") as file:
        _layers(file, arrays, first, ending)


def h5_nested(path: Path, arrays: Arrays, first: int = 1) -> None:
    """A model that holds the network as one of its layers."""
    with h5py.File(path, "w") as file:
        for (layer, leaf), array in renamed(arrays, first).items():
            file[f"model_weights/model_1/{layer}/{leaf}:0"] = array


def _layers(root: Any, arrays: Arrays, first: int, ending: str) -> None:
    names: dict[str, list[str]] = {"activation_1": []}
    for (layer, leaf), array in renamed(arrays, first).items():
        name = f"{layer}/{leaf}{ending}"
        root.create_dataset(f"{layer}/{name}", data=array)
        names.setdefault(layer, []).append(name)
    root.attrs["layer_names"] = [layer.encode() for layer in names]
    for layer, weights in names.items():
        root.require_group(layer).attrs["weight_names"] = [name.encode() for name in weights]


_CLASSES = {
    "conv2d": "Conv2D",
    "conv2d_transpose": "Conv2DTranspose",
    "batch_normalization": "BatchNormalization",
}


def keras_archive(path: Path, arrays: Arrays, first: int = 1, says_names: bool = True) -> None:
    """A ``.keras`` file; its groups count in another order than the layers' names do.

    ``says_names``: whether the weights say the layers' names, as since Keras 3.7, or only the
    configuration does.
    """
    data, layers = io.BytesIO(), []
    with h5py.File(data, "w") as file:
        for group, layer, mine in _grouped(renamed(arrays, first)):
            kind = layer.rstrip("0123456789").rstrip("_")
            layers.append({"class_name": _CLASSES[kind], "config": {"name": layer}})
            variables = file.create_group(f"layers/{group}/vars")
            if says_names:
                variables.attrs["name"] = layer
            for number, array in enumerate(mine):
                variables.create_dataset(str(number), data=array)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"config": {"layers": layers}}))
        archive.writestr("model.weights.h5", data.getvalue())


def _grouped(
    arrays: dict[tuple[str, str], NDArray[Any]],
) -> Iterable[tuple[str, str, list[NDArray[Any]]]]:
    """(group, layer, variables), in the reverse of the order of construction."""
    counts: dict[str, int] = {}
    for layer in reversed(list(dict.fromkeys(layer for layer, _ in arrays))):
        kind = layer.rstrip("0123456789").rstrip("_")
        number = counts[kind] = counts.get(kind, -1) + 1
        variables = [array for (mine, _), array in arrays.items() if mine == layer]
        yield (f"{kind}_{number}" if number else kind), layer, variables
