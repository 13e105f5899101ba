"""Tests of networks by name; the package itself must not cost torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import decr.models
from decr.errors import BundleError
from decr.models import registry

ROOT = Path(__file__).resolve().parents[2]


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, decr.models; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_the_package_creates_networks_by_name() -> None:
    assert decr.models.create is registry.create
    assert not hasattr(decr.models, "destroy")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("amgan", "AMGAN"),
        ("cvae", "CVAE"),
        ("msda_discriminator", "MSDADiscriminator"),
        ("patchgan", "PatchGAN"),
        ("spagan", "SpAGAN"),
    ],
)
def test_names_build_their_networks(name: str, kind: str) -> None:
    assert name in registry.NAMES
    network = registry.create(name, 3, {"width": 64})
    assert type(network).__name__ == kind


@pytest.mark.parametrize(
    ("name", "size", "says"),
    [
        ("cnp", {"width": 8, "multipliers": [1] * 6, "blocks": 1}, r"levels in 1\.\.5"),
        ("wa", {"width": 8, "multipliers": [1] * 6, "blocks": 1}, r"levels in 1\.\.5"),
        ("cnp", {"width": 8, "blocks": 1}, "a U-Net's size needs multipliers, too"),
        ("msda", {"width": 2}, "layers would have no channels"),
        ("memorynet", {"width": 2, "growth": 2, "extra": 2}, "layers would have no channels"),
    ],
)
def test_sizes_that_would_fail_in_use_are_refused(
    name: str, size: dict[str, object], says: str
) -> None:
    with pytest.raises(BundleError, match=f"network {name!r} cannot be built .*{says}"):
        registry.create(name, 3, size)


def test_every_network_has_a_role_but_discriminators() -> None:
    played = {name for names in registry.ARCHITECTURES_OF.values() for name in names}
    assert {"msda_discriminator", "patchgan"} == set(registry.NAMES) - played
