"""Tests of reading weights: every kind of file gives the same tensors, hostile ones one line."""

from __future__ import annotations

import json
import os
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor

from decr.errors import BundleError, OutputError
from decr.models.cloudnet import state_dict_from_keras
from decr.models.registry import create
from decr.zoo.bundle import check_output, load_bundle, read_card, weights_sha256
from decr.zoo.formats import _load_failure, read_weights
from tests.tiny import tiny_bundle
from tests.zoo import checkpoints
from tests.zoo.checkpoints import SMALL, keras_arrays, network
from tests.zoo.hostile import HOSTILE

STATE = {
    "conv.weight": torch.linspace(-1, 1, 600).reshape(2, 3, 10, 10),
    "conv.bias": torch.tensor([0.5, -0.5]).half(),
    "norm.count": torch.tensor(7),
}


def same(got: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    return got.keys() == wanted.keys() and all(
        torch.equal(got[key], value) and got[key].dtype == value.dtype
        for key, value in wanted.items()
    )


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module.", "model."])
@pytest.mark.parametrize("container", [None, "state_dict", "model"])
@pytest.mark.parametrize("write", [checkpoints.torch_zip, checkpoints.torch_legacy])
def test_torch_files_are_read_whatever_wraps_their_names(
    tmp_path: Path, write: Callable[[Path, Any], None], container: str | None, prefix: str
) -> None:
    path = tmp_path / "w.pth"
    state = {prefix + key: value for key, value in STATE.items()}
    write(path, {container: state, "epoch": 3, "loss": 0.1} if container else state)
    assert same(read_weights(path), STATE)


@pytest.mark.parametrize(
    ("generator", "discriminator"),
    [("netG", "netD"), ("G", "D"), ("generator_state_dict", "discriminator_state_dict")],
)
def test_the_generator_of_a_pair_is_taken(
    tmp_path: Path, generator: str, discriminator: str
) -> None:
    path = tmp_path / "w.pth"
    checkpoints.torch_zip(path, {discriminator: {"d": torch.ones(1)}, generator: STATE, "epoch": 3})
    assert same(read_weights(path), STATE)


def test_safetensors_are_read_whatever_the_file_is_called(tmp_path: Path) -> None:
    path = tmp_path / "any_name"
    checkpoints.safetensors(path, {f"module.{key}": value for key, value in STATE.items()})
    assert same(read_weights(path), STATE)


def test_zip_archives_packed_anew_are_read(tmp_path: Path) -> None:
    one, two = tmp_path / "one.pth", tmp_path / "two.pth"
    torch.save({"w": torch.arange(100.0)}, one)
    with (
        zipfile.ZipFile(one) as old,
        zipfile.ZipFile(two, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert same(read_weights(two), {"w": torch.arange(100.0)})


def with_changed_numbers(path: Path) -> None:
    """Change bytes of the largest record of a zip archive, as a bad download does."""
    with zipfile.ZipFile(path) as archive:
        start = max(archive.infolist(), key=lambda entry: entry.file_size).header_offset
    data = bytearray(path.read_bytes())
    for place in range(start + 300, start + 1500, 4):
        data[place] ^= 1
    path.write_bytes(data)


def test_torch_files_whose_numbers_changed_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    checkpoints.torch_zip(path, STATE)
    with_changed_numbers(path)
    with pytest.raises(BundleError, match=r"damaged torch file: 'w/data/0' .* download it again"):
        read_weights(path)


@pytest.mark.skipif(
    not hasattr(torch.serialization, "set_crc32_options"), reason="torch always keeps checksums"
)
def test_torch_files_without_checksums_are_read(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    state = {**STATE, "empty": torch.zeros(0)}  # a sum of nothing is right by chance
    torch.serialization.set_crc32_options(compute_crc32=False)
    try:
        checkpoints.torch_zip(path, state)
    finally:
        torch.serialization.set_crc32_options(compute_crc32=True)
    assert same(read_weights(path), state)


def test_a_bundle_is_no_foreign_file(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="a decr bundle already"):
        read_weights(tiny_bundle(tmp_path, 3))


KERAS: dict[str, Callable[..., None]] = {
    "model.h5": checkpoints.h5_model,
    "weights.h5": checkpoints.h5_weights,
    "without_ending.h5": lambda *a: checkpoints.h5_model(*a, ending=""),
    "nested.h5": checkpoints.h5_nested,
    "new.keras": checkpoints.keras_archive,
    "old.keras": lambda *a: checkpoints.keras_archive(*a, says_names=False),
}


@pytest.mark.parametrize(
    ("layout", "first"),
    [*((layout, 0) for layout in KERAS), ("model.h5", 1), ("weights.h5", 34), ("new.keras", 34)],
)
def test_keras_layouts_give_the_same_cloud_net(tmp_path: Path, layout: str, first: int) -> None:
    net = network("cloudnet", 4, SMALL["cloudnet"])
    arrays = keras_arrays(net)
    KERAS[layout](tmp_path / layout, arrays, first)
    got = read_weights(tmp_path / layout)
    assert same(got, {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in arrays.items()})
    ours = create("cloudnet", 4, SMALL["cloudnet"]).eval()
    ours.load_state_dict(state_dict_from_keras({k: v.numpy() for k, v in got.items()}))
    image = torch.rand(1, 4, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(ours(image), net(image))


def test_big_endian_arrays_are_read_as_their_numbers(tmp_path: Path) -> None:
    checkpoints.h5_weights(tmp_path / "b.h5", {"conv2d_1/bias": np.array([1.5, -2.0], ">f4")})
    got = read_weights(tmp_path / "b.h5")
    assert same(got, {"conv2d_1/bias": torch.tensor([1.5, -2.0])})


def test_without_h5py_the_way_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints.h5_weights(tmp_path / "b.h5", {"conv2d_1/bias": np.ones(2, "float32")})
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(BundleError, match=r'pip install "decr\[keras\]"'):
        read_weights(tmp_path / "b.h5")


def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "b.h5", "w") as file:
        for group in ("conv2d", "conv2d_1"):
            file[f"layers/{group}/vars/0"] = np.ones(2, "float32")
            file[f"layers/{group}/vars"].attrs["name"] = "conv2d_5"
    with pytest.raises(BundleError, match="two arrays are called 'conv2d_5/kernel'"):
        read_weights(tmp_path / "b.h5")


@pytest.mark.parametrize("module", ["builtins.", "__builtin__.", ""])
def test_code_is_named_alike_whatever_torch_calls_it(tmp_path: Path, module: str) -> None:
    said = f"Weights only load failed. Unsupported global: GLOBAL {module}exec was not allowed"
    path = tmp_path / "w.pth"
    checkpoints.torch_legacy(path, STATE)
    told = _load_failure(ValueError(said), path)
    assert "asks to run code (exec), which decr never does" in told


def test_a_pickle_is_called_damaged_wherever_it_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    checkpoints.torch_legacy(path, {"state_dict": OrderedDict(w=torch.ones(3))})
    data = path.read_bytes()
    for length in range(1, len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(BundleError, match=f"^{path}: a damaged torch file.* truncated"):
            read_weights(path)


@pytest.mark.parametrize("kind", ["F4", "F6_E2M3", "F8_E8M0"])
def test_safetensors_of_numbers_that_are_not_plain_say_what_to_do(
    tmp_path: Path, kind: str
) -> None:
    """Torch may have such a type, of which its reader of safetensors does not know."""
    entry = {"dtype": kind, "shape": [32], "data_offsets": [0, 4 * int(kind[1])]}
    header = json.dumps({"a": entry}).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4 * int(kind[1])))
    with pytest.raises(BundleError, match=f"^{path}: .*; export dense floating-point weights$"):
        read_weights(path)


REFUSED_LATER = ("hidden methods", "long key")
"""Harmless as weights; no network recognises them."""


@pytest.mark.parametrize("kind", [kind for kind in HOSTILE if kind not in REFUSED_LATER])
def test_hostile_files_are_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bad.pth"
    write, says = HOSTILE[kind]
    write(path)
    with pytest.raises(BundleError, match=says) as caught:
        read_weights(path)
    said = str(caught.value)
    assert str(path) in said
    assert "\n" not in said
    assert len(said) < len(str(path)) + 300
    assert "weights_only" not in said


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "device", "sparse"])
def test_files_that_cannot_be_read_are_refused(tmp_path: Path, kind: str) -> None:
    path = {"folder": tmp_path, "device": Path("/dev/zero")}.get(kind, tmp_path / "no.pth")
    if kind == "pipe":
        os.mkfifo(path)
    if kind == "sparse":
        with path.open("wb") as file:
            file.truncate(40 * 2**30)
    for read in (read_weights, weights_sha256, load_bundle):
        with pytest.raises(BundleError, match=r"cannot read the weights|decr reads up to"):
            read(path)


def test_names_that_are_not_utf_8_are_told_as_such(tmp_path: Path) -> None:
    whole = tiny_bundle(tmp_path, 3)
    path = tmp_path / "bun\udcff.safetensors"
    try:
        path.write_bytes(whole.read_bytes())
    except OSError:
        pytest.skip("this file system takes no such names")
    for read in (read_weights, weights_sha256, load_bundle, read_card):
        with pytest.raises(BundleError, match="not UTF-8; rename"):
            read(path)
    with pytest.raises(OutputError, match="not UTF-8; give another"):
        check_output(path, [], overwrite=True)


def test_methods_hidden_by_a_pickle_are_not_called(tmp_path: Path) -> None:
    write, _ = HOSTILE["hidden methods"]
    write(tmp_path / "w.pth")
    assert same(read_weights(tmp_path / "w.pth"), {"w": torch.ones(2)})
