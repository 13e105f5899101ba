"""`decr dataset import`: a published set as a set of decr's own; its images are copied as they are.

Like `decr dataset build`, everything happens in ``OUT.decr-work``, which becomes OUT by one rename:
pairs are looked at one by one and noted, what is left out is a pure function of the notes, then the
pairs that stay are copied, each with its cloud mask.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import decr
from decr.config import CcpConfig
from decr.coverage.ccp import Looking, looking, scene_ccp
from decr.coverage.sources import Source
from decr.dataset.chip_rules import EXACT, NEAR
from decr.dataset.duplicates import Fingerprint
from decr.dataset.guesses import tell_orders
from decr.dataset.layouts import BY_NAME, LAYOUTS, Layout, layout_of, list_pairs, split_from
from decr.dataset.manifest import MANIFEST, PairFile
from decr.dataset.published import facts_of
from decr.dataset.set_folder import (
    SCRATCH,
    Made,
    Record,
    add_line,
    entries,
    make_set,
    note,
    written,
)
from decr.dataset.set_tree import split_named
from decr.dataset.swapped import tell_swapped
from decr.errors import ConfigError, DatasetError, DecrWarning
from decr.files import file_sha256, journal_lines, work_folder
from decr.geo.encode import tiff_bytes
from decr.geo.gdal import gdal_environment
from decr.geo.layers import NODATA
from decr.geo.opening import opened
from decr.geo.scene import open_scene
from decr.pipeline.engine import local_engine
from decr.progress import OnProgress, silent
from decr.sets.copies import copies_among, trained_first
from decr.sets.files import clouds_job, masks_folder
from decr.sets.import_files import (
    IMPORT_JOB,
    TOLD,
    Origin,
    describing_files,
    ground_said,
    range_said,
)
from decr.sets.import_look import Found, Ranges, by_ground, look_at, ranges_of

_LINES = "looked_at.jsonl"


@dataclass(frozen=True, slots=True)
class ImportedSet:
    """A finished set.

    Attributes
    ----------
    entries
        Lines of the manifest.
    told
        What ``imported.json`` says: the set, its layout, splits, copies, what was left out.
    """

    entries: Sequence[Mapping[str, Any]]
    told: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """One call: what it is given, and where it works."""

    folder: Path
    layout: str
    facts: Layout
    pairs: Sequence[PairFile]
    look: Looking
    drop_duplicates: bool
    work: Path
    on_progress: OnProgress
    warned: set[str] = field(default_factory=set)

    @property
    def scratch(self) -> Path:
        return self.work / SCRATCH


def import_set(
    folder: Path,
    out: Path,
    layout: str | None = None,
    ccp: CcpConfig | None = None,
    drop_duplicates: bool = False,
    on_progress: OnProgress | None = None,
) -> ImportedSet:
    """Make a set of decr's own from a published one.

    Parameters
    ----------
    folder
        Of the published set; it is only read.
    out
        Folder to make. One that this very call has made before is checked and left.
    layout
        See `decr.dataset.layouts.layout_of`.
    ccp
        How clouds are found, and ``bands`` and ``gsd_m`` of images that do not say; with
        "file:FOLDER" each cloudy image has its mask there under its own name.
    drop_duplicates
        Leave out images held out of training that are copies of training images.
    on_progress
        Called with ("checking" or "writing", done, total).

    Raises
    ------
    DecrError
        For anything the user can mend.
    """
    ccp = ccp or CcpConfig()
    masks_folder(ccp.detector)
    name = layout_of(folder, layout)
    if name == "manifest":
        raise ConfigError(f"{folder}: has a manifest ({MANIFEST}) already; there is nothing to do")
    with gdal_environment(), local_engine() as engine:
        pairs = trained_first(list_pairs(folder, name))
        tell_swapped(folder, pairs, ccp.bands)
        look, facts = looking(ccp, engine), facts_of(folder, name)
        told = on_progress or silent
        run = _Run(folder, name, facts, pairs, look, drop_duplicates, work_folder(out), told)
        make_set(out, _job_text(run), IMPORT_JOB, lambda done: _made(run, done))
    return ImportedSet(entries(out / MANIFEST), json.loads((out / TOLD).read_text()))


def _made(run: _Run, done: dict[str, Record]) -> Made:
    """Look at all pairs, copy those that stay, and describe them."""
    found, split = _checked(run), split_from(run.folder, run.layout)
    unlike = [pair for pair, seen in zip(run.pairs, found, strict=True) if not seen.one_order]
    paths = [path for pair in unlike for path in (pair.cloudy, pair.clear)]
    tell_orders([open_scene(path, run.look.config.bands) for path in paths])
    if split == BY_NAME and (regrouped := by_ground(run.folder, run.pairs, found)):
        pairs, found = regrouped
        run, split = replace(run, pairs=pairs), "ground"
    marks = [(f.name, Fingerprint(f.digest, f.bits)) for f in found]
    copies = copies_among(run.pairs, marks)
    leaked = copies.leaked.items() if run.drop_duplicates else ()
    left_out = {name: EXACT if copy.exact else NEAR for name, copy in leaked}
    ranges = ranges_of(found, run.look)
    records = _written(run, found, left_out, ranges, done)
    origin = Origin(run.folder.resolve().name, run.layout, split, run.drop_duplicates, run.facts)
    return records, describing_files(
        run.work, origin, found, copies, left_out, ranges, records, run.look
    )


def _checked(run: _Run) -> Sequence[Found]:
    """Look at every pair, but for those that an earlier run has looked at."""
    known = {line["name"]: Found(**line) for line in journal_lines(run.scratch / _LINES)}
    for number, pair in enumerate(run.pairs):
        run.on_progress("checking", number, len(run.pairs))
        if pair.name not in known:
            known[pair.name] = found = look_at(pair, run.facts.gsd_m, run.look)
            add_line(run.scratch / _LINES, asdict(found))
    return [known[pair.name] for pair in run.pairs]


def _written(
    run: _Run,
    found: Sequence[Found],
    left_out: Mapping[str, str],
    ranges: Ranges,
    done: dict[str, Record],
) -> list[Record]:
    """Copy the pairs that stay, but for those that are there."""
    staying = [
        (pair, facts)
        for pair, facts in zip(run.pairs, found, strict=True)
        if pair.name not in left_out
    ]
    _check_names(run, [pair for pair, _ in staying])
    for number, (pair, facts) in enumerate(staying):
        run.on_progress("writing", number, len(staying))
        if pair.name not in done:
            done[pair.name] = record = _record(run, pair, facts, ranges)
            note(run.work, pair.name, record)
    return [done[pair.name] for pair, _ in staying]


def _stem(pair: PairFile) -> str:
    """File name without suffix: the pair's name without its split, on one level."""
    first, _, rest = pair.name.partition("/")
    return (rest if split_named(first) == pair.split else pair.name).replace("/", "_")


def _check_names(run: _Run, pairs: Sequence[PairFile]) -> None:
    """Refuse pairs that would be stored under one name, or under one of several lines."""
    known: dict[tuple[str, str], PairFile] = {}
    for pair in pairs:
        if len(pair.name.splitlines()) > 1:
            raise DatasetError(
                f"{run.folder}: the name {pair.name!r} has several lines, which checksums cannot "
                "list; rename both images"
            )
        other = known.setdefault((pair.split, _stem(pair)), pair)
        if other is not pair:
            raise DatasetError(
                f"{run.folder}: {other.clear} and {pair.clear} would both be stored as "
                f"{pair.split}/clear/{_stem(pair)}; rename one of the two pairs"
            )


def _record(run: _Run, pair: PairFile, facts: Found, ranges: Ranges) -> Record:
    """Copy a pair's files, find its clouds, and say what it is."""
    files = {
        key: path
        for key in ("cloudy", "clear", "cloudy_nir", "clear_nir")
        if (path := getattr(pair, key)) is not None
    }
    names: dict[str, str] = {}
    sums: dict[str, str] = {}
    for key, path in files.items():
        stem = f"{pair.split}/{key}/{_stem(pair)}"
        names[key] = stem + path.suffix
        copies = (
            (stem + file.name.removeprefix(path.stem), _bytes(file))
            for file in (path, *_beside(path))
        )
        sums |= written(run.work, copies)
    dn_range = ranges.get(facts.dtype, run.look.config.dn_range)
    run = replace(run, look=replace(run.look, config=replace(run.look.config, dn_range=dn_range)))
    mask, ccp = _clouds(run, pair, pair.cloudy, facts)
    # The user's masks are those of the cloudy images.
    clear_ccp = None if run.look.detector is None else _clouds(run, pair, pair.clear, facts)[1]
    name = f"{pair.split}/mask/{_stem(pair)}.tif"
    sums |= written(run.work, [(name, mask)])
    about: dict[str, Any] = {
        "name": pair.name,
        "set": run.folder.resolve().name,
        "mask": name,
        "clear_ccp": clear_ccp,
        "source": {
            side: getattr(pair, side).relative_to(run.folder).as_posix()
            for side in ("cloudy", "clear")
        },
    }
    if facts.corners_lonlat is not None:
        about["corners_lonlat"] = np.round(facts.corners_lonlat, 8).tolist()
    if facts.dates is not None:
        about["cloudy_date"], about["clear_date"] = facts.dates
    entry = {
        **names,
        "split": pair.split,
        # Files that differ, in an alpha band or the order, say their bands themselves.
        "bands": ",".join(role[0] for role in facts.roles) if facts.one_order else None,
        "gsd_m": facts.gsd_m,
        "white": facts.white,
        "ccp": ccp,
        "about": about,
    }
    return Record(entry, sums)


def _clouds(run: _Run, pair: PairFile, path: Path, facts: Found) -> tuple[bytes, float]:
    """The cloud mask of an image as the bytes of a GeoTIFF, and its CCP."""
    folder = run.scratch / "clouds"
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    source = Source(pair.name, str(path), gsd_m=facts.gsd_m)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DecrWarning)
        seen = scene_ccp(source, run.look, folder)
    for warning in caught:
        # What holds for all images alike is said once.
        said = str(warning.message).replace(str(path), str(run.folder))
        if said not in run.warned:
            run.warned.add(said)
            warnings.warn(said, warning.category, stacklevel=6)
    with opened(str(folder / f"{pair.name}_mask.tif")) as file:
        mask = file.read([1])
    shutil.rmtree(folder)
    return tiff_bytes(mask, seen.grid, ("cloudy",), NODATA), round(seen.ccp, 6)


def _beside(path: Path) -> list[Path]:
    """Files of an image's name that GDAL reads with it: its place, its mask, what it says; sorted.

    Unlike `decr.geo.sources.local_files`, with .aux.xml: PNG files have their CRS there.
    """
    with opened(str(path)) as dataset:
        found = {path.with_name(Path(name).name) for name in dataset.files}
    return sorted(f for f in found - {path} if f.name.startswith(f"{path.stem}.") and f.is_file())


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def _sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> DatasetError:
    return DatasetError(
        f"{path}: cannot be read ({error.strerror or error}); mend the file, or take it and its "
        "partner out of the set"
    )


def _job_text(run: _Run) -> str:
    """Everything that decides the bytes of the set, as JSON; no folders, so that it can move."""
    files = hashlib.sha256()
    for pair in run.pairs:
        for path in (pair.cloudy, pair.clear, pair.cloudy_nir, pair.clear_nir):
            marks = [] if path is None else [_sha256(f) for f in (path, *_beside(path))]
            files.update(f"{pair.split} {pair.name} {' '.join(marks)}\n".encode())
    job = {
        "decr": decr.__version__,
        "set": run.folder.resolve().name,
        "layout": run.layout,
        **({} if run.facts == LAYOUTS[run.layout] else {"facts": "not known"}),
        "drop_duplicates": run.drop_duplicates,
        **clouds_job(run.look),
        "pairs": len(run.pairs),
        "files": files.hexdigest(),
    }
    return json.dumps(job, indent=1, sort_keys=True)


def described(imported: ImportedSet) -> str:
    """A few lines on a set: pairs by split, copies, what was left out."""
    told = imported.told
    split = {
        "folders": "as published",
        BY_NAME: "by a hash of names: the set has none",
        "ground": "by ground, which images share: the set has none",
    }
    lines = [
        f"split: {told['counts']}, {split.get(told['split'], 'as in ' + told['split'])}",
        f"copies: {told['copies_said']}",
    ]
    if told["shared_ground"]:
        lines.append(f"ground: {ground_said(told['shared_ground'])}")
    if told["ranges"]:
        lines.append(f"DN range: {range_said(told['ranges'])}; state another with --range")
    if told["drop_duplicates"]:
        said = ", ".join(f"{n} {why}" for why, n in told["left_out"].items()) or "none"
        lines.append(f"left out: {said}; there were {told['published']}")
    return "\n".join(lines)
