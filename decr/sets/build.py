"""`decr dataset build`: acquisitions to pairs of chips; measured, decided, then written.

Everything happens in ``OUT.decr-work``, which becomes OUT by one rename. What was measured is kept
there line by line, so that an interrupted run goes on, and the decisions are a pure function of it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decr.config import CcpConfig
from decr.coverage.ccp import looking
from decr.dataset.acquisitions import Acquisitions, PairRow, open_pairs
from decr.dataset.build_set import (
    BuildOptions,
    Considered,
    Decided,
    check_exports,
    chip_record,
    decide,
    white_of,
    window_of,
)
from decr.dataset.chip_rules import BAD_SHIFT, GAP, LOW_OVERLAP, TOO_SMALL, subset
from decr.dataset.manifest import MANIFEST
from decr.dataset.match import FIT
from decr.dataset.measure import LEAST_VIEW_PX, PairFacts, both
from decr.dataset.set_folder import SCRATCH, Made, Record, entries, make_set, note
from decr.errors import ConfigError, DatasetError
from decr.files import work_folder
from decr.geo.align import KERNEL_PX
from decr.geo.gdal import gdal_environment
from decr.pipeline.engine import local_engine
from decr.progress import OnProgress, silent
from decr.sets.build_files import BUILD_JOB, describing_files
from decr.sets.build_job import digests, job_of
from decr.sets.build_measure import Run, masks_of, measured
from decr.sets.files import masks_folder, signed


@dataclass(frozen=True, slots=True)
class Built:
    """A finished set.

    Attributes
    ----------
    entries
        Lines of the manifest.
    acquisitions
        What ``acquisitions.json`` says of each pair of acquisitions.
    rejected
        How many chips were left out, by reason.
    """

    entries: Sequence[Mapping[str, Any]]
    acquisitions: Sequence[Mapping[str, Any]]
    rejected: Mapping[str, int]


def build_set(
    rows: Sequence[PairRow],
    out: Path,
    options: BuildOptions | None = None,
    ccp: CcpConfig | None = None,
    on_progress: OnProgress | None = None,
) -> Built:
    """Build a set of cloudy and clear chips from pairs of acquisitions.

    Parameters
    ----------
    rows
        Pairs of images.
    out
        Folder to make. One that this very call has made before is checked and left.
    ccp
        How clouds are found; with "file:FOLDER" each image has its mask there under its own name.
    on_progress
        Called with ("clouds" or "chips" or "writing", done, total).

    Raises
    ------
    DecrError
        For anything the user can mend: `DatasetError` if no pair comes of it.
    """
    options, ccp = options or BuildOptions(), ccp or CcpConfig()
    masks = masks_folder(ccp.detector)
    with gdal_environment(), local_engine() as engine:
        pairs = open_pairs(rows, ccp.bands, options.resample)
        check_exports(pairs, options)
        _check_size(pairs, options.size_px)
        if masks is not None:
            _check_masks(masks, pairs)
        look = looking(ccp, engine)
        job = {**job_of(pairs, options, look), "radiometry": FIT}
        by_name = {pair.name: pair for pair in pairs}
        run = Run(
            by_name, options, look, work_folder(out), on_progress or silent, *digests(pairs, job)
        )
        text = json.dumps(job, indent=1, sort_keys=True)
        make_set(out, text, BUILD_JOB, lambda done: _made(run, done), keep=(SCRATCH,))
    told = json.loads((out / "acquisitions.json").read_text())
    return Built(entries(out / MANIFEST), told["acquisitions"], told["rejected"])


def _made(run: Run, done: dict[str, Record]) -> Made:
    """Measure, decide, write and describe."""
    facts, chips = measured(run)
    decided = _decided(run, facts, chips)
    records = _written(run, facts, chips, decided, done)
    return records, describing_files(run, facts, chips, decided, records)


def _check_size(pairs: Sequence[Acquisitions], size_px: int) -> None:
    """Refuse chips that fit into no cloudy image, before clouds are looked for."""
    largest = max(pairs, key=lambda pair: min(pair.cloudy.grid.window.shape)).cloudy
    height, width = largest.grid.window.shape
    if size_px > min(height, width):
        raise DatasetError(
            f"no room for a chip of {size_px} px: {largest.path}, the largest of {len(pairs)} "
            f"cloudy images, has {height} x {width} px; choose smaller chips with --size"
        )


def _check_masks(masks: str, pairs: Sequence[Acquisitions]) -> None:
    """Refuse images that would be given one mask: they have one name, in folders of their own."""
    known: dict[str, str] = {}
    for path in dict.fromkeys(s.path for pair in pairs for s in (pair.cloudy, pair.clear)):
        other = known.setdefault(Path(path).stem, path)
        if Path(other).resolve() != Path(path).resolve():
            raise ConfigError(
                f"{masks}: {other} and {path} would both have the mask {Path(path).stem}; give the "
                "two images names of their own, and a mask each"
            )


def _decided(run: Run, facts: Mapping[str, PairFacts], chips: Sequence[Considered]) -> Decided:
    """Which chips are in, and on which side."""
    if not chips:
        why = "; ".join(_why_not(run.pairs[name], f) for name, f in facts.items())
        raise DatasetError(f"no pair of acquisitions can be used: {why}")
    return decide(chips, run.pairs, run.options)


def _why_not(pair: Acquisitions, facts: PairFacts) -> str:
    if facts.reason is None:
        return f"{pair.name}: no room for a chip; choose smaller ones with --size"
    said = f"{pair.name}: {facts.reason}"
    if facts.reason == GAP:
        said += f" ({pair.gap_days:.1f} days; raise --max-gap-days if that will do)"
    elif facts.reason in (TOO_SMALL, LOW_OVERLAP):
        least = LEAST_VIEW_PX + 2 * KERNEL_PX
        said += f" (both images must cover {least} x {least} px at least; give larger ones)"
    elif facts.shift is not None:
        said += f" ({facts.shift.px:.1f} px)"
    elif facts.reason == BAD_SHIFT:
        said += " (none can be told: too little is clear in both, or they look too different)"
    return said


def _written(
    run: Run,
    facts: Mapping[str, PairFacts],
    chips: Sequence[Considered],
    decided: Decided,
    done: dict[str, Record],
) -> list[Record]:
    """Write the accepted chips, but for those that are there."""
    accepted = [chip for chip in chips if chip.name in decided.side]
    number = 0
    for pair in run.pairs.values():
        own = [chip for chip in accepted if chip.pair == pair.name]
        if all(chip.name in done for chip in own):
            number += len(own)
            continue
        white, found = white_of(pair, accepted, run.pairs, run.options), facts[pair.name]
        with both(pair, masks_of(run, pair), found.corrected) as opened:
            for chip in own:
                run.on_progress("writing", number, len(accepted))
                number += 1
                if chip.name not in done:
                    kind = subset(
                        chip.facts.ccp or 0.0, chip.facts.tau, chip.thin_share, run.options.limits
                    )
                    seen = opened.read(window_of(chip, run.options))
                    side = decided.side[chip.name]
                    record = chip_record(
                        chip, pair, found, seen, side, kind, white, run.options, run.work
                    )
                    done[chip.name] = record
                    note(run.work, chip.name, record)
    return [done[chip.name] for chip in accepted]


def described(built: Built) -> str:
    """A few lines on a set: shifts, pairs by split and subset, rejections by reason."""
    lines = []
    for one in built.acquisitions:
        if one["reason"] is not None:
            lines.append(f"{one['name']}: left out: {one['reason']}")
        else:
            shift = one["shift"]
            lines.append(
                f"{one['name']}: {one['gap_days']:.1f} days apart, clear image off by "
                f"{signed(shift['rows'], 2)} rows, {signed(shift['cols'], 2)} cols"
            )
    for key in ("split", "subset"):
        of = Counter(e["split"] if key == "split" else e["about"]["subset"] for e in built.entries)
        lines.append(f"{key}: " + ", ".join(f"{n} {name}" for name, n in sorted(of.items())))
    total = sum(built.rejected.values())
    said = ", ".join(f"{n} {why}" for why, n in built.rejected.items())
    lines.append(f"rejected: {total} chips" + (f" ({said})" if said else ""))
    return "\n".join(lines)
