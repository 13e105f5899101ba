"""Which cloudy file belongs to which clear one: the folder layouts of sets of real pairs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from decr.dataset.manifest import MANIFEST, TEST_SHARE, PairFile, found_in, read_manifest
from decr.dataset.png_layouts import CUHK, RICE, nir_tree
from decr.dataset.set_tree import (
    SUFFIXES,
    Sides,
    files_in,
    key_of,
    roots_of,
    split_on_way,
    tell_left_out,
)
from decr.dataset.splits import split_of
from decr.errors import DatasetError, warn
from decr.geo.delivery import passed_over, skipped

_TEST_LIST = "test_list.txt"
BY_NAME = "a hash of names"
"""What decides the splits of a set that says nothing of them."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How one kind of set lies in its folder.

    Attributes
    ----------
    sides
        Names that the folder of cloudy and that of clear images may have; none for a manifest.
    wanted
        What must be there, for people.
    gsd_m
        Metres per pixel as published, for files that do not say; None where it is not known. It,
        source and gap are of the published set: see `decr.dataset.published.facts_of`.
    nir
        Whether near infrared may lie in a second tree.
    source, gap
        What took the images, and the time between the two of a pair, as published; empty if it is
        not known.
    """

    sides: tuple[Sides, ...]
    wanted: str
    gsd_m: float | None = None
    nir: bool = False
    source: str = ""
    gap: str = ""


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "folders": Layout((("cloudy", "clear"),), "cloudy/NAME and clear/NAME"),
        "manifest": Layout((), f"a file {MANIFEST} with one pair per line"),
        "cuhk": Layout(
            (CUHK,),
            "{train,test}/{cloud,label}/NAME, and nir/{cloud,label}/NAME beside cloud "
            "or ../nir/SET/{train,test}/{cloud,label}/NAME",
            0.5,
            nir=True,
            source="Jilin-1",
            gap="at most 17 days",
        ),
        "rice1": Layout(
            (CUHK, RICE),
            "cloud/NAME and label/NAME, or cloudy_image/NAME and ground_truth/NAME",
            source="Google Earth",
        ),
        "rice2": Layout(
            (CUHK, RICE),
            "cloud/NAME and label/NAME, or cloudy_image/NAME and ground_truth/NAME",
            30.0,
            source="Landsat 8",
            gap="at most 15 days",
        ),
        "tcloud": Layout(
            (CUHK,), "{train,test}/{cloud,label}/NAME", 30.0, source="Landsat 8", gap="16 days"
        ),
        "whu": Layout((CUHK,), "{train,test}/{cloud,label}/NAME", 30.0, source="Landsat 8"),
    }
)
"""Layouts by name. Each may have train, val and test folders around, or lie flat."""


def sniff_layout(path: Path) -> str:
    """Name the layout that a folder has.

    Sets with folders ``cloud`` and ``label`` differ in nothing but their ground sampling distance;
    near infrared or masks beside them, or the name of the folder, tell them apart.

    Raises
    ------
    DatasetError
        If the folder fits no layout, or several.
    """
    _check_folder(path)
    if (path / MANIFEST).is_file():
        return "manifest"
    if roots_of(path, LAYOUTS["folders"].sides):
        return "folders"
    fitting = [name for name, layout in LAYOUTS.items() if roots_of(path, layout.sides)]
    if not fitting:
        looked = "; ".join(f"{name}: {layout.wanted}" for name, layout in LAYOUTS.items())
        raise DatasetError(f"{path}: no set of pairs: looked for {looked}; {found_in(path)}")
    flat = flat_name(path)
    named = [name for name in fitting if name in flat]
    if len(named) == 1:
        return named[0]
    if "cuhk" in fitting and any(
        nir_tree(path, root) for root, *_ in roots_of(path, LAYOUTS["cuhk"].sides)
    ):
        return "cuhk"
    if (path / "mask").is_dir():
        return "rice2"
    raise DatasetError(
        f"{path}: its folders fit the layouts {', '.join(fitting)}; say which one it is with "
        "--layout, or layout in a recipe"
    )


def layout_of(path: Path, said: str | None) -> str:
    """The layout of a folder, as it is said to be, also by the name of the set; else recognised.

    Raises
    ------
    DatasetError
        If it is not said and not clear, or "rice" and not clear which of the two.
    """
    if said is None:
        return sniff_layout(path)
    if said != "rice":
        return {"cuhk-cr": "cuhk", "t-cloud": "tcloud"}.get(said, said)
    flat = flat_name(path)
    if "rice1" in flat:
        return "rice1"
    if "rice2" in flat or (path / "mask").is_dir():
        return "rice2"
    raise DatasetError(
        f"{path}: rice is rice1 or rice2, and neither the folder's name nor masks tell; say "
        "which with --layout"
    )


def split_from(path: Path, layout: str) -> str:
    """Where the splits of a set come from: "folders", the name of a list, or `BY_NAME`."""
    roots = roots_of(path, LAYOUTS[layout].sides)
    if any(split for _, split, _ in roots):
        return "folders"
    if (path / _TEST_LIST).is_file():
        return _TEST_LIST
    clear = [root / sides[1] for root, _, sides in roots]
    within = any(split_on_way(file.relative_to(c)) for c in clear for file in files_in(c))
    return "folders" if within else BY_NAME


def list_pairs(
    path: Path, layout: str, skip: tuple[str, ...] = (), alone: list[str] | None = None
) -> list[PairFile]:
    """All pairs of a set, in order of their names; no image is opened.

    Files belong together if their names below the two folders are the same but for the suffix.
    Folders train, val and test around the two sides give the split; else a file ``test_list.txt``
    with one name a line, as RICE1 has in one edition, where names may leave out folders and suffix;
    else such folders within each side; see `split_named` for other names of theirs. Where nothing
    does, `split_of` gives it from the name of the pair (of the clear file in a manifest), with a
    share of `TEST_SHARE` for testing.

    Parameters
    ----------
    path
        Folder of the set.
    layout
        One of `LAYOUTS`.
    skip
        Patterns of names (or parts of paths with a slash) to leave out.
    alone
        Takes a sentence on each file without a partner, which is then passed over.

    Raises
    ------
    DatasetError
        If the layout is unknown or does not fit, if a file has no partner, or if the list of test
        images names one that is not there.

    Warns
    -----
    DecrWarning
        Of folders whose images look like pairs of the set and are left out, and of pairs that lie
        in no folder of a split while others do.
    """
    if layout not in LAYOUTS:
        raise DatasetError(
            f"{path}: no layout is called {layout!r}; there are {', '.join(LAYOUTS)}"
        )
    _check_folder(path)
    if layout == "manifest":
        listed = read_manifest(path)
        return [p for p in listed if not (skipped(p.cloudy, skip) or skipped(p.clear, skip))]
    pairs = []
    roots = roots_of(path, LAYOUTS[layout].sides)
    clear = [root / sides[1] for root, split, sides in roots if split is None]
    tested = _tested(path / _TEST_LIST, {key_of(f, c) for c in clear for f in files_in(c)})
    for root, split, sides in roots:
        pairs += _matched(path, root, split, sides, layout, skip, tested, alone)
    if not pairs and not alone:
        raise DatasetError(
            f"{path}: does not have the layout {layout!r}: looked for {LAYOUTS[layout].wanted} "
            f"({', '.join(SUFFIXES)}); {found_in(path)}"
        )
    tell_left_out(path, LAYOUTS[layout].sides, roots, skip)
    _tell_mixed(path, pairs)
    return sorted(pairs, key=lambda pair: pair.name)


def _check_folder(path: Path) -> None:
    if path.is_file():
        raise DatasetError(
            f"{path}: is a file, but a set is a folder; unpack it, if it is an archive"
        )
    if not path.is_dir():
        raise DatasetError(f"{path}: there is no such folder; check the name")


def flat_name(path: Path) -> str:
    """The name of a folder, in small letters and digits alone."""
    return "".join(c for c in path.resolve().name.lower() if c.isalnum())


def _images(folder: Path, skip: tuple[str, ...] = ()) -> dict[str, Path]:
    """Image files below a folder by their relative name without suffix."""
    images: dict[str, Path] = {}
    for file in files_in(folder):
        if skipped(file, skip):
            continue
        key = key_of(file, folder)
        if key in images:
            raise DatasetError(f"{file}: {images[key].name} has the same name; keep one of the two")
        images[key] = file
    return images


def _matched(
    path: Path,
    root: Path,
    split: str | None,
    sides: Sides,
    layout: str,
    skip: tuple[str, ...],
    tested: frozenset[str] | None,
    alone: list[str] | None,
) -> list[PairFile]:
    """Pairs of one folder with two sides, with near infrared where the layout has it."""
    cloudy, clear = _images(root / sides[0], skip), _images(root / sides[1], skip)
    if not cloudy and not clear:
        _tell_others(root, sides)
    lonely = [*_alone(root, sides, cloudy, clear)]
    whole = cloudy.keys() & clear.keys()
    nir = nir_tree(path, root) if LAYOUTS[layout].nir else None
    if nir is not None:
        cloudy_nir, clear_nir = _images(nir / sides[0], skip), _images(nir / sides[1], skip)
        lonely += _alone(nir, sides, cloudy_nir, clear_nir)
        kinds = (f"{root.name} in RGB", "near infrared")
        lonely += _alone(nir.parent, kinds, cloudy | clear, cloudy_nir | clear_nir)
        whole &= cloudy_nir.keys() & clear_nir.keys()
    if lonely and alone is None:
        raise DatasetError(
            f"{lonely[0]} ({len(lonely)} such files); add its partner, or take it out of the set "
            "(a recipe can skip it)"
        )
    if alone is not None:
        alone += lonely
    pairs = []
    for key in sorted(whole):
        said = split
        if split is None and tested is not None:
            said = "test" if key in tested else "train"
        elif split is None:
            said = split_on_way(clear[key].relative_to(root / sides[1]))
        pairs.append(
            PairFile(
                key if split is None else f"{root.name}/{key}",
                cloudy[key],
                clear[key],
                said or split_of(key, TEST_SHARE),
                cloudy_nir[key] if nir else None,
                clear_nir[key] if nir else None,
                split_by_hash=said is None,
            )
        )
    return pairs


def _tell_mixed(path: Path, pairs: Collection[PairFile]) -> None:
    """Warn of a set that says the split of some pairs only."""
    hashed = [pair.name for pair in pairs if pair.split_by_hash]
    if 0 < len(hashed) < len(pairs):
        warn(
            f"{path}: {len(hashed)} of {len(pairs)} pairs, such as {hashed[0]}, lie in no folder "
            f"train, val or test, and are split by {BY_NAME}; move them into one"
        )


def _tell_others(root: Path, sides: Sides) -> None:
    """Warn of a folder that has files, but no image."""
    suffixes = {
        file.suffix.lower()
        for side in sides
        for file in (root / side).rglob("*")
        if file.is_file() and not passed_over(file.relative_to(root))
    }
    if others := suffixes - {*SUFFIXES, ""}:
        warn(
            f"{root}: no image in {' and '.join(sides)}; {', '.join(sorted(others))} files are "
            f"passed over: convert images to .png or .tif"
        )


def _alone(
    root: Path, sides: Sides, one: Mapping[str, Path], two: Mapping[str, Path]
) -> Iterator[str]:
    """A sentence on each file without a partner."""
    for key in sorted(one.keys() ^ two.keys()):
        has, lacks = sides if key in one else sides[::-1]
        yield f"{root}: {key} is in {has} but not in {lacks}"


def _tested(file: Path, keys: Collection[str]) -> frozenset[str] | None:
    """Which images a list names as those for testing; None if there is no list, or no image."""
    if not keys or not file.is_file():
        return None
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{file}: cannot read the list of test images ({error}); store it as UTF-8, one name "
            "a line"
        ) from error
    by_name: dict[str, list[str]] = {}
    for key in keys:
        by_name.setdefault(PurePosixPath(key).name, []).append(key)
    found: set[str] = set()
    astray: list[str] = []
    for number, line in enumerate(lines, 1):
        said = PurePosixPath(line.strip().replace("\\", "/"))
        plain = said.with_suffix("") if said.suffix.lower() in SUFFIXES else said
        # Folders may be those above the image, or only some of them.
        named = [
            key
            for key in by_name.get(plain.name, ())
            if f"/{plain}".endswith(f"/{key}") or f"/{key}".endswith(f"/{plain}")
        ]
        if line.strip() and not named:
            astray.append(f"line {number}: {line.strip()!r}")
        found.update(named)
    if astray:
        told = f"{file}: {len(astray)} of its lines name no image, such as {astray[0]}"
        if not found:
            raise DatasetError(f"{told}; correct the names")
        warn(told)
    return frozenset(found)
