"""What is told of images of a set: bands that nobody named, and images not taken as they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from decr.errors import warn
from decr.geo.fourth import WITH_NIR, is_alpha_assumed
from decr.geo.scene import Scene

_ASSUMED = "taken for transparency, as GDAL does by default"
_TOLD = 3
"""Names that a warning gives of many."""


def tell_guesses(scenes: Sequence[Scene]) -> None:
    """Warn of what was assumed of bands, once for all images that it was assumed of.

    Warns
    -----
    DecrWarning
        Also if the fourth band was taken for near infrared in some, and for transparency in others;
        and see `tell_orders`.
    """
    tell_orders(scenes)
    notes: dict[str, list[str]] = {}
    for scene in scenes:
        for note in scene.guesses:
            notes.setdefault(note.replace(scene.path, ""), []).append(note)
    for alike in notes.values():
        more = f" (and {len(alike) - 1} more files like it)" if len(alike) > 1 else ""
        warn(alike[0] + more)
    guessed = [s.path for s in scenes if s.bands == WITH_NIR and s.guesses]
    others = [s.path for s in scenes if guessed and s.bands.alpha_index == 3]
    assumed = [path for path in others if is_alpha_assumed(path)]
    if assumed:
        warn(
            f"{assumed[0]}: its fourth band is {_ASSUMED}, but that of {guessed[0]} for near "
            f"infrared; so are {len(assumed)} and {len(guessed)} of {len(scenes)} images: say for "
            f"all of them which it is (--bands r,g,b,n or r,g,b,a)"
        )


def tell_orders(scenes: Sequence[Scene]) -> None:
    """Warn of bands that are taken for one order in some images and for another in others.

    Files of one sensor may differ in what their writers noted: then only one of both is right, and
    red of some would be compared with blue of others.

    Warns
    -----
    DecrWarning
        Once, if at least one of two orders was guessed.
    """
    first = {scene.bands.data_roles: scene for scene in reversed(scenes)}
    count = Counter(scene.bands.data_roles for scene in scenes)
    for scene in (scene for scene in scenes if scene.guesses):
        own = scene.bands.data_roles
        for roles in (roles for roles in first if roles != own and {*roles} == {*own}):
            one, two = (",".join(role[0] for role in order) for order in (own, roles))
            warn(
                f"{scene.path}: its bands are assumed to be {one}, but those of "
                f"{first[roles].path} {two}; so are {count[own]} and {count[roles]} of "
                f"{len(scenes)} images: if all have one order, say it with --bands"
            )
            return


def for_want(
    bands: Sequence[str], lacking: Sequence[tuple[str, Path]], named: bool
) -> dict[str, list[str]]:
    """Names of images that lack bands, by why they are passed over.

    Parameters
    ----------
    lacking
        Name and file of each.
    named
        Whether somebody said what their bands are.
    """
    why = f"passed over, for want of the bands {', '.join(bands)}"
    hint = f"{why} (the fourth is {_ASSUMED}; --bands r,g,b,n says that it is near infrared)"
    asked = "nir" in bands and not named
    found: dict[str, list[str]] = {}
    for name, path in lacking:
        found.setdefault(hint if asked and is_alpha_assumed(str(path)) else why, []).append(name)
    return found


def tell(where: str, what: str, named: Mapping[str, Sequence[str]]) -> None:
    """Warn of images that are not taken as they are.

    Parameters
    ----------
    where, what
        Whose images, and of which, such as "7 images".
    named
        Names by what is done with them, and why.

    Warns
    -----
    DecrWarning
        Once for each reason that there are names for.
    """
    for why, names in named.items():
        if names:
            more = ", ..." if len(names) > _TOLD else ""
            verb = "is" if len(names) == 1 else "are"
            said = f"{where}: {len(names)} of {what} {verb} {why}: {', '.join(names[:_TOLD])}{more}"
            warn(said)
