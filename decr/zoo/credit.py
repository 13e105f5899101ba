"""Whom weights are owed to and what may be done with them, where they come from several."""

from __future__ import annotations

_OTHERS = "; and of "
_UNKNOWN = "not stated"


def each_once(*said: str) -> str:
    """Names of several attributions, whose names have "; " between, in their order, each once."""
    names = [name for one in said for name in one.split("; ") if name]
    return "; ".join(dict.fromkeys(names))


def joint_licence(first: str, second: str, name: str) -> str:
    """The licence of weights that come from two bundles, of which the second is called ``name``.

    That of the first, and what the second's says otherwise: "CC0; and of NAME: CC BY-NC 4.0".
    Both may be of such weights themselves.
    """
    if not first and not second:
        return ""
    own, *others = (first or _UNKNOWN).split(_OTHERS)
    theirs, *more = (second or _UNKNOWN).split(_OTHERS)
    by_licence = {own: own}
    for other in (*others, f"{name.replace(': ', ' ')}: {theirs}", *more):
        by_licence.setdefault(other.partition(": ")[2], other)
    return _OTHERS.join(by_licence.values())
