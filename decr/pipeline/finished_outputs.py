"""Which scenes a call that replaces outputs has finished, so that it goes on after a kill."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from decr.config import DecloudConfig
from decr.errors import DecrError, DecrWarning
from decr.files import json_object, write_whole
from decr.geo.gdal import gdal_environment
from decr.geo.sources import all_here
from decr.pipeline.engine import Engine
from decr.pipeline.identity import job_of
from decr.pipeline.journal import identity_of
from decr.pipeline.outputs import outputs_of
from decr.pipeline.prepare import prepare


def note_of(out: Path) -> Path:
    """The note of an output, beside it until a call of which no scene fails has ended."""
    return out.with_name(f".{out.name}.decr-finished")


def note(scene: str, out: Path, config: DecloudConfig, job: Mapping[str, Any]) -> None:
    """Note an output that has just been made, if all that it is made from lies on this machine.

    The ``job`` is everything that decides its bytes.
    """
    named = [scene] if config.cloud_mask is None else [scene, str(config.cloud_mask)]
    with suppress(DecrError, OSError):  # what is not noted is made again
        if all(map(all_here, named)):
            made = {"job": _digest(job), "files": _files(out, config)}
            write_whole(note_of(out), json.dumps(made))


def is_noted(scene: str, out: Path, config: DecloudConfig, engine: Engine | None = None) -> bool:
    """Whether an output is as it was noted, and would be made alike now."""
    found = json_object(note_of(out))
    try:
        if not found or found.get("files") != _files(out, config):
            return False
        with gdal_environment(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DecrWarning)  # told where it is made
            return bool(found.get("job") == _digest(job_of(prepare(scene, config, None, engine))))
    except (DecrError, OSError):
        return False


def forget(out: Path) -> None:
    """Forget an output: when the same call is given again, it is made anew."""
    with suppress(OSError):
        note_of(out).unlink()


def _digest(job: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()


def _files(out: Path, config: DecloudConfig) -> dict[str, dict[str, int]]:
    return {file.name: identity_of(file) for file in outputs_of(out, config).values()}
