"""Measure how well clouds are found where white is not known; write the table of detectors.md.

    python docs/make_ranges.py --root IMAGERY

Protocol. Quilts of held-out aerial images as in `docs/make_ccp_tables.py`, darkened and tinted as
by a sensor (`vary_radiometry`), under skies that the simulator draws for views of
kilometres, and under none, in whole numbers of 11 bits of which white takes a half to all. Each is
looked at by `decr ccp` with its defaults, which show the detector a range between the scene's own
and its bit depth (`decr.radiometry.for_detector`); with the scene's own estimated range; and with
black and white as they are. The truth is the simulator's own mask, optical depth 0.12 and more.
Skies are faint, thin or others as there.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from decr.coverage.ccp import Looking, scene_ccp  # noqa: E402
from decr.coverage.sources import Source  # noqa: E402
from decr.dataset.augment import vary_radiometry  # noqa: E402
from decr.dataset.collage import quilt, wide_sky  # noqa: E402
from decr.dataset.fine_views import of_one_flight  # noqa: E402
from decr.dataset.samples import ClearImage  # noqa: E402
from decr.dataset.simulate import simulate_clouds  # noqa: E402
from decr.geo.scene import open_scene  # noqa: E402
from decr.pipeline.range import radiometry_of  # noqa: E402
from decr.training.recipe import read_recipe  # noqa: E402
from docs.make_ccp_tables import (  # noqa: E402
    BANDS,
    FOUR,
    PAGE,
    RECIPE,
    THREE,
    WITHIN,
    Sky,
    by_thickness,
    errors_of,
    looks,
    moved,
    true_ccp,
    unseen,
    write,
)
from docs.make_quality import fill  # noqa: E402

SEED = 70_004
TOP = 2047
SHOWN = ("as decr does", "its own range", "white known")


def found_in(path: Path, look: Looking, white: float) -> dict[str, float]:
    """CCP of a scene by what the detector is shown of its range."""
    own = radiometry_of(open_scene(str(path)), None, {})
    ranges = (None, (own.low[0], own.high[0]), (0.0, white))
    return {
        shown: scene_ccp(
            Source("s", str(path)), replace(look, config=replace(look.config, dn_range=range_))
        ).ccp
        for shown, range_ in zip(SHOWN, ranges, strict=True)
    }


def scenes(images: list[ClearImage], count: int, side: int, clouded: bool) -> list[Sky]:
    """Seeded scenes as a sensor of 11 bits sees them, and what is found in them."""
    seen = []
    with (
        tempfile.TemporaryDirectory() as folder,
        looks(dict.fromkeys((THREE, FOUR), "compact")) as by,
    ):
        path = Path(folder) / "scene.tif"
        for number in range(count):
            rng = np.random.default_rng([SEED, number])
            first = images[int(rng.integers(len(images)))]
            view, gsd_m = quilt(rng, of_one_flight(images, first.name), BANDS, side, 1)
            view, white = vary_radiometry(rng, view), TOP * float(rng.uniform(0.5, 1.0))
            sky, (true, narrow) = wide_sky(rng, BANDS), (0.0, 0.0)
            if clouded:
                simulated = simulate_clouds(view, BANDS, rng, gsd_m=gsd_m, params=sky)
                view, (true, narrow) = simulated.cloudy, true_ccp(simulated)
            write(path, np.clip(np.rint(view * white), 0, TOP).astype("uint16"), gsd_m)
            found = {
                f"{name} | {shown}": ccp
                for name, look in by.items()
                for shown, ccp in found_in(path, look, white).items()
            }
            seen.append(Sky(sky.thickness if clouded else 0.0, true, narrow, found))
    return seen


def rows_of(seen: list[Sky]) -> list[str]:
    """Rows of the table: by thickness of the sky, detector and range."""
    rows = []
    for sky, chosen in by_thickness(seen).items():
        for found in chosen[0].found:
            e = errors_of(chosen, found)
            rows.append(
                f"| {sky} | {len(chosen)} | {moved(chosen):.1f} | {found} | {e.mean():+.1f} | "
                f"{np.abs(e).mean():.1f} | {np.median(np.abs(e)):.1f} | "
                f"{100 * (np.abs(e) <= WITHIN).mean():.0f} % |"
            )
    return rows


def main() -> None:
    """Measure and fill the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--side", type=int, default=1024)
    options = parser.parse_args()
    images = unseen(read_recipe(RECIPE, options.root))
    seen = [
        sky
        for clouded in (True, False)
        for sky in scenes(images, options.scenes, options.side, clouded)
    ]
    command = f"python docs/make_ranges.py --root IMAGERY --scenes {options.scenes}"
    lines = [
        "```bash", f"{command} --side {options.side}", "```", "",
        "| sky | scenes | truth moves | detector | range it is shown | mean error of CCP | "
        f"mean absolute error | median absolute error | within {WITHIN:g} points |",
        "|---|---|---|---|---|---|---|---|---|",
        *rows_of(seen),
    ]  # fmt: skip
    fill(PAGE, "ranges", lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
