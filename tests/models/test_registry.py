"""Tests of networks by name; the package itself must not cost torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from decr.models import registry

ROOT = Path(__file__).resolve().parents[2]


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, decr.models; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


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
