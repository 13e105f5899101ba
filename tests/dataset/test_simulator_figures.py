"""Tests of the measures that compare simulated with real clouds: they find what is put in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from decr.dataset.simulate import random_field
from decr.dataset.sky import PRESETS
from docs.make_simulator_figures import (
    PAGE,
    View,
    cloud_colour,
    edge_profile,
    fill,
    half_way_px,
    measure,
    real_views,
    shadow_depth,
    simulated_views,
    slope,
    spectrum,
    table,
)


def step_view(rise_px: float = 0.0) -> View:
    """Ground of 0.1 left of column 64, cloud that rises to (0.5, 0.5, 0.6, 0.7) right of it."""
    col = np.arange(128) - 64 + 0.5
    height = np.clip(col / rise_px, 0, 1) if rise_px else (col > 0).astype(float)
    tops = np.array([0.5, 0.5, 0.6, 0.7])[:, None, None]
    image = np.broadcast_to(0.1 + (tops - 0.1) * height, (4, 128, 128)).astype(np.float32).copy()
    cloud = np.broadcast_to(col > 0, (128, 128)).copy()
    shadow = np.zeros_like(cloud)
    shadow[:, 20:40] = True
    image[:, :, 20:40] *= np.array([0.8, 0.7, 0.6, 0.5], np.float32)[:, None, None]
    return View(image, cloud, ~cloud & ~shadow, shadow)


@pytest.mark.parametrize("exponent", [2.0, 3.0, 3.6])
def test_the_exponent_of_a_field_is_found(exponent: float) -> None:
    found = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        field = random_field(
            rng, (256, 256), gsd_m=1.0, outer_scale_m=1e4, roughness=exponent - 1.0
        )
        found.append(slope(*spectrum(field)))
    # The field's power falls with roughness + 1, see `random_field`.
    assert np.mean(found) == pytest.approx(-exponent, abs=0.25)


def test_edges_are_found_where_they_are() -> None:
    sharp, soft = edge_profile(step_view()), edge_profile(step_view(8.0))
    assert sharp is not None
    assert soft is not None
    assert half_way_px(sharp) == 0.5
    assert half_way_px(soft) == pytest.approx(4.5, abs=1.0)
    nothing = np.zeros((64, 64), bool)
    assert edge_profile(View(np.zeros((4, 64, 64), np.float32), nothing, ~nothing, nothing)) is None


def test_colour_and_shadow_are_found() -> None:
    view = step_view()
    assert cloud_colour(view) == pytest.approx([1.0, 1.0, 1.2, 1.4], rel=1e-5)
    assert shadow_depth(view) == pytest.approx([0.8, 0.7, 0.6, 0.5], rel=1e-5)


def test_the_table_is_put_between_its_comments(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- measured -->\nold\n<!-- /measured -->\nb\n")
    fill(page, "new\n")
    fill(page, "newer\n")
    assert page.read_text() == "a\n<!-- measured -->\nnewer\n<!-- /measured -->\nb\n"
    assert "<!-- measured -->\n| " in PAGE.read_text()


def test_presets_come_closer_to_real_clouds_than_the_default(shared: Path) -> None:
    real = real_views(shared / "data" / "cloud_masks_l8biome")
    grounds = [real["Wetlands_01_0416"].image]
    groups = {"real": measure(list(real.values()))}
    for name in ("default", "cuhk-cr2"):
        groups[name] = measure(simulated_views(PRESETS[name], grounds, 20))

    def apart(name: str) -> tuple[float, float]:
        rise = {k: np.median([p[13] - p[10] for p in groups[k].profiles]) for k in ("real", name)}
        nir = {k: np.median(groups[k].colours, axis=0)[3] for k in ("real", name)}
        return abs(rise["real"] - rise[name]), abs(nir["real"] - nir[name])

    near, far = apart("cuhk-cr2"), apart("default")
    assert near[0] < far[0]
    assert near[1] < far[1]
    assert table(groups, []).count("\n") == 14
