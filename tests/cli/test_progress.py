"""Tests of progress bars."""

from __future__ import annotations

import sys
from contextlib import closing

import pytest

from cli.options import Progress


def test_nothing_is_shown_where_standard_error_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with closing(Progress(quiet=False)) as progress:
        progress("restore", 1, 2)
        assert progress._bar is None
