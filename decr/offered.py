"""Models and detectors that installed packages offer: checked before any work, blamed by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint

import numpy as np
from numpy.typing import NDArray

from decr.calibration import ErrorTable
from decr.cloud.detector import Detector
from decr.errors import ConfigError
from decr.plugins import (
    check_fields,
    guarded,
    is_count,
    is_flag,
    is_length,
    is_pair,
    is_text,
    made,
    normalised,
    numbers,
)
from decr.predictor import Corner, Restorer

Float32 = NDArray[np.float32]


def offered_restorer(plugin: EntryPoint, seed: int, device: str) -> Restorer:
    """The restorer that an installed package offers (`decr.plugins.model_plugin`).

    Raises
    ------
    ConfigError
        If the package fails, or makes something else.
    """
    restorer = made(plugin, seed=seed, device=device)
    if not isinstance(restorer, Restorer):
        raise ConfigError(f"the model {plugin.name!r} of {plugin.value} made no Restorer")
    return guarded(plugin, _settled)(plugin, restorer)


def _settled(plugin: EntryPoint, restorer: Restorer) -> Restorer:
    """A restorer with its fields checked and its answers guarded."""
    restore, weighed = restorer.restore, restorer.restore_weighed
    gsd_m, side_by_side = restorer.gsd_m, restorer.side_by_side
    texts, errors = _are_texts(restorer.settings), restorer.errors
    check_fields(
        plugin,
        restorer,
        ("gsd_m", gsd_m is None or is_length(gsd_m), "metres above 0, or None"),
        ("settings", texts, "a mapping of texts to texts, all printable"),
        ("side_by_side", is_count(side_by_side), "a whole number from 1 up"),
        ("errors", errors is None or isinstance(errors, ErrorTable), "an ErrorTable, or None"),
    )

    def restored(tiles: Float32, corners: Sequence[Corner]) -> Float32:
        return numbers(restore(tiles, corners))

    def with_weights(tiles: Float32, corners: Sequence[Corner]) -> tuple[Float32, Float32]:
        assert weighed is not None
        clear, weights = weighed(tiles, corners)
        return numbers(clear), numbers(weights)

    return replace(
        restorer,
        **normalised(restorer),
        side_by_side=int(side_by_side),
        restore=guarded(plugin, restored),
        restore_weighed=None if weighed is None else guarded(plugin, with_weights),
    )


def _are_texts(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        is_text(text) for item in value.items() for text in item
    )


def offered_detector(plugin: EntryPoint, device: str) -> Detector:
    """The detector that an installed package offers (`decr.plugins.detector_plugin`).

    Raises
    ------
    ConfigError
        If the package fails, or makes something else.
    """
    detector = made(plugin, device=device)
    if not isinstance(detector, Detector):
        raise ConfigError(f"the detector {plugin.name!r} of {plugin.value} made no Detector")
    return guarded(plugin, _with_parts)(plugin, detector)


def _with_parts(plugin: EntryPoint, detector: Detector) -> Detector:
    """A detector and its parts, for fine scenes and for reflectance: checked, answers guarded."""
    parts, ice, probability = detector.fine, detector.ice, detector.probability

    def is_part(part: object) -> bool:
        return (
            isinstance(part, Detector)
            and (part.gsd_m, part.tells_thin) == (detector.gsd_m, detector.tells_thin)
            and part.fine == ()
            and part.ice is None
        )

    alike = "of the same gsd_m and tells_thin, without parts"
    check_fields(
        plugin,
        detector,
        ("gsd_m", is_length(detector.gsd_m), "metres above 0"),
        ("gsd_range_m", is_pair(detector.gsd_range_m), "(least, most) metres"),
        ("tells_thin", is_flag(detector.tells_thin), "True or False"),
        ("darkest", is_flag(detector.darkest), "True or False"),
        (
            "fine",
            isinstance(parts, tuple) and all(map(is_part, parts)),
            f"a tuple of Detectors {alike}",
        ),
        ("ice", ice is None or is_part(ice), f"a Detector {alike}, or None"),
    )
    return replace(
        detector,
        **normalised(detector),
        probability=guarded(plugin, lambda views: numbers(probability(views))),
        fine=tuple(_with_parts(plugin, part) for part in parts),
        ice=None if ice is None else _with_parts(plugin, ice),
    )
