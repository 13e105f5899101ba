"""Tests of files that are no bundles, or damaged ones: what is wrong is said in one line."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from decr.errors import BundleError
from decr.zoo.bundle import load_bundle, read_card, save_bundle, save_with_card
from tests.tiny import DETECTOR, PARTS, tiny_bundle, tiny_card, tiny_networks
from tests.zoo.test_bundle import contents, rewritten


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path, 4)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def cut_in_the_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("<html>404: not found</html>\n" * 50)


class Boom:
    """Would leave a trace if it were ever unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return (exec, ("raise SystemExit('unpickled')",))


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps(Boom()))


def torch_pickled(path: Path) -> None:
    torch.save({"model": Boom()}, path)


def hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["kernel"] = [1.0]


def image(path: Path) -> None:
    Image.new("L", (4, 4)).save(path, "TIFF")


def not_ours(path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, str(path))


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def missing(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (truncated, "a damaged safetensors file; it may be truncated"),
        (cut_in_the_header, "a damaged safetensors file"),
        (empty, "the file is empty"),
        (text, "a web page, not weights: the download failed"),
        (pickled, "torch or Keras writes, .* `decr models import .* makes one"),
        (pickled, "of a training of decr's own take the bundle that lies beside its checkpoints"),
        (torch_pickled, "torch or Keras writes, .* `decr models import .* makes one"),
        (hdf5, "torch or Keras writes, .* `decr models import .* makes one"),
        (image, "an image, not weights; .* --detector file:MASK"),
        (not_ours, r"no card inside\); `decr models import` makes one"),
        (directory, "cannot read the weights"),
        (missing, "cannot read the weights"),
    ],
)
def test_files_that_are_no_bundles_are_refused_and_named(
    bundle: Path, damage: Callable[[Path], None], says: str
) -> None:
    damage(bundle)
    with pytest.raises(BundleError, match=says) as caught:
        load_bundle(bundle)
    assert str(bundle) in str(caught.value)
    with pytest.raises(BundleError) as caught:
        read_card(bundle)
    assert str(bundle) in str(caught.value)


def first_key(tensors: dict[str, Tensor]) -> str:
    return min(k for k in tensors if k.startswith("cnp/") and tensors[k].ndim == 4)


def nan(tensors: dict[str, Tensor]) -> None:
    tensors[first_key(tensors)].view(-1)[3] = torch.nan


def infinite(tensors: dict[str, Tensor]) -> None:
    tensors[first_key(tensors)].view(-1)[3] = -torch.inf


def other_shape(tensors: dict[str, Tensor]) -> None:
    key = first_key(tensors)
    tensors[key] = tensors[key][:-1].clone()


def many_axes(tensors: dict[str, Tensor]) -> None:
    tensors[first_key(tensors)] = torch.ones([1] * 500)


def complex_nan(tensors: dict[str, Tensor]) -> None:
    key = first_key(tensors)
    tensors[key] = tensors[key].to(torch.complex64) * torch.nan


def whole(tensors: dict[str, Tensor]) -> None:
    tensors[first_key(tensors)] = torch.ones_like(tensors[first_key(tensors)], dtype=torch.int64)


def eight_bits(tensors: dict[str, Tensor]) -> None:
    tensors[first_key(tensors)] = tensors[first_key(tensors)].to(torch.float8_e4m3fn)


def lacking(tensors: dict[str, Tensor]) -> None:
    del tensors[first_key(tensors)]


def lacking_part(tensors: dict[str, Tensor]) -> None:
    for key in [k for k in tensors if k.startswith("wa/")]:
        del tensors[key]


def extra(tensors: dict[str, Tensor]) -> None:
    tensors["cnp/zzz"] = torch.zeros(1)


def extra_part(tensors: dict[str, Tensor]) -> None:
    tensors["stranger/weight"] = torch.zeros(1)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (nan, "tensor cnp/.* holds NaN or infinite"),
        (infinite, "tensor cnp/.* holds NaN or infinite"),
        (complex_nan, "tensor cnp/.* holds complex64, the network needs numbers of 16"),
        (whole, "tensor cnp/.* holds int64, the network needs numbers of 16"),
        (eight_bits, "tensor cnp/.* holds float8_e4m3fn, the network needs numbers of 16"),
        (many_axes, r"tensor cnp/.* has shape \(1, 1, .{70,80}, the network needs \("),
        (other_shape, r"tensor cnp/.* has shape \(.*\), the network needs \("),
        (lacking, r"part 'cnp' lacks tensor .* \(1 in all\)"),
        (lacking_part, "part 'wa' lacks tensor"),
        (extra, "part 'cnp' has unknown tensor 'zzz'"),
        (extra_part, "'stranger/weight' belongs to no part"),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    bundle: Path, damage: Callable[[dict[str, Tensor]], None], says: str
) -> None:
    header, tensors = contents(bundle)
    damage(tensors)
    with pytest.raises(BundleError, match=says) as caught:
        load_bundle(rewritten(bundle, header, tensors))
    assert str(bundle) in str(caught.value)


ERRORS = {"brightness": [0, 1], "error": [0.1, 0.2], "settings": {}, "about": ""}

ENDLESS = {"architecture": "cnp", "size": {"width": 8, "multipliers": [1, 2], "blocks": 10**9}}

HUGE = {"architecture": "msda", "size": {"width": 10**5}}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": 2}, "bundle format 2, this decr reads 1; install a newer decr"),
        ({"format": None}, "bundle format None"),
        ({"format": "2\n" * 10**5}, r"bundle format '2\\n2"),
        ({"a\x1b\nb" * 10**5: 1}, r"card inside is damaged .*'a\\x1b ba"),
        ({"bands": ["x" * 10**6] * 2}, "card inside is damaged .*bands"),
        ({"colour": "red"}, "card inside is damaged .*colour"),
        ({"bands": 4}, "card inside is damaged"),
        ({"bands": []}, "card inside is damaged .*bands"),
        ({"bands": ["x"] * 1000}, "card inside is damaged .*bands"),
        ({"bands": ["red", "red", "blue"]}, "card inside is damaged .*bands"),
        ({"bands": "rgb"}, "card inside is damaged .*bands is 'rgb'"),
        ({"name": "a\x1b[31mX\nY"}, r"card inside is damaged .*name is 'a\\x1b\[31mX\\nY'"),
        ({"licence": 5}, "card inside is damaged .*licence is 5"),
        ({"gsd_m": "fine"}, "card inside is damaged"),
        ({"gsd_m": -1.0}, "card inside is damaged .*gsd_m is -1"),
        ({"gsd_m": float("nan")}, "card inside is damaged .*gsd_m is nan"),
        ({"gsd_m": 10**400}, "card inside is damaged .*too large"),
        ({"gsd_range_m": [0, 10**400]}, "card inside is damaged .*too large"),
        ({"ranges": {"uint8": [0, 10**400]}}, "card inside is damaged .*too large"),
        ({"errors": {**ERRORS, "error": [0, 10**400]}}, "card inside is damaged .*too large"),
        ({"steps": "many"}, "card inside is damaged"),
        ({"steps": True}, "card inside is damaged .*steps is True"),
        ({"steps": 0}, "card inside is damaged .*steps is 0"),
        ({"train_steps": 10**15}, "card inside is damaged .*train_steps"),
        ({"level_px": -1}, "card inside is damaged .*level_px is -1"),
        ({"level_px": 0.5}, r"card inside is damaged .*level_px is 0\.5"),
        ({"prior_floor": 7}, "card inside is damaged .*prior_floor is 7"),
        ({"ranges": {"uint8": [255, 0]}}, "card inside is damaged .*ranges"),
        ({"ranges": {"uint8": []}}, "card inside is damaged"),
        ({"errors": {"brightness": [0, 1]}}, "card inside is damaged"),
        ({"errors": {**ERRORS, "error": [0.2, 0.1]}}, "card inside is damaged .*no table"),
        ({"errors": {**ERRORS, "brightness": [0, "x"]}}, "card inside is damaged"),
        ({"errors": {**ERRORS, "settings": 7}}, "card inside is damaged"),
        ({"errors": "many"}, "card inside is damaged"),
        ({"parts": ["cnp"]}, "card inside is damaged"),
        ({"parts": {"cnp": {"architecture": "cnp"}}}, "card inside is damaged"),
        ({"parts": {"cnp": {"architecture": "wa", "size": {}}}}, "'cnp' cannot be 'wa', only cnp"),
        ({"parts": {"gpt": {"architecture": "cnp", "size": {}}}}, "no part is called 'gpt'"),
        ({"parts": {"cnp": {"architecture": ["cnp"], "size": {}}}}, "card inside is damaged"),
        ({"parts": {"cnp": ENDLESS}}, "cannot be built"),
        ({"parts": {"reference": HUGE}}, "lacks tensor"),
    ],
)
def test_cards_that_make_no_sense_are_refused_in_one_line(
    bundle: Path, changes: dict[str, Any], says: str
) -> None:
    header, tensors = contents(bundle)
    with pytest.raises(BundleError, match=says) as caught:
        load_bundle(rewritten(bundle, header | changes, tensors))
    assert str(bundle) in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < len(str(bundle)) + 400


def test_a_card_that_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "b.safetensors"
    card = replace(tiny_card(PARTS, 3), name="two\nlines")
    with pytest.raises(BundleError, match=r"b\.safetensors: .*name is 'two\\nlines'"):
        save_bundle(path, card, tiny_networks(PARTS, 3))
    assert not path.exists()


@pytest.mark.parametrize(
    "card", ["{not json", "[]", "17", "null", "{}", '"card"', "[" * 100_000, '{"format": 1}']
)
def test_cards_that_are_no_card_are_refused(bundle: Path, card: str) -> None:
    _, tensors = contents(bundle)
    save_file(tensors, str(bundle), metadata={"decr": card})
    with pytest.raises(BundleError, match="card inside is damaged"):
        load_bundle(bundle)


def test_counters_must_stay_counters(tmp_path: Path) -> None:
    path = tmp_path / "d.safetensors"
    save_bundle(path, tiny_card(DETECTOR, 3), tiny_networks(DETECTOR, 3))
    header, tensors = contents(path)
    key = next(key for key, value in tensors.items() if not value.is_floating_point())
    tensors[key] = tensors[key].float()
    with pytest.raises(BundleError, match="holds float32, the network needs whole numbers"):
        load_bundle(rewritten(path, header, tensors))


def test_numbers_of_6_bits_are_refused_in_one_line(bundle: Path, tmp_path: Path) -> None:
    data = bundle.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    for entry in header.values():
        size = entry["data_offsets"][1] - entry["data_offsets"][0] if "dtype" in entry else 1
        if size % 3 == 0:
            entry.update(dtype="F6_E2M3", shape=[size * 8 // 6])
    text = json.dumps(header).encode()
    bundle.write_bytes(len(text).to_bytes(8, "little") + text + data[end:])
    with pytest.raises(BundleError, match=f"^{bundle}: .*Dtype.*F6_E2M3"):
        load_bundle(bundle)
    with pytest.raises(BundleError, match=f"^{bundle}: .*Dtype.*F6_E2M3"):
        save_with_card(bundle, tmp_path / "out", tiny_card(PARTS, 4))
