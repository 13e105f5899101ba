"""What a built set warns of: gains and pairs that may be wrong."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from decr.dataset.acquisitions import PairRow, open_pairs
from decr.dataset.match import fit_match
from decr.dataset.measure import PairFacts, tell_doubtful
from decr.errors import DecrWarning
from tests.dataset.two_dates import TwoDates, write
from tests.sets.built import QUICK, build


@pytest.mark.parametrize(("tau", "changed"), [(0.0, 60), (0.2, 60), (0.4, 45)])
def test_gains_that_missed_haze_may_have_bent_are_told(
    dates: TwoDates, tau: float, changed: float
) -> None:
    """Over 30 % of cells that the detector took for clear, on ground that changed a little."""
    pair, rng = open_pairs([PairRow(dates.cloudy, dates.clear)])[0], np.random.default_rng(0)
    clear = np.tile(rng.normal(520, 100, 900), (4, 1))
    passed = np.exp(-tau * np.clip(rng.uniform(-7, 3, 900), 0, 1))
    cloudy = (1.1 * clear + rng.normal(0, changed, clear.shape)) * passed + 1800 * (1 - passed)
    found = fit_match(clear, cloudy)
    assert found is not None
    told = {pair.name: PairFacts(None, found, 1800.0, None)}
    least = min(found.correlation)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tell_doubtful(told, {pair.name: pair})
    assert len(caught) == (least < 0.8) == (tau > 0)
    if caught:
        gain = found.gain[found.correlation.index(least)]
        fits = f"gain {gain:.2f}, but anything from {least * gain:.2f} to {gain / least:.2f} fits)"
        assert fits in str(caught[0].message)
        assert "haze that was not found" in str(caught[0].message)
    else:
        assert found.gain == pytest.approx([1.1] * 4, rel=0.25)


def test_a_pair_that_looks_little_alike_is_told(dates: TwoDates, tmp_path: Path) -> None:
    """In near infrared only; the rest tells the shift."""
    with rasterio.open(dates.clear) as file:
        clear = file.read()
    height, width = clear.shape[1:]
    crops = np.random.default_rng(0).normal(0, 400, (height // 8, width // 8))
    fields = np.kron(crops, np.ones((8, 8)))
    clear[3] = np.clip(clear[3] + fields, 1, 2047)
    (tmp_path / "in").mkdir()
    path = write(tmp_path / "in" / "clear.tif", clear, TIFFTAG_DATETIME="2024:05:14 03:05:00")
    with pytest.warns(DecrWarning, match=r"1 of 1 pairs, such as cloudy \(nir: correlation 0\.\d"):
        built = build(replace(dates, clear=path), tmp_path / "set", QUICK)
    alike = built.acquisitions[0]["match"]["correlation"]
    assert min(alike[:3]) > 0.9
    assert alike[3] < 0.5
    card = (tmp_path / "set" / "README.md").read_text()
    assert f"| {', '.join(f'{r:.2f}' for r in alike)} |" in card
    clear[3] = 2047 - clear[2]
    write(path, clear, TIFFTAG_DATETIME="2024:05:14 03:05:00")
    with pytest.warns(DecrWarning, match=r"such as cloudy \(no gain can be told\)"):
        build(replace(dates, clear=path), tmp_path / "inverse", QUICK)
