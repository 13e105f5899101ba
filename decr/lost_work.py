"""What is said where finished work of another job is about to be thrown away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from decr.files import json_object
from decr.geo.names import without_keys

_TOLD, _END = 5, 20
"""How many values of another job are told, and how much of either end of a long one."""
_MANY = ("files", "images", "masks", "pairs")
"""Groups of a job that may be long; they are told last."""

_BEGUN_BY = {
    "job.json": "decr declouds",
    "simulation.json": "decr dataset simulate",
    "build.json": "decr dataset build",
    "import.json": "decr dataset import",
}
"""Commands by the job files that they leave in a work folder."""


def loss_said(job_file: Path, job: Mapping[str, Any], lost: int, parts: str) -> str:
    """Which finished work goes, what is other now, and how to keep it: one line, without keys.

    How to keep it is left out where the earlier job is not known: no run can go on with it.

    Parameters
    ----------
    job_file
        Of the earlier run, in its work folder.
    job
        Everything that decides the bytes of this run's output, as JSON has it.
    lost, parts
        How many are finished, and what they are called.
    """
    old = json_object(job_file)
    told, remedy = [f"its {job_file.name} is damaged or missing"], ""
    keep = "; to keep such work, name another output"
    others = [name for name in _BEGUN_BY if job_file.with_name(name).exists()]
    if not job_file.exists() and others:
        remedy, told = keep, [f"it was begun by {_BEGUN_BY[others[0]]} ({others[0]})"]
    elif old:
        remedy = keep
        told = [*dict.fromkeys(_others(old, job))] or ["the order in which things are named"]
    more = f" and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
    return (
        f"{job_file.parent}: throws away {lost} finished {parts} of an earlier run that was not "
        f"the same: {', '.join(told[:_TOLD])}{more}{remedy}"
    )


def _others(old: Any, new: Any, names: tuple[str, ...] = ()) -> Iterator[str]:
    """What differs in two jobs: options first, and files, which may be many, last."""
    old, new = _by_name(old), _by_name(new)
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = [*dict.fromkeys([*new, *old])]
        if not names:
            keys.sort(key=lambda group: (group in _MANY, group != "options"))
        for key in keys:
            yield from _others(old.get(key), new.get(key), (*names, key))
    elif old != new:
        yield _other(" ".join(names[1:] or names), old, new)


def _by_name(value: Any) -> Any:
    """A list of what has names, such as pairs, by these."""
    if isinstance(value, list) and all(isinstance(one, dict) and "name" in one for one in value):
        return {one["name"]: one for one in value}
    return value


def _other(name: str, old: Any, new: Any) -> str:
    before, after = _text(old), _text(new)
    if _short(before) != _short(after):
        return f"{name} {_short(before)} -> {_short(after)}"
    return f"{name} {_short(after)} {'by another query' if before == after else '-> another'}"


def _text(value: Any) -> str:
    """A value without keys."""
    if isinstance(value, Mapping):
        return "there"
    return "none" if value is None else without_keys(str(value))


def _short(text: str) -> str:
    """A text whose ends can be told, such as those of a path."""
    return text if len(text) <= 2 * _END else f"{text[:_END]}...{text[-_END:]}"
