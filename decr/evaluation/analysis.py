"""What every analysis shares: its setting, its tiles and networks, its result on disk."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decr.evaluation.evaluate import lpips_facts
from decr.evaluation.perceptual import Lpips, load_lpips
from decr.evaluation.protocols import PROTOCOLS, Scores, finite, of_unit, scored
from decr.evaluation.sampling import Float32, Networks, load_networks, sampled
from decr.evaluation.statistics import Mean, mean_of
from decr.evaluation.subjects import check_numbers, check_prior_floor
from decr.evaluation.tiles import PairSource, Tile, bundle_for, choose_tiles
from decr.evaluation.versions import versions
from decr.files import check_replaced, json_object, writable_folder, write_report_file

STANDARD = PROTOCOLS["standard"]
COLUMNS = ("psnr", "ssim", "lpips", "cloudy_psnr", "cloudy_ssim")
"""Scores that analyses tell."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Options of all analyses.

    Attributes
    ----------
    source
        Real pairs.
    model
        Embedded name or bundle file with reference, cnp and wa; "embedded" picks by the pairs'
        bands.
    side_px, count
        Tiles that are cut from the pairs.
    steps
        DDIM steps where they are not what is varied.
    prior_floor
        Least W where it is not what is varied; None takes the card's.
    seed
        Of noise and bootstrap.
    lpips, backbone
        Whether LPIPS is measured, and its file.
    """

    source: PairSource
    model: str = "embedded-rgb"
    side_px: int = 128
    count: int = 6
    steps: int = 10
    prior_floor: float | None = None
    seed: int = 0
    device: str = "auto"
    lpips: bool = True
    backbone: Path | None = None

    def __post_init__(self) -> None:
        check_prior_floor(self.prior_floor)
        check_numbers(self.steps, self.seed)


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """What analyses work on, loaded before anything is computed.

    ``passed_over`` names pairs of which there can be no tile; see `choose_tiles`.
    """

    setting: Setting
    networks: Networks
    tiles: Sequence[Tile]
    passed_over: Sequence[str]
    lpips: Lpips | None

    def restored(self, number: int, cloudy: Float32 | None = None, **how: Any) -> Float32:
        """A tile, or ``cloudy`` in its place, restored by `sampled` as the setting says.

        What ``how`` holds (arguments of `sampled`) comes before the setting.
        """
        cloudy = self.tiles[number].cloudy if cloudy is None else cloudy
        said = self.setting
        how = {"steps": said.steps, "prior_floor": said.prior_floor, "seed": said.seed, **how}
        return sampled(self.networks, cloudy, number, **how)


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """Result of an analysis.

    Attributes
    ----------
    name
        Of the analysis.
    values
        Plain values for JSON, with everything needed to know what they mean.
    text
        A table for people.
    figure
        PNG.
    """

    name: str
    values: Mapping[str, Any]
    text: str
    figure: bytes


def bench_of(setting: Setting, times: int = 1) -> Bench:
    """Load backbone, model and tiles, the cheapest to fail first.

    Parameters
    ----------
    times
        How many times the setting's side the tiles' is.

    Raises
    ------
    BundleError, ConfigError, DatasetError
        If one of them is missing or does not fit.
    """
    lpips = load_lpips(setting.backbone, setting.device) if setting.lpips else None
    networks = load_networks(bundle_for(setting.source, setting.model), setting.device)
    source, side_px, count = setting.source, setting.side_px, setting.count
    tiles, passed_over = choose_tiles(source, networks.bands, side_px, count, times=times)
    return Bench(setting, networks, tiles, passed_over, lpips)


def score(output: Float32, tile: Tile, lpips: Lpips | None) -> Scores:
    """Scores of a restored tile (C, S, S) unit by the protocol "standard"."""
    a, b = (of_unit(image, STANDARD, from_share=False) for image in (output, tile.clear))
    return scored(a, b, tile.mask, STANDARD, lpips)


def measured(bench: Bench, **how: Any) -> tuple[list[Scores], float]:
    """Restore all tiles as `Bench.restored` does; scores of each, and seconds per tile."""
    scores, seconds = [], 0.0
    for number, tile in enumerate(bench.tiles):
        started = time.perf_counter()
        output = bench.restored(number, **how)
        seconds += time.perf_counter() - started
        scores.append(score(output, tile, bench.lpips))
    return scores, seconds / len(bench.tiles)


def untouched(bench: Bench) -> list[Scores]:
    """Scores of the cloudy tiles as they are."""
    return [score(tile.cloudy, tile, bench.lpips) for tile in bench.tiles]


def averages(scores: Sequence[Scores], seed: int) -> dict[str, Mean]:
    """Mean of each column of `COLUMNS` over the tiles that have it."""
    found = {}
    for name in COLUMNS:
        values = [v for s in scores if (v := s.get(name)) is not None]
        if values:
            found[name] = mean_of(values, seed)
    return found


def plain(found: Mapping[str, Mean]) -> dict[str, Any]:
    """Means for JSON."""
    return {
        name: {"mean": finite(m.mean), "low": finite(m.low), "high": finite(m.high)}
        for name, m in found.items()
    }


def table(head: str, rows: Mapping[str, Mapping[str, Mean]], extra: Mapping[str, str]) -> str:
    """Rows of means for a terminal; ``extra`` adds a last cell by row."""
    names = [c for c in COLUMNS if any(c in found for found in rows.values())]
    wide = max(len(head), *(len(row) for row in rows))
    lines = [f"{head:{wide}}" + "".join(f"  {name:>11}" for name in names)]
    for row, found in rows.items():
        cells = "".join(f"  {found[n].mean:11.4f}" if n in found else f"  {'-':>11}" for n in names)
        lines.append(f"{row:{wide}}{cells}  {extra.get(row, '')}".rstrip())
    return "\n".join(lines)


def facts(bench: Bench, **more: Any) -> dict[str, Any]:
    """What every JSON says."""
    setting, card = bench.setting, bench.networks.bundle.card
    return {
        "model": card.name,
        "model_sha256": bench.networks.bundle.sha256,
        "data": setting.source.data.resolve().name,
        "split": setting.source.split,
        "tiles": [tile.name for tile in bench.tiles],
        "passed_over": list(bench.passed_over),
        "side_px": bench.tiles[0].clear.shape[1],
        "steps": setting.steps,
        "floor": card.prior_floor if setting.prior_floor is None else setting.prior_floor,
        "seed": setting.seed,
        "protocol": STANDARD.name,
        "lpips": lpips_facts(setting.lpips, setting.backbone),
        "versions": versions(),
        **more,
    }


def check_folder(folder: Path, name: str) -> None:
    """Refuse, before any work, a folder that cannot take an analysis; it is made if need be.

    Raises
    ------
    OutputError
        If it cannot be made or written to, or a file there of that name is no analysis.
    """
    values = writable_folder(folder) / f"{name}.json"
    ours = "model_sha256" in json_object(values)
    for file in (values, values.with_suffix(".png")):
        check_replaced(file, ours)


def write_analysis(folder: Path, analysis: Analysis) -> list[Path]:
    """Write NAME.json and NAME.png.

    Raises
    ------
    OutputError
        If they cannot be written.
    """
    writable_folder(folder)
    written = [folder / f"{analysis.name}.json", folder / f"{analysis.name}.png"]
    write_report_file(written[0], json.dumps(analysis.values, indent=1, allow_nan=False) + "\n")
    write_report_file(written[1], analysis.figure)
    return written
