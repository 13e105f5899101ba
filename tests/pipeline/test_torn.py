"""Rasters torn by a full disk of which GDAL says nothing: told, not journaled, and made anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from decr.config import DecloudConfig
from decr.errors import OutputError
from decr.geo import layers
from decr.pipeline import patch_file
from decr.pipeline.declouds import declouds
from decr.pipeline.error_map import error_map_path
from tests.coverage.test_ccp import found
from tests.geo.full_disk import cut
from tests.pipeline.scenes import cloudy_pixels, darker, write_scene
from tests.pipeline.test_declouds import FAST
from tests.pipeline.test_error_map import CONFIG, measured

SOFT: dict[str, Any] = {"detector": "threshold", "feather_m": 16}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two by two blocks; no test changes it."""
    return write_scene(tmp_path_factory.mktemp("scene") / "scene.tif", cloudy_pixels(400, 500))


@pytest.fixture(scope="module")
def whole(scene: Path) -> Path:
    """What is made of it where nothing is torn, with a map of errors beside it."""
    declouds(scene, scene.with_name("whole.tif"), CONFIG, restorer=measured())
    return scene.with_name("whole.tif")


@pytest.fixture(scope="module")
def coverage(scene: Path) -> Path:
    """Rasters of its clouds."""
    found(scene, scene.with_name("coverage"), **SOFT)
    return scene.with_name("coverage")


def tear(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, share: float) -> None:
    """Let files of a name be cut as soon as GDAL has closed them."""
    check_whole = module.check_whole

    def torn(file: Path, *more: Any) -> None:
        if name in file.name:
            cut(file, share)
        check_whole(file, *more)

    monkeypatch.setattr(module, "check_whole", torn)


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_torn_error_map_is_not_kept(
    scene: Path, whole: Path, tmp_path: Path, share: float
) -> None:
    out = tmp_path / "out.tif"
    with pytest.MonkeyPatch.context() as patched:
        tear(patched, layers, "errors.tif", share)
        with pytest.raises(OutputError, match=r"out_error\.tif: .* free space"):
            declouds(scene, out, CONFIG, restorer=measured())
    assert not out.exists()
    assert not error_map_path(out).exists()
    assert declouds(scene, out, CONFIG, restorer=measured()).resumed
    assert error_map_path(out).read_bytes() == error_map_path(whole).read_bytes()
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("share", [0.5, 0.99])
def test_a_torn_patch_is_not_kept(scene: Path, whole: Path, tmp_path: Path, share: float) -> None:
    out, config = tmp_path / "out.tif", DecloudConfig(**FAST, dn_range=CONFIG.dn_range)
    with pytest.MonkeyPatch.context() as patched:
        tear(patched, patch_file, "patch_", share)
        with pytest.raises(OutputError, match="free some"):
            declouds(scene, out, config, restorer=darker())
    assert not list(Path(f"{out}.decr-work").glob("patch_*.tif"))
    assert '"patch"' not in Path(f"{out}.decr-work", "journal.jsonl").read_text()
    declouds(scene, out, config, restorer=darker())
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("kind", ["mask", "probability", "weight"])
def test_a_torn_raster_of_coverage_is_one_error_and_made_by_the_next_run(
    scene: Path, coverage: Path, tmp_path: Path, kind: str
) -> None:
    out, whole = tmp_path / "out", {file.name: file.read_bytes() for file in coverage.iterdir()}
    said = rf"scene_{kind}\.tif: cannot be written: .* free space"
    with pytest.MonkeyPatch.context() as patched:
        tear(patched, layers, kind, 0.9)
        with pytest.raises(OutputError, match=said):
            found(scene, out, **SOFT)
    assert not (out / f"scene_{kind}.tif").exists()
    # An earlier version left it there.
    (out / f"scene_{kind}.tif").write_bytes(whole[f"scene_{kind}.tif"][:900])
    found(scene, out, **SOFT)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == whole
    assert len(whole) == 3


def test_what_is_left_of_a_torn_soft_edge_goes_with_the_next_run(
    scene: Path, tmp_path: Path
) -> None:
    found(scene, tmp_path / "out", **SOFT)
    cut(tmp_path / "out" / "scene_weight.tif", 0.4)
    found(scene, tmp_path / "out", detector="threshold")
    names = {f.name for f in (tmp_path / "out").iterdir()}
    assert names == {"scene_mask.tif", "scene_probability.tif"}
