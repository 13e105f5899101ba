"""What decides the bytes of a built set, and which parts of it decide what is measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import decr
from decr.coverage.ccp import Looking
from decr.dataset.acquisitions import Acquisitions
from decr.dataset.build_set import BuildOptions
from decr.dataset.set_folder import raster_mark
from decr.sets.files import clouds_job

_MEASURING = ("size_px", "limits", "resample", "opaque_dn")
"""Options that decide what is measured; the others, what is made of it."""


def job_of(pairs: Sequence[Acquisitions], options: BuildOptions, look: Looking) -> dict[str, Any]:
    """Everything that decides the bytes of the set; no folders, so that it can move."""
    return {
        "decr": decr.__version__,
        "options": asdict(options),
        **clouds_job(look),
        "pairs": [
            {
                "name": pair.name,
                "site": pair.site,
                "source": pair.source,
                "bands": pair.bands,
                "cloudy": raster_mark(pair.cloudy.path),
                "clear": raster_mark(pair.clear.path),
                "cloudy_date": pair.cloudy_date.when.isoformat(),
                "clear_date": pair.clear_date.when.isoformat(),
            }
            for pair in pairs
        ],
    }


def digests(pairs: Sequence[Acquisitions], job: Mapping[str, Any]) -> tuple[dict[str, str], str]:
    """What tells whether clouds and measures of an earlier run are those of this one.

    Returns
    -------
    tuple of dict and str
        Of all that decides where the clouds of an image are, by its path; and of all that decides
        what is measured of the pairs and their chips.
    """
    measuring = {key: job["options"][key] for key in _MEASURING}
    measures = _digest({**job, "options": measuring})
    looked = {key: value for key, value in job.items() if key not in ("options", "pairs")}
    clouds = {
        path: _digest({**looked, "image": [path, told[side]]})
        for pair, told in zip(pairs, job["pairs"], strict=True)
        for side, path in (("cloudy", pair.cloudy.path), ("clear", pair.clear.path))
    }
    return clouds, measures


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
