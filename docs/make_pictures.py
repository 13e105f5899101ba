"""Make the before/after picture: cloudy, restored and true scene side by side in one PNG.

``python docs/make_pictures.py CLOUDY RESTORED TRUTH [--window ROW COL SIZE] [--out PNG]``
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.windows import Window

HERE = Path(__file__).parent
TITLES = ("cloudy", "restored", "truth")


def read_rgb(path: Path, window: Window | None, panel_px: int) -> NDArray[np.float32]:
    """Read red, green and blue, found by description, averaged to about ``panel_px`` rows.

    Returns
    -------
    ndarray
        (rows, cols, 3) float32 DN; 0 where the scene has no data.
    """
    with rasterio.open(path) as source:
        names = [str(name).lower() for name in source.descriptions]
        # Scenes without descriptions are taken to be in the usual order, red first.
        known = {"red", "green", "blue"} <= set(names)
        bands = [names.index(name) + 1 for name in ("red", "green", "blue")] if known else [1, 2, 3]
        window = window or Window(0, 0, source.width, source.height)
        scale = min(1.0, panel_px / window.height)
        shape = (3, round(window.height * scale), round(window.width * scale))
        dn: NDArray[np.generic] = source.read(
            bands, window=window, out_shape=shape, resampling=Resampling.average
        )
    return np.moveaxis(dn, 0, -1).astype(np.float32)


def stretch(
    panels: list[NDArray[np.float32]], reference: NDArray[np.float32], headroom: float = 1.35
) -> list[NDArray[np.uint8]]:
    """Stretch all panels alike: black and white points come from the reference only.

    ``headroom`` lifts the white point so that thin clouds are not burnt out.
    """
    lit = reference[reference.min(axis=-1) > 0]
    low, high = (float(v) for v in np.percentile(lit, (0.3, 99.3)))
    high = low + (high - low) * headroom
    unit = [np.clip((panel - low) / (high - low), 0.0, 1.0) for panel in panels]
    return [(255 * u**0.7).astype(np.uint8) for u in unit]


def make_panel(
    paths: tuple[Path, Path, Path],
    out: Path,
    *,
    window: Window | None = None,
    panel_px: int = 480,
) -> None:
    """Write one PNG with the three scenes (cloudy, restored, truth) side by side.

    Parameters
    ----------
    paths
        GeoTIFFs on one grid.
    out
        Target; its folder is made.
    window
        Part of the scene to show; None shows all.
    panel_px
        Height of a panel, pixels.
    """
    import matplotlib
    from PIL import Image

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    panels = [read_rgb(path, window, panel_px) for path in paths]
    rows, cols = panels[0].shape[:2]
    gap, title, dpi = 8, 28, 100
    width, height = 3 * cols + 2 * gap, rows + title
    figure = plt.figure(figsize=(width / dpi, height / dpi), dpi=dpi)
    for index, picture in enumerate(stretch(panels, panels[2])):
        left = index * (cols + gap) / width
        axes = figure.add_axes((left, 0.0, cols / width, rows / height))
        axes.imshow(picture, interpolation="nearest", aspect="auto")
        axes.set_axis_off()
        axes.set_title(TITLES[index], fontsize=12, pad=5)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    plt.close(figure)
    out.parent.mkdir(parents=True, exist_ok=True)
    # 256 colours are enough for a picture in the documentation, at a third of the bytes. Maximum
    # coverage keeps the rare ones, roofs and cars; dithering hides the steps between the others.
    sheet = Image.open(buffer).convert("RGB")
    palette = sheet.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=2)
    sheet.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(out, optimize=True)


def main() -> None:
    """Parse the command line and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in TITLES:
        parser.add_argument(name, type=Path, help=f"GeoTIFF of the {name} scene")
    parser.add_argument("--out", type=Path, default=HERE / "pictures" / "sample_before_after.png")
    parser.add_argument("--window", type=int, nargs=3, metavar=("ROW", "COL", "SIZE"))
    parser.add_argument("--panel-px", type=int, default=480)
    options = parser.parse_args()
    window = None
    if options.window:
        row, col, size = options.window
        window = Window(col, row, size, size)
    paths = (options.cloudy, options.restored, options.truth)
    make_panel(paths, options.out, window=window, panel_px=options.panel_px)
    print(f"{options.out}: {options.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
