"""Third-party models and detectors: entry points that packages offer, and what these answer."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import EntryPoint, distributions, entry_points
from numbers import Integral, Real
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from decr.errors import ConfigError, DecrError, one_line
from decr.geo.bands import ROLES

Float32 = NDArray[np.float32]

P = ParamSpec("P")
T = TypeVar("T")

MODELS = "decr.models"
"""Group of entry points; each is a function ``make(seed, device)`` that returns a Restorer."""

DETECTORS = "decr.detectors"
"""Group of entry points; each is a function ``make(device)`` that returns a Detector."""


_MOST = 10.0
"""Largest unit value a model may answer: a little beyond 1 is clipped, far beyond is a mistake."""


def model_plugin(name: str) -> EntryPoint | None:
    """The entry point of a model, None where no installed package offers that name.

    Raises
    ------
    ConfigError
        If two packages offer it, or what some package offers cannot be read.
    """
    return _plugin(MODELS, "model", name)


def detector_plugin(name: str) -> EntryPoint | None:
    """As `model_plugin`, for a detector."""
    return _plugin(DETECTORS, "detector", name)


def _plugin(group: str, kind: str, name: str) -> EntryPoint | None:
    try:
        found = list(entry_points(group=group, name=name))
    except Exception as error:  # one broken list is enough, and its errors share no class
        reason = one_line(f"{type(error).__name__}: {error}")
        raise ConfigError(
            f"no {kind} {name!r} can be looked for: the entry_points.txt of the installed package "
            f"{_unreadable()} is damaged ({reason}); install that package again, or uninstall it"
        ) from error
    if len({point.value for point in found}) > 1:
        owners = " and ".join(sorted(point.value for point in found))
        raise ConfigError(f"two packages offer a {kind} {name!r}: {owners}; uninstall one of them")
    return found[0] if found else None


def _unreadable() -> str:
    """Name of the first installed package whose entry points cannot be read."""
    for owner in distributions():
        try:
            _ = owner.entry_points
        except Exception:
            with suppress(Exception):  # nor can the name
                return str(owner.metadata["Name"])
            break
    return "(not found)"


def made(point: EntryPoint, **arguments: Any) -> Any:
    """Import and call what an entry point names.

    Raises
    ------
    ConfigError
        If it cannot be imported or fails, naming the plug-in and the reason.
    """
    return guarded(point, lambda: point.load()(**arguments))()


def guarded(point: EntryPoint, function: Callable[P, T]) -> Callable[P, T]:
    """A function of a plug-in that raises ConfigError, naming the plug-in, if it fails."""

    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except (DecrError, KeyboardInterrupt):
            raise
        except BaseException as error:  # foreign code may raise anything
            reason = one_line(f"{type(error).__name__}: {error}")
            raise ConfigError(f"{_called(point)} failed: {reason}") from error

    return call


def _called(point: EntryPoint) -> str:
    kind = point.group.rpartition(".")[2].removesuffix("s")
    return f"the {kind} {point.name!r} of {point.value}"


def check_fields(point: EntryPoint, found: Any, *others: tuple[str, bool, str]) -> None:
    """Check what a plug-in made, before it is used: the fields of models and detectors alike.

    Parameters
    ----------
    found
        A Restorer or Detector.
    others
        (name, whether it is right, what it must be) of the fields that one of them has alone.

    Raises
    ------
    ConfigError
        For the first field that is wrong, naming the plug-in.
    """
    for field, right, wanted in (
        ("name", is_text(found.name), "printable text"),
        ("version", is_text(found.version), "printable text"),
        ("bands", _is_bands(found.bands), f"some of {', '.join(ROLES)}, each once"),
        ("ranges", _are_ranges(found.ranges), "a mapping of dtypes to (lower DN, higher DN)"),
        *others,
    ):
        if not right:
            value = textwrap.shorten(repr(getattr(found, field)), 120)
            raise ConfigError(
                f"{_called(point)}: its {field} must be {wanted}, not {value}; tell its authors"
            )


def is_text(value: object) -> bool:
    """Whether this is text on one line that any file and terminal takes."""
    return isinstance(value, str) and value.isprintable()


def is_flag(value: object) -> bool:
    """Whether this is True or False."""
    return isinstance(value, bool | np.bool_)


def is_length(value: object) -> bool:
    """Whether this is a number of metres that something can be long."""
    return isinstance(value, Real) and 0.0 < float(value) < math.inf


def is_count(value: object) -> bool:
    """Whether this is a whole number from 1 up."""
    return isinstance(value, Integral) and int(value) >= 1


def is_pair(value: object) -> bool:
    """Whether these are two numbers, the second no smaller."""
    if not isinstance(value, list | tuple | np.ndarray) or len(value) != 2:
        return False
    low, high = value
    return isinstance(low, Real) and isinstance(high, Real) and float(low) <= float(high)


def _are_ranges(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(dtype, str) and is_pair(ends) and ends[0] < ends[1]
        for dtype, ends in value.items()
    )


def _is_bands(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(role in ROLES for role in value)
        and len(set(value)) == len(value)
    )


def normalised(found: Any) -> dict[str, Any]:
    """The fields that `check_fields` takes in more than one form, in the one that they have."""
    ranges = {dtype: (float(low), float(high)) for dtype, (low, high) in found.ranges.items()}
    return {"bands": tuple(found.bands), "ranges": ranges}


def numbers(found: Any) -> Float32:
    """What foreign code answered, as an array.

    Raises
    ------
    TypeError
        If it is none of real numbers; also what the answer itself raises when asked.
    """
    if np.ma.isMaskedArray(found):
        raise TypeError("it answered a masked array, wanted a number for every pixel")
    array = np.asarray(found)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"it answered {array.dtype}, wanted real numbers")
    with np.errstate(over="ignore"):  # infinite numbers are refused later
        return array.astype(np.float32, copy=False)


def checked(name: str, found: Float32, shape: tuple[int, ...]) -> Float32:
    """What a model answered, if it can be: some models are not ours.

    Parameters
    ----------
    name
        The model's, for messages.
    shape
        That the answer must have.

    Raises
    ------
    ConfigError
        For another shape, numbers that are masked, not finite, or far beyond [-1, 1].
    """
    if np.ma.isMaskedArray(found):
        raise ConfigError(f"the model {name} answered a masked array; tell its authors")
    found = np.asarray(found)
    if found.shape != shape:
        raise ConfigError(
            f"the model {name} answered {found.shape}, wanted {shape}; tell its authors"
        )
    # NaN is not within anything, and goes through minima and maxima.
    if found.size and not (found.min() >= -_MOST and found.max() <= _MOST):
        raise ConfigError(
            f"the model {name} answered numbers from {found.min():g} to {found.max():g}, wanted "
            f"-1 to 1; tell its authors, or take other weights"
        )
    return found
