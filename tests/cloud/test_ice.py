"""Snow and ice told from cloud by near infrared: the rule, and the scenes it looks at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from decr.cloud.detector import threshold_detector
from decr.cloud.ice import DARK_IN_NIR, without_ice
from decr.config import CcpConfig, DecloudConfig
from decr.coverage.ccp import looking, scene_ccp
from decr.coverage.sources import Source
from decr.pipeline.engine import local_engine
from decr.pipeline.networks import DetectorChoice, detector_of
from decr.pipeline.prepare import prepare
from decr.radiometry import from_range, shows_reflectance
from decr.training.recipe import read_recipe
from docs.make_ccp_tables import RECIPE, biome, ukis
from tests.pipeline.scenes import write_scene

SHARES = st.floats(0, 1, width=32)


@given(views=arrays.arrays(np.float32, (2, 4, 3, 5), elements=SHARES))
def test_what_is_dark_in_near_infrared_is_no_cloud_and_all_else_as_before(
    views: np.ndarray,
) -> None:
    plain = threshold_detector()
    found = without_ice(plain).probability(views)
    dark = views[:, 3] < DARK_IN_NIR * views[:, 0]
    assert found.dtype == np.float32
    assert not found[dark].any()
    assert np.array_equal(found[~dark], plain.probability(views[:, :3])[~dark])


def test_only_scenes_with_near_infrared_are_looked_at_so() -> None:
    plain = threshold_detector()
    ice = without_ice(replace(plain, fine=(plain,)))
    assert (ice.bands, ice.fine, ice.ice) == ((*plain.bands, "nir"), (), None)
    assert ice.version != plain.version
    whole = replace(plain, ice=ice)
    assert whole.versions == ice.version  # sets that were begun without it find other clouds
    assert whole.for_reflectance(("red", "green", "blue", "nir")) is ice
    assert whole.for_reflectance(("red", "green", "blue")) is whole
    assert plain.for_reflectance(("red", "green", "blue", "nir")) is plain


@pytest.mark.parametrize(
    ("low", "high", "dtype", "shown"),
    [
        (0, 1, "float32", True),
        (0, 2, "float64", True),
        (0, 10_000, "float32", False),
        (0.1, 1, "float32", False),
        (0, 1, "uint8", False),
        (0, 2047, "uint16", False),
    ],
)
def test_reflectance_is_floats_from_nothing_to_white(
    low: float, high: float, dtype: str, shown: bool
) -> None:
    assert shows_reflectance(from_range(low, high, 4), dtype) is shown


def snow(nir: float) -> np.ndarray:
    """(4, 256, 256) b,g,r,n reflectance of bright ground without structure but noise."""
    noise = np.random.default_rng(0).normal(0, 0.01, (256, 256))
    return np.stack([level + noise for level in (0.48, 0.48, 0.46, nir)]).astype(np.float32)


@pytest.mark.parametrize("name", ["compact", "embedded-detector"])
def test_ice_of_reflectance_is_no_cloud_in_coverage_and_restoration(
    tmp_path: Path, name: str
) -> None:
    """As bright as cloud; by near infrared alone it is not."""
    ccp, whole = {}, detector_of(DetectorChoice(name, "cpu"))
    for nir in (0.5, 0.35):
        scene = str(
            write_scene(
                tmp_path / f"{nir}.tif", snow(nir), transform=Affine(30, 0, 5e5, 0, -30, 4e6)
            )
        )
        options = {"bands": "b,g,r,n", "detector": name, "device": "cpu"}
        with local_engine() as engine:
            found = scene_ccp(Source("s", scene), looking(CcpConfig(**options), engine))
        ccp[nir] = found.ccp
        assert found.facts["detector"] == "embedded-detector"
        assert whole.ice is not None
        assert found.facts["detector version"] == whole.ice.version
        assert prepare(scene, DecloudConfig(**options)).detector.version == whole.ice.version
    assert ccp[0.35] == 0
    assert ccp[0.5] > 0.5


def test_counts_are_looked_at_without_near_infrared(tmp_path: Path) -> None:
    """Bands of a camera need not keep the ratios of the ground."""
    pixels = np.clip(snow(0.35) * 255, 0, 255).astype("uint8")
    scene = write_scene(tmp_path / "s.tif", pixels, transform=Affine(30, 0, 5e5, 0, -30, 4e6))
    with local_engine() as engine:
        look = looking(CcpConfig(bands="b,g,r,n", device="cpu"), engine)
        found = scene_ccp(Source("s", str(scene)), look)
    assert found.facts["detector version"] == look.detector.version


def test_of_labelled_cloud_less_than_a_thousandth_is_dark_in_near_infrared(
    shared: Path, tmp_path: Path
) -> None:
    """What the border costs: pixels of Landsat 8 and of UKIS that people called cloud."""
    if not (shared / "data" / "cloud_masks_l8biome").is_dir():
        pytest.skip(f"real data absent: no labelled images in {shared / 'data'}")
    recipe = read_recipe(RECIPE, shared / "data")
    patches = [p for held in (False, True) for p in biome(shared / "data", recipe, held)]
    cloudy = dark = 0
    for patch in [*patches, *ukis(shared / "data", tmp_path)]:
        with rasterio.open(patch.path) as file:
            _, _, red, nir = file.read((1, 2, 3, 4))
        cloudy += int(patch.cloudy.sum())
        dark += int((patch.cloudy & (nir < DARK_IN_NIR * red)).sum())
    assert cloudy > 500_000
    assert dark < 0.001 * cloudy
