"""What is known of published sets, and whether a folder is one: others lie in the same layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from decr.dataset.layouts import LAYOUTS, Layout, flat_name, list_pairs, sniff_layout
from decr.dataset.manifest import MANIFEST, SIMULATION, PairFile
from decr.dataset.set_tree import files_in, roots_of
from decr.errors import DatasetError

_CUHK = (("1", 668, ("cr1", "my14")), ("2", 559, ("cr2", "my24")))
"""Number, pairs, and how names of folders end."""


def cuhk_by_name(path: Path) -> str | None:
    """Number of the CUHK-CR set that a folder is by its name alone; None for neither.

    Examples
    --------
    >>> cuhk_by_name(Path("data/CUHK-CR2")), cuhk_by_name(Path("data/mine"))
    ('2', None)
    """
    flat = flat_name(path)
    return next((number for number, _, ends in _CUHK if flat.endswith(ends)), None)


def facts_of(path: Path, layout: str) -> Layout:
    """A layout, with what was published of its set only where the folder may be that set.

    CUHK-CR's layout is also that of sets that decr and others make. A folder is the published set
    by its name, or if it has as many pairs; one that decr made is none.
    """
    known = LAYOUTS[layout]
    if layout != "cuhk":
        return known
    made = (path / SIMULATION, path / MANIFEST, path.resolve().parent / MANIFEST)
    own = any(file.is_file() for file in made)
    if not own and (cuhk_by_name(path) or _count(path) in {pairs for _, pairs, _ in _CUHK}):
        return known
    return replace(known, gsd_m=None, source="", gap="")


def _count(path: Path) -> int:
    """Clear images in CUHK-CR's layout."""
    roots = roots_of(path, LAYOUTS["cuhk"].sides)
    return sum(sum(1 for _ in files_in(root / sides[1])) for root, _, sides in roots)


def cloudy_side(path: Path) -> tuple[list[PairFile], float | None] | None:
    """Pairs of a set whose cloudy images are wanted, and its metres per pixel; None for no set.

    Layouts that differ in nothing but that number need not be told apart: then it is None.

    Raises
    ------
    DatasetError
        If it is a set, but a damaged one.
    """
    if (path / MANIFEST).is_file():
        return list_pairs(path, "manifest"), None
    fitting = [name for name, layout in LAYOUTS.items() if roots_of(path, layout.sides)]
    if not fitting:
        return None
    try:
        name = sniff_layout(path)
    except DatasetError:
        return list_pairs(path, fitting[0]), None
    return list_pairs(path, name), facts_of(path, name).gsd_m
