"""Which scenes a call that replaces outputs has finished, so that it goes on after a kill."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import decr
from decr.config import DecloudConfig
from decr.errors import DecrError
from decr.files import json_object, write_whole
from decr.pipeline.identity import state_of
from decr.pipeline.journal import identity_of
from decr.pipeline.outputs import outputs_of, read_files

FILE = ".decr-finished.json"
"""In the folder of the outputs, until a call of which no scene fails has ended."""


def read_by(scene: str, config: DecloudConfig) -> str | None:
    """SHA-256 of what a scene is restored from, and how; None if that cannot be told."""
    try:
        files = {str(file): state_of(file) for file in read_files(scene, config)}
    except (DecrError, OSError):
        return None
    options = {key: str(value) for key, value in asdict(config).items()}
    told = json.dumps([decr.__version__, scene, options, files], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def note(out: Path, config: DecloudConfig, read: str) -> None:
    """Note an output that has just been made."""
    with suppress(OSError):
        made = _made(out, config, read)
        _rewrite(out.parent, {**json_object(out.parent / FILE), out.name: made})


def noted(out: Path, config: DecloudConfig, read: str) -> bool:
    """Whether the files of an output are those that were noted, made from the same in one way."""
    found = json_object(out.parent / FILE).get(out.name)
    try:
        return found is not None and found == _made(out, config, read)
    except OSError:
        return False


def forget(folder: Path, names: Collection[str]) -> None:
    """Forget outputs: when the same call is given again, they are made anew."""
    known = json_object(folder / FILE)
    if known.keys() & names:
        _rewrite(folder, {name: one for name, one in known.items() if name not in names})


def _made(out: Path, config: DecloudConfig, read: str) -> dict[str, Any]:
    files = outputs_of(out, config).values()
    return {"read": read, "files": {file.name: identity_of(file) for file in files}}


def _rewrite(folder: Path, known: dict[str, Any]) -> None:
    with suppress(OSError):  # what is not noted is made again
        if known:
            write_whole(folder / FILE, json.dumps(known))
        else:
            (folder / FILE).unlink()
