"""PROJ's data base, where the environment names another installation's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from tests.pipeline.scenes import write_scene

CODE = """
import sys
from cli.main import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize("named", ["PROJ_LIB", "PROJ_DATA"])
@pytest.mark.parametrize("aoi", [False, True])
def test_a_scene_with_a_crs_is_refused_without_it(tmp_path: Path, named: str, aoi: bool) -> None:
    """Without metres the same scene was restored otherwise, and said to have no pixel size."""
    place = Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)
    scene = write_scene(tmp_path / "s.tif", np.full((4, 64, 64), 50, "uint8"), transform=place)
    area = tmp_path / "a.geojson"
    area.write_text(
        '{"type": "Polygon", "coordinates": [[[15, 36], [16, 36], [16, 37], [15, 36]]]}'
    )
    options = ["ccp", str(scene), "--detector", "threshold", *(["--aoi", str(area)] * aoi)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PROJ_")}
    run = subprocess.run(
        [sys.executable, "-c", CODE, *options],
        env={**environment, named: str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert run.returncode == 1
    assert aoi or f"{scene}: PROJ" in run.stderr  # areas are read before any scene
    assert f"cannot read its data base; unset {named}={tmp_path}" in run.stderr
    assert "Traceback" not in run.stderr
