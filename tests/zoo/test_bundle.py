"""Tests of bundles: what is saved is loaded, and what is wrong with a file is said in one line."""

from __future__ import annotations

import hashlib
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
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from decr.calibration import ErrorTable
from decr.errors import BundleError, OutputError
from decr.zoo.bundle import load_bundle, read_card, save_bundle, save_with_card
from decr.zoo.card import Part
from decr.zoo.describe import card_as_dict, described
from decr.zoo.embedded import EMBEDDED, embedded_path, find_bundle
from tests.tiny import DETECTOR, PARTS, tiny_bundle, tiny_card, tiny_networks


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path, 4)


def contents(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    with safe_open(str(path), framework="pt") as file:
        header = json.loads(file.metadata()["decr"])
        return header, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def rewritten(path: Path, header: Any, tensors: dict[str, Tensor]) -> Path:
    save_file(tensors, str(path), metadata={"decr": json.dumps(header)})
    return path


@pytest.mark.parametrize("bands", [3, 4])
def test_a_bundle_comes_back_as_it_was(tmp_path: Path, bands: int) -> None:
    path = tiny_bundle(tmp_path, bands)
    loaded = load_bundle(path)
    assert loaded.card == tiny_card(PARTS, bands) == read_card(path)
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    for name, network in tiny_networks(PARTS, bands).items():
        got = loaded.networks[name]
        assert not got.training
        assert not any(p.requires_grad for p in got.parameters())
        for key, value in network.state_dict().items():
            assert torch.equal(got.state_dict()[key], value.half().float())


def test_integer_buffers_and_full_precision_survive(tmp_path: Path) -> None:
    networks, path = tiny_networks(DETECTOR, 3), tmp_path / "d.safetensors"
    save_bundle(path, tiny_card(DETECTOR, 3), networks, dtype=torch.float32)
    got = load_bundle(path).networks["detector"].state_dict()
    for key, value in networks["detector"].state_dict().items():
        assert torch.equal(got[key], value)
        assert got[key].dtype == value.dtype


def test_numbers_that_16_bits_cannot_hold_are_kept_in_32(tmp_path: Path) -> None:
    networks, path = tiny_networks(DETECTOR, 3), tmp_path / "d.safetensors"
    norm = next(m for m in networks["detector"].modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert norm.running_var is not None
    norm.running_var[0] = 100_000.0
    save_bundle(path, tiny_card(DETECTOR, 3), networks)
    _, stored = contents(path)
    full = [key for key, value in stored.items() if value.dtype == torch.float32]
    assert len(full) == 1
    got = load_bundle(path).networks["detector"].state_dict()
    assert float(got[full[0].removeprefix("detector/")][0]) == 100_000.0


def test_another_card_leaves_every_tensor_as_it_is(tmp_path: Path) -> None:
    path, out = tmp_path / "full.safetensors", tmp_path / "out.safetensors"
    card = tiny_card(PARTS, 3)
    save_bundle(path, card, tiny_networks(PARTS, 3), torch.float32)
    table = ErrorTable((-1.0, 0.5), (0.1, 0.2), {"steps": "3"}, "a test")
    save_with_card(path, out, replace(card, errors=table))
    assert read_card(out).errors == table
    assert read_card(path).errors is None
    (_, before), (_, after) = contents(path), contents(out)
    assert {k: v.dtype for k, v in before.items()} == {k: v.dtype for k, v in after.items()}
    assert all(torch.equal(after[key], value) for key, value in before.items())
    with pytest.raises(OutputError, match="cannot be written"):
        save_with_card(path, tmp_path / "no" / "out.safetensors", card)


def test_the_same_bundle_is_the_same_file(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    assert tiny_bundle(one, 3).read_bytes() == tiny_bundle(two, 3).read_bytes()


def test_card_and_networks_must_name_the_same_parts(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="reference"):
        save_bundle(tmp_path / "x", tiny_card(PARTS, 3), tiny_networks(DETECTOR, 3))


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
def test_files_that_are_no_bundles(bundle: Path, damage: Callable[[Path], None], says: str) -> None:
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
        (other_shape, r"tensor cnp/.* has shape \(.*\), the network needs \("),
        (lacking, r"part 'cnp' lacks tensor .* \(1 in all\)"),
        (lacking_part, "part 'wa' lacks tensor"),
        (extra, "part 'cnp' has unknown tensor 'zzz'"),
        (extra_part, "'stranger/weight' belongs to no part"),
    ],
)
def test_tensors_that_do_not_fit(
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
def test_cards_that_make_no_sense(bundle: Path, changes: dict[str, Any], says: str) -> None:
    header, tensors = contents(bundle)
    with pytest.raises(BundleError, match=says) as caught:
        load_bundle(rewritten(bundle, header | changes, tensors))
    assert str(bundle) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_card_that_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "b.safetensors"
    card = replace(tiny_card(PARTS, 3), name="two\nlines")
    with pytest.raises(BundleError, match=r"b\.safetensors: .*name is 'two\\nlines'"):
        save_bundle(path, card, tiny_networks(PARTS, 3))
    assert not path.exists()


@pytest.mark.parametrize(
    "card", ["{not json", "[]", "17", "null", "{}", '"card"', "[" * 100_000, '{"format": 1}']
)
def test_cards_that_are_no_card(bundle: Path, card: str) -> None:
    _, tensors = contents(bundle)
    save_file(tensors, str(bundle), metadata={"decr": card})
    with pytest.raises(BundleError, match="card inside is damaged"):
        load_bundle(bundle)


def test_unknown_names_say_which_there_are(tmp_path: Path) -> None:
    for name, said in (
        ("embeded", r"neither a file nor .*; is embedded meant\?"),
        ("embedded_rgb", r"; is embedded-rgb meant\?"),
        ("mine", "neither a file nor .*; `decr models list` names"),
        ("mine.safetensors", r"mine\.safetensors: no such file; `decr models list`"),
        ("runs/mine", "runs/mine: no such file"),
    ):
        with pytest.raises(BundleError, match=said):
            find_bundle(name, scene_has_nir=True)
    assert find_bundle(str(tiny_bundle(tmp_path, 3)), False).parent == tmp_path


def test_the_embedded_model_fits_the_scenes_bands() -> None:
    assert find_bundle("embedded", True) == embedded_path("embedded-rgbn")
    assert find_bundle("embedded", False) == embedded_path("embedded-rgb")
    for name, file in EMBEDDED.items():
        assert find_bundle(name, True).name == file


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_bundles_load(name: str) -> None:
    card = load_bundle(embedded_path(name)).card
    parts = {"detector"} if name.startswith("embedded-detector") else {"reference", "cnp", "wa"}
    assert set(card.parts) == parts
    assert card.name == name
    assert ("nir" in card.bands) == (name in ("embedded-rgbn", "embedded-detector-fine-nir"))


def test_descriptions_hold_what_people_ask_for(bundle: Path) -> None:
    loaded = load_bundle(bundle)
    text_ = described(loaded)
    counts = {n: sum(p.numel() for p in m.parameters()) for n, m in loaded.networks.items()}
    for wanted in ("tiny", "nir", "0.5 m", "3 DDIM steps", "CC0", loaded.sha256):
        assert wanted in text_
    assert f"{counts['cnp']:,} parameters" in text_
    as_dict = json.loads(json.dumps(card_as_dict(loaded)))
    assert as_dict["parameters"] == counts
    assert as_dict["sha256"] == loaded.sha256


def test_counters_must_stay_counters(tmp_path: Path) -> None:
    path = tmp_path / "d.safetensors"
    save_bundle(path, tiny_card(DETECTOR, 3), tiny_networks(DETECTOR, 3))
    header, tensors = contents(path)
    key = next(key for key, value in tensors.items() if not value.is_floating_point())
    tensors[key] = tensors[key].float()
    with pytest.raises(BundleError, match="holds float32, the network needs whole numbers"):
        load_bundle(rewritten(path, header, tensors))


def test_a_card_cannot_speak_to_the_terminal_or_break_json(bundle: Path) -> None:
    header, tensors = contents(bundle)
    changes = {
        "licence": "\x1b[2Jmine\nsha256  0000",
        "provenance": {"loss": float("nan"), "losses": [1.0, float("inf")], "who": "Zoë"},
    }
    loaded = load_bundle(rewritten(bundle, header | changes, tensors))
    text_ = described(loaded)
    assert all(line.isprintable() for line in text_.splitlines())
    assert r"\x1b[2Jmine\nsha256  0000" in text_
    assert "Zoë" in text_
    card = json.loads(json.dumps(card_as_dict(loaded), allow_nan=False))
    assert card["provenance"] == {"loss": None, "losses": [1.0, None], "who": "Zoë"}


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    target, link = tmp_path / "kept" / "t.safetensors", tmp_path / "link.safetensors"
    link.symlink_to(target)
    save_bundle(link, tiny_card(DETECTOR, 3), tiny_networks(DETECTOR, 3))
    assert link.is_symlink()
    assert not target.is_symlink()
    assert read_card(target) == tiny_card(DETECTOR, 3)


def test_published_sizes_need_no_numbers() -> None:
    card = replace(tiny_card(PARTS, 3), parts={"cnp": Part("cnp")})
    assert card.parts["cnp"].size == {}
    assert len(card.schedule.betas) == 1000
