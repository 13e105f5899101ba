"""The errors decr raises on purpose: what is wrong, where, the values, and the way out."""

from __future__ import annotations

import sys
import warnings
from traceback import walk_stack


class DecrError(Exception):
    """Base of every error a user can cause and mend; the command line prints it as one line."""


class SceneError(DecrError, OSError):
    """A scene cannot be read: missing, truncated, not a raster, or without a valid pixel."""


class OutputError(DecrError, OSError):
    """The output cannot be written: no permission, no space, or it exists already."""


class OutputExistsError(OutputError):
    """A file of the output's name is there, and nobody said that it may be replaced."""


class GridMismatchError(DecrError, ValueError):
    """Two rasters that must share a grid do not."""


class BandError(DecrError, ValueError):
    """The bands of a scene cannot be matched to those a model needs."""


class PaletteError(BandError):
    """Pixels of a scene are numbers of colours, not brightness."""


class RadiometryError(DecrError, ValueError):
    """A digital-number range is empty, inverted or of the wrong length."""


class BundleError(DecrError, ValueError):
    """A weights file is damaged, hostile, incomplete or made for something else."""


class ConfigError(DecrError, ValueError):
    """An option has a value that cannot work."""


class ClusterError(DecrError, RuntimeError):
    """Dask workers cannot be reached, were lost, or are not like this process."""


class SchedulerError(ClusterError):
    """A Dask scheduler is lost or does not answer: other scenes cannot go there either."""


class DatasetError(DecrError, ValueError):
    """Training or evaluation data is missing or inconsistent."""


class DecrWarning(UserWarning):
    """The result will be worse than expected, but the work can go on."""


def warn(said: str) -> None:
    """Warn with a `DecrWarning` at the line that called decr."""
    names = [frame.f_globals.get("__name__", "") for frame, _ in walk_stack(sys._getframe())]
    first = max(n for n, name in enumerate(names) if name.startswith("decr."))
    warnings.warn(said, DecrWarning, stacklevel=first + 2)


def one_line(said: object) -> str:
    """An error or a warning as one line."""
    return " ".join(str(said).split())
