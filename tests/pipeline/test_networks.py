"""Networks by name: loaded once, and refused where they are not the very same."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from decr.config import DecloudConfig
from decr.errors import ConfigError
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
from tests.pipeline.scenes import darker
from tests.tiny import PARTS, tiny_bundle, tiny_card, tiny_networks

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
