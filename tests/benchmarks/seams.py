"""What makes tile borders vanish: ways that were tried, on scenes whose truth is known.

    python -m tests.benchmarks.seams [--json FILE] [--pictures FOLDER]

Three scenes of 1600 px or more, simulated clouds, embedded four-band model: `flat`, ground of one
colour under a deck without a gap; `wide`, the sample scene's ground under the same deck; `gaps`,
the sample scene itself. For every way: PSNR over cloudy pixels, the root mean square
disagreement of neighbouring tiles where they overlap, per pixel, in grey levels of 8 bits, and both
seam scores of `decr.pipeline.seams`.

`anchor k` replaces what tiles say of the cells of a k-th of the resolution by a pass of the
reference alone over the scene at that resolution, in tiles that overlap by half. `agree` is
`decr.pipeline.tone` with these deviations, one round each; decr uses `agree 16 4`, after levels of
clear ground, which are left out here. `long ramp` is the same, but tiles change places over all of
their overlap instead of the middle half.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from scipy import ndimage

from decr.dataset.simulate import simulate_clouds
from decr.dataset.sky import CloudParams
from decr.geo.grid import Window
from decr.geo.lattice import FEATHER_SUM, Lattice
from decr.pipeline.seams import GREY_LEVELS, Overlaps, gradients, noted, seams_of
from decr.pipeline.tone import Index, at_full_size, cell_means, corrections
from decr.predictor import Restorer, load_restorer
from decr.zoo.embedded import embedded_path
from sample_scenes.make_scenes import truth
from tests.benchmarks.memory import save

Float32 = NDArray[np.float32]
Tiles = dict[Index, Float32]
Blend = Callable[[Lattice, Tiles], Float32]
FULL_SCALE = 2047.0
SIDE = 1600
FEED = [2, 1, 0, 3]
AGREE = ((8.0,), (16.0, 4.0), (8.0, 4.0, 2.0))


@dataclass(frozen=True, eq=False)
class Case:
    """A scene in unit: (4, H, W) cloudy and clear, (H, W) where it is judged."""

    name: str
    cloudy: Float32
    clear: Float32
    judged: NDArray[np.bool_]


def cases() -> list[Case]:
    """The three scenes."""
    folder = Path(truth()).parent
    with rasterio.open(truth()) as file:
        ground = file.read().astype(np.float32)
    with rasterio.open(folder / "meadowbrook_cloudy.tif") as file:
        cloudy = file.read().astype(np.float32)
    with rasterio.open(folder / "meadowbrook_cloud_mask.tif") as file:
        mask = ndimage.binary_dilation(file.read(1) > 0, iterations=30)
    wide = ground[:, :SIDE, :SIDE]
    noise = np.random.default_rng(5).normal(0, 5, wide.shape).astype(np.float32)
    flat = np.median(ground, axis=(1, 2))[:, None, None] + noise
    everywhere = np.ones((SIDE, SIDE), bool)
    return [
        Case("flat", _unit(_under_deck(flat)), _unit(flat), everywhere),
        Case("wide", _unit(_under_deck(wide)), _unit(wide), everywhere),
        Case("gaps", _unit(cloudy), _unit(ground), mask),
    ]


def _under_deck(ground: Float32) -> Float32:
    sky = CloudParams(kind="deck", coverage=1.0, thickness=1.3, shadow=0.0)
    bands, rng = ("blue", "green", "red", "nir"), np.random.default_rng(3)
    under = simulate_clouds(ground / FULL_SCALE, bands, rng, gsd_m=0.5, params=sky)
    return np.clip(np.rint(under.cloudy * FULL_SCALE), 0, FULL_SCALE)


def _unit(dn: Float32) -> Float32:
    return (dn[FEED] / np.float32(FULL_SCALE / 2) - 1).astype(np.float32)


def restored(unit: Float32, overlap: int, model: Restorer) -> tuple[Lattice, Tiles]:
    """All tiles of a scene."""
    lattice, out = Lattice(*unit.shape[1:], 256, overlap), {}
    many = 4 * model.side_by_side
    indices = list(lattice)
    for first in range(0, len(indices), many):
        group = indices[first : first + many]
        windows = [lattice.tile(*index) for index in group]
        stack = np.stack([_whole(unit[(slice(None), *w.slices())]) for w in windows])
        clear = np.clip(model.restore(stack, [(w.row, w.col) for w in windows]), -1, 1)
        for index, window, tile in zip(group, windows, clear, strict=True):
            out[index] = tile[:, : window.height, : window.width]
    return lattice, out


def _whole(tile: Float32) -> Float32:
    _, height, width = tile.shape
    return np.pad(tile, ((0, 0), (0, 256 - height), (0, 256 - width)), mode="symmetric")


def anchored(case: Case, lattice: Lattice, tiles: Tiles, k: int, reference: Restorer) -> Tiles:
    """Tiles whose means of k x k pixels are those of a pass at a k-th of the resolution."""
    small = _shrunk(case.cloudy, k)
    coarse, parts = restored(small, 128, reference)
    total, weights = np.zeros_like(small), np.zeros(small.shape[1:], np.float32)
    for index, tile in parts.items():
        rows, cols = coarse.tile(*index).slices()
        hump = np.outer(*(np.hanning(size + 2)[1:-1] for size in tile.shape[1:]))
        total[:, rows, cols] += tile * hump
        weights[rows, cols] += hump
    change, out = total / weights - small, {}
    for index, tile in tiles.items():
        window = lattice.tile(*index)
        rows, cols = window.slices()
        own = _shrunk(tile - case.cloudy[:, rows, cols], k)
        at = [
            (np.arange(n) + 0.5) + first / k - 0.5
            for n, first in zip(own.shape[1:], (window.row, window.col), strict=True)
        ]
        error = _at(change, at[0], at[1]) - own
        fine = [(np.arange(n) + 0.5) / k - 0.5 for n in tile.shape[1:]]
        out[index] = np.clip(tile + _at(error, fine[0], fine[1]), -1, 1)
    return out


def _shrunk(image: Float32, k: int) -> Float32:
    _, height, width = image.shape
    image = np.pad(image, ((0, 0), (0, -height % k), (0, -width % k)), mode="edge")
    shape = (len(image), image.shape[1] // k, k, image.shape[2] // k, k)
    return image.reshape(shape).mean(axis=(2, 4))


def _at(image: Float32, rows: NDArray[Any], cols: NDArray[Any]) -> Float32:
    grid = np.meshgrid(rows, cols, indexing="ij")
    planes = [ndimage.map_coordinates(band, grid, order=1, mode="nearest") for band in image]
    return np.stack(planes).astype(np.float32)


def agreed(case: Case, lattice: Lattice, tiles: Tiles, widths: tuple[float, ...]) -> Tiles:
    """Tiles with their tones settled."""
    said = {
        index: cell_means(_whole(tile - _cut(case, lattice, index)), lattice, index)
        for index, tile in tiles.items()
    }
    added = corrections(said, lattice, list(said), widths)
    return {
        index: np.clip(tile + at_full_size(added[index], lattice, index) / np.float32(2**15), -1, 1)
        for index, tile in tiles.items()
    }


def _cut(case: Case, lattice: Lattice, index: Index) -> Float32:
    return case.cloudy[(slice(None), *lattice.tile(*index).slices())]


def blended(lattice: Lattice, tiles: Tiles) -> Float32:
    """The scene from its tiles."""
    out = np.zeros((4, lattice.height, lattice.width), np.float32)
    for index, tile in tiles.items():
        rows, cols = lattice.tile(*index).slices()
        out[:, rows, cols] += tile * (lattice.tile_weights(*index) / np.float32(FEATHER_SUM**2))
    return out


def blended_long(lattice: Lattice, tiles: Tiles) -> Float32:
    """The scene from its tiles, which fade over all of their overlap."""
    total = np.zeros((4, lattice.height, lattice.width), np.float32)
    weights = np.zeros(total.shape[1:], np.float32)
    for index, tile in tiles.items():
        window, whole = lattice.tile(*index), lattice.overlap_px + 1.0
        ramps = []
        for size, first, scene in zip(
            tile.shape[1:], (window.row, window.col), weights.shape, strict=True
        ):
            x = np.arange(size)
            rise = np.where(first > 0, x + 1.0, whole)
            fall = np.where(first + size < scene, size - x, whole)
            ramps.append(np.minimum(np.minimum(rise, fall), whole))
        hump = np.outer(*ramps).astype(np.float32)
        rows, cols = window.slices()
        total[:, rows, cols] += tile * hump
        weights[rows, cols] += hump
    return total / weights


def judged(
    case: Case, lattice: Lattice, tiles: Tiles, blend: Blend = blended
) -> dict[str, float | None]:
    """PSNR and what is left of the tiles' disagreement."""
    overlaps = Overlaps(lattice)
    for index in lattice:
        overlaps.add(index, tiles[index])
    scene = blend(lattice, tiles)
    error = (scene - case.clear)[:, case.judged].astype(np.float64)
    whole = Window(0, 0, lattice.height, lattice.width)
    steps = gradients(scene, case.judged, lattice, 1, whole)
    seams = seams_of([noted(steps=steps)])
    return {
        "psnr_db": round(float(10 * np.log10(4 / np.mean(error**2))), 2),
        "overlap_rms": round(GREY_LEVELS * overlaps.difference.mean**0.5, 2),
        "score": None if seams.score is None else round(seams.score, 3),
        "score_on_grid": None if seams.score_on_grid is None else round(seams.score_on_grid, 3),
    }


def stretched(image: Float32) -> NDArray[np.uint8]:
    """Red, green and blue between their own 1 % and 99 %, at half size."""
    view = _shrunk(image[:3], 2)
    low, high = (np.quantile(view, q, axis=(1, 2))[:, None, None] for q in (0.01, 0.99))
    grey: NDArray[np.uint8] = (np.clip((view - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    return grey.transpose(1, 2, 0)


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args()
    path = embedded_path("embedded-rgbn")
    model, reference = load_restorer(path), load_restorer(path, steps=1, prior_floor=1.0)
    rows: list[dict[str, Any]] = []
    for case in cases():
        lattice, tiles = restored(case.cloudy, 64, model)
        ways = {"feather only": tiles}
        for k in (4, 8):
            ways[f"anchor {k}"] = anchored(case, lattice, tiles, k, reference)
        for widths in AGREE:
            name = " ".join(f"{width:g}" for width in widths)
            ways[f"agree {name}"] = agreed(case, lattice, tiles, widths)
        for way, result in ways.items():
            rows.append({"scene": case.name, "way": way, **judged(case, lattice, result)})
            print(rows[-1], flush=True)
        long = judged(case, lattice, ways["agree 16 4"], blended_long)
        rows.append({"scene": case.name, "way": "agree 16 4, long ramp", **long})
        print(rows[-1], flush=True)
        if options.pictures and case.name != "gaps":
            from PIL import Image

            views = [stretched(blended(lattice, ways[w])) for w in ("feather only", "agree 16 4")]
            gap = np.full((views[0].shape[0], 8, 3), 255, np.uint8)
            picture = np.concatenate([views[0], gap, views[1]], axis=1)
            Image.fromarray(picture).save(options.pictures / f"seams_{case.name}.jpg", quality=85)
    if options.json:
        save(options.json, {"rows": rows})


if __name__ == "__main__":
    main()
