"""How much of a mapped file is in memory."""

from __future__ import annotations

from pathlib import Path


def resident_bytes(path: Path) -> int:
    """How much of a mapped file is in this process's memory, whatever else fills and leaves it."""
    lines = Path("/proc/self/smaps").read_text().splitlines()
    starts = [at for at, line in enumerate(lines) if line.endswith(str(path))]
    sizes = [next(line for line in lines[at:] if line.startswith("Rss:")) for at in starts]
    return 1024 * sum(int(size.split()[1]) for size in sizes)
