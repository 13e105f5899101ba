"""Tests of bundles: what is saved is loaded, found by its name and described."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
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


def test_networks_are_of_32_bits_whatever_is_torchs_default(tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path, 3, DETECTOR)
    wanted = load_bundle(path).networks["detector"].state_dict()
    torch.set_default_dtype(torch.float64)
    try:
        got = load_bundle(path).networks["detector"].state_dict()
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(got[key].dtype == value.dtype for key, value in wanted.items())
    assert all(torch.equal(got[key], value) for key, value in wanted.items())


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


def test_unknown_names_say_which_there_are(tmp_path: Path) -> None:
    for name, said in (
        ("embeded", r"neither a file nor .*; is embedded meant\?"),
        ("embedded_rgb", r"; is embedded-rgb meant\?"),
        ("mine", "neither a file nor .*; `decr models list` names"),
        ("mine.safetensors", r"mine\.safetensors: no such file; `decr models list`"),
        ("runs/mine", "runs/mine: no such file"),
        ("m" * 300, "neither a file nor"),
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
def test_embedded_bundles_load_with_the_parts_and_bands_of_their_names(name: str) -> None:
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


def test_a_bundle_is_on_disk_before_it_has_its_name_and_a_kill_leaves_one_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "b.safetensors"
    seen = []

    def synced(file: int) -> None:
        seen.append([(path.name, path.stat().st_size) for path in tmp_path.iterdir()])

    monkeypatch.setattr("os.fsync", synced)
    save_bundle(out, tiny_card(DETECTOR, 3), tiny_networks(DETECTOR, 3))
    assert seen == [[(".b.safetensors.part", out.stat().st_size)]]


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
