"""What `decr dataset build` measures of pairs and chips, noted so that no run measures it again.

Clouds and measures are kept under a digest of all that decides them: a run with another split, or
of other chips, does not look for clouds anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from decr.coverage.ccp import Looking, scene_ccp
from decr.coverage.sources import Source
from decr.dataset.acquisitions import Acquisitions
from decr.dataset.build_set import BuildOptions, Considered
from decr.dataset.chip_rules import GAP, ChipFacts, rejection
from decr.dataset.duplicates import fingerprint
from decr.dataset.match import LinearMatch
from decr.dataset.measure import (
    Masks,
    OpenPair,
    PairFacts,
    both,
    chip_windows,
    measure_chip,
    measure_pair,
    ruled_out,
    tell_doubtful,
)
from decr.dataset.register import Shift
from decr.dataset.set_folder import SCRATCH, add_line
from decr.files import file_sha256, journal_lines, write_whole
from decr.geo.grid import Window
from decr.geo.layers import NODATA
from decr.progress import OnProgress

_LINES = "considered.jsonl"


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One call: what it is given, and where it works.

    Attributes
    ----------
    clouds, measures
        See `decr.sets.build_job.digests`.
    """

    pairs: Mapping[str, Acquisitions]
    options: BuildOptions
    look: Looking
    work: Path
    on_progress: OnProgress
    clouds: Mapping[str, str]
    measures: str

    @property
    def scratch(self) -> Path:
        return self.work / SCRATCH


def measured(run: Run) -> tuple[dict[str, PairFacts], list[Considered]]:
    """Measure pairs and chips, but for those that an earlier run has measured."""
    journal = run.scratch / _LINES
    facts, known = _known(journal, run.measures)
    chips: list[Considered] = []
    for pair in run.pairs.values():
        if pair.name not in facts:
            facts[pair.name] = _facts_of(run, pair)
            line = {"of": run.measures, "facts_of": pair.name, **asdict(facts[pair.name])}
            add_line(journal, line)
        found = facts[pair.name]
        if found.reason is not None:
            continue
        with both(pair, masks_of(run, pair), found.corrected) as opened:
            windows = chip_windows(opened, run.options.size_px)
        names = [f"{pair.name}_r{w.row:05}_c{w.col:05}" for w in windows]
        if any(name not in known for name in names):
            _measure_chips(run, pair, found, dict(zip(names, windows, strict=True)), known)
        chips += [known[name] for name in names]
    tell_doubtful(facts, run.pairs)
    return facts, chips


def _known(journal: Path, measures: str) -> tuple[dict[str, PairFacts], dict[str, Considered]]:
    """What an earlier run has measured of pairs and of chips, by name."""
    facts: dict[str, PairFacts] = {}
    known: dict[str, Considered] = {}
    for line in journal_lines(journal):
        if line.pop("of", None) != measures:
            continue
        if "facts_of" in line:
            facts[line["facts_of"]] = _pair_facts(line)
        else:
            known[line["name"]] = Considered(**{**line, "facts": ChipFacts(**line["facts"])})
    return facts, known


def _measure_chips(
    run: Run,
    pair: Acquisitions,
    facts: PairFacts,
    windows: Mapping[str, Window],
    known: dict[str, Considered],
) -> None:
    """Measure a pair's chips, given by name; each is noted, and added to ``known``."""
    with both(pair, masks_of(run, pair), facts.corrected) as opened:
        for number, (name, window) in enumerate(windows.items()):
            run.on_progress("chips", number, len(windows))
            if name not in known:
                known[name] = _considered(run, opened, name, window, facts)
                line = {"of": run.measures, **asdict(known[name])}
                add_line(run.scratch / _LINES, line)


def _facts_of(run: Run, pair: Acquisitions) -> PairFacts:
    """Measure a pair, unless its dates or places rule it out."""
    limits = run.options.limits
    why = GAP if pair.gap_days > limits.max_gap_days else ruled_out(pair)
    if why is not None:
        return PairFacts(None, None, 1.0, why)
    return measure_pair(pair, masks_of(run, pair), limits, run.options.opaque_dn)


def _pair_facts(line: Mapping[str, Any]) -> PairFacts:
    """From a line of the notes."""
    shift, match = line["shift"], line["match"]
    lists: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in (match or {}).items()
    }
    return PairFacts(
        None if shift is None else Shift(**shift),
        None if match is None else LinearMatch(**lists),
        line["opaque_dn"],
        line["reason"],
    )


def _considered(
    run: Run, opened: OpenPair, name: str, window: Window, facts: PairFacts
) -> Considered:
    """Measure one chip."""
    found, seen = measure_chip(opened, window, facts, run.options.limits)
    chip = Considered(
        name, opened.pair.name, window.row, window.col, found, rejection(found, run.options.limits)
    )
    if chip.reason is not None or seen is None:
        return chip
    cloudy = seen.cloudy_mask == 1
    thin = None
    if seen.thin is not None and cloudy.any():
        thin = float((seen.thin & cloudy).sum() / cloudy.sum())
    mark = fingerprint(seen.clear)
    valid = (seen.cloudy_mask != NODATA) & (seen.clear_mask != NODATA)
    top = float(max(seen.cloudy[:, valid].max(), seen.clear[:, valid].max()))
    return replace(chip, thin_share=thin, top=top, digest=mark.digest, bits=mark.bits)


def masks_of(run: Run, pair: Acquisitions) -> Masks:
    """Cloud masks of both scenes, made unless they are there."""
    return Masks(_mask(run, pair.cloudy.path), _mask(run, pair.clear.path))


def _mask(run: Run, path: str) -> Path:
    folder = run.scratch / run.clouds[path]
    name = Path(path).stem
    mask, mark = folder / f"{name}_mask.tif", folder / f"{name}_mask.sha256"
    there = mask.is_file() and mark.is_file()
    if not there or mark.read_bytes() != file_sha256(mask).encode():
        shutil.rmtree(folder, ignore_errors=True)
        scene_ccp(
            Source(name, path),
            run.look,
            folder,
            on_progress=lambda stage, done, total: run.on_progress("clouds", done, total),
        )
        (folder / f"{name}_probability.tif").unlink(missing_ok=True)
        write_whole(mark, file_sha256(mask))
    return mask
