"""Quality against one thing at a time: steps, floor of W, ground sampling distance, parts left out.

The paper's Fig. 11 and Tables VII to IX, as far as one trained model can tell.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from decr.dataset.changed import changed
from decr.dataset.samples import area_shrunk
from decr.errors import ConfigError
from decr.evaluation.analysis import (
    Analysis,
    Setting,
    averages,
    bench_of,
    facts,
    measured,
    plain,
    score,
    table,
    untouched,
)
from decr.evaluation.fusion_limits import described, limits, verdict
from decr.evaluation.protocols import Scores, better_is_higher, finite
from decr.evaluation.sampling import Fusion, load_networks
from decr.evaluation.statistics import Comparison, Mean, compare
from decr.evaluation.tiles import Tile, bundle_for
from decr.report.chart import Panel, bars, chart, png

STEPS = (1, 2, 4, 10, 20, 50)
FLOORS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
FACTORS = (1, 2, 4)
_SHOWN = {"psnr": "PSNR, dB", "ssim": "SSIM", "lpips": "LPIPS"}


def steps(setting: Setting) -> Analysis:
    """Quality and seconds per tile against DDIM steps, beside the reference alone."""
    bench = bench_of(setting)
    rows: dict[str, dict[str, Mean]] = {}
    spent: dict[str, float] = {}
    for count in STEPS:
        found, spent[str(count)] = measured(bench, steps=count)
        rows[str(count)] = averages(found, setting.seed)
    alone, _ = measured(bench, fusion="reference")
    levels = {
        "reference alone": averages(alone, setting.seed),
        "no change": averages(untouched(bench), setting.seed),
    }
    panels = _panels("DDIM steps", rows, levels, log_x=True)
    points = [(float(x), y) for x, y in spent.items()]
    panels.append(Panel("seconds per tile", "DDIM steps", {"DE": points}, log_x=True))
    values = facts(bench, rows=_rows(rows, spent), levels=_rows(levels))
    del values["steps"]
    text = table("steps", rows | levels, {k: f"{v:.2f} s per tile" for k, v in spent.items()})
    return Analysis("steps", values, text, png(chart(panels)))


def floor(setting: Setting) -> Analysis:
    """Quality against the least W, the paper's eta (Fig. 11)."""
    bench = bench_of(setting)
    rows = {}
    for least in FLOORS:
        found, _ = measured(bench, prior_floor=least)
        rows[f"{least:g}"] = averages(found, setting.seed)
    levels = {"no change": averages(untouched(bench), setting.seed)}
    values = facts(bench, rows=_rows(rows), levels=_rows(levels))
    del values["floor"]
    panels = _panels("floor of W", rows, levels)
    return Analysis("floor", values, table("floor", rows | levels, {}), png(chart(panels)))


def gsd(setting: Setting) -> Analysis:
    """The same ground restored at several pixel sizes, scored at the coarsest (Table VII).

    A factor k means that k x k pixels were averaged before the restoration. Outputs are averaged
    on to the coarsest size and scored there, so that scores differ by the size at which the model
    worked and by nothing else. The paper trains at each size; here one model meets them all.
    """
    most = max(FACTORS)
    if setting.side_px % most:
        raise ConfigError(f"tiles of {setting.side_px} px cannot be shrunk {most} times")
    bench = bench_of(setting, times=most)
    coarse = [_coarse(tile, most) for tile in bench.tiles]
    gsd_m, have = _size_of(bench.tiles)
    rows, told = {}, {}
    for k in FACTORS:
        found, started = [], time.perf_counter()
        for number, (tile, goal) in enumerate(zip(bench.tiles, coarse, strict=True)):
            output = bench.restored(number, area_shrunk(tile.cloudy, k))
            found.append(score(area_shrunk(output, most // k), goal, bench.lpips))
        name = f"x{k}" if gsd_m is None else f"{gsd_m * k:g} m"
        rows[name] = averages(found, setting.seed)
        told[name] = f"{(time.perf_counter() - started) / len(coarse):.2f} s per tile"
    base = [score(goal.cloudy, goal, bench.lpips) for goal in coarse]
    levels = {"no change": averages(base, setting.seed)}
    card = bench.networks.bundle.card
    values = facts(
        bench,
        rows=_rows(rows),
        levels=_rows(levels),
        factors=list(FACTORS),
        data_gsd_m=gsd_m,
        model_gsd_m=card.gsd_m,
        model_gsd_range_m=list(card.gsd_range_m),
    )
    note = (
        f"the model was trained at {card.gsd_range_m[0]:g} to {card.gsd_range_m[1]:g} m; the data "
        f"have {have}"
    )
    panels = _panels(
        "times coarser",
        dict(zip(map(str, FACTORS), rows.values(), strict=True)),
        levels,
        log_x=True,
    )
    text = f"{table('worked at', rows | levels, told)}\n{note}"
    return Analysis("gsd", {**values, "note": note}, text, png(chart(panels)))


@dataclass(frozen=True, slots=True)
class Variant:
    """A row of the ablation: the main model with something changed, or another bundle."""

    name: str
    fusion: Fusion = "learnt"
    prior_floor: float | None = None
    bundle: str | Path | None = None


FULL = "learnt W (full model)"
_PAPERS = ("diffusion alone", "reference alone", "fixed W = 0.5")
"""Rows that the paper puts below the full model; of other bundles nobody knows whether they are
its rows."""
VARIANTS = (
    Variant("diffusion alone", "diffusion"),
    Variant("reference alone", "reference"),
    Variant("fixed W = 0.25", 0.25),
    Variant("fixed W = 0.5", 0.5),
    Variant("fixed W = 0.75", 0.75),
    Variant("learnt W, floor 0", prior_floor=0.0),
)
"""What the paper's Tables VIII and IX leave out or fix and one trained model can show.

Diffusion alone is W = 0 and the reference alone W = 1, so that the fixed ones are a sweep.
"""


def ablation(setting: Setting, bundles: Mapping[str, str | Path] | None = None) -> Analysis:
    """What is lost without a part, image by image against the full model (Tables VIII and IX).

    Beside it, step by step, what any W could gain: whether a learnt one can be told from 0.5 is
    decided by how alike the errors of the two estimates are. Rows of the tables that need another
    training (64 px only, weight allocator on a frozen noise predictor, no coarse-to-fine) come from
    bundles.

    Parameters
    ----------
    bundles
        Trained variants by name: embedded names or bundle files.

    Raises
    ------
    ConfigError
        If one has the name of another row, or takes other bands than the model.
    """
    taken = {FULL, "no change", *(variant.name for variant in VARIANTS)} & set(bundles or {})
    if taken:
        raise ConfigError(f"{min(taken)!r} is a row already; give the variant another name")
    bench = bench_of(setting)
    variants = (*VARIANTS, *(Variant(name, bundle=path) for name, path in (bundles or {}).items()))
    # All are loaded before one is run.
    others = {
        v.name: load_networks(bundle_for(setting.source, v.bundle), setting.device)
        for v in variants
        if v.bundle
    }
    for name, networks in others.items():
        if networks.bands != bench.networks.bands:
            raise ConfigError(
                f"variant {name!r} takes {','.join(networks.bands)}, the model "
                f"{','.join(bench.networks.bands)}; compare models of the same bands"
            )
    full, _ = measured(bench)
    scores: dict[str, list[Scores]] = {}
    for variant in variants:
        own = replace(bench, networks=others.get(variant.name, bench.networks))
        least = setting.prior_floor if variant.prior_floor is None else variant.prior_floor
        scores[variant.name], _ = measured(own, prior_floor=least, fusion=variant.fusion)
    scores[FULL] = full
    scores["no change"] = untouched(bench)
    rows = {name: averages(found, setting.seed) for name, found in scores.items()}
    order = [_against(name, found, full, setting.seed) for name, found in scores.items()]
    order = [one for one in order if one["variant"] != FULL]
    lines = [str(one["says"]) for one in order]
    missing = "rows that need another training (64 px only, W on a frozen noise predictor, no "
    missing += "coarse-to-fine) are shown only for bundles given by --variant"
    by_step = limits(bench)
    values = facts(
        bench, rows=_rows(rows), order=order, limits=by_step, why=verdict(by_step), note=missing
    )
    groups = {name: {"MSE x 1000": _error(found)} for name, found in scores.items()}
    figure = png(bars("Ablation: mean squared error of values in [0, 1]", groups, "MSE x 1000"))
    text = "\n".join([table("variant", rows, {}), *lines, missing, "", described(by_step)])
    return Analysis("ablation", values, text, figure)


def _against(
    name: str, found: Sequence[Scores], full: Sequence[Scores], seed: int
) -> dict[str, Any]:
    """Whether the full model is better than a variant, as the paper has it, and by how much.

    PSNR decides; SSIM and LPIPS are told beside it.
    """
    one = _compared("psnr", found, full, seed)
    gap = one.difference
    paper = name in _PAPERS
    if gap.low > 0:
        verdict = "the full model is better" + (", as in the paper" if paper else "")
    elif gap.high < 0:
        verdict = "the full model is WORSE" + (", against the paper's order" if paper else "")
    else:
        verdict = "no difference that these tiles can tell"
    more = {
        score: _compared(score, found, full, seed).difference
        for score in ("ssim", "lpips")
        if all(score in row for row in (*found, *full))
    }
    beside = "".join(
        f"; {score.upper()} {gap.mean:+.4f} [{gap.low:+.4f}..{gap.high:+.4f}]"
        for score, gap in more.items()
    )
    says = (
        f"full - {name}: {gap.mean:+.2f} dB [{gap.low:+.2f}..{gap.high:+.2f}], won {one.won} of "
        f"{gap.count}: {verdict}{beside}"
    )
    return {
        "variant": name,
        "psnr_difference": finite(gap.mean),
        "low": finite(gap.low),
        "high": finite(gap.high),
        "won": one.won,
        "tied": one.tied,
        "lost": one.lost,
        **{f"{score}_difference": finite(gap.mean) for score, gap in more.items()},
        "says": says,
    }


def _compared(
    column: str, found: Sequence[Scores], full: Sequence[Scores], seed: int
) -> Comparison:
    """The full model less a variant, tile by tile, by one score."""
    ours, theirs = ([float(row[column] or 0.0) for row in rows] for rows in (full, found))
    return compare(ours, theirs, higher_is_better=better_is_higher(column), seed=seed)


def _error(found: Sequence[Scores]) -> float:
    """1000 times the mean squared error that the PSNR of values in [0, 1] stands for."""
    return float(np.mean([1000.0 * 10.0 ** (-float(s["psnr"] or 0.0) / 10.0) for s in found]))


def _size_of(tiles: Sequence[Tile]) -> tuple[float | None, str]:
    """Metres per pixel of all tiles, to a hundredth of it, or None; and the same for people."""
    sizes = [tile.gsd_m for tile in tiles if tile.gsd_m is not None]
    if not sizes:
        return None, "no known m"
    if len(sizes) < len(tiles) or max(sizes) > 1.01 * min(sizes):
        return None, "several sizes"
    return sizes[0], f"{sizes[0]} m"


def _coarse(tile: Tile, k: int) -> Tile:
    cloudy, clear = area_shrunk(tile.cloudy, k), area_shrunk(tile.clear, k)
    gsd_m = None if tile.gsd_m is None else tile.gsd_m * k
    shares = [np.asarray((side + 1) / 2, np.float32) for side in (cloudy, clear)]
    return Tile(tile.name, cloudy, clear, changed(shares[0], shares[1]), gsd_m, tile.place)


def _panels(
    x_label: str,
    rows: Mapping[str, Mapping[str, Mean]],
    levels: Mapping[str, Mapping[str, Mean]],
    log_x: bool = False,
) -> list[Panel]:
    """A panel per score that was measured."""
    names = [n for n in _SHOWN if all(n in found for found in rows.values())]
    return [
        Panel(
            _SHOWN[name],
            x_label,
            {"DE": [(float(x), found[name].mean) for x, found in rows.items()]},
            {level: found[name].mean for level, found in levels.items()},
            log_x,
        )
        for name in names
    ]


def _rows(
    rows: Mapping[str, Mapping[str, Mean]], seconds: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            **plain(found),
            **({} if seconds is None else {"seconds_per_tile": seconds[name]}),
        }
        for name, found in rows.items()
    ]
