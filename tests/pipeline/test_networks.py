"""Networks by name: loaded once, and refused where they are not the very same."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import decr
from decr.config import DecloudConfig
from decr.errors import ConfigError
from decr.pipeline import networks
from decr.pipeline.networks import (
    DetectorChoice,
    Named,
    detector_of,
    model_choice,
    named,
    restorer_of,
    the_detector,
    the_restorer,
)
from decr.zoo.bundle import save_bundle
from tests.pipeline.scenes import cloudy_pixels, darker, same
from tests.tiny import DETECTOR, PARTS, randomised, tiny_bundle, tiny_card, tiny_networks

CHOICE = model_choice(
    DecloudConfig(model="embedded", steps=1, device="cpu", precision="float32"), False
)


@pytest.fixture(scope="module")
def name() -> Named:
    return named(CHOICE, restorer_of(CHOICE, 1), 1)


def test_a_name_travels_and_loads_the_networks_once(name: Named) -> None:
    there = pickle.loads(pickle.dumps(name))
    loaded = the_restorer(there)
    assert loaded.version == name.version
    assert loaded.bands == ("red", "green", "blue")
    assert the_restorer(there) is loaded
    assert len(pickle.dumps(name)) < 2000


def test_a_restorer_of_this_process_is_itself() -> None:
    here = darker()
    assert the_restorer(here) is here


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"decr": "0.0.0"}, "decr"),
        ({"version": "0" * 64}, "model"),
        ({"settings": (("device", "cuda"),)}, "device"),
    ],
)
def test_other_networks_are_refused(name: Named, change: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=f"a worker has {said} .* must agree"):
        the_restorer(replace(name, **change))  # type: ignore[arg-type]


def test_a_detectors_name_loads_it_and_another_version_is_refused() -> None:
    choice = DetectorChoice("compact", "cpu")
    name = named(choice, detector_of(choice, 1), 1)
    assert the_detector(name).versions == name.version
    with pytest.raises(ConfigError, match="detector"):
        the_detector(replace(name, version="other"))
    with pytest.raises(ConfigError, match="neither"):
        detector_of(DetectorChoice("gone", "cpu"))


def test_a_file_that_was_replaced_is_loaded_anew(tmp_path: Path) -> None:
    """Workers of a cluster live longer than models keep their weights."""
    path = tiny_bundle(tmp_path, 3)
    config = DecloudConfig(model=str(path), device="cpu", precision="float32")
    choice = model_choice(config, True)
    before = named(choice, restorer_of(choice, 1), 1)
    assert the_restorer(before).version == before.version
    save_bundle(path, replace(tiny_card(PARTS, 3), name="newer"), tiny_networks(PARTS, 3))
    after = named(choice, restorer_of(choice, 1), 1)
    assert after.version != before.version
    assert the_restorer(after).version == after.version


def test_calls_in_a_loop_load_the_detector_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Path] = []

    def counted(path: Path, device: str, lanes: int | None) -> networks.Detector:
        loaded.append(path)
        return load(path, device, lanes)

    load = networks.load_detector
    monkeypatch.setattr(networks, "load_detector", counted)
    networks._kept_bundle.cache_clear()
    array = xr.DataArray(cloudy_pixels(64, 64), dims=("band", "y", "x"))
    config = decr.CcpConfig(bands="b,g,r,n", dn_range=(0, 2047), gsd_m=4.0)
    first = decr.cloud_mask(array, config)
    assert len(loaded) == len(set(loaded)) == len(networks.COMPACT)
    decr.ccp(array, config)
    options = decr.DecloudConfig(bands=config.bands, dn_range=config.dn_range)
    decr.declouds_array(array, options, restorer=same())
    assert first.equals(decr.cloud_mask(array, config))
    assert len(loaded) == len(networks.COMPACT)


def test_a_kept_detector_is_that_of_the_files_bytes(tmp_path: Path) -> None:
    """However alike the file that took its place looks, and whichever comes back."""
    path = tiny_bundle(tmp_path, 3, DETECTOR)
    choice, first, stat = DetectorChoice(str(path), "cpu"), path.read_bytes(), path.stat()
    others = {"detector": randomised(tiny_networks(DETECTOR, 3)["detector"], seed=1)}
    save_bundle(path, tiny_card(DETECTOR, 3), others)
    other = path.read_bytes()
    assert len(first) == len(other)
    view, seen = np.random.default_rng(0).random((1, 3, 64, 64), np.float32), []
    for content in (first, other, first):
        path.write_bytes(content)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        seen.append((detector_of(choice, 1).version, detector_of(choice, 1).probability(view)))
    assert seen[0][0] == seen[2][0] != seen[1][0]
    assert np.array_equal(seen[0][1], seen[2][1])
    assert not np.array_equal(seen[0][1], seen[1][1])
    path.unlink()
    with pytest.raises(ConfigError, match="neither"):
        detector_of(choice, 1)


def test_a_detector_is_kept_for_one_number_of_lanes(tmp_path: Path) -> None:
    choice = DetectorChoice(str(tiny_bundle(tmp_path, 3, DETECTOR)), "cpu")
    two = detector_of(choice, 2)
    assert detector_of(choice, 2) is two
    assert detector_of(choice, 3) is not two
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert detector_of(choice) is two
        torch.set_num_threads(3)
        assert detector_of(choice) is not two
    finally:
        torch.set_num_threads(before)
