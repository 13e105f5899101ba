"""Pairs as a dataset of torch: what samples hold, and that TorchGeo's own tools take them."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from torch.utils.data import DataLoader

from decr.dataset.torch_pairs import PairDataset
from decr.errors import DatasetError, DecrWarning
from tests.dataset.two_dates import BANDS, GRID, UTM, write
from tests.pipeline.scenes import write_scene

SIDE = 32
COUNTS = {"train": 5, "val": 2, "test": 3}


def dn(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 2047, (4, SIDE, SIDE)).astype(np.uint16)


def place(number: int) -> Affine:
    return GRID @ Affine.translation(SIDE * number, 0)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs in three splits, with masks; every number is known by its seed."""
    folder = tmp_path_factory.mktemp("set")
    for split, count in COUNTS.items():
        for side in ("cloudy", "clear", "mask"):
            (folder / split / side).mkdir(parents=True)
        for n in range(count):
            write(folder / split / "cloudy" / f"{n}.tif", dn(n), transform=place(n))
            write(folder / split / "clear" / f"{n}.tif", dn(n + 50), transform=place(n))
            mask = (dn(n)[:1] > 1000).astype(np.uint8)
            write(folder / split / "mask" / f"{n}.tif", mask, ("cloudy",), 255, place(n))
    return folder


def test_samples_are_as_torchgeo_has_them(root: Path) -> None:
    data = PairDataset(root, "val")
    assert len(data) == 2
    sample = data[1]
    assert set(sample) == {"image", "image_clear", "mask"}
    assert data.bands == BANDS
    for key, seed in (("image", 1), ("image_clear", 51)):
        assert sample[key].dtype == torch.float32
        np.testing.assert_array_equal(sample[key].numpy(), dn(seed))
    assert (sample["mask"].dtype, sample["mask"].shape) == (torch.int64, (SIDE, SIDE))
    np.testing.assert_array_equal(sample["mask"].numpy(), dn(1)[0] > 1000)
    assert len(list(data)) == 2
    with pytest.raises(IndexError):
        data[2]
    assert str(data) == f"2 pairs of {root}, split val: {', '.join(BANDS)}"


def test_bands_come_in_the_order_asked_for(root: Path) -> None:
    sample = PairDataset(root, "all", bands=("nir", "red"))[0]
    own = PairDataset(root, "all")[0]
    picks = [BANDS.index("nir"), BANDS.index("red")]
    assert torch.equal(sample["image"], own["image"][picks])
    assert torch.equal(sample["image_clear"], own["image_clear"][picks])


def test_transforms_take_and_give_a_sample(root: Path) -> None:
    def scaled(sample: dict[str, Any]) -> dict[str, Any]:
        return sample | {"image": sample["image"] / 2047}

    assert PairDataset(root, "test", transforms=scaled)[0]["image"].max() <= 1


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_of_torch_makes_batches_in_order(root: Path, workers: int) -> None:
    loader = DataLoader(PairDataset(root), batch_size=2, num_workers=workers)
    batches = list(loader)
    assert [len(batch["image"]) for batch in batches] == [2, 2, 1]
    np.testing.assert_array_equal(batches[2]["image_clear"][0].numpy(), dn(54))


def test_places_are_told_on_request(root: Path) -> None:
    sample = PairDataset(root, "train", geo=True)[3]
    with rasterio.open(root / "train" / "clear" / "3.tif") as file:
        bounds, transform = file.bounds, file.transform
    x, y, time = sample["bounds"]
    assert (x.start, x.stop, y.start, y.stop) == (
        bounds.left, bounds.right, bounds.bottom, bounds.top,
    )  # fmt: skip
    assert (x.step, y.step) == (transform.a, -transform.e)
    assert time.start.year < 1700 < 2200 < time.stop.year
    assert sample["crs"].to_epsg() == UTM.to_epsg()
    assert Affine(*sample["transform"].tolist()) == transform


def test_mistakes_are_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"splits there: test, train, val"):
        PairDataset(root, "validation")
    with pytest.raises(DatasetError, match=r"lacks pan; it has blue"):
        PairDataset(root, bands=("red", "pan"))
    with pytest.raises(DatasetError, match="there is no such folder"):
        PairDataset(tmp_path / "none")
    for side in ("cloudy", "clear", "mask"):
        (tmp_path / side).mkdir()
    for n in range(2):
        for side in ("cloudy", "clear"):
            with rasterio.open(
                tmp_path / side / f"{n}.tif", "w", driver="GTiff", count=3, height=SIDE,
                width=SIDE, dtype="uint8", photometric="rgb",
            ) as file:  # fmt: skip
                file.write(dn(n)[:3].astype(np.uint8))
    assert set(PairDataset(tmp_path, "all")[0]) == {"image", "image_clear"}
    with pytest.raises(DatasetError, match="has no map coordinates; leave geo out"):
        PairDataset(tmp_path, "all", geo=True)
    write(tmp_path / "mask" / "0.tif", np.zeros((1, 8, 8), np.uint8), ("cloudy",))
    with pytest.raises(DatasetError, match="1 has no mask, but others have"):
        PairDataset(tmp_path, "all")
    write(tmp_path / "mask" / "1.tif", np.zeros((1, 8, 8), np.uint8), ("cloudy",))
    with pytest.raises(DatasetError, match=r"0\.tif: differs in size from"):
        PairDataset(tmp_path, "all")


def test_torchgeo_is_not_needed() -> None:
    code = "import sys, decr.dataset.torch_pairs; assert 'torchgeo' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_torchgeo_takes_it_for_one_of_its_own(root: Path) -> None:
    """Data module, augmentations and all: what is documented as compatible."""
    datasets = pytest.importorskip("torchgeo.datasets", reason="torchgeo is not installed")
    from kornia.augmentation import AugmentationSequential, RandomHorizontalFlip
    from torchgeo.datamodules import NonGeoDataModule

    datasets.NonGeoDataset.register(PairDataset)
    assert isinstance(PairDataset(root), datasets.NonGeoDataset)

    class Module(NonGeoDataModule):  # type: ignore[misc,unused-ignore]
        mean, std = torch.tensor(0.0), torch.tensor(2047.0)

    module = Module(PairDataset, batch_size=2, root=root, bands=("red", "green", "blue"))
    for stage, count in (("fit", COUNTS["train"]), ("validate", COUNTS["val"]),
                         ("test", COUNTS["test"])):  # fmt: skip
        module.setup(stage)
        loader = {"fit": "train", "validate": "val", "test": "test"}[stage]
        batches = list(getattr(module, f"{loader}_dataloader")())
        # For training the last, smaller batch is left out.
        assert sum(len(b["image"]) for b in batches) in (count, count // 2 * 2)
    batch = next(iter(module.val_dataloader()))
    before = {key: value.clone() for key, value in batch.items()}
    normal = module.aug(batch)
    torch.testing.assert_close(normal["image"], before["image"] / 2047)
    flip = AugmentationSequential(RandomHorizontalFlip(p=1.0), data_keys=None, keepdim=True)
    flipped = flip(dict(before))
    for key in ("image", "image_clear", "mask"):
        torch.testing.assert_close(flipped[key].squeeze().float(), before[key].flip(-1).float())


def test_places_are_those_of_torchgeo(root: Path) -> None:
    datasets = pytest.importorskip("torchgeo.datasets", reason="torchgeo is not installed")
    data = PairDataset(root, "train", geo=True)
    theirs = datasets.RasterDataset([root / "train" / "clear" / "2.tif"])
    x, y, time = theirs.bounds
    own = data[2]
    assert own["bounds"] == (x, y, time)
    assert own["crs"] == theirs.crs
    # The place of our sample reads, in their dataset, our pixels.
    torch.testing.assert_close(theirs[own["bounds"]]["image"], own["image_clear"])
    loader = DataLoader(data, batch_size=5, collate_fn=datasets.stack_samples)
    (batch,) = loader
    assert batch["image"].shape == (5, 4, SIDE, SIDE)
    assert batch["transform"].shape == (5, 6)
    assert len(batch["crs"]) == len(batch["bounds"]) == 5


def test_bands_that_nobody_named_are_told(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(40, 200, (4, 60, 80)).astype(np.uint8)
    for side in ("cloudy", "clear"):
        (tmp_path / "train" / side).mkdir(parents=True)
        colours = "rgb" if side == "cloudy" else "minisblack"
        write_scene(tmp_path / f"train/{side}/a.tif", pixels, names=None, photometric=colours)
    match = (
        r"^not both images say which band is which: .*cloudy.a\.tif is taken for r,g,b,n and .*"
        r"clear.a\.tif for b,g,r,n: .* bands in pairs\.jsonl"
    )
    with pytest.warns(DecrWarning, match=match):
        PairDataset(tmp_path)
    named = {"cloudy": "train/cloudy/a.tif", "clear": "train/clear/a.tif", "bands": "r,g,b,n"}
    (tmp_path / "pairs.jsonl").write_text(json.dumps({**named, "split": "train"}))
    with warnings.catch_warnings():
        warnings.simplefilter("error", DecrWarning)
        PairDataset(tmp_path)
