"""Weights files that are damaged or mean harm, each with what must be said of it."""

from __future__ import annotations

import pickle
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import torch
from torch import Tensor, nn

from tests.zoo.checkpoints import keras_archive, safetensors, torch_legacy, torch_zip


class Boom:
    """Ends the process if it is ever unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return (exec, ("raise SystemExit('unpickled')",))


def _cut(write: Callable[[Path], None], keep: float) -> Callable[[Path], None]:
    def cut(path: Path) -> None:
        write(path)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * keep)])

    return cut


def _weights(value: float = 0.5) -> dict[str, Tensor]:
    return {"a.weight": torch.linspace(0, 1, 3000), "b.weight": torch.tensor([1.0, value])}


def _bomb(member: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr(member, bytes(2**25))

    return write


def _h5(fill: Callable[[Any], None]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            fill(file)

    return write


def _unallocated(file: Any) -> None:
    file.create_dataset("conv2d_1/conv2d_1/kernel:0", (10**11,), "float32", chunks=(1024,))


def _compressed(file: Any) -> None:
    data = np.zeros(2**23, "float32")
    file.create_dataset("conv2d_1/conv2d_1/kernel:0", data=data, compression="gzip")


def _elsewhere(file: Any) -> None:
    file["conv2d_1"] = h5py.ExternalLink("/etc/passwd", "/")


def _circular(file: Any) -> None:
    file["conv2d_1/loop"] = file["/"]


def _many_links(file: Any) -> None:
    """Eight levels of groups, each of which has the next under twelve names."""
    group = file
    for _ in range(8):
        inner = group.create_group("a0")
        for number in range(1, 12):
            group[f"a{number}"] = inner
        group = inner


def _large_chunk(file: Any) -> None:
    file.create_dataset(
        "conv2d_1/conv2d_1/kernel:0",
        (10,),
        "float32",
        maxshape=(None,),
        chunks=(2**26,),
        compression="gzip",
    )


def _text(file: Any) -> None:
    file["conv2d_1/conv2d_1/kernel:0"] = ["import os"]


def _many_columns(file: Any) -> None:
    kind = [(f"column {n}", "<f4") for n in range(500)]
    file["conv2d_1/conv2d_1/kernel:0"] = np.zeros(2, kind)


def _nan_kernel(file: Any) -> None:
    file["conv2d_1/conv2d_1/kernel:0"] = np.full((3, 3), np.nan, "float32")


def _torch(payload: Callable[[], Any], legacy: bool = False) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        (torch_legacy if legacy else torch_zip)(path, payload())

    return write


def _bytes(data: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(data)

    return write


def _keras(path: Path) -> None:
    keras_archive(path, {"conv2d_1/kernel": np.ones((3, 3, 4, 16), "float32")})


def _keras_damaged(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", np.random.default_rng(0).bytes(4000) * 2)
    data = bytearray(path.read_bytes())
    data[80:90] = b"\xff" * 10
    path.write_bytes(data)


def _zip(name: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, b"weights")

    return write


def _tar(mode: Literal["w", "w:gz"]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with tarfile.open(path, mode) as archive:
            archive.add(__file__, "weights/in.pth")

    return write


HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "pickle with code": (_bytes(pickle.dumps(Boom(), protocol=2)), "run code"),
    "torch zip with code": (_torch(lambda: {"state_dict": Boom()}), r"run code \(exec\)"),
    "legacy torch with code": (_torch(lambda: [Boom()], legacy=True), r"run code \(exec\)"),
    "whole module": (_torch(lambda: nn.Linear(2, 2)), r"run code \(torch.nn.modules"),
    "new pickle": (_bytes(pickle.dumps({"a": 1}, protocol=5)), "not one of tensors|damaged"),
    "torch zip bomb": (_bomb("archive/data/0"), "do not compress like that"),
    "keras zip bomb": (_bomb("model.weights.h5"), "do not compress like that"),
    "h5 without its data": (_h5(_unallocated), "decr reads up to"),
    "h5 compressed": (_h5(_compressed), "do not compress like that"),
    "h5 link elsewhere": (_h5(_elsewhere), "links to another place"),
    "h5 loop": (_h5(_circular), "nested deeper"),
    "h5 many links": (_h5(_many_links), "more than 10,000 groups"),
    "h5 large chunk": (_h5(_large_chunk), "do not compress like that"),
    "h5 text": (_h5(_text), "weights are numbers"),
    "h5 many columns": (_h5(_many_columns), "weights are numbers"),
    "h5 NaN": (_h5(_nan_kernel), "'conv2d_1/kernel' holds NaN"),
    "h5 cut": (_cut(_h5(_nan_kernel), 0.5), "damaged HDF5"),
    "keras cut": (_cut(_keras, 0.7), "damaged zip"),
    "keras damaged inside": (_keras_damaged, r"damaged \.keras file"),
    "weights in a zip": (_zip("weights/in.pth"), "an archive, not weights; unpack it"),
    "numpy's archive": (_zip("arr_0.npy"), "arrays of NumPy; save them by torch.save"),
    "weights in a tar": (_tar("w"), "an archive, not weights; unpack it"),
    "weights in a tar.gz": (_tar("w:gz"), "an archive, not weights; unpack it"),
    "zip cut": (_cut(_torch(_weights), 0.6), "damaged zip.*truncated"),
    "legacy cut": (_cut(_torch(_weights, legacy=True), 0.6), "damaged torch file.*truncated"),
    "legacy cut at once": (_bytes(b"\x80\x02"), r"damaged torch file \(\w.*truncated"),
    "legacy cut early": (_cut(_torch(_weights, legacy=True), 0.01), "damaged|not one of tensors"),
    "safetensors cut": (
        _cut(lambda path: safetensors(path, _weights()), 0.6),
        "not a readable safetensors file.*truncated",
    ),
    "NaN": (_torch(lambda: _weights(torch.nan)), "'b.weight' holds NaN"),
    "infinity": (_torch(lambda: _weights(-torch.inf), legacy=True), "'b.weight' holds NaN"),
    "NaN safetensors": (lambda path: safetensors(path, _weights(torch.nan)), "'b.weight' holds"),
    "too large for float32": (
        _torch(lambda: {"w": torch.tensor([1e300], dtype=torch.float64)}),
        "'w' holds NaN or infinite",
    ),
    "list": (_torch(lambda: [torch.ones(2)]), "holds list"),
    "one tensor": (_torch(lambda: torch.ones(2)), "holds Tensor"),
    "empty dict": (_torch(dict), "holds no tensors"),
    "number among tensors": (_torch(lambda: {**_weights(), "epoch": 3}), "'epoch' is int"),
    "numbered": (_torch(lambda: {1: torch.ones(2)}), "entry <int> is Tensor, not a named"),
    "named by tensors": (
        _torch(lambda: {torch.zeros(50, 50): torch.ones(2)}),
        "entry <Tensor> is Tensor, not a named",
    ),
    "named by a long tuple": (
        _torch(lambda: {("a\n" * 10**5,): torch.ones(2)}, legacy=True),
        "entry <tuple> is Tensor, not a named",
    ),
    "averages under a tensor": (
        _torch(lambda: {"model": _weights(), torch.zeros(50, 50): _weights()}),
        r"several networks \(model, <Tensor>\)",
    ),
    "long name of code": (_bytes(b"\x80\x02c" + b"a" * 10_000 + b"\nb\n."), r"run code \(a{100}\)"),
    "dicts in dicts": (
        _torch(lambda: {"model": {"model": {"model": {"model": {"model": {}}}}}}),
        "dicts within dicts",
    ),
    "optimiser": (_torch(lambda: {"state": {}, "param_groups": []}), "state of an optimiser"),
    "two networks": (
        _torch(lambda: {"model": _weights(), "ema": _weights()}),
        r"several networks \(model, ema\)",
    ),
    "averages elsewhere": (
        _torch(
            lambda: {
                "model": _weights(),
                "shadow": {f"module.{k}": v for k, v in _weights().items()},
            }
        ),
        r"several networks \(model, 'shadow'\)",
    ),
    "absurd size": (_torch(lambda: {"w": torch.zeros(1).expand(10**12)}), "decr reads up to"),
    "no memory behind it": (_torch(lambda: {"w": torch.empty(9, device="meta")}), "meta"),
    "sparse": (_torch(lambda: {"w": torch.ones(2, 2).to_sparse()}), "sparse_coo"),
    "nested": (
        _torch(lambda: {"w": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])}),
        r"(nested, cpu\)|nested tensor), not plain numbers; export dense",
    ),
    "complex": (_torch(lambda: {"w": torch.ones(2, dtype=torch.complex64)}), "complex64"),
    "4 bits": (_torch(lambda: {"w": _of_4_bits()}), "'w' is torch.* not plain numbers"),
    "hidden methods": (_torch(lambda: _hidden()), "of no published network"),
    "long key": (_torch(lambda: {"k" * 10_000 + "\n": torch.ones(2)}), "of no published network"),
    "web page": (_bytes(b"\n<!DOCTYPE html>\n<html>404</html>\n" * 50), "a web page"),
    "text": (_bytes(b"not found\n" * 50), "text, not weights"),
    "Git LFS pointer": (
        _bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n"),
        "git lfs pull",
    ),
    "empty": (_bytes(b""), "empty"),
    "noise": (_bytes(np.random.default_rng(0).bytes(5000)), "neither a torch file"),
}
"""Files that must be refused: how each is written, and what is said of it."""


def _of_4_bits() -> Tensor:
    """Numbers of 4 bits, two to a byte; older versions of torch have none and take complex ones."""
    kind = getattr(torch, "float4_e2m1fn_x2", torch.complex64)
    return torch.zeros(2, 8, dtype=torch.uint8).view(kind)


def _hidden() -> OrderedDict[str, Tensor]:
    """A state dict whose dict and tensor hide their own methods, as a pickle can have them do."""
    weight = torch.ones(2)
    weight.detach = weight.float = "hidden"  # type: ignore[assignment]
    state = OrderedDict(w=weight)
    state.get = state.keys = "hidden"  # type: ignore[assignment]
    return state
