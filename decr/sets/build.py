"""`decr dataset build`: acquisitions to pairs of chips; measured, decided, then written.

Everything happens in ``OUT.decr-work``, which becomes OUT by one rename. What was measured is kept
there line by line, so that an interrupted run goes on, and the decisions are a pure function of it.
Clouds and measures are kept under a digest of all that decides them: a run with another split, or
of other chips, does not look for clouds anew.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from decr.config import CcpConfig
from decr.coverage.ccp import Looking, looking, scene_ccp
from decr.coverage.sources import Source
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
from decr.dataset.chip_rules import (
    BAD_SHIFT,
    GAP,
    LOW_OVERLAP,
    TOO_SMALL,
    ChipFacts,
    rejection,
    subset,
)
from decr.dataset.duplicates import fingerprint
from decr.dataset.manifest import MANIFEST
from decr.dataset.match import FIT, LinearMatch
from decr.dataset.measure import (
    LEAST_VIEW_PX,
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
from decr.dataset.set_folder import (
    SCRATCH,
    Made,
    Record,
    add_line,
    entries,
    make_set,
    note,
)
from decr.errors import ConfigError, DatasetError
from decr.files import file_sha256, journal_lines, work_folder, write_whole
from decr.geo.align import KERNEL_PX
from decr.geo.gdal import gdal_environment
from decr.geo.grid import Window
from decr.geo.layers import NODATA
from decr.pipeline.engine import local_engine
from decr.progress import OnProgress, silent
from decr.sets.build_files import BUILD_JOB, describing_files
from decr.sets.build_job import digests, job_of
from decr.sets.files import masks_folder, signed

_LINES = "considered.jsonl"


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


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """One call: what it is given, and where it works.

    Attributes
    ----------
    clouds, measures
        See `digests`.
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
        run = _Run(
            by_name, options, look, work_folder(out), on_progress or silent, *digests(pairs, job)
        )
        text = json.dumps(job, indent=1, sort_keys=True)
        make_set(out, text, BUILD_JOB, lambda done: _made(run, done), keep=(SCRATCH,))
    return _told(out)


def _made(run: _Run, done: dict[str, Record]) -> Made:
    """Measure, decide, write and describe."""
    facts, chips = _measured(run)
    decided = _decided(run, facts, chips)
    records = _written(run, facts, chips, decided, done)
    return records, describing_files(
        run.work, run.pairs, facts, chips, decided, records, run.options, run.look
    )


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


def _told(out: Path) -> Built:
    """What a finished set says of itself."""
    told = json.loads((out / "acquisitions.json").read_text())
    return Built(entries(out / MANIFEST), told["acquisitions"], told["rejected"])


def _measured(run: _Run) -> tuple[dict[str, PairFacts], list[Considered]]:
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
        with both(pair, _masks(run, pair), found.corrected) as opened:
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
    run: _Run,
    pair: Acquisitions,
    facts: PairFacts,
    windows: Mapping[str, Window],
    known: dict[str, Considered],
) -> None:
    """Measure a pair's chips, given by name; each is noted, and added to ``known``."""
    with both(pair, _masks(run, pair), facts.corrected) as opened:
        for number, (name, window) in enumerate(windows.items()):
            run.on_progress("chips", number, len(windows))
            if name not in known:
                known[name] = _considered(run, opened, name, window, facts)
                line = {"of": run.measures, **asdict(known[name])}
                add_line(run.scratch / _LINES, line)


def _facts_of(run: _Run, pair: Acquisitions) -> PairFacts:
    """Measure a pair, unless its dates or places rule it out."""
    limits = run.options.limits
    why = GAP if pair.gap_days > limits.max_gap_days else ruled_out(pair)
    if why is not None:
        return PairFacts(None, None, 1.0, why)
    return measure_pair(pair, _masks(run, pair), limits, run.options.opaque_dn)


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
    run: _Run, opened: OpenPair, name: str, window: Window, facts: PairFacts
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


def _masks(run: _Run, pair: Acquisitions) -> Masks:
    """Cloud masks of both scenes, made unless they are there."""
    return Masks(_mask(run, pair.cloudy.path), _mask(run, pair.clear.path))


def _mask(run: _Run, path: str) -> Path:
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


def _decided(run: _Run, facts: Mapping[str, PairFacts], chips: Sequence[Considered]) -> Decided:
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
    run: _Run,
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
        with both(pair, _masks(run, pair), found.corrected) as opened:
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
