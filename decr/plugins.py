"""Third-party models and detectors: entry points that packages offer, and what these answer."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from decr.errors import ConfigError, DecrError

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
        If two packages offer it.
    """
    return _plugin(MODELS, "model", name)


def detector_plugin(name: str) -> EntryPoint | None:
    """As `model_plugin`, for a detector."""
    return _plugin(DETECTORS, "detector", name)


def _plugin(group: str, kind: str, name: str) -> EntryPoint | None:
    found = list(entry_points(group=group, name=name))
    if len({point.value for point in found}) > 1:
        owners = " and ".join(sorted(point.value for point in found))
        raise ConfigError(f"two packages offer a {kind} {name!r}: {owners}; uninstall one of them")
    return found[0] if found else None


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
        except DecrError:
            raise
        except Exception as error:  # foreign code may raise anything
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            kind = point.group.rpartition(".")[2].removesuffix("s")
            raise ConfigError(
                f"the {kind} {point.name!r} of {point.value} failed: {reason}"
            ) from error

    return call


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
        For another shape, numbers that are not finite, or that are far beyond [-1, 1].
    """
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
