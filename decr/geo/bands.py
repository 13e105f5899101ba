"""Which band of a file is which colour, and which of them feed a model."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from decr.errors import BandError, PaletteError

ROLES = ("blue", "green", "red", "nir", "pan", "alpha")
PASS_THROUGH = "-"

_LETTERS = {role[0]: role for role in ROLES}
_NAMES = {
    **_LETTERS,
    **{role: role for role in ROLES},
    "nir1": "nir",
    "infrared": "nir",
    "nearinfrared": "nir",
    "nearir": "nir",
    "panchromatic": "pan",
}
_PREFIX = re.compile(r"^(?:(?:band|channel|b)?\s*\d+|band|channel)\b\s*")
_WAVELENGTH = re.compile(r"\W*\d[\d.,\s-]*(?:nm|um|[\u00b5\u03bc]m|nanomet\w+|micromet\w+)\W*$")
"""Behind a name; GDAL puts those of ENVI files there."""
_SHOWN = 16
"""Bands of one scene that a message lists."""
_UNNAMED = frozenset({"gray", "undefined"})


@dataclass(frozen=True, slots=True)
class Bands:
    """The role of each band of a scene, in file order.

    Attributes
    ----------
    roles
        One of `ROLES` per band, or "-" for a band that passes through unchanged.

    Raises
    ------
    BandError
        If a role is unknown or appears twice, or no band holds data.
    """

    roles: tuple[str, ...]

    def __post_init__(self) -> None:
        unknown = [role for role in self.roles if role not in (*ROLES, PASS_THROUGH)]
        if unknown:
            raise BandError(f"unknown band role {unknown[0]!r}; known: {', '.join(ROLES)} and -")
        twice = [r for r, n in Counter(self.roles).items() if n > 1 and r != PASS_THROUGH]
        if twice:
            raise BandError(f"band role {twice[0]!r} appears twice in {','.join(self.roles)}")
        if not self.data_indices:
            raise BandError(f"no band holds data in {','.join(self.roles)}")

    @property
    def count(self) -> int:
        """Number of bands in the file."""
        return len(self.roles)

    @property
    def data_indices(self) -> tuple[int, ...]:
        """0-based bands that hold an image: neither alpha nor passed through."""
        other = ("alpha", PASS_THROUGH)
        return tuple(i for i, role in enumerate(self.roles) if role not in other)

    @property
    def data_roles(self) -> tuple[str, ...]:
        """Roles of `data_indices`."""
        return tuple(self.roles[i] for i in self.data_indices)

    @property
    def fed_roles(self) -> tuple[str, ...]:
        """Roles that decide between networks: a panchromatic band is fed as red, green and blue."""
        return ("red", "green", "blue") if self.data_roles == ("pan",) else self.data_roles

    @property
    def alpha_index(self) -> int | None:
        """0-based alpha band, if there is one."""
        return self.roles.index("alpha") if "alpha" in self.roles else None

    def model_map(self, model_bands: tuple[str, ...], what: str = "model") -> tuple[int, ...]:
        """0-based file band that feeds each band of a model.

        A panchromatic scene feeds all of them from its one band. Errors say what needs them.

        Raises
        ------
        BandError
            If the scene lacks a band that the model needs.

        Examples
        --------
        >>> Bands(("blue", "green", "red", "nir")).model_map(("red", "green", "blue"))
        (2, 1, 0)
        """
        if self.data_roles == ("pan",):
            return self.data_indices * len(model_bands)
        missing = [band for band in model_bands if band not in self.roles]
        if missing:
            have, need = self.data_roles, model_bands
            raise BandError(
                f"scene has {_bands(len(have))} ({', '.join(have)}) but the {what} needs "
                f"{len(need)} ({', '.join(need)}): {', '.join(missing)} missing; pass --bands if "
                f"the bands are there under other names, or choose a {what} that needs fewer"
            )
        return tuple(self.roles.index(band) for band in model_bands)


def bands_of(
    descriptions: Sequence[str | None],
    colorinterp: Sequence[str],
    count: int,
    override: str | None,
    path: str,
) -> tuple[Bands, str | None]:
    """Find out which band is which: by order, by description, by colour interpretation.

    Parameters
    ----------
    descriptions, colorinterp
        One per band, as the file has them; colour interpretations by their GDAL names.
    count
        Number of bands.
    override
        What the user said ("b,g,r,n"; "-" passes a band through), or None.
    path
        Of the scene, for messages.

    Returns
    -------
    tuple of Bands and str or None
        The second is a warning if the roles are a guess.

    Raises
    ------
    BandError
        If the bands cannot be told apart; the text shows how to name them. `PaletteError` if pixels
        are no brightness, whatever they are called.
    """
    if set(colorinterp) == {"palette"}:
        raise _of_palette(path)
    if override is not None:
        return _overridden(override, count, path), None
    described = [role_of(text) for text in descriptions]
    if any(role not in (None, "alpha") for role in described):
        roles, warning = _by_description(described, descriptions, colorinterp, path)
    else:
        merged = [
            "alpha" if role == "alpha" else name
            for role, name in zip(described, colorinterp, strict=True)
        ]
        roles, warning = _by_interpretation(merged, descriptions, path)
    if roles is None and "palette" in colorinterp:
        raise _of_palette(path)
    if roles is None:
        raise BandError(
            f"{path}: cannot tell its {_bands(count)} apart (descriptions: "
            f"{_first(d or 'none' for d in descriptions)}; colours: {_first(colorinterp)}); "
            f"name them in file order, for example {_example(count)} "
            "(b blue, g green, r red, n near infrared, p pan, a alpha, - passes through)"
        )
    try:
        return Bands(tuple(roles)), warning
    except BandError as error:
        raise BandError(f"{path}: {error}; name the bands with {_example(count)}") from error


def _of_palette(path: str) -> PaletteError:
    return PaletteError(
        f"{path}: its pixels are numbers of a palette's colours, not brightness; spread them to "
        "bands first: gdal_translate -expand rgb (-expand gray for a palette of greys)"
    )


def _overridden(override: str, count: int, path: str) -> Bands:
    """Read the user's list of bands."""
    names = [name.strip().lower() for name in override.split(",")]
    said = f"--bands {shlex.quote(override)}"
    unknown = [name for name in names if name != PASS_THROUGH and name not in _NAMES]
    if unknown:
        raise BandError(
            f"{said}: unknown band {unknown[0]!r}; "
            f"known: {', '.join(f'{k} ({v})' for k, v in _LETTERS.items())} and - (pass through)"
        )
    if len(names) != count:
        raise BandError(
            f"{said} names {_bands(len(names))} but {path} has {count}; "
            f"name every band in file order, for example {_example(count)}"
        )
    try:
        return Bands(tuple(_NAMES.get(name, PASS_THROUGH) for name in names))
    except BandError as error:
        raise BandError(f"{said} for {path}: {error}; for example {_example(count)}") from error


def role_of(description: str | None) -> str | None:
    """Role that a band description names, or None."""
    name = _WAVELENGTH.sub("", (description or "").lower())
    text = re.sub(r"[^a-z0-9]+", " ", name).strip()
    for candidate in (text, _PREFIX.sub("", text)):
        role = _NAMES.get(candidate.replace(" ", ""))
        if role is not None:
            return role
    return None


def _by_description(
    described: Sequence[str | None],
    descriptions: Sequence[str | None],
    colorinterp: Sequence[str],
    path: str,
) -> tuple[list[str] | None, str | None]:
    """Take described roles; colour interpretation fills bands that have no description at all."""
    # Software that writes RGB by default marks bands red, green, blue whatever they hold, so a
    # name that somebody gave always wins over a colour.
    roles: list[str] = []
    ignored: list[str] = []
    for index, (role, text) in enumerate(zip(described, descriptions, strict=True)):
        if role is not None:
            roles.append(role)
            continue
        name = colorinterp[index]
        if name in ROLES and name not in described and (not text or name == "alpha"):
            roles.append(name)
            continue
        if not text and _is_fourth(described, colorinterp, index):
            roles.append("nir")
            continue
        if not text:
            return None, None
        roles.append(PASS_THROUGH)
        ignored.append(f"{index + 1} ({text})")
    warning = f"{path}: passing through band {', '.join(ignored)}" if ignored else None
    return roles, warning


def _is_fourth(described: Sequence[str | None], colorinterp: Sequence[str], index: int) -> bool:
    """Whether this is the one unnamed band beside blue, green and red."""
    others = [r or c for i, (r, c) in enumerate(zip(described, colorinterp, strict=True))
              if i != index and c != "alpha"]  # fmt: skip
    return colorinterp[index] == "undefined" and sorted(others) == ["blue", "green", "red"]


def _by_interpretation(
    colorinterp: Sequence[str], descriptions: Sequence[str | None], path: str
) -> tuple[list[str] | None, str | None]:
    """Take the colours; guess the usual order for bands without any."""
    data = [name for name in colorinterp if name != "alpha"]
    if set(data) <= _UNNAMED:
        guesses = {1: ("pan",), 3: ("red", "green", "blue"), 4: ("blue", "green", "red", "nir")}
        guess = guesses.get(len(data))
        if guess is None:
            return None, None
        each = iter(guess)
        roles = ["alpha" if name == "alpha" else next(each) for name in colorinterp]
        return roles, _guessed(roles, descriptions, path) if len(data) > 1 else None
    if sorted(data) == ["blue", "green", "red", "undefined"]:
        return ["nir" if name == "undefined" else name for name in colorinterp], None
    if set(data) <= set(ROLES) and len(data) != 2:
        return list(colorinterp), None
    return None, None


def _guessed(roles: list[str], descriptions: Sequence[str | None], path: str) -> str:
    """Warn that an order was assumed."""
    letters = ",".join(role[0] for role in roles)
    called = f" (called {', '.join(d or 'nothing' for d in descriptions)})"
    return (
        f"{path} does not say which band is which{called if any(descriptions) else ''}; "
        f"assuming {', '.join(roles)}. "
        f"If that is right, pass --bands {letters} to silence this, else the true order"
    )


def _example(count: int) -> str:
    """Return a `--bands` option for a file with so many bands."""
    known = {1: "p", 2: "p,-", 3: "r,g,b", 4: "b,g,r,n", 5: "b,g,r,n,a"}
    others = "-" * (count - 4) if count <= _SHOWN else ["-", "..."]
    return "--bands " + known.get(count, ",".join([*"bgrn", *others]))


def _first(texts: Iterable[str]) -> str:
    """As many as a message has room for."""
    shown = list(texts)
    return ", ".join(shown if len(shown) <= _SHOWN else [*shown[:_SHOWN], "..."])


def _bands(count: int) -> str:
    """Count bands in words."""
    return f"{count} band" if count == 1 else f"{count} bands"
