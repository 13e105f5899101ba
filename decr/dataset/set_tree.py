"""Where the images of a set lie: files, the two sides, and folders train, val and test."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path, PurePath

from decr.dataset.manifest import SPLITS
from decr.dataset.png_layouts import NIR
from decr.errors import warn
from decr.geo.delivery import passed_over, skipped

SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
"""Of images, in small letters."""

Sides = tuple[str, str]
"""Names of the folder of cloudy and of that of clear images."""

Root = tuple[Path, str | None, Sides]
"""A folder with two sides, the split it is for, and what the sides are called."""

_CALLED = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


def split_named(folder: str) -> str | None:
    """The split that a folder's name says, whatever its capitals; None if it says none.

    Examples
    --------
    >>> split_named("Test"), split_named("validation"), split_named("tests")
    ('test', 'val', None)
    """
    return _CALLED.get(folder.lower())


def split_on_way(file: PurePath) -> str | None:
    """The split of the first folder on the way to a file that is called like one.

    Examples
    --------
    >>> split_on_way(PurePath("lakes/Train/test.png")), split_on_way(PurePath("test.png"))
    ('train', None)
    """
    return next(filter(None, map(split_named, file.parts[:-1])), None)


def roots_of(path: Path, sides: Collection[Sides]) -> list[Root]:
    """Folders that hold both sides: those of splits, in their order, else the set's own.

    A split with one side only is among those of others: its files lack their partners.
    """
    named = [(folder, split) for folder in _folders(path) if (split := split_named(folder.name))]
    named.sort(key=lambda root: (SPLITS.index(root[1]), root[0].name != root[1]))
    inner: dict[tuple[Path, str], tuple[Path, str]] = {}
    for folder, split in named:
        # Another name of a split may be a link to it: its own name came first.
        inner.setdefault((folder.resolve(), split), (folder, split))
    for group in (inner.values(), [(path, None)]):
        if any(_holds(root, both, all) for root, _ in group for both in sides):
            return [(root, split, both) for root, split in group for both in _there(root, sides)]
    return []


def _there(root: Path, sides: Collection[Sides]) -> list[Sides]:
    """What the two sides are called in a folder, also where one of them is missing."""
    whole = [both for both in sides if _holds(root, both, all)]
    return whole or [both for both in sides if _holds(root, both, any)][:1]


def tell_left_out(
    path: Path, sides: Collection[Sides], roots: Collection[Root], skip: tuple[str, ...]
) -> None:
    """Warn of each folder of a set whose images look like pairs of it, but are in none.

    Warns
    -----
    DecrWarning
        Of a folder with both sides that is called like no split, of one that is and holds neither,
        and of the set's own sides beside those of its splits.
    """
    used = {root.resolve() for root, *_ in roots}
    named = " and ".join(sorted(roots)[0][2]) if roots else ""
    for folder in _folders(path):
        if not os.access(folder, os.R_OK | os.X_OK):  # such as lost+found
            continue
        split, whole = split_named(folder.name), any(_holds(folder, both, all) for both in sides)
        if folder.resolve() in used or folder.name == NIR or not (split or whole):
            continue
        what = f"call its folders {named}" if split else "call it train, val or test"
        _tell(folder, [folder], what, skip)
    if path.resolve() not in used:
        own = [path / side for both in sides for side in both if (path / side).is_dir()]
        _tell(path, own, f"move its folders {named} into one called train, val or test", skip)


def _tell(folder: Path, within: Collection[Path], what: str, skip: tuple[str, ...]) -> None:
    left = [f for part in within for f in files_in(part) if not skipped(f, skip)]
    if left:
        warn(
            f"{folder}: {len(left)} images there are no part of the set, such as {left[0].name}; "
            f"{what}, or move them out of the set"
        )


def _holds(root: Path, both: Sides, how: Callable[[Iterable[bool]], bool]) -> bool:
    return how((root / side).is_dir() for side in both)


def _folders(path: Path) -> list[Path]:
    """Folders directly below, sorted, but for those that other programs hide."""
    return sorted(f for f in path.glob("*") if f.is_dir() and not passed_over(Path(f.name)))


def key_of(file: Path, folder: Path) -> str:
    """Name of an image of a folder: its way from there, without suffix.

    Examples
    --------
    >>> key_of(Path("set/test/lake.tif"), Path("set"))
    'test/lake'
    """
    return file.relative_to(folder).with_suffix("").as_posix()


def files_in(folder: Path) -> Iterator[Path]:
    """Image files below a folder, sorted; what other programs hide there is none.

    Warns
    -----
    DecrWarning
        Of each link to a folder, which is not followed.
    """
    for file in sorted(folder.rglob("*")):
        hidden = passed_over(file.relative_to(folder))
        if file.is_symlink() and file.is_dir() and not hidden:
            warn(
                f"{file}: a link to a folder is not followed; put the images there, or a link to "
                "each"
            )
        if file.suffix.lower() in SUFFIXES and not hidden and not file.is_dir():
            yield file
