"""Write docs/benchmarks.md from what the benchmarks measured (docs/benchmarks/*.json).

python docs/make_benchmarks.py
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MEASURED = HERE / "benchmarks"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; all columns but the first to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def scene(m: dict[str, Any]) -> str:
    """Cost of a whole scene over its networks."""
    rows = [
        ["the networks alone, on the same tiles", f"{m['bare_s']:.0f}", "1"],
        ["`decr declouds`, cloudy all over", f"{m['all_s']:.0f}", f"{m['all_over_bare']:.3f}"],
        [
            "`decr declouds`, a tenth cloudy",
            f"{m['tenth_s']:.0f}",
            f"{m['tenth_s'] / m['bare_s']:.3f}",
        ],
    ]
    return f"""## What a scene costs over the bare networks

{m["side"]} x {m["side"]} px, 4 bands, uint16, {m["tiles"]} tiles, the embedded model, {m["settings"]["precision"]}.
Wall time of the whole command: starting Python, finding clouds, reading, blending, settling tones, writing the COG.

{table(["", "seconds", "over the networks"], rows)}

A tenth of clouds takes {m["tenth_over_all"]:.3f} of the time of a full deck. Peak memory {m["all_peak_mb"]:.0f} MB.

![wall time](pictures/benchmark_scene.png)

```bash
python -m tests.benchmarks.scene --json docs/benchmarks/scene.json --figure docs/pictures/benchmark_scene.png
```
"""


def peers(m: dict[str, Any]) -> str:
    """The same network through other engines."""
    names = {"module": "float32, as loaded", "decr": "as decr calls them"}
    speed = [
        [
            f"{r['way']}, networks {names[r['network']]}",
            f"{r['seconds']:.0f}",
            f"{r['tiles_per_s']:.2f}",
            f"{r['peak_mb']}",
        ]
        for r in m["speed"]
    ]
    memory = [[r["way"], f"{r['scene_mb']}", f"{r['peak_mb']}"] for r in m["memory"]]
    return f"""## Beside other engines

The same networks and tiles (256 px, overlap 64, batches of 4) over a scene of {m["side"]} px. `monai` is MONAI's sliding
window, `loop` a plain loop that feathers on a canvas, as TorchGeo's samplers are used. Both hold scene and canvas in
memory. Their user has the networks in float32; with decr's own call only the engines differ.

{table(["", "seconds", "tiles per second", "peak MB"], speed)}

decr has {m["over_monai_float32"]:.2f} times the throughput of MONAI with the networks as loaded, and {m["over_monai_same_call"]:.2f} times
with the same call.

Memory over a scene of {m["memory_side"]} px, with a network that costs nothing:

{table(["", "MB beyond Python and libraries", "peak MB"], memory)}

decr takes {m["memory_of_monai"]:.2f} of MONAI's.

![throughput and memory](pictures/benchmark_peers.png)

```bash
pip install monai
python -m tests.benchmarks.peers --json docs/benchmarks/peers.json --figure docs/pictures/benchmark_peers.png
```
"""


def sizes(m: dict[str, Any]) -> str:
    """Memory by size of scene."""
    rows = [
        [
            r["size"].replace("x", " x ") + (" px" if "x" in r["size"] else " px square"),
            f"{r['peak_mb']:.0f}",
            f"{r['planned_mb']:.0f}",
            f"{r['above_model_mb']:.0f}",
            f"{r['restored']}",
            f"{r['wall_s']:.0f}",
        ]
        for r in m["rows"]
    ]
    fits = (
        "All peaks are within the plan."
        if m["within_plan"]
        else "**Not all peaks are within the plan.**"
    )
    return f"""## Memory by size of scene

4 bands, uint16, a small cloud every {m["every"]} px, one step. Loading the networks alone takes {m["model_mb"]:.0f} MB.

{table(["height x width", "peak MB", "planned MB", "above the networks", "tiles restored", "seconds"], rows)}

{fits} Of the squares, the one that takes most takes {m["largest_over_smallest"]:.2f} times what the one that takes least does, above
the networks.

![peak memory](pictures/benchmark_sizes.png)

```bash
python -m tests.benchmarks.scaling sizes --json docs/benchmarks/sizes.json --figure docs/pictures/benchmark_sizes.png
```
"""


def workers(m: dict[str, Any]) -> str:
    """One process against two."""
    rows = [
        [str(r["workers"]), f"{r['wall_s']:.0f}", f"{r['seconds']:.0f}", f"{r['peak_mb']:.0f}"]
        for r in m["rows"]
    ]
    return f"""## One process or two

A scene of {m["side"]} px, cloudy all over, on two cores: one process with two lanes, and two Dask workers with one lane each.
The memory is that of the largest process. Outputs are {"the same bytes" if m["same_bytes"] else "**not** the same bytes"}.

{table(["`--workers`", "wall seconds", "without starting Python and workers", "peak MB"], rows)}

One process is the default.

```bash
python -m tests.benchmarks.scaling workers --json docs/benchmarks/workers.json
```
"""


def seams(m: dict[str, Any]) -> str:
    """What was tried against seams."""
    ways = list(dict.fromkeys(r["way"] for r in m["rows"]))
    scenes = list(dict.fromkeys(r["scene"] for r in m["rows"]))
    of = {(r["scene"], r["way"]): r for r in m["rows"]}
    rows = [
        [
            way,
            *[f"{of[s, way]['psnr_db']:.2f}" for s in scenes],
            *[f"{of[s, way]['overlap_rms']:.1f}" for s in scenes],
            *[f"{of[s, way]['score']:.3f} ({of[s, way]['score_on_grid']:.3f})" for s in scenes],
        ]
        for way in ways
    ]
    kinds = ("PSNR", "disagreement", "seam score (on the grid)")
    head = ["", *[f"{kind}, {s}" for kind in kinds for s in scenes]]
    return f"""## Tile borders

`flat`: ground of one colour under a cloud deck without a gap; `wide`: the sample scene's ground under the same deck;
`gaps`: the sample scene. PSNR in dB over cloudy pixels; disagreement of neighbouring tiles where they overlap, root mean
square per pixel, in grey levels of 8 bits; seam score, 1 where no line shows, and in brackets the same among lines of every
16 px alone, on which a network's own grid would lie ([ADR 14](adr/0014-resolution-doubled-bilinearly.md)). Ways are explained in [ADR 10](adr/0010-tones-settled-between-neighbours.md) and the
benchmark; decr uses `agree 16 4`, after levels of clear ground ([ADR 17](adr/0017-levels-of-clear-ground.md)), which are left out here.

{table(head, rows)}

Blended with feathers only, and with tones settled; contrast stretched between 1 % and 99 %:

![flat ground under a deck](pictures/seams_flat.jpg)

![the sample scene's ground under a deck](pictures/seams_wide.jpg)

```bash
python -m tests.benchmarks.seams --json docs/benchmarks/seams.json --pictures docs/pictures
```
"""


def kills(m: dict[str, Any]) -> str:
    """Interruptions."""
    rows = [
        [r["killed"], str(r["workers"]), str(r["runs"]), "yes" if r["equal"] else "**no**"]
        for r in m["rows"]
    ]
    return f"""## Killed at random

`kill -9` at random moments, of the whole process or of one Dask worker, then the same command again.

{table(["what was killed, and how far the run had come", "workers", "runs", "same bytes, nothing left"], rows)}

```bash
python -m tests.benchmarks.kills --json docs/benchmarks/kills.json
```
"""


def ccp(m: dict[str, Any]) -> str:
    """Cloud coverage of a large scene."""
    rows = [
        [
            f"`{r['run']}`",
            f"{r['side']}",
            f"{r['wall_s']:.0f}",
            f"{r['peak_mb']:.0f}",
            f"{100 * r['ccp']:.3f} %",
        ]
        for r in m["rows"]
    ]
    exact = "equal to" if m["mask_exact"] else "**not equal to**"
    return f"""## Cloud coverage of a large scene

`decr ccp SCENE -o REPORT` with rasters and tables; 4 bands, uint16. With `--fast` the pixels are those of the overview.

{table(["detector", "pixels a side", "seconds", "peak MB", "CCP"], rows)}

The mask's CCP is {exact} what was drawn. Peak memory of the large scene is {m["peak_large_over_small"]:.2f} times that of
one with a sixteenth of its pixels.

```bash
python -m tests.benchmarks.ccp --side {m["side"]} --json docs/benchmarks/ccp.json
```
"""


def pansharpen(m: dict[str, Any]) -> str:
    """Pansharpening a large square."""
    rows = [
        [
            f"{r['side']}",
            f"{r['seconds']:.0f}",
            f"{r['peak_mb']}",
            f"{r['output_mb']}",
        ]
        for r in m["rows"]
    ]
    compared = sum(r["compared_px"] for r in m["rows"]) / 1e6
    wrong = sum(r["differing_px"] for r in m["rows"])
    said = "Every one is equal to" if wrong == 0 else f"**{wrong} of them differ from**"
    return f"""## Pansharpening a large square

`decr pansharpen PAN MS -o OUT`; uint16, 4 bands of a quarter of the pixels a side, GDAL {m["gdal"]}. Run at low
priority beside other heavy work: seconds of the clock are an upper bound.

{table(["pixels a side", "seconds", "peak MB", "COG, MB"], rows)}

{compared:.1f} million pixels in windows at random and in two corners were compared. {said} that of a virtual
raster written by GDAL's documentation.

```bash
nice python -m tests.benchmarks.pansharpen --side {m["rows"][-1]["side"]} --json docs/benchmarks/pansharpen.json
```
"""


PARTS = {
    "scene": scene,
    "peers": peers,
    "sizes": sizes,
    "workers": workers,
    "seams": seams,
    "kills": kills,
    "ccp": ccp,
    "pansharpen": pansharpen,
}


def main() -> None:
    """Write the page."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    found = {
        name: json.loads((MEASURED / f"{name}.json").read_text())
        for name in PARTS
        if (MEASURED / f"{name}.json").exists()
    }
    machines = sorted({f"{m['machine']}, {m['date']}" for m in found.values()})
    page = f"""# Benchmarks

What decr costs, measured by the scripts in `tests/benchmarks`. Written by `python docs/make_benchmarks.py`; do not edit it by
hand. Measured on {"; ".join(machines)}.

Sizes and kills were measured beside other work. Machines of one name differ in speed from day to day:
compare within a table.

"""
    page += "\n".join(PARTS[name](m) for name, m in found.items())
    (HERE / "benchmarks.md").write_text(page)
    print(HERE / "benchmarks.md")


if __name__ == "__main__":
    main()
