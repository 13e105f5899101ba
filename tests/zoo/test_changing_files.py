"""Tests of files that another process writes while they are read: told, and never named wrongly."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from decr.errors import BundleError
from decr.evaluation import calibrate
from decr.pipeline import networks
from decr.zoo import bundle as bundle_module
from decr.zoo import imports
from decr.zoo.bundle import load_bundle, save_bundle
from decr.zoo.formats import read_weights
from decr.zoo.imports import import_checkpoint
from tests.evaluation.test_tiles import pairs_of
from tests.tiny import DETECTOR, PARTS, randomised, tiny_bundle, tiny_card, tiny_networks
from tests.zoo import checkpoints

CHANGED = "changed while it was read; try again once no other process writes it"


def others(folder: Path, parts: Any = PARTS) -> bytes:
    """Bytes of a bundle like `tiny_bundle`'s with other weights."""
    path = folder / "others.safetensors"
    made = {name: randomised(net, 9) for name, net in tiny_networks(parts, 3).items()}
    save_bundle(path, tiny_card(parts, 3), made)
    return path.read_bytes()


def overwrite_before(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, path: Path, data: bytes
) -> None:
    """Have a file written in place just before a function of a module does its work."""
    function = getattr(module, name)

    def late(*args: Any, **kwargs: Any) -> Any:
        path.write_bytes(data)
        return function(*args, **kwargs)

    monkeypatch.setattr(module, name, late)


@pytest.mark.parametrize("step", ["read_safetensors", "card_from"])
def test_a_bundle_that_changes_is_not_named_by_its_old_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tiny_bundle(tmp_path, 3)
    data = others(tmp_path)
    assert len(data) == path.stat().st_size
    overwrite_before(monkeypatch, bundle_module, step, path, data)
    with pytest.raises(BundleError, match=f"^{path}: {CHANGED}$"):
        load_bundle(path)


def test_a_bundle_that_is_half_written_meanwhile_is_told_as_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny_bundle(tmp_path, 3)
    overwrite_before(monkeypatch, bundle_module, "read_safetensors", path, path.read_bytes()[:-100])
    with pytest.raises(BundleError, match=CHANGED):
        load_bundle(path)


def test_a_bundle_that_is_cut_short_meanwhile_does_not_end_the_process(tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path, 3)
    code = f"""
        import os
        from pathlib import Path
        from decr.errors import BundleError
        from decr.zoo import bundle
        path, card_from = Path({str(path)!r}), bundle.card_from
        def cut(*given):
            os.truncate(path, 0)
            return card_from(*given)
        bundle.card_from = cut
        try:
            bundle.load_bundle(path)
        except BundleError as error:
            print(error)
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE)
    assert ran.returncode == 0, ran.returncode
    assert ran.stdout.decode().strip() == f"{path}: {CHANGED}"


def test_a_checkpoint_that_changes_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.make_sizes_small(monkeypatch)
    path, out = tmp_path / "w.pth", tmp_path / "o.safetensors"
    small = checkpoints.network("spagan", 3, checkpoints.SMALL["spagan"])
    torch.save(checkpoints.published("spagan", small), path)
    newer = {k: v * 2 for k, v in checkpoints.published("spagan", small).items()}
    torch.save(newer, tmp_path / "newer.pth")
    data = (tmp_path / "newer.pth").read_bytes()
    overwrite_before(monkeypatch, imports, "read_published", path, data)
    with pytest.raises(BundleError, match=CHANGED):
        import_checkpoint(path, out)
    assert not out.exists()


def test_a_kept_detector_is_never_that_of_other_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny_bundle(tmp_path, 3, DETECTOR)
    choice, first = networks.DetectorChoice(str(path), "cpu"), path.read_bytes()
    with monkeypatch.context() as patched:
        overwrite_before(patched, networks, "load_detector", path, others(tmp_path, DETECTOR))
        with pytest.raises(BundleError, match=CHANGED):
            networks.detector_of(choice, 1)
    path.write_bytes(first)
    assert networks.detector_of(choice, 1).version == load_bundle(path).sha256


def test_a_table_of_errors_is_not_given_to_other_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = pairs_of(tmp_path / "set", [(96, 96)] * 3)
    path, out = tiny_bundle(tmp_path, 3), tmp_path / "o.safetensors"
    overwrite_before(monkeypatch, calibrate, "choose_tiles", path, others(tmp_path))
    with pytest.raises(BundleError, match=CHANGED):
        calibrate.calibrate_bundle(str(path), pairs, out, count=3, device="cpu")
    assert not out.exists()


@pytest.mark.parametrize("write", [checkpoints.torch_zip, checkpoints.safetensors])
def test_tensors_do_not_change_with_their_file(
    tmp_path: Path, write: Callable[[Path, dict[str, Tensor]], None]
) -> None:
    path = tmp_path / "w.pth"
    write(path, {"w": torch.ones(5000)})
    read = read_weights(path)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 4000)
    assert torch.equal(read["w"], torch.ones(5000))
