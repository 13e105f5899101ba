"""Peak memory and time of writing a large scene with many patches, by how many files stay open.

    python -m tests.benchmarks.writing [--side 20000] [--open-files 4 450]

Nothing is restored: the patches are cut from the scene itself, one in every 2048 px square.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import rasterio
from rasterio.windows import Window

from decr.geo import grid, output, overlay
from tests.benchmarks.memory import write_sparse_scene


def cut_patches(scene: Path, side: int, folder: Path) -> list[overlay.Patch]:
    """One patch of 512 px from each 2048 px square."""
    patches = []
    with rasterio.open(scene) as source:
        for row in range(512, side, 2048):
            for col in range(512, side, 2048):
                height, width = min(512, side - row), min(512, side - col)
                path = folder / f"patch_{row}_{col}.tif"
                profile = source.profile | {"height": height, "width": width}
                with rasterio.open(path, "w", **profile) as file:
                    file.write(source.read(window=Window(col, row, width, height)))
                place = grid.Window(row, col, height, width)
                patches.append(overlay.Patch(path, place, (0, 1, 2, 3)))
    return patches


def write(scene: Path, patches: list[overlay.Patch], folder: Path, open_files: int) -> None:
    """Write in this process, and print what it took."""
    output._OPEN_FILES = open_files
    began = time.monotonic()
    output.write_cog(str(scene), patches, folder / "out.tif", {}, folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{len(patches)} patches, {open_files} files open: {peak:.0f} MB peak, "
        f"{time.monotonic() - began:.0f} s",
        flush=True,
    )


def main() -> None:
    """Measure each limit in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=20000)
    parser.add_argument("--open-files", type=int, nargs="+", default=[4, 450])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scene = folder / "scene.tif"
        write_sparse_scene(scene, options.side, options.side, 2048)
        patches = cut_patches(scene, options.side, folder)
        for open_files in options.open_files:
            process = multiprocessing.get_context("spawn").Process(
                target=write, args=(scene, patches, folder, open_files)
            )
            process.start()
            process.join()
            if process.exitcode:
                raise SystemExit(process.exitcode)


if __name__ == "__main__":
    main()
