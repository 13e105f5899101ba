"""What a foreign weights file may do: how much it may unpack to, and how its words are printed."""

from __future__ import annotations

import zipfile
from pathlib import Path

from decr.errors import BundleError, one_line

MAX_BYTES = 4 * 2**30
"""Most that any weights file may hold; the largest published checkpoint has 0.15 GB."""

MAX_RATIO = 20
"""Trained weights hardly compress, so contents far larger than their file are a trap."""

_SLACK = 2**20
"""Below this the ratio does not matter: small files are mostly structure."""


def check_size(path: Path, held: int) -> None:
    """Refuse contents that are absurdly large, or absurdly larger than their file.

    Parameters
    ----------
    path
        The weights file, which exists.
    held
        Bytes that the file says it unpacks to.

    Raises
    ------
    BundleError
        Naming the file and both sizes.
    """
    if held > MAX_BYTES:
        raise BundleError(
            f"{path}: says it holds {held:,} bytes of numbers, decr reads up to {MAX_BYTES:,}; "
            f"this is no published checkpoint"
        )
    stored = path.stat().st_size
    if held > MAX_RATIO * stored + _SLACK:
        raise BundleError(
            f"{path}: {stored:,} bytes that say they unpack to {held:,}; weights do not compress "
            f"like that, so the file is not safe to open; get it from its authors again"
        )


def check_file(path: Path) -> None:
    """Refuse what is no file of a sane size and name, before a byte is read: a pipe would wait.

    Raises
    ------
    BundleError
        Naming the file and what is wrong with it.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise BundleError(f"{path}: cannot read the weights: {error.strerror}") from error
    if not path.is_file():
        raise BundleError(f"{path}: cannot read the weights: a folder or device, not a file")
    if not is_utf8(path):
        raise BundleError(f"{path}: its name or a folder's is not UTF-8; rename it")
    check_size(path, size)


def is_utf8(path: Path) -> bool:
    """Whether the readers of weights, which are no Python, can be told this path."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def opened_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip archive whose contents are not larger than they may be; nothing is unpacked.

    Raises
    ------
    BundleError
        If the archive is damaged or a bomb.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
        raise BundleError(
            f"{path}: a damaged zip archive ({reason(error)}); it may be truncated, download it "
            f"again"
        ) from error
    try:
        check_size(path, sum(entry.file_size for entry in archive.infolist()))
    except BundleError:
        archive.close()
        raise
    return archive


def shown(key: object) -> str:
    """A name that a file gave, for a message: quoted, printable, and never longer than a line.

    Of what is no text, such as a tensor, only the type is told: its own text may have any form.
    """
    text = repr(key) if isinstance(key, str) else f"<{type(key).__name__}>"
    return text if len(text) <= 120 else f"{text[:116]}...'"


def reason(error: Exception) -> str:
    """What a reader said of a file, for a message: printable, short, and never empty."""
    said = one_line(error) or type(error).__name__
    return printable(said if len(said) <= 200 else f"{said[:197]}...")


def printable(text: str) -> str:
    """A line as it is, but with control characters written out: a terminal would obey them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
