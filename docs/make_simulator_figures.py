"""Measure simulated clouds beside real ones, and write pictures and the table of simulator.md.

``python docs/make_simulator_figures.py --data DIR``

DIR holds ``cloud_masks_l8biome/{images,masks}``: Landsat 8 patches (USGS, public domain) of blue,
green, red and near infrared reflectance with hand-made masks (64 shadow, 128 clear, 192 thin cloud,
255 cloud). If there, numbers are taken from two more sets, and no pictures: ``cloud_masks_ukis``,
Landsat 5 and Sentinel-2 patches (0 shadow, 4 cloud), and ``pairs_rice2_512/{cloudy,clear}``.
"""

from __future__ import annotations

import argparse
import io
import warnings
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from scipy import ndimage

from decr.dataset.simulate import simulate_clouds
from decr.dataset.sky import PRESETS, SkyMix, Spread, draw_params

HERE = Path(__file__).parent
PAGE = HERE / "simulator.md"
BANDS = ("blue", "green", "red", "nir")
WAVELENGTHS = np.array([0.48, 0.56, 0.655, 0.865])
GSD_M = 30.0
SKIES = 60
GROUNDS = ("Forest_03", "Wetlands_01", "Wetlands_00")
"""Patches with much clear ground that is neither snow nor bare; skies are put over them."""

_MARKS = ("<!-- measured -->\n", "<!-- /measured -->")
_REACH_PX = 12

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A cloudy image: (4, H, W) reflectance, and (H, W) masks of cloud, clear ground and shadow."""

    image: NDArray[np.float32]
    cloud: NDArray[np.bool_]
    clear: NDArray[np.bool_]
    shadow: NDArray[np.bool_]


def spectrum(image: NDArray[Any]) -> tuple[Float, Float]:
    """Power by frequency (cycles per pixel) of a square image, averaged over rings."""
    side = min(image.shape)
    part = image[:side, :side].astype(np.float64)
    window = np.hanning(side)
    power = np.abs(np.fft.fft2((part - part.mean()) * window[:, None] * window)) ** 2
    along = np.fft.fftfreq(side)
    frequency = np.hypot(along[:, None], along)
    ends = np.geomspace(4 / side, 0.35, 15)
    rings = [(frequency >= a) & (frequency < b) for a, b in pairwise(ends)]
    return np.sqrt(ends[1:] * ends[:-1]), np.array([power[ring].mean() for ring in rings])


def slope(x: Float, y: Float) -> float:
    """Exponent of a power law."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def edge_profile(view: View) -> Float | None:
    """Mean brightness by distance to the border of the mask, from 12 px outside to 12 px inside.

    0 is clear ground away from clouds, 1 the cloud 12 px inside. None without such pixels.
    """
    distance = np.where(
        view.cloud,
        ndimage.distance_transform_edt(view.cloud) - 0.5,
        0.5 - ndimage.distance_transform_edt(~view.cloud),
    )
    brightness, used = view.image.mean(axis=0), view.cloud | view.clear
    steps = range(-_REACH_PX, _REACH_PX)
    rings = [used & (distance >= k) & (distance < k + 1) for k in steps]
    if min(ring.sum() for ring in rings) < 30:
        return None
    profile = np.array([brightness[ring].mean() for ring in rings])
    low, high = profile[:3].mean(), profile[-2:].mean()
    return (profile - low) / (high - low) if high - low > 0.03 else None


def half_way_px(profile: Float) -> float:
    """How far inside the border half of the rise is reached, pixels."""
    centres = np.arange(-_REACH_PX, _REACH_PX) + 0.5
    return float(centres[int(np.argmax(profile >= 0.5))])


def cloud_colour(view: View) -> Float | None:
    """Brightness of the brightest tenth of the cloud, per band over green."""
    if view.cloud.mean() < 0.1:
        return None
    pixels = view.image[:, view.cloud].astype(np.float64)
    top = pixels[:, pixels[1] >= np.quantile(pixels[1], 0.9)]
    return top.mean(axis=1) / top[1].mean() if top[1].mean() > 0.3 else None


def shadow_depth(view: View) -> Float | None:
    """Brightness of shadows over that of clear ground up to 20 px away, per band."""
    near = view.clear & (ndimage.distance_transform_edt(~view.shadow) < 20)
    near &= ndimage.distance_transform_edt(~view.cloud) > 4
    if min(view.shadow.sum(), near.sum()) < 200:
        return None
    shaded, lit = (np.median(view.image[:, mask], axis=1) for mask in (view.shadow, near))
    return np.asarray(shaded / lit, np.float64)


def real_views(folder: Path) -> dict[str, View]:
    """Labelled patches by name, without those of snow, whose brightness is not the cloud's."""
    views = {}
    for path in sorted((folder / "images").glob("*.tif")):
        if path.stem.startswith("Snow"):
            continue
        with rasterio.open(path) as file, rasterio.open(folder / "masks" / path.name) as truth:
            image, mask = file.read([1, 2, 3, 4]).astype(np.float32), truth.read(1)
        views[path.stem] = View(image, mask >= 192, mask == 128, mask == 64)
    return views


def other_views(folder: Path) -> list[View]:
    """Labelled patches of other sensors, which no preset was chosen by."""
    views = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as stored:
            image = np.moveaxis(stored["img"][..., :4], -1, 0).astype(np.float32)
            mask = stored["msk"][..., 0]
        views.append(View(image, mask == 4, (mask != 4) & (mask != 0), mask == 0))
    return views


def at_landsat_scale(mix: SkyMix) -> SkyMix:
    """The same skies for a view of 8 km: larger structures, shadows beside their clouds."""
    return replace(
        mix,
        outer_scale_m=Spread(600.0, 6000.0, "log"),
        shadow_distance_m=Spread(400.0, 2500.0, "log"),
    )


def simulated_views(mix: SkyMix, grounds: list[NDArray[np.float32]], count: int) -> list[View]:
    """Skies of a mix over real ground, at the ground sampling distance of Landsat."""
    rng = np.random.default_rng(0)
    views = []
    for number in range(count):
        sky = draw_params(rng, BANDS, at_landsat_scale(mix))
        ground = grounds[number % len(grounds)]
        seen = simulate_clouds(ground, BANDS, rng, gsd_m=GSD_M, params=sky)
        shadow = ~seen.cloud_mask & (seen.shadow >= 0.2)
        clear = ~seen.cloud_mask & (seen.shadow < 0.05)
        views.append(View(seen.cloudy, seen.cloud_mask, clear, shadow))
    return views


def rice_spectra(folder: Path) -> list[tuple[Float, Float]]:
    """Spectra of cloudy minus clear, brightness over the bands."""
    found = []
    for path in sorted((folder / "cloudy").glob("*.png")):
        with rasterio.open(path) as cloudy, rasterio.open(folder / "clear" / path.name) as clear:
            difference = cloudy.read().astype(np.float64) - clear.read()
        found.append(spectrum(difference.mean(axis=0) / 255))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What was measured on a group of views; each list holds a value per view that allows it."""

    colours: list[Float]
    profiles: list[Float]
    spectra: list[tuple[Float, Float]]
    shadows: list[Float]


def measure(views: list[View]) -> Measured:
    """All measures of a group of views; spectra of those at least two fifths under cloud."""
    half = [view for view in views if view.cloud.mean() >= 0.4]
    return Measured(
        [c for view in views if (c := cloud_colour(view)) is not None],
        [p for view in views if (p := edge_profile(view)) is not None],
        [spectrum(view.image.mean(axis=0)) for view in half],
        [s for view in views if (s := shadow_depth(view)) is not None],
    )


def _spread(values: list[float], digits: int = 2) -> str:
    """Median, and the middle four fifths."""
    if not values:
        return "-"
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9))
    return f"{middle:.{digits}f} ({low:.{digits}f} .. {high:.{digits}f})"


def table(groups: dict[str, Measured], rice: list[tuple[Float, Float]]) -> str:
    """The Markdown table of simulator.md."""
    rows: list[tuple[str, list[str]]] = []

    def row(title: str, values: Any, digits: int = 2) -> None:
        rows.append((title, [_spread(values(group), digits) for group in groups.values()]))

    for index, band in ((0, "blue"), (2, "red"), (3, "nir")):
        row(
            f"bright cloud, {band} / green",
            lambda g, i=index: [c[i] for c in g.colours],
        )
    row("bright cloud, spectral slope", lambda g: [slope(WAVELENGTHS, c) for c in g.colours])
    row("edge: half of the rise, px inside", lambda g: [half_way_px(p) for p in g.profiles], 1)
    row("edge: rise within 2 px of the border", lambda g: [p[13] - p[10] for p in g.profiles])
    row("power spectrum, exponent", lambda g: [slope(*s) for s in g.spectra])
    for index, band in enumerate(BANDS):
        row(f"shadow / lit ground, {band}", lambda g, i=index: [s[i] for s in g.shadows])
    counts = [
        f"{len(g.colours)}, {len(g.profiles)}, {len(g.spectra)}, {len(g.shadows)}"
        for g in groups.values()
    ]
    rows.append(("views with colour, edge, spectrum, shadow", counts))
    lines = ["| | " + " | ".join(groups) + " |", "|---" * (len(groups) + 1) + "|"]
    lines += [f"| {title} | " + " | ".join(values) + " |" for title, values in rows]
    text = "\n".join(lines) + "\n"
    if rice:
        exponents = _spread([slope(*s) for s in rice])
        text += f"\nCloudy minus clear of {len(rice)} RICE2 pairs: exponent {exponents}.\n"
    return text


def fill(page: Path, text: str) -> None:
    """Put the table between its two comments."""
    before, rest = page.read_text().split(_MARKS[0])
    after = rest.split(_MARKS[1], 1)[1]
    page.write_text(before + _MARKS[0] + text + _MARKS[1] + after)


def draw_measures(groups: dict[str, Measured], rice: list[tuple[Float, Float]], out: Path) -> None:
    """Five panels: edges, spectra, colour, shadows, coverage."""
    from matplotlib import pyplot as plt

    colours = {"default": "tab:blue", "cuhk-cr1": "tab:orange", "cuhk-cr2": "tab:green"}
    colours |= {"real": "black", "other sensors": "grey"}
    figure, axes = plt.subplots(1, 5, figsize=(17, 3.6), layout="constrained")
    edge, power, colour, shadow, coverage = axes
    centres = np.arange(-_REACH_PX, _REACH_PX) + 0.5
    for name, group in groups.items():
        style = {"color": colours[name], "lw": 2.5 if name == "real" else 1.5, "label": name}
        low, middle, high = np.quantile(group.profiles, (0.1, 0.5, 0.9), axis=0)
        edge.plot(centres, middle, **style)
        edge.fill_between(centres, low, high, color=colours[name], alpha=0.1, lw=0)
        if group.spectra:
            power.loglog(group.spectra[0][0], _mean_shape(group.spectra), **style)
        colour.plot(WAVELENGTHS, np.median(group.colours, axis=0), marker="o", **style)
        if group.shadows:
            shadow.plot(WAVELENGTHS, np.median(group.shadows, axis=0), marker="o", **style)
    if rice:
        power.loglog(rice[0][0], _mean_shape(rice), "k:", label="RICE2 difference")
    rng = np.random.default_rng(0)
    for name in ("cuhk-cr1", "cuhk-cr2"):
        drawn = [draw_params(rng, BANDS, PRESETS[name]).coverage for _ in range(4000)]
        share, ends = np.histogram(drawn, np.linspace(0, 1, 11))
        label = f"{name}, mean {np.mean(drawn):.3f}"
        coverage.stairs(share / len(drawn), ends, color=colours[name], lw=1.5, label=label)
    titles = {
        edge: ("cloud edge", "px inside the mask", "rise of brightness"),
        power: ("power spectrum", "cycles / px", "power / power at 0.05"),
        colour: ("bright cloud", "wavelength, um", "brightness / green"),
        shadow: ("shadow", "wavelength, um", "shadow / lit ground"),
        coverage: ("coverage (CCP) of the presets", "CCP", "share of chips"),
    }
    for panel, (title, x, y) in titles.items():
        panel.set(title=title, xlabel=x, ylabel=y)
        panel.grid(alpha=0.3)
        panel.legend(fontsize=7)
    coverage.set_ylim(0, None)
    figure.savefig(out, dpi=80)
    plt.close(figure)


def _mean_shape(spectra: list[tuple[Float, Float]]) -> Float:
    """Geometric mean of spectra that are scaled to 1 at 0.05 cycles per pixel."""
    logs = [np.log(p) - np.interp(np.log(0.05), np.log(f), np.log(p)) for f, p in spectra]
    return np.asarray(np.exp(np.mean(logs, axis=0)))


def draw_views(real: dict[str, View], groups: dict[str, list[View]], out: Path) -> None:
    """Real patches above simulated views, natural colour, all stretched alike."""
    from matplotlib import pyplot as plt
    from PIL import Image

    shown = {"real": [v for v in real.values() if 0.25 < v.cloud.mean() < 0.95][:5]}
    for name, views in groups.items():
        # The drawn order is random: the first ones that show some cloud are as good as any.
        shown[name] = [v for v in views if 0.2 < v.cloud.mean() < 0.95][:5]
    figure, axes = plt.subplots(len(shown), 5, figsize=(10, 2.12 * len(shown)))
    for row, (name, views) in zip(axes, shown.items(), strict=True):
        for axis in row:
            axis.set(xticks=[], yticks=[])
        for axis, view in zip(row, views, strict=False):
            picture = np.clip(view.image[[2, 1, 0]] / 0.9, 0, 1) ** 0.7
            axis.imshow(np.moveaxis(picture, 0, -1))
        row[0].set_ylabel(name)
    figure.subplots_adjust(0.03, 0.005, 0.995, 0.995, 0.03, 0.03)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=80)
    plt.close(figure)
    # 256 colours are enough for a page, at a third of the bytes.
    sheet = Image.open(buffer).convert("RGB")
    sheet.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=2).save(out, optimize=True)


def main() -> None:
    """Parse the command line, measure, draw and fill."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of real imagery")
    parser.add_argument("--out", type=Path, default=HERE / "pictures", help="folder of pictures")
    options = parser.parse_args()
    import matplotlib

    matplotlib.use("Agg")
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    real = real_views(options.data / "cloud_masks_l8biome")
    grounds = [v.image for name, v in real.items() if name.startswith(GROUNDS)]
    simulated = {name: simulated_views(mix, grounds, SKIES) for name, mix in PRESETS.items()}
    groups = {"real": measure(list(real.values()))}
    if others := other_views(options.data / "cloud_masks_ukis"):
        groups["other sensors"] = measure(others)
    groups |= {name: measure(views) for name, views in simulated.items()}
    rice = rice_spectra(options.data / "pairs_rice2_512")
    text = table(groups, rice)
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    draw_measures(groups, rice, options.out / "simulator_measures.png")
    draw_views(real, simulated, options.out / "simulator_views.png")
    if PAGE.is_file():
        fill(PAGE, text)


if __name__ == "__main__":
    main()
