"""Tests of the weights that a run begins with: bands in another order, fewer bands, other sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from decr.errors import DatasetError
from decr.models.registry import ARCHITECTURES_OF, create
from decr.training.start import start_from
from decr.zoo.bundle import load_bundle, save_bundle
from decr.zoo.card import Card, Part
from tests.tiny import BANDS, DETECTOR, PARTS, randomised, tiny_bundle

FOUR = ("blue", "green", "red", "nir")
NETWORKS = {
    **{part.architecture: part for part in (*PARTS.values(), *DETECTOR.values())},
    "amgan": Part("amgan", {"width": 4}),
    "cvae": Part("cvae", {"width": 64, "latent": 4}),
    "memorynet": Part("memorynet", {"width": 4}),
    "msda": Part("msda", {"width": 4}),
    "spagan": Part("spagan", {"width": 4}),
}
IMAGES = {"cnp": 2, "wa": 3}
"""Images that a network sees, where that is more than one."""


def started(
    folder: Path, part: Part, bands: tuple[str, ...], size: dict[str, Any] | None = None
) -> tuple[nn.Module, nn.Module]:
    """A network of four bands in a bundle, and one of ``bands`` that begins with its weights."""
    torch.manual_seed(0)
    old = randomised(create(part.architecture, 4, part.size)).eval()
    path = folder / "old.safetensors"
    role = next(role for role, names in ARCHITECTURES_OF.items() if part.architecture in names)
    save_bundle(path, Card("old", FOUR, 1.0, {role: part}), {role: old}, dtype=torch.float32)
    new = create(part.architecture, len(bands), part.size if size is None else size)
    start_from(path, {role: new}, bands)
    return old, new.eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_bands_in_another_order_find_their_own_weights(tmp_path: Path, name: str) -> None:
    order = [2, 1, 0, 3]
    old, new = started(tmp_path, NETWORKS[name], tuple(FOUR[band] for band in order))
    torch.manual_seed(1)
    images = torch.rand(IMAGES.get(name, 1), 1, 4, 16, 16)
    time = (torch.tensor([7]),) if name in IMAGES else ()

    def run(network: nn.Module, views: Tensor) -> Tensor:
        with torch.no_grad():
            out: Tensor = network(views[0], *time, *views[1:])
        return out

    wanted = run(old, images)
    if name != "cloudnet":  # its answer is no image
        wanted = wanted[:, order]
    torch.testing.assert_close(run(new, images[:, :, order]), wanted, rtol=1e-4, atol=1e-5)


def test_a_mask_beside_the_bands_stays_when_a_band_goes(tmp_path: Path) -> None:
    old, new = started(tmp_path, NETWORKS["amgan"], ("red", "green", "blue"))
    theirs, ours = old.state_dict(), new.state_dict()
    for name in ("det_conv0.0.weight", "conv_ins.0.weight"):
        assert torch.equal(ours[name], theirs[name][:, [2, 1, 0, 4]])
    assert torch.equal(ours["conv_out.0.weight"], theirs["conv_out.0.weight"][[2, 1, 0]])


def test_features_before_the_bands_stay_when_a_band_goes(tmp_path: Path) -> None:
    old, new = started(tmp_path, NETWORKS["cvae"], FOUR[:3])
    theirs, ours = old.state_dict(), new.state_dict()
    assert torch.equal(ours["decoder.fc2.bias"], theirs["decoder.fc2.bias"][:768])
    for name, kept in (("layer1", [0, 1, 2, 4, 5, 6]), ("layer2", [*range(11)])):
        key = f"decoder.{name}.0.weight"
        assert torch.equal(ours[key], theirs[key][:, kept])


def test_another_width_is_refused_even_where_it_would_be_as_wide_less_a_band(
    tmp_path: Path,
) -> None:
    with pytest.raises(DatasetError, match="of another size"):
        started(tmp_path, Part("spagan", {"width": 64}), FOUR[:3], {"width": 48})


def test_another_detector_that_should_see_the_darkest_is_refused(tmp_path: Path) -> None:
    size = {"width": 2, "darkest": True}
    path = tmp_path / "old.safetensors"
    part = Part("cloudnet", {"width": 3})
    old = create(part.architecture, 4, part.size)
    save_bundle(path, Card("old", FOUR, 1.0, {"detector": part}), {"detector": old})
    with pytest.raises(DatasetError, match="another network"):
        start_from(path, {"detector": create("cloudnet", 4, size)}, FOUR)


@pytest.mark.parametrize("darkest", [False, True])
def test_a_detector_may_see_more_bands_which_say_nothing_at_first(
    tmp_path: Path, darkest: bool
) -> None:
    size = {"width": 2, "darkest": darkest}
    part, path = Part("cloudnet", size), tmp_path / "old.safetensors"
    torch.manual_seed(0)
    old, new = (create("cloudnet", bands, size).eval() for bands in (3, 4))
    card = Card("old", BANDS[3], 1.0, {"detector": part})
    save_bundle(path, card, {"detector": randomised(old)}, dtype=torch.float32)
    start_from(path, {"detector": new}, ("nir", "blue", "red", "green"))
    red, green, blue, nir = torch.rand(4, 1 + darkest, 1, 64, 64)
    three, four = torch.cat([red, green, blue], 1), torch.cat([nir, blue, red, green], 1)
    with torch.no_grad():
        wanted, found = (
            net(torch.cat(list(views), 0)[None]) for net, views in ((old, three), (new, four))
        )
    torch.testing.assert_close(found, wanted)


def test_starting_from_a_bundle_with_more_bands_drops_the_others(tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path, 4)
    parts = {name: create(part.architecture, 3, part.size) for name, part in PARTS.items()}
    start_from(path, parts, BANDS[3])
    source = load_bundle(path).networks
    first = "unet.input_blocks.0.0.weight"
    for name, images in (("cnp", 2), ("wa", 3), ("reference", 1)):
        kept = [image * 4 + band for image in range(images) for band in range(3)]
        theirs, ours = source[name].state_dict()[first], parts[name].state_dict()[first]
        assert torch.equal(ours, theirs[:, kept])
    assert torch.equal(
        parts["cnp"].state_dict()["unet.out.2.bias"],
        source["cnp"].state_dict()["unet.out.2.bias"][:3],
    )


def test_a_start_without_the_bands_or_parts_is_refused(tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path, 3)
    with pytest.raises(DatasetError, match=r"has bands red, green, blue, wanted .*nir"):
        start_from(path, {}, BANDS[4])
    with pytest.raises(DatasetError, match=r"has bands red, green, blue, wanted nir"):
        start_from(path, {"detector": create("cloudnet", 1, {"width": 2})}, ("nir",))
    detector = {"detector": create("cloudnet", 3, {"width": 2})}
    with pytest.raises(DatasetError, match="none of which this recipe trains"):
        start_from(path, detector, BANDS[3])
