"""Cloud-Net: Keras names and layouts, any image size, gradients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decr.errors import BundleError
from decr.models.cloudnet import CloudNet, _gathered, keras_names, state_dict_from_keras
from tests.models.published import published_shapes, size, without_gradient


def small(bands: int = 4) -> CloudNet:
    torch.manual_seed(0)
    return CloudNet(bands, width=4).eval()


def keras_arrays(net: CloudNet) -> dict[str, np.ndarray]:
    """Arrays of a network, turned to the Keras layout."""
    state = net.state_dict()
    arrays = {key: state[name].numpy() for key, name in keras_names().items()}
    return {k: a.transpose(2, 3, 1, 0) if k.endswith("kernel") else a for k, a in arrays.items()}


@pytest.mark.parametrize("bands", [3, 4])
def test_norms_have_the_published_statistics(bands: int) -> None:
    statistics = [b for key, b in CloudNet(bands).named_buffers() if "running" in key]
    assert sum(b.numel() for b in statistics) == 17_120


def test_narrow_size_goes_with_the_square() -> None:
    assert 3.9 < size(CloudNet(4, width=8)) / size(CloudNet(4, width=4)) < 4.1


@pytest.mark.parametrize("bands", [3, 4])
def test_keras_names_and_layouts_are_the_published_ones(shared: Path, bands: int) -> None:
    wanted = published_shapes(shared, f"cloudnet_{bands}band")
    got = {key: tuple(a.shape) for key, a in keras_arrays(CloudNet(bands)).items()}
    assert len(got) == 200
    assert got == wanted


def test_keras_names_cover_the_state_dict() -> None:
    names = list(keras_names().values())
    counters = {key for key in small().state_dict() if key.endswith("num_batches_tracked")}
    assert len(set(names)) == len(names) == 200
    assert set(names) == small().state_dict().keys() - counters


def test_weights_survive_the_way_to_keras_and_back() -> None:
    net = small()
    with torch.no_grad():
        for value in net.state_dict().values():
            if value.is_floating_point():
                value.uniform_(0.5, 1.5)
    state = state_dict_from_keras(keras_arrays(net))
    fresh = CloudNet(4, width=4)
    fresh.load_state_dict(state, strict=True)
    assert all(torch.equal(net.state_dict()[key], value) for key, value in state.items())


def test_keras_arrays_that_are_missing_or_unknown_are_named() -> None:
    arrays = keras_arrays(small())
    removed = arrays.pop("conv2d_7/bias")
    with pytest.raises(BundleError, match="conv2d_7/bias"):
        state_dict_from_keras(arrays)
    with pytest.raises(BundleError, match="dense_1/kernel"):
        state_dict_from_keras(arrays | {"conv2d_7/bias": removed, "dense_1/kernel": removed})


def test_skip_features_are_pooled_and_repeated_as_tiles() -> None:
    shallow = torch.rand(1, 2, 8, 8)
    deep = torch.rand(1, 4, 4, 4)
    got = _gathered([shallow, deep])
    pooled = torch.nn.functional.max_pool2d(shallow, 2)
    assert torch.equal(got, torch.cat([pooled, pooled], dim=1) + deep)
    assert _gathered([shallow]) is shallow


@settings(max_examples=10, deadline=None)
@given(rows=st.integers(1, 70), cols=st.integers(1, 70))
def test_images_of_any_size_get_a_probability_per_pixel(rows: int, cols: int) -> None:
    x = torch.rand(1, 4, rows, cols)
    with torch.no_grad():
        prob = small()(x)
    assert prob.shape == (1, 1, rows, cols)
    assert ((prob > 0) & (prob < 1)).all()


def test_probability_is_the_sigmoid_of_the_logits() -> None:
    net, x = small(), torch.rand(1, 4, 32, 64)
    with torch.no_grad():
        assert torch.equal(net(x), torch.sigmoid(net.logits(x)))


def test_gradients_reach_every_parameter() -> None:
    net = small(3).train()
    net.logits(torch.rand(2, 3, 64, 64)).square().mean().backward()
    silent = without_gradient(net)
    assert {key for key in silent if not key.endswith("conv.bias")} == set()
    assert {key for key, p in net.named_parameters() if p.grad is None} == set()


def test_it_may_see_the_darkest_beside_the_means() -> None:
    network = CloudNet(3, 1, darkest=True).eval()
    assert network.stem.in_channels == 6
    assert network(torch.rand(1, 6, 32, 32)).shape == (1, 1, 32, 32)
    with pytest.raises(RuntimeError, match="6 channels"):
        network(torch.rand(1, 3, 32, 32))
