"""Tests of growing: what two networks share is carried over, wherever it lies in the larger one."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor

from decr.errors import DatasetError
from decr.models.reference import CompactReference
from decr.models.registry import create
from decr.training.start import start_from
from decr.zoo.bundle import load_bundle
from tests.tiny import BANDS, PARTS, randomised, tiny_bundle

SIZE = PARTS["reference"].size
LARGE = {**SIZE, "multipliers": [1, 2, 3], "attention_factors": [2], "heads": 2}


def both(folder: Path) -> tuple[CompactReference, CompactReference]:
    """A bundle's reference, and a larger one that began with it."""
    path = tiny_bundle(folder, 3)
    torch.manual_seed(5)
    large = randomised(create("compact", 3, LARGE), seed=7)
    start_from(path, {"reference": large}, BANDS[3])
    return cast(CompactReference, load_bundle(path).networks["reference"]), large


def weights(network: CompactReference, block: str) -> dict[str, Tensor]:
    """Parameters of a block by what comes after its name."""
    start = f"unet.{block}."
    return {k[len(start) :]: v for k, v in network.state_dict().items() if k.startswith(start)}


def test_a_larger_network_sees_the_first_levels_as_the_small_one_does(tmp_path: Path) -> None:
    small, large = both(tmp_path)
    x = torch.rand(1, 3, 16, 16)
    seen = []
    for network in (small, large):
        here = x
        for stage in network.unet.input_blocks[:3]:
            here = stage.run(here, None)  # type: ignore[operator]
        seen.append(here)
    torch.testing.assert_close(seen[0], seen[1])


@pytest.mark.parametrize(
    ("there", "here"),
    [
        ("input_blocks.3.0", "input_blocks.3.0"),
        # Its deepest level lies one further up now; attention stands before what doubles.
        ("output_blocks.1.0", "output_blocks.3.0"),
        ("output_blocks.1.1", "output_blocks.3.2"),
        ("output_blocks.2.0", "output_blocks.4.0"),
        ("output_blocks.3.0", "output_blocks.5.0"),
        ("out", "out"),
    ],
)
def test_blocks_keep_their_weights_where_they_now_lie(
    tmp_path: Path, there: str, here: str
) -> None:
    small, large = both(tmp_path)
    old, new = weights(small, there), weights(large, here)
    assert old
    assert old.keys() == new.keys()
    for name, tensor in old.items():
        assert torch.equal(new[name], tensor)


def test_what_comes_from_below_is_new_and_what_comes_across_is_not(tmp_path: Path) -> None:
    small, large = both(tmp_path)
    old, new = (
        weights(network, block)["in_layers.2.weight"]
        for network, block in ((small, "output_blocks.0.0"), (large, "output_blocks.2.0"))
    )
    assert (old.shape[1], new.shape[1]) == (32, 40)
    assert torch.equal(new[:, -16:], old[:, -16:])
    assert not torch.equal(new[:, :16], old[:, :16])
    for name in ("input_blocks.4.0.op.weight", "middle_block.0.out_layers.3.weight"):
        assert f"unet.{name}" in large.state_dict()
    assert torch.isfinite(large(torch.rand(1, 3, 16, 16))).all()


def test_the_middle_is_new_even_where_it_has_the_old_ones_channels(tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path, 3)
    large = randomised(create("compact", 3, {**SIZE, "multipliers": [1, 2, 2]}), seed=7)
    before = {k: v.clone() for k, v in large.state_dict().items() if "middle_block" in k}
    start_from(path, {"reference": large}, BANDS[3])
    after, old = large.state_dict(), load_bundle(path).networks["reference"].state_dict()
    assert before
    for name, tensor in before.items():
        assert old[name].shape == tensor.shape
        assert torch.equal(after[name], tensor)


@pytest.mark.parametrize(
    "size", [{**LARGE, "multipliers": [1, 3, 3]}, {**LARGE, "width": 16}, {**SIZE, "blocks": 2}]
)
def test_other_networks_do_not_grow_into_each_other(tmp_path: Path, size: dict[str, int]) -> None:
    with pytest.raises(DatasetError, match="of another size"):
        start_from(tiny_bundle(tmp_path, 3), {"reference": create("compact", 3, size)}, BANDS[3])


def test_bands_are_not_dropped_while_a_network_grows(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="of another size"):
        start_from(tiny_bundle(tmp_path, 4), {"reference": create("compact", 3, LARGE)}, BANDS[3])
