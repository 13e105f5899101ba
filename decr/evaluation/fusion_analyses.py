"""How prior and diffusion meet: W over space and steps, and estimates on their way."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from decr.diffusion.samplers import Step
from decr.evaluation.analysis import Analysis, Bench, Setting, bench_of, facts
from decr.evaluation.metrics import psnr
from decr.evaluation.protocols import finite
from decr.evaluation.sampling import Float32
from decr.evaluation.tiles import tile_picture
from decr.report.chart import Panel, chart, png, strip
from decr.report.pictures import ramp

Float64 = NDArray[np.float64]
_PICTURES = 5
"""Steps that are shown as pictures."""
_WAYS = {"with prior": "learnt", "without prior": "diffusion"}


def weights(setting: Setting) -> Analysis:
    """W of the weight allocator: a map for the first tile, and its mean at each step.

    The paper's Figs. 8 and 9. W is told as the network gives it, over cloudy and clear pixels
    apart, and with each band clipped to [prior_floor, 1], as it counts.
    """
    bench = bench_of(replace(setting, lpips=False))
    said = facts(bench)
    floor = float(said["floor"])
    maps: list[dict[int, Float64]] = []
    clipped: dict[int, list[float]] = {}
    for number in range(len(bench.tiles)):
        seen: dict[int, Float64] = {}

        def keep(t: int, eps: Tensor, weight: Tensor, seen: dict[int, Float64] = seen) -> None:
            every = weight[0].double()
            seen[t] = every.mean(dim=0).cpu().numpy()
            clipped.setdefault(t, []).append(float(every.clamp(floor, 1.0).mean()))

        bench.restored(number, on_weights=keep)
        maps.append(seen)
    masks = [tile.mask for tile in bench.tiles]
    rows = [
        {**_mean_weights(t, [seen[t] for seen in maps], masks), "clipped": float(np.mean(means))}
        for t, means in clipped.items()
    ]
    text = "\n".join(
        [
            f"{'t':>5}  {'mean W':>9}  {'cloudy':>9}  {'clear':>9}  {'clipped':>9}",
            *(
                f"{row['t']:5}  {_number(row['raw'])}  {_number(row['raw_cloudy'])}  "
                f"{_number(row['raw_clear'])}  {_number(row['clipped'])}"
                for row in rows
            ),
        ]
    )
    figure = _weights_figure(bench, maps[0], rows, floor)
    return Analysis("weights", {**said, "rows": rows}, text, figure)


def _weights_figure(
    bench: Bench, first: dict[int, Float64], rows: list[dict[str, Any]], floor: float
) -> bytes:
    """Maps of the first tile by timestep, above the means of all tiles."""
    tile, colours = bench.tiles[0], ramp()
    pictures = [("cloudy", tile_picture(tile, tile.cloudy, bench.networks.bands))]
    pictures += [
        (f"t = {t}", colours[np.rint(255 * np.clip(first[t], 0, 1)).astype(np.uint8)])
        for t in _spread(list(first))
    ]
    lines = {
        name: [(float(row["t"]), row[key]) for row in rows if row[key] is not None]
        for name, key in (("all", "raw"), ("cloudy", "raw_cloudy"), ("clear", "raw_clear"))
    }
    lines = {name: points for name, points in lines.items() if points}
    clipped = {"all": [(float(row["t"]), row["clipped"]) for row in rows]}
    return png(
        strip([("W, 0 dark to 1 bright", pictures)]),
        chart(
            [
                Panel("mean W as given", "timestep t (sampling goes to 0)", lines),
                Panel(f"mean W, clipped to [{floor:g}, 1]", "timestep t", clipped),
            ]
        ),
    )


def trajectory(setting: Setting) -> Analysis:
    """Estimates of the clear image at each step, with the prior and without it (Fig. 4)."""
    bench = bench_of(replace(setting, lpips=False))
    scores: dict[str, dict[int, list[float]]] = {name: {} for name in _WAYS}
    first: dict[str, dict[int, Float32]] = {name: {} for name in _WAYS}
    for number in range(len(bench.tiles)):
        for name, fusion in _WAYS.items():

            def keep(step: Step, name: str = name, number: int = number) -> None:
                x0 = step.x0[0].clamp(-1, 1).cpu().numpy()
                value = psnr(x0, bench.tiles[number].clear, 2.0)
                scores[name].setdefault(step.t, []).append(value)
                if number == 0:
                    first[name][step.t] = x0

            bench.restored(number, fusion=fusion, on_step=keep)
    steps = list(scores["with prior"])
    rows = [{"t": t, **{n: float(np.mean(scores[n][t])) for n in _WAYS}} for t in steps]
    apart = [psnr(t.cloudy, t.clear, 2.0) for t in bench.tiles]
    untouched = float(np.mean(apart))
    equal = sum(map(math.isinf, apart))
    why = f" (equal to their truth: {equal} of {len(apart)} tiles)" if equal else ""
    text = "\n".join(
        [
            f"{'t':>5}  {'with prior':>11}  {'without':>11}   PSNR of x0, dB",
            *(f"{r['t']:5}  {r['with prior']:11.2f}  {r['without prior']:11.2f}" for r in rows),
            f"no change: {untouched:.2f}{why}",
        ]
    )
    told = [{name: finite(value) for name, value in row.items()} for row in rows]
    values = {**facts(bench), "rows": told, "no_change_psnr": finite(untouched)}
    figure = _trajectory_figure(bench, first, rows, untouched)
    return Analysis("trajectory", values, text, figure)


def _trajectory_figure(
    bench: Bench, first: dict[str, dict[int, Float32]], rows: list[dict[str, Any]], untouched: float
) -> bytes:
    """Estimates of the first tile by timestep, above the means of all tiles."""
    tile, bands = bench.tiles[0], bench.networks.bands
    pictured = [
        (name, [(f"t = {t}", tile_picture(tile, some[t], bands)) for t in _spread(list(some))])
        for name, some in first.items()
    ]
    ends = [
        ("cloudy", tile_picture(tile, tile.cloudy, bands)),
        ("clear", tile_picture(tile, tile.clear, bands)),
    ]
    lines = {name: [(float(row["t"]), row[name]) for row in rows] for name in first}
    return png(
        strip([*pictured, ("the pair", ends)]),
        chart(
            [
                Panel(
                    "PSNR of the estimate, dB",
                    "timestep t (sampling goes to 0)",
                    lines,
                    {"no change": untouched},
                )
            ]
        ),
    )


def _mean_weights(t: int, raw: list[Float64], masks: list[NDArray[np.bool_]]) -> dict[str, Any]:
    """Means over all tiles' pixels; None for a part without a pixel."""
    values, mask = np.stack(raw), np.stack(masks)
    return {
        "t": t,
        "raw": float(values.mean()),
        "raw_cloudy": float(values[mask].mean()) if mask.any() else None,
        "raw_clear": float(values[~mask].mean()) if not mask.all() else None,
    }


def _number(value: float | None) -> str:
    return f"{value:9.4f}" if value is not None and math.isfinite(value) else f"{'-':>9}"


def _spread(steps: list[int]) -> list[int]:
    """Some steps from the first to the last."""
    at = np.linspace(0, len(steps) - 1, min(_PICTURES, len(steps))).round().astype(int)
    return [steps[i] for i in dict.fromkeys(at.tolist())]
