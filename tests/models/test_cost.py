"""What networks cost, against the counts of the reference and the printed Table X."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from decr.models.cost import (
    COUNTED,
    PAPER_IMAGES,
    TABLE_X,
    Cost,
    cost,
    described,
    paper_macs,
    true_macs,
)

# Parameters to the last digit and true GMAC, for 3 and 4 bands.
MEASURED = {
    "spagan": (219_300, 219_876, None, None),
    "amgan": (238_273, 239_425, 48.482, 48.614),
    "cvae": (15_418_847, 15_690_464, 37.128, 37.410),
    "memorynet": (3_637_249, 3_638_993, 140.982, 141.097),
    "msda": (3_907_714, 3_908_003, None, None),
    "de": (36_800_326, 36_805_224, 258.858, 259.179),
    "cloudnet": (36_448_529, 36_448_673, 16.573, 16.582),
}


@pytest.fixture(scope="module")
def counted() -> dict[tuple[str, int], Cost]:
    return {(name, bands): cost(name, bands) for name in MEASURED for bands in (3, 4)}


@pytest.mark.parametrize("name", MEASURED)
def test_parameters_and_operations_are_those_that_were_measured(
    counted: dict[tuple[str, int], Cost], name: str
) -> None:
    for bands, place in ((3, 0), (4, 1)):
        one = counted[name, bands]
        assert one.parameters == MEASURED[name][place]
        if MEASURED[name][2 + place] is not None:
            assert one.gmac == pytest.approx(MEASURED[name][2 + place], abs=6e-4)


@pytest.mark.parametrize("name", TABLE_X)
def test_costs_on_the_papers_images_are_those_of_its_table_x(
    counted: dict[tuple[str, int], Cost], name: str
) -> None:
    complexity, params = TABLE_X[name]
    one = counted[name, 3]
    assert PAPER_IMAGES * one.paper_gmac == pytest.approx(complexity, abs=0.011)
    if name != "cvae":  # printed is the size of no network that runs
        assert round(one.parameters / 1e6, 2) == params


def test_what_ours_does_not_compute_is_only_in_the_papers_count(
    counted: dict[tuple[str, int], Cost],
) -> None:
    # The reference's true counts include branches whose results are dropped.
    for name, with_branch in (("spagan", 16.983), ("msda", 49.751)):
        assert counted[name, 3].gmac < with_branch


def test_rules_on_modules_small_enough_to_count_by_hand() -> None:
    x = torch.zeros(1, 2, 4, 4)
    assert true_macs(nn.Conv2d(2, 3, 3, padding=1), (x,)) == 3 * 16 * 2 * 9
    assert paper_macs(nn.Conv2d(2, 3, 3, padding=1), (x,)) == 3 * 16 * 2 * 9
    assert paper_macs(nn.ConvTranspose2d(2, 3, 2, stride=2), (x,)) == 3 * 64 * 2 * 4
    assert paper_macs(nn.Upsample(scale_factor=2, mode="bilinear"), (x,)) == 11 * 2 * 64
    assert paper_macs(nn.BatchNorm2d(2).eval(), (x,)) == 4 * 32
    assert paper_macs(nn.InstanceNorm2d(2), (x,)) == 2 * 32
    assert paper_macs(nn.GroupNorm(1, 2), (x,)) == 0
    shared = nn.PReLU()
    twice = nn.Sequential(nn.Sequential(shared), nn.Sequential(shared))
    assert paper_macs(twice, (x,)) == 2 * 2 * (2 * 32)


def test_the_description_has_networks_costs_and_dead_tensors(
    counted: dict[tuple[str, int], Cost],
) -> None:
    text = described(list(counted.values()))
    for words in ("memorynet", "1097.30", "dead tensors", "36,800,326"):
        assert words in text
    assert set(TABLE_X) <= set(COUNTED)
