"""The networks of `compact`, and which of them looks at a scene."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from decr.cloud.detector import threshold_detector
from decr.config import CcpConfig, DecloudConfig
from decr.coverage.ccp import looking, scene_ccp
from decr.coverage.sources import Source
from decr.errors import BundleError
from decr.pipeline.engine import local_engine
from decr.pipeline.networks import COMPACT, DetectorChoice, detector_of, named
from decr.pipeline.prepare import prepare
from decr.pipeline.survey import survey_scene
from decr.zoo.bundle import weights_sha256
from decr.zoo.embedded import embedded_path
from tests.pipeline.scenes import write_scene


def test_fine_cells_are_looked_at_by_the_first_part_whose_bands_are_there() -> None:
    plain = replace(threshold_detector(), name="plain", version="1", bands=("red",))
    more = replace(plain, name="more", version="2", bands=("nir", "red"))
    fine = replace(plain, name="fine", version="3")
    whole = replace(plain, fine=(more, fine))
    assert whole.versions == "1+2+3"
    assert [whole.for_scene(k, ("red",)).name for k in (1, 2, 3, 8)] == ["plain"] * 2 + ["fine"] * 2
    assert whole.for_scene(3, ("alpha", "red", "nir")).name == "more"
    assert whole.for_scene(2, ("red", "nir")) is whole
    assert replace(plain, fine=(more,)).for_scene(8, ("red",)).name == "plain"
    assert plain.for_scene(8, ("red",)) is plain


def test_compact_has_parts_for_fine_scenes() -> None:
    detector = detector_of(DetectorChoice("compact", "cpu"))
    assert (detector.name, detector.darkest) == ("embedded-detector", False)
    assert [(part.name, part.bands, part.darkest) for part in detector.fine] == [
        ("embedded-detector-fine-nir", (*detector.bands, "nir"), True),
        ("embedded-detector-fine", detector.bands, True),
    ]
    assert {part.gsd_m for part in detector.fine} == {detector.gsd_m}
    assert detector.ice is not None
    versions = detector.versions.split("+")
    assert versions[0] == detector.ice.version
    assert [part[:64] for part in versions] == [
        weights_sha256(embedded_path(name)) for name in COMPACT
    ]
    assert detector_of(DetectorChoice("embedded-detector", "cpu")).versions == detector.versions


@pytest.mark.parametrize(
    ("bands", "gsd_m", "part"),
    [
        ("b,g,r,n", 0.5, COMPACT[1]),
        ("b,g,r,-", 0.5, COMPACT[2]),
        ("-,-,-,p", 0.5, COMPACT[2]),
        ("b,g,r,n", 2.0, COMPACT[0]),
        ("p,-,-,a", 2.0, COMPACT[0]),
    ],
)
def test_which_part_looks_goes_by_bands_and_gsd(
    tmp_path: Path, bands: str, gsd_m: float, part: str
) -> None:
    place = Affine(gsd_m, 0, 500_000, 0, -gsd_m, 4_000_000)
    pixels = np.full((4, 600, 600), 50, "uint8")
    scene = write_scene(tmp_path / "s.tif", pixels, transform=place)
    with local_engine() as engine:
        look = looking(CcpConfig(bands=bands, device="cpu"), engine)
        assert scene_ccp(Source("s", str(scene)), look).facts["detector"] == part


@pytest.mark.parametrize("name", COMPACT[1:])
def test_a_part_of_compact_alone_may_be_named(name: str) -> None:
    """Outputs say which part looked."""
    detector = detector_of(DetectorChoice(name, "cpu"))
    assert (detector.name, detector.fine) == (name, ())


def test_an_embedded_model_is_no_detector() -> None:
    with pytest.raises(BundleError, match="not a cloud detector"):
        detector_of(DetectorChoice("embedded-rgb", "cpu"))


@pytest.mark.parametrize("bands", ["b,g,r,n", "b,g,r,-"])
@pytest.mark.parametrize("travels", [False, True])
def test_near_infrared_is_looked_at_where_it_is(tmp_path: Path, bands: str, travels: bool) -> None:
    """Of two scenes that differ in the fourth band alone, here and by a worker's own networks."""
    pixels = np.random.default_rng(0).integers(20, 240, (4, 768, 768)).astype("uint8")
    config = DecloudConfig(detector="compact", device="cpu", bands=bands, dn_range=(0, 255))
    choice = DetectorChoice("compact", "cpu")
    worker = named(choice, detector_of(choice), None) if travels else None
    surveys = []
    for fourth in (pixels[3], 5):
        pixels[3] = fourth
        ready = prepare(str(write_scene(tmp_path / "scene.tif", pixels)), config)
        assert ready.detector.name == COMPACT[1 if bands == "b,g,r,n" else 2]
        with local_engine() as engine:
            survey = survey_scene(
                ready.scene,
                ready.detector_radiometry,
                ready.detector,
                8,
                0.5,
                engine,
                networks=worker or ready.networks[1],
            )
        surveys.append(survey.stored)
    assert np.array_equal(*surveys) == (bands == "b,g,r,-")
