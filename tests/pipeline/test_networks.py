"""Networks by name: loaded once, and refused where they are not the very same."""

from __future__ import annotations

import pickle
from dataclasses import replace

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
from tests.pipeline.scenes import darker

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


def test_what_is_in_this_process_is_itself() -> None:
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


def test_detectors_likewise() -> None:
    choice = DetectorChoice("compact", "cpu")
    name = named(choice, detector_of(choice, 1), 1)
    assert the_detector(name).version == name.version
    with pytest.raises(ConfigError, match="detector"):
        the_detector(replace(name, version="other"))
    with pytest.raises(ConfigError, match="neither"):
        detector_of(DetectorChoice("gone", "cpu"))
