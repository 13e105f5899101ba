"""What `decr.models` offers: building networks by name, without costing torch before it is used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import decr.models
from decr.models import registry

ROOT = Path(__file__).resolve().parents[2]


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, decr.models; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_create_resolves_and_is_kept() -> None:
    assert decr.models.create is registry.create
    assert vars(decr.models)["create"] is registry.create
    assert "create" in dir(decr.models)


def test_unknown_names_are_errors() -> None:
    with pytest.raises(AttributeError, match=r"'decr\.models' has no attribute 'destroy'"):
        _ = decr.models.destroy


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
