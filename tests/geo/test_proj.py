"""PROJ's data base, where the environment names another installation's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from tests.pipeline.scenes import write_scene

CODE = """
import json, sys
from click.testing import CliRunner
from cli.main import main
done = [CliRunner().invoke(main, options) for options in json.loads(sys.argv[1])]
print(json.dumps([[one.exit_code, one.stderr] for one in done]))
"""


@pytest.fixture(scope="module", params=["PROJ_LIB", "PROJ_DATA"])
def told(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[str, Path, list[tuple[int, str]]]:
    """A variable, a scene, and how `decr ccp` ends where it names the scene's folder.

    Without an area, and with one.
    """
    tmp_path = tmp_path_factory.mktemp("proj")
    place = Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)
    scene = write_scene(tmp_path / "s.tif", np.full((4, 64, 64), 50, "uint8"), transform=place)
    area = tmp_path / "a.geojson"
    area.write_text(
        '{"type": "Polygon", "coordinates": [[[15, 36], [16, 36], [16, 37], [15, 36]]]}'
    )
    plain = ["ccp", str(scene), "--detector", "threshold"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PROJ_")}
    run = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps([plain, [*plain, "--aoi", str(area)]])],
        env={**environment, request.param: str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert "Traceback" not in run.stderr
    return request.param, scene, [(code, said) for code, said in json.loads(run.stdout)]


@pytest.mark.parametrize("aoi", [False, True])
def test_a_scene_with_a_crs_is_refused_without_it(
    told: tuple[str, Path, list[tuple[int, str]]], aoi: bool
) -> None:
    """Without metres the same scene was restored otherwise, and said to have no pixel size."""
    named, scene, both = told
    code, said = both[aoi]
    assert code == 1
    assert aoi or f"{scene}: PROJ" in said  # areas are read before any scene
    assert f"cannot read its data base; unset {named}={scene.parent}" in said
