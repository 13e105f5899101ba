"""Tests of the script behind the table of ranges in detectors.md."""

from __future__ import annotations

import numpy as np

from decr.dataset.samples import ClearImage
from docs.make_ccp_tables import BANDS, FOUR, PAGE, THREE
from docs.make_ranges import SHOWN, rows_of, scenes


def test_the_table_is_filled() -> None:
    text = PAGE.read_text()
    assert "python docs/make_ranges.py --root IMAGERY" in text
    for shown in SHOWN:
        assert f"| {FOUR} | {shown} |" in text


def test_scenes_are_seeded_and_looked_at_in_three_ranges() -> None:
    dn = np.random.default_rng(0).integers(20, 90, (4, 160, 160)).astype(np.uint8)
    images = [ClearImage("a", dn, BANDS, 0.6, 255.0)]
    one, other = (scenes(images, 2, 256, clouded=True) for _ in range(2))
    assert one == other
    assert [*one[0].found] == [f"{name} | {shown}" for name in (THREE, FOUR) for shown in SHOWN]
    assert all(sky.true > 0 for sky in one)
    found = np.array([[*sky.found.values()] for sky in one])
    assert len(np.unique(found[0])) > 1  # what it is shown decides what it finds
    clear = scenes(images, 1, 256, clouded=False)
    rows = rows_of([*one, *clear])
    assert rows[-1].startswith(f"| none | 1 | 0.0 | {FOUR} | {SHOWN[-1]} | ")
