"""Tests of decr.config: bad values are refused when the options are made, and say why."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from decr.config import CcpConfig, DecloudConfig
from decr.errors import ConfigError, DecrError


def test_defaults_are_the_papers_and_cannot_be_changed() -> None:
    config = DecloudConfig()
    assert (config.tile_px, config.overlap_px, config.seed, config.full) == (256, 64, 0, False)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    "options",
    [
        {"tile_px": 32, "overlap_px": 16},
        {"tile_px": 512, "overlap_px": 256},
        {"overlap_px": 0},
        {"steps": 1},
        {"steps": 1000},
        {"prior_floor": 0.0},
        {"prior_floor": 1.0},
        {"threshold": 1.0},
        {"margin_m": 0.0, "feather_m": 0.0},
        {"dn_range": (-5.0, 5.0)},
        {"full": True},
        {"cloud_mask": "mask.tif"},
    ],
)
def test_values_at_the_edge_are_fine(options: dict[str, Any]) -> None:
    config = DecloudConfig(**options)
    for key, value in options.items():
        assert getattr(config, key) == value


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"tile_px": 100}, "multiple of 16 .* not 100"),
        ({"tile_px": 99999984}, "from 32 to 4096 px, not 99999984"),
        ({"tile_px": 16}, "from 32 to 4096 px, not 16"),
        ({"overlap_px": 129}, r"0\.\.128 px for tiles of 256 px, not 129"),
        ({"overlap_px": -1}, "not -1"),
        ({"steps": 0}, "steps must lie in 1..1000, not 0"),
        ({"steps": 1001}, "not 1001"),
        ({"prior_floor": -0.1}, "prior floor .* not -0.1"),
        ({"prior_floor": 1.5}, "not 1.5"),
        ({"threshold": 0.0}, r"threshold must lie in \(0, 1\], not 0"),
        ({"threshold": float("nan")}, "not nan"),
        ({"margin_m": -1.0}, "margin and feather must be metres from 0 up"),
        ({"margin_m": float("inf")}, "margin and feather must be metres from 0 up"),
        ({"feather_m": float("nan")}, "margin and feather must be metres from 0 up"),
        ({"feather_m": -1.0}, "margin and feather must be metres from 0 up"),
        ({"batch": 0}, "batch must be at least 1, not 0"),
        ({"dn_range": (7.0, 7.0)}, "first number must be the smaller"),
        ({"full": True, "cloud_mask": Path("m.tif")}, "drop one of them"),
    ],
)
def test_bad_values_are_refused_with_the_value(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        DecloudConfig(**options)
    assert isinstance(caught.value, DecrError)
    assert isinstance(caught.value, ValueError)


def test_numbers_have_one_name_however_they_are_given() -> None:
    whole = DecloudConfig(dn_range=(0, 2047), margin_m=12, feather_m=16, prior_floor=1, threshold=1)
    parts = DecloudConfig(
        dn_range=(0.0, 2047.0), margin_m=12.0, feather_m=16.0, prior_floor=1.0, threshold=1.0
    )
    assert str(whole) == str(parts)


def test_whole_numbers_may_be_those_of_numpy() -> None:
    numbers = {"tile_px": 64, "overlap_px": 16, "steps": 3, "seed": 7, "batch": 2}
    config = DecloudConfig(**{name: np.int64(n) for name, n in numbers.items()})  # type: ignore[arg-type]
    assert all(type(getattr(config, name)) is int for name in numbers)
    assert str(config) == str(DecloudConfig(**numbers))  # type: ignore[arg-type]
    assert type(CcpConfig(tile_px=np.uint16(64)).tile_px) is int  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"seed": 1.5}, "seed must be a whole number, not 1.5"),
        ({"seed": None}, "seed must be a whole number, not None"),
        ({"steps": "9"}, "steps must be a whole number, not '9'"),
        ({"batch": 4.0}, "batch must be a whole number, not 4.0"),
        ({"tile_px": 64.0}, "tile_px must be a whole number, not 64.0"),
        ({"overlap_px": 8.0}, "overlap_px must be a whole number, not 8.0"),
        ({"threshold": "high"}, "threshold must be a number, not 'high'"),
        ({"margin_m": None}, "margin_m must be a number, not None"),
        ({"bands": ["b", "g"]}, r"bands must be text, not \['b', 'g'\]"),
        ({"detector": Path("d")}, "detector must be text, not .*Path"),
        ({"dn_range": (0,)}, r"dn_range must be two numbers \(low, high\), not \(0,\)"),
        ({"gsd": "modle"}, "gsd must be one of native, model, not 'modle'"),
        ({"full": "no"}, "full must be True or False, not 'no'"),
        ({"ground": None}, "ground must be True or False, not None"),
        ({"error_map": 2}, "error_map must be True or False, not 2"),
        ({"compile": "yes"}, "compile must be True or False, not 'yes'"),
        ({"device": 0}, "device must be text, not 0"),
        ({"model": None}, "model must be a name or the path of a bundle file, not None"),
        ({"aoi": shapely.box(0, 0, 1, 1)}, r"aoi must be .* not a Polygon; .*shapely\.to_geojson"),
        ({"aoi": {"type": "Polygon"}}, "aoi must be the path of a vector file, not a dict"),
        ({"precision": "bf16"}, "precision must be one of auto, float32, bfloat16, not 'bf16'"),
    ],
)
def test_values_of_another_kind_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        DecloudConfig(**options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"tile_px": 64.0}, "tile_px must be a whole number, not 64.0"),
        ({"dn_range": "0,2047"}, "dn_range must be two numbers .* not '0,2047'"),
        ({"detector": None}, "detector must be text, not None"),
        ({"gsd_m": "2 m"}, "gsd_m must be a number, not '2 m'"),
        ({"threshold": None}, "threshold must be a number, not None"),
        ({"fast": "no"}, "fast must be True or False, not 'no'"),
        ({"device": None}, "device must be text, not None"),
        ({"aoi": shapely.box(0, 0, 1, 1)}, "aoi must be .* not a Polygon"),
        ({"detector": "file:m", "cloudy": 5}, r"cloudy must be .* such as \(1, 3\), not 5"),
        ({"detector": "file:m", "cloudy": "5"}, "cloudy must be a mask's whole numbers.* not '5'"),
        ({"detector": "file:m", "thin": (0.5,)}, r"thin must be .* whole numbers.* not \(0\.5,\)"),
        ({"min_object_m2": [4]}, r"min_object_m2 must be a number, not \[4\]"),
    ],
)
def test_so_are_those_for_cloud_coverage(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        CcpConfig(**options)


def test_other_kinds_that_say_the_same_are_taken() -> None:
    numbers: Any = np.array([1, 3])
    assert CcpConfig(detector="file:m", cloudy=numbers, thin=[2]).cloudy == (1, 3)
    full: Any = np.bool_(True)
    assert str(DecloudConfig(full=full)) == str(DecloudConfig(full=True))
    model = Path("m.safetensors")
    assert DecloudConfig(model=model, aoi="a.geojson").model == model


def test_one_mask_may_be_named_in_two_ways() -> None:
    config = DecloudConfig(detector="file:./m.tif", cloud_mask="m.tif")
    assert config.cloud_mask == "./m.tif"
    with pytest.raises(ConfigError, match="two cloud masks"):
        DecloudConfig(detector="file:/vsizip/a//m.tif", cloud_mask="/vsizip/a/m.tif")
