"""Tests that sets whose cloudy and clear images are swapped are told, and that no others are."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from decr.config import CcpConfig
from decr.dataset.layouts import list_pairs
from decr.dataset.manifest import manifest_bytes
from decr.dataset.pairs import PairFolder, read_pairs
from decr.dataset.simulate import simulate_clouds
from decr.dataset.sky import PRESETS, draw_params
from decr.dataset.swapped import tell_swapped
from decr.errors import DecrWarning
from decr.sets.import_set import import_set
from decr.sets.upkeep import stats_of, verify_set
from tests.pipeline.scenes import write_scene

BGRN = ("blue", "green", "red", "nir")
WARNING = r"pairs looked at are brighter in the clear image than in the cloudy one, .* swapped"
READERS: dict[str, Callable[[Path, Path], Any]] = {
    "train and evaluate": lambda folder, _: read_pairs(PairFolder(folder, split="all"), BGRN),
    "verify": lambda folder, _: verify_set(folder),
    "stats": lambda folder, _: stats_of(folder),
    "import": lambda folder, out: import_set(folder, out, ccp=CcpConfig(detector="threshold")),
}


def under_clouds(
    number: int, ground: float = 0.1, skies: str = "default"
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A cloudy and a clear image of 128 px: ground of some brightness with fields and noise."""
    rng = np.random.default_rng([number, 3])
    fields = np.kron(rng.uniform(0.6, 1.4, (8, 8)), np.ones((16, 16)))
    clear = ground * (fields + rng.normal(0.0, 0.05, (4, 128, 128)))
    clear = clear.clip(0.0, 1.0).astype(np.float32)
    sky = draw_params(rng, BGRN, PRESETS[skies])
    cloudy = simulate_clouds(clear, BGRN, rng, gsd_m=0.5, params=sky).cloudy
    # On the other date the sun stands higher.
    return eight_bits(cloudy), eight_bits(1.1 * clear)


def eight_bits(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(255 * image.clip(0.0, 1.0)).astype(np.uint8)


def make(folder: Path, count: int = 8, swapped: bool = False, **of: Any) -> Path:
    sides = ("clear", "cloudy") if swapped else ("cloudy", "clear")
    for side in sides:
        (folder / side).mkdir(parents=True)
    for number in range(count):
        for side, image in zip(sides, under_clouds(number, **of), strict=True):
            write_scene(folder / side / f"p_{number}.tif", image)
    return folder


def told(call: Callable[[], Any]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DecrWarning)
        call()
    return [str(w.message) for w in caught if "as if these were swapped" in str(w.message)]


@pytest.mark.parametrize("reader", READERS)
def test_a_swapped_set_is_told_once_by_whatever_reads_it(tmp_path: Path, reader: str) -> None:
    folder = make(tmp_path / "set", swapped=True)
    (said,) = told(lambda: READERS[reader](folder, tmp_path / "out"))
    assert said.startswith(f"{folder}: 8 of 8 {WARNING[:12]}")
    assert "rename both folders, or exchange cloudy and clear in pairs.jsonl" in said
    right = make(tmp_path / "right")
    assert told(lambda: READERS[reader](right, tmp_path / "other")) == []


@pytest.mark.parametrize("skies", ["default", "cuhk-cr1", "cuhk-cr2"])
@pytest.mark.parametrize("ground", [0.05, 0.15])
def test_all_kinds_of_clouds_tell_which_image_is_which(
    tmp_path: Path, ground: float, skies: str
) -> None:
    right = make(tmp_path / "right", 10, ground=ground, skies=skies)
    assert told(lambda: tell_swapped(right, list_pairs(right, "folders"))) == []
    swapped = make(tmp_path / "swapped", 10, swapped=True, ground=ground, skies=skies)
    with pytest.warns(DecrWarning, match=WARNING):
        tell_swapped(swapped, list_pairs(swapped, "folders"))


@pytest.mark.parametrize("skies", ["default", "cuhk-cr1", "cuhk-cr2"])
def test_shadows_on_snow_are_no_swap(tmp_path: Path, skies: str) -> None:
    folder = make(tmp_path / "set", 10, ground=0.7, skies=skies)
    assert told(lambda: tell_swapped(folder, list_pairs(folder, "folders"))) == []


def test_few_pairs_tell_nothing_and_broken_ones_are_left_to_others(tmp_path: Path) -> None:
    folder = make(tmp_path / "set", 6, swapped=True)
    pairs = list_pairs(folder, "folders")
    assert told(lambda: tell_swapped(folder, pairs[:4])) == []
    pairs[0].clear.write_bytes(b"no image")
    write_scene(pairs[1].cloudy, np.full((4, 64, 64), 9, np.uint8))
    assert told(lambda: tell_swapped(folder, pairs)) == []  # 4 are left
    assert told(lambda: tell_swapped(folder, [])) == []


def test_a_manifest_whose_keys_are_swapped_is_told(tmp_path: Path) -> None:
    make(tmp_path)
    lines = [
        {"cloudy": f"clear/p_{n}.tif", "clear": f"cloudy/p_{n}.tif", "split": "train"}
        for n in range(8)
    ]
    (tmp_path / "pairs.jsonl").write_bytes(manifest_bytes(lines))
    with pytest.warns(DecrWarning, match=f"8 of 8 {WARNING}"):
        read_pairs(PairFolder(tmp_path, "manifest"), BGRN)


@pytest.mark.parametrize("swapped", [False, True])
def test_real_pairs_tell_which_image_is_which(shared: Path, tmp_path: Path, swapped: bool) -> None:
    for pair in list_pairs(shared / "data/pairs_rice2_512", "folders"):
        for side, path in (("cloudy", pair.cloudy), ("clear", pair.clear)):
            to = {"cloudy": "clear", "clear": "cloudy"}[side] if swapped else side
            (tmp_path / to).mkdir(exist_ok=True)
            with rasterio.open(path) as file:
                image = file.read()
            for n, part in enumerate((image[:, :256], image[:, 256:])):
                write_scene(tmp_path / to / f"{pair.name}_{n}.tif", part, names=BGRN[2::-1])
    said = told(lambda: tell_swapped(tmp_path, list_pairs(tmp_path, "folders")))
    assert len(said) == swapped
