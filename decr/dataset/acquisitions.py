"""Pairs of acquisitions: who belongs to whom, when they were taken, whether one grid holds both."""

from __future__ import annotations

import csv
import filecmp
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from decr.dataset.guesses import tell_orders
from decr.dataset.manifest import safe_name
from decr.errors import BandError, ConfigError, DatasetError, warn
from decr.geo.acquisition import Acquired, acquired, given_date
from decr.geo.align import check_alike
from decr.geo.names import file_of, settled_name
from decr.geo.scene import Scene, open_scene
from decr.geo.sources import local_files, states_of

_COLUMNS = ("cloudy", "clear", "site", "cloudy_date", "clear_date", "source")


@dataclass(frozen=True, slots=True)
class PairRow:
    """Two images of one place, as the user names them.

    Attributes
    ----------
    cloudy, clear
        Rasters.
    site
        What the place is called; empty if nobody says.
    cloudy_date, clear_date
        As text; None reads them from the files.
    source
        What took the images, such as the name of a satellite; empty if nobody says.
    """

    cloudy: Path
    clear: Path
    site: str = ""
    cloudy_date: str | None = None
    clear_date: str | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Acquisitions:
    """Two scenes of one place that can be brought together.

    Attributes
    ----------
    name
        Unique among the pairs, safe as a file name.
    bands
        Roles that both have, in the cloudy scene's order.
    cloudy_date, clear_date
        When, and who says so.
    source
        As in `PairRow`.
    """

    name: str
    site: str
    cloudy: Scene
    clear: Scene
    bands: tuple[str, ...]
    cloudy_date: Acquired
    clear_date: Acquired
    source: str = ""

    @property
    def gap_days(self) -> float:
        """Days between the two, never negative."""
        return abs((self.cloudy_date.when - self.clear_date.when).total_seconds()) / 86400

    def indices(self, scene: Scene) -> list[int]:
        """0-based bands of one of the two files that hold `bands`."""
        return [scene.bands.roles.index(band) for band in self.bands]


def read_rows(path: Path) -> list[PairRow]:
    """Read a table of pairs: columns cloudy, clear and, if wanted, the others of `PairRow`.

    Paths are relative to the table's folder.

    Raises
    ------
    DatasetError
        If it cannot be read, a column or a name is missing, or a date is none.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file, skipinitialspace=True)
            table.fieldnames = columns = [name.strip() for name in table.fieldnames or ()]
            lines = [(table.line_num, line) for line in table]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: cannot read the table of pairs ({error})") from error
    unknown = [name for name in columns if name not in _COLUMNS]
    if unknown or not {"cloudy", "clear"} <= {*columns}:
        raise DatasetError(
            f"{path}: the columns are {', '.join(columns) or 'none'}; wanted are cloudy and clear, "
            f"and there may be {', '.join(_COLUMNS[2:])}"
        )
    rows = []
    for number, line in lines:
        cells = ((line.get(name) or "").strip() for name in _COLUMNS)
        cloudy, clear, site, first, second, source = cells
        if not (cloudy and clear):
            raise DatasetError(f"{path}, line {number}: names no cloudy or no clear image")
        try:
            for date in filter(None, (first, second)):
                given_date(date)
        except ConfigError as error:
            raise DatasetError(f"{path}, line {number}: {error}") from error
        images = path.parent / cloudy, path.parent / clear
        rows.append(PairRow(*images, site, first or None, second or None, source))
    if not rows:
        raise DatasetError(f"{path}: holds no pair; write one a line below the heading")
    return rows


def open_pairs(
    rows: Sequence[PairRow], bands: str | None = None, resample: bool = False
) -> list[Acquisitions]:
    """Look at all images of all pairs; no pixel is read in most, see `open_scene`.

    Parameters
    ----------
    bands
        Roles in file order, for all files; None reads them from each.
    resample
        Allow a clear image of another CRS or pixel size.

    Raises
    ------
    SceneError, BandError
        If a file cannot be read, or the two have no band in common.
    DatasetError
        If a date is not known, the two hold other kinds of numbers, or are one image.
    GridMismatchError
        If the grids differ in more than where they begin, and ``resample`` is not set.

    Warns
    -----
    DecrWarning
        If pairs have different bands, or as `tell_orders` says.
    """
    names = _names([row.cloudy.stem for row in rows])
    pairs = [_opened(name, row, bands, resample) for name, row in zip(names, rows, strict=True)]
    tell_orders([scene for pair in pairs for scene in (pair.cloudy, pair.clear)])
    others = [pair for pair in pairs if {*pair.bands} != {*pairs[0].bands}]
    if others:
        first = pairs[0]
        warn(
            f"{others[0].cloudy.path} and {others[0].clear.path}: give a pair of bands "
            f"{', '.join(others[0].bands)}, but {first.cloudy.path} one of "
            f"{', '.join(first.bands)}, as {len(pairs) - len(others)} of {len(pairs)} do; name "
            "those of all files with --bands (r,g,b,n where near infrared is called alpha)"
        )
    return pairs


def _opened(name: str, row: PairRow, bands: str | None, resample: bool) -> Acquisitions:
    cloudy, clear = open_scene(row.cloudy, bands), open_scene(row.clear, bands)
    shared = tuple(r for r in cloudy.bands.data_roles if r in clear.bands.data_roles)
    if not shared:
        raise BandError(
            f"{row.cloudy} ({', '.join(cloudy.bands.data_roles)}) and {row.clear} "
            f"({', '.join(clear.bands.data_roles)}) share no band; name them with --bands"
        )
    if cloudy.dtype != clear.dtype:
        raise DatasetError(
            f"{row.cloudy} holds {cloudy.dtype} but {row.clear} {clear.dtype} numbers; store both "
            "in one type and scale"
        )
    if _are_one(cloudy.path, clear.path):
        raise DatasetError(
            f"{row.cloudy} and {row.clear} are one image, named as cloudy and as clear; give the "
            "clear one of another date"
        )
    for scene in (cloudy, clear):
        if not scene.grid.has_transform or scene.grid.crs is None:
            raise DatasetError(f"{scene.path} has no map coordinates; warp it with gdalwarp first")
    if not resample:
        check_alike(str(row.clear), clear.grid, str(row.cloudy), cloudy.grid)
    dates = (
        _date(row.cloudy, row.cloudy_date, "--cloudy-date"),
        _date(row.clear, row.clear_date, "--clear-date"),
    )
    cloudy = replace(cloudy, files=states_of([cloudy.path, clear.path]))  # read as one
    return Acquisitions(name, row.site or name, cloudy, clear, shared, *dates, row.source)


def _are_one(one: str, other: str) -> bool:
    """Whether two rasters are one, or copies; two of one archive are not."""
    if settled_name(one) == settled_name(other):
        return True
    ours, theirs = local_files(one), local_files(other)
    if not ours or ours == theirs or len(ours) != len(theirs) or _member(one) != _member(other):
        return False
    return all(filecmp.cmp(*files, shallow=False) for files in zip(ours, theirs, strict=True))


def _member(path: str) -> str:
    """What a raster is called in its archive; empty for a file."""
    file = file_of(path)
    return path if file is None else path.rpartition(file.name)[2]


def _date(path: Path, said: str | None, option: str) -> Acquired:
    if said is not None:
        return given_date(said)
    found = acquired(str(path))
    if found is None:
        column = option.removeprefix("--").replace("-", "_")
        raise DatasetError(
            f"{path} does not say when it was taken, and no XML file beside it does; give {option} "
            f"(with --pairs, a column {column})"
        )
    return found


def _names(stems: Sequence[str]) -> list[str]:
    """Safe and unique names, also where capitals make no difference."""
    safe = [safe_name(stem).strip("._") or "pair" for stem in stems]
    if len(safe) > 10**6:
        raise ConfigError(f"{len(safe)} pairs are too many")
    count = Counter(name.lower() for name in safe)
    taken = {name for name, number in count.items() if number == 1}
    names = []
    for number, name in enumerate(safe, 1):
        unique = name
        if count[name.lower()] > 1:
            unique = f"{name}_{number}"
            while unique.lower() in taken:
                unique += "_"
            taken.add(unique.lower())
        names.append(unique)
    return names
