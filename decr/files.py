"""Small files: each appears whole or not at all."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from decr.errors import OutputError


def writable_folder(folder: Path) -> Path:
    """Make a folder, before hours of work go into what it cannot take.

    Raises
    ------
    OutputError
        If it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _refused(folder, error) from error
    return folder


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file by one rename, also beside other calls that write it; its folder is made.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise


def write_report_file(path: Path, content: str | bytes) -> None:
    """As `write_whole`, for a file of a report.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    try:
        write_whole(path, content)
    except OSError as error:
        raise _refused(path, error) from error


def _refused(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{path}: cannot write the report there ({error.strerror}); name another folder for it"
    )
