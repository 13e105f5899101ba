"""What several tests need: the folder of real data, where there is one."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

# How long a draw takes says more of what else the machine does: no test here is about time.
hypothesis.settings.register_profile("decr", deadline=None)
hypothesis.settings.load_profile("decr")

# Networks this small gain nothing from threads, and threads that wait for each other on a busy
# machine make them ten to seventy times slower. Read when torch is first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real data and conformance vectors: DECR_SHARED, else `shared` beside the checkout.

    Tests that ask for it are skipped, with a reason, where there is none.
    """
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("DECR_SHARED") or beside)
    if not folder.is_dir():
        pytest.skip(f"real data absent: no folder {folder}; set DECR_SHARED to where it is")
    return folder
