"""Tests of copies: re-encoded copies are found, other ground not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from rasterio.io import MemoryFile
from scipy import ndimage

from decr.dataset.duplicates import (
    HASH_BITS,
    NEAR_BITS,
    Duplicate,
    find_duplicates,
    perceptual_hash,
    refuse_leak,
)
from decr.errors import DatasetError
from tests.pipeline.scenes import read


def ground(seed: int, side: int = 128) -> NDArray[np.uint8]:
    """(3, side, side) of fields and texture that look like none of another seed."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.standard_normal((3, side, side)), (0, 5, 5))
    grey = field + 2 * ndimage.gaussian_filter(rng.standard_normal((side, side)), 8)
    scaled = (grey - grey.mean()) / grey.std() * 35 + 110
    return np.clip(scaled, 0, 255).astype(np.uint8)


def jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    profile = {"driver": "JPEG", "count": 3, "height": image.shape[1], "width": image.shape[2]}
    with MemoryFile() as memory:
        with memory.open(dtype="uint8", quality=quality, **profile) as file:
            file.write(image)
        with memory.open() as file:
            return file.read()


def test_hashes_survive_what_a_copy_goes_through() -> None:
    image = ground(1)
    own = perceptual_hash(image)
    assert own is not None
    assert own.shape == (HASH_BITS,)
    noise = np.random.default_rng(0).normal(0, 6, image.shape)
    copies = {
        "jpeg": jpeg(image, 40),
        "brighter": np.clip(image * 1.15 + 12, 0, 255).astype(np.uint8),
        "darker 16 bit": (image * 5.0 + 300).astype(np.uint16),
        "noisy": np.clip(image + noise, 0, 255).astype(np.uint8),
        "half": image.reshape(3, 64, 2, 64, 2).mean((2, 4)),
        "twice": image.repeat(2, 1).repeat(2, 2),
        "smaller than the thumbnail": image.reshape(3, 32, 4, 32, 4).mean((2, 4)),
        "cut": image[:, 1:, 2:],
    }
    for what, copy in copies.items():
        other = perceptual_hash(copy)
        assert other is not None
        assert (own != other).sum() <= NEAR_BITS, what


def test_other_ground_has_other_hashes() -> None:
    hashes = np.array([perceptual_hash(ground(seed)) for seed in range(40)])
    differ = (hashes[:, None] != hashes[None]).sum(-1)[np.triu_indices(40, 1)]
    assert differ.min() > NEAR_BITS
    mirrored = perceptual_hash(ground(0)[:, :, ::-1])
    assert (mirrored != hashes[0]).sum() > NEAR_BITS


def test_copies_are_reported_with_the_first_of_their_kind() -> None:
    a, b = ground(1), ground(2)
    images = [("a", a), ("b", b), ("same", a.copy()), ("jpeg", jpeg(a, 50)), ("again", a)]
    found = find_duplicates(iter(images))
    assert found[:2] == [Duplicate("a", "same", True), Duplicate("a", "again", True)]
    assert [(d.first, d.second, d.exact) for d in found[2:]] == [("a", "jpeg", False)]
    assert 0 <= found[2].bits <= NEAR_BITS
    assert find_duplicates([]) == []
    assert find_duplicates([("a", a), ("b", b)]) == []


@pytest.mark.parametrize("many", [255, 300])
def test_blocks_of_hashes_lose_no_pair(many: int) -> None:
    rng = np.random.default_rng(3)
    noise = [(str(n), rng.integers(0, 255, (1, 48, 48))) for n in range(many)]
    noise += [(f"copy of {n}", noise[n][1] * 2 + 1) for n in (0, 100, many - 1)]
    found = {(d.first, d.second) for d in find_duplicates(noise) if not d.exact}
    assert found == {(str(n), f"copy of {n}") for n in (0, 100, many - 1)}


def test_images_without_structure_are_no_near_copies() -> None:
    flat = [(str(n), np.full((3, 20, 20), n, np.uint8)) for n in range(5)]
    assert all(perceptual_hash(image) is None for _, image in flat)
    assert find_duplicates(flat) == []
    assert find_duplicates([*flat, ("z", flat[3][1])]) == [Duplicate("3", "z", True)]


def test_types_and_shapes_are_part_of_being_exact() -> None:
    row = np.arange(16, dtype=np.uint8).reshape(1, 2, 8)
    found = find_duplicates([("a", row), ("b", row.reshape(1, 8, 2)), ("c", row.view(np.int8))])
    assert not any(d.exact for d in found)


def test_images_are_looked_at_one_by_one() -> None:
    alive = 0

    def stream() -> Iterator[tuple[str, NDArray[np.uint8]]]:
        nonlocal alive
        for n in range(20):
            alive += 1
            yield str(n), ground(n, 64)
            alive -= 1

    find_duplicates(stream())
    assert alive == 0


def test_a_leak_into_validation_is_refused() -> None:
    train = [("t1", ground(1)), ("t2", ground(2)), ("t2 again", ground(2))]
    refuse_leak(train, [("v", ground(3)), ("v again", ground(3))])
    with pytest.raises(DatasetError, match=r"v4, for validation, is the same image as t2, .*\(1 "):
        refuse_leak(train, [("v3", ground(3)), ("v4", ground(2))])
    with pytest.raises(DatasetError, match=r"nearly the same image as t1, .*skip in a recipe"):
        refuse_leak(iter(train), iter([("v", jpeg(ground(1), 60))]))


def test_real_places_are_told_apart(shared: Path) -> None:
    folder = shared / "data/clear_highres_nir/naip_0p6m_california_cities"
    files = sorted(folder.glob("riverside_*.tif")) + sorted(folder.glob("bishop_*.tif"))
    if not files:
        pytest.skip("the Californian tiles are not there")
    images = [(file.stem, read(file)) for file in files]
    for found in find_duplicates(images):
        # City and number name the ground; on other dates it may look alike.
        city, _, number = found.first.split("_")
        assert found.second.split("_")[0::2] == [city, number]
    name, image = images[0]
    [again] = find_duplicates([(name, image), ("jpeg", jpeg(image[:3], 50))])
    assert again.second == "jpeg"
