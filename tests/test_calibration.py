"""Tests of tables of expected errors: what they answer, and what is no table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decr.calibration import ErrorTable

TABLE = ErrorTable((-0.8, 0.0, 0.9), (0.02, 0.1, 0.3), {"steps": "3"}, "a test")


def test_the_darkest_band_decides_and_ends_hold() -> None:
    cloudy = np.array([[-1.0, -0.8, -0.4, 0.0, 0.45, 0.9, 1.0], [1.0] * 7], np.float32)[:, None]
    found = TABLE.expected(cloudy)
    assert (found.shape, found.dtype) == ((1, 7), np.float32)
    np.testing.assert_allclose(found[0], [0.02, 0.02, 0.06, 0.1, 0.2, 0.3, 0.3], rtol=1e-6)


@given(st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=30))
def test_brighter_is_never_expected_to_be_better(values: list[float]) -> None:
    ascending = np.sort(np.array(values, np.float32))[None, None]
    assert (np.diff(TABLE.expected(ascending)[0]) >= 0).all()


@pytest.mark.parametrize(
    ("brightness", "error"),
    [
        ((0.0,), (0.1,)),
        ((0.0, 1.0), (0.1,)),
        ((1.0, 0.0), (0.1, 0.2)),
        ((0.0, 0.0), (0.1, 0.2)),
        ((0.0, 1.0), (0.2, 0.1)),
        ((0.0, 1.0), (-0.1, 0.1)),
        ((0.0, float("nan")), (0.1, 0.2)),
        ((0.0, 1.0), (0.1, float("inf"))),
    ],
)
def test_what_is_no_table_of_errors_is_refused(
    brightness: tuple[float, ...], error: tuple[float, ...]
) -> None:
    with pytest.raises(ValueError, match="no table of expected errors"):
        ErrorTable(brightness, error, {}, "")


def test_it_needs_neither_torch_nor_rasterio() -> None:
    code = "import sys, decr.calibration; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"torch", "rasterio", "scipy"} & {m.split(".")[0] for m in done.stdout.split()}
