"""What holds for every published network: sizes, names, determinism."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from decr.models.registry import create
from tests.models.published import published_shapes, shapes, size

COUNTS = {
    "amgan": (238_273, 239_425),
    "cloudnet": (36_448_529, 36_448_673),
    "cnp": (32_142_147, 32_144_740),
    "cvae": (15_418_847, 15_690_464),
    "memorynet": (3_637_249, 3_638_993),
    "msda": (3_907_714, 3_908_003),
    "msda_discriminator": (6_027_457, 6_029_057),
    "patchgan": (2_762_945, 2_763_969),
    "spagan": (219_300, 219_876),
    "wa": (4_658_179, 4_660_484),
}
"""Parameters of the published sizes for 3 and for 4 bands."""

SMALL: dict[str, dict[str, Any]] = {
    "amgan": {"width": 8},
    "cloudnet": {"width": 4},
    "cvae": {"width": 64},
    "memorynet": {"width": 8, "growth": 4, "extra": 4, "blocks": 1},
    "msda": {"width": 8, "growth": 4},
    "spagan": {"width": 8},
}


@pytest.mark.parametrize("bands", [3, 4])
@pytest.mark.parametrize("name", COUNTS)
def test_networks_have_the_published_numbers_of_parameters(name: str, bands: int) -> None:
    with torch.device("meta"):
        assert size(create(name, bands)) == COUNTS[name][bands - 3]


@pytest.mark.parametrize("bands", [3, 4])
def test_names_and_shapes_of_msdas_discriminator_are_the_published_ones(
    shared: Path, bands: int
) -> None:
    """Those of networks that can be imported: tests/zoo/test_published.py."""
    with torch.device("meta"):
        ours = shapes(create("msda_discriminator", bands))
    assert ours == published_shapes(shared, f"msda_dis_{bands}band")


@pytest.mark.parametrize("name", SMALL)
def test_repeats_itself_and_ignores_the_batch(name: str) -> None:
    torch.manual_seed(0)
    net = create(name, 4, SMALL[name]).eval()
    y = torch.rand(3, 4, 20, 24)
    with torch.no_grad():
        together, again = net(y), net(y)
        alone = torch.cat([net(image[None]) for image in y])
    assert torch.equal(together, again)
    torch.testing.assert_close(together, alone, atol=1e-5 if name == "msda" else 1e-6, rtol=0)
