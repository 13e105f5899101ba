"""`decr declouds --error-map`: right numbers at the right place, whatever was done to get there."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
from click.testing import CliRunner

from cli.main import main
from decr.calibration import ErrorTable
from decr.config import DecloudConfig
from decr.errors import ConfigError, OutputError
from decr.pipeline.declouds import DecloudResult, declouds
from decr.pipeline.declouds_array import declouds_array
from decr.pipeline.error_map import error_map_path
from decr.pipeline.many import declouds_many
from decr.predictor import Restorer
from decr.zoo.bundle import read_card, save_with_card
from tests.pipeline.scenes import cloudy_pixels, darker, read, write_scene
from tests.pipeline.test_declouds import FAST
from tests.tiny import tiny_bundle

TABLE = ErrorTable((-1.0, 0.0, 1.0), (0.02, 0.1, 0.4), {}, "made up for a test")
CONFIG = DecloudConfig(**FAST, error_map=True, dn_range=(0, 2000))


def measured(table: ErrorTable = TABLE) -> Restorer:
    """`darker` with a table."""
    return replace(darker(), errors=table)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DecloudResult]:
    """A scene with a hole, and what is made of it; no test changes either."""
    folder = tmp_path_factory.mktemp("made")
    pixels = cloudy_pixels(480, 600)
    pixels[:, :40, 400:] = 0
    scene = write_scene(folder / "scene.tif", pixels, nodata=0)
    return scene, declouds(scene, folder / "whole.tif", CONFIG, restorer=measured())


@pytest.fixture
def scene(made: tuple[Path, DecloudResult], tmp_path: Path) -> Path:
    """In a folder that a test may change."""
    return Path(shutil.copy2(made[0], tmp_path))


@pytest.fixture
def whole(made: tuple[Path, DecloudResult]) -> Path:
    return Path(made[1].out)


def test_expected_errors_are_the_tables_where_pixels_were_changed(
    made: tuple[Path, DecloudResult],
) -> None:
    scene, result = made
    out = Path(result.out)
    found = error_map_path(out)
    assert result.error_map == str(found) == str(out.with_name("whole_error.tif"))
    with rasterio.open(found) as file, rasterio.open(scene) as source:
        values = file.read(1)
        assert (file.crs, file.transform, file.shape) == (source.crs, source.transform, (480, 600))
        assert file.dtypes == ("float32",)
        assert np.isnan(file.nodata)
        tags = file.tags(ns="DECR")
    assert tags["MEASURED"] == "made up for a test"
    assert tags["MODEL"] == "darker"
    before, after = read(scene), read(out)
    valid = (before != 0).all(axis=0)
    np.testing.assert_array_equal(np.isnan(values), ~valid)
    # Deep inside a cloud the weight is 1, and 1900 of 2000 is 0.9 in unit.
    assert values[100, 100] == pytest.approx((0.1 + 0.9 * 0.3) * 1000, rel=1e-5)
    changed = (before != after).any(axis=0)
    assert (values[changed] > 0).all()
    far = values == 0
    assert far[valid].mean() > 0.2
    np.testing.assert_array_equal(after[:, far], before[:, far])
    # Half a weight leaves half of it: never more than the table says for the pixel.
    unit = before.astype(float).min(0) / 1000 - 1
    most = np.interp(unit, TABLE.brightness, TABLE.error) * 1000
    assert (values[valid] <= most[valid] * (1 + 1e-5)).all()
    assert ((values > 0) & (values < 0.9 * most))[valid].any()


def test_everything_is_expected_to_be_off_with_full(scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tif"
    declouds(scene, out, replace(CONFIG, full=True), restorer=measured())
    before, (values,) = read(scene).astype(float), read(error_map_path(out))
    valid = (before != 0).all(axis=0)
    wanted = np.interp(before.min(0) / 1000 - 1, TABLE.brightness, TABLE.error) * 1000
    np.testing.assert_allclose(values[valid], wanted[valid], rtol=1e-5)


def test_the_output_is_the_same_with_and_without(scene: Path, whole: Path, tmp_path: Path) -> None:
    without = tmp_path / "without.tif"
    result = declouds(scene, without, replace(CONFIG, error_map=False), restorer=measured())
    assert whole.read_bytes() == without.read_bytes()
    assert result.error_map is None
    assert not error_map_path(without).exists()


def test_batch_area_and_interruption_do_not_matter(
    scene: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = error_map_path(whole).read_bytes()
    batch = tmp_path / "batch.tif"
    declouds(scene, batch, replace(CONFIG, batch=1), restorer=measured())
    assert error_map_path(batch).read_bytes() == wanted
    # Dies before the map, after it, and after everything but tidying up.
    for number, name in enumerate(("write_error_map", "write_cog", "discard")):
        out = tmp_path / f"dies{number}.tif"
        with monkeypatch.context() as patched:
            patched.setattr(f"decr.pipeline.declouds.{name}", _killed)
            with pytest.raises(KeyboardInterrupt):
                declouds(scene, out, CONFIG, restorer=measured())
        assert error_map_path(out).exists() == (number > 0)
        result = declouds(scene, out, CONFIG, restorer=measured())
        assert result.resumed
        assert error_map_path(out).read_bytes() == wanted
        assert out.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob("*.decr-work"))


def test_an_area_cuts_the_map_and_nothing_else(scene: Path, whole: Path, tmp_path: Path) -> None:
    area = tmp_path / "area.geojson"
    ring = [[117.0, 36.1], [117.0012, 36.1], [117.0012, 36.2], [117.0, 36.2], [117.0, 36.1]]
    area.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    part = tmp_path / "part.tif"
    declouds(scene, part, replace(CONFIG, aoi=area), restorer=measured())
    (all_of_it,), (cut,) = read(error_map_path(whole)), read(error_map_path(part))
    inside = cut > 0
    assert 0.02 < inside.mean() < 0.9 * (all_of_it > 0).mean()
    np.testing.assert_array_equal(cut[inside], all_of_it[inside])
    np.testing.assert_array_equal(np.isnan(cut), np.isnan(all_of_it))


def _killed(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_a_model_without_a_table_says_how_to_get_one(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", cloudy_pixels(90, 120))
    out = tmp_path / "out.tif"
    told = r"darker has no table.*models calibrate MODEL.*another package"
    with pytest.raises(ConfigError, match=told):
        declouds(scene, out, CONFIG, restorer=darker())
    bundle = tiny_bundle(tmp_path, 4)
    given = ["declouds", str(scene), "-o", str(out), "--detector", "threshold", "--error-map"]
    given += ["--tile", "64", "--overlap", "16", "--model", str(bundle), "--device", "cpu", "-q"]
    done = CliRunner().invoke(main, given)
    assert done.exit_code == 1
    assert "decr models calibrate" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    table = replace(TABLE, settings={"steps": "3", "prior_floor": "0.4"})
    save_with_card(bundle, bundle, replace(read_card(bundle), errors=table))
    done = CliRunner().invoke(main, [*given, "--steps", "1"])
    assert done.exit_code == 1
    assert "measured with steps 3, this run has 1" in done.stderr
    assert not out.exists()
    done = CliRunner().invoke(main, given)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-2:] == [str(out), str(error_map_path(out))]
    assert error_map_path(out).exists()


def test_files_of_others_are_left_alone(scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tif"
    error_map_path(out).write_text("mine")
    with pytest.raises(OutputError, match=r"out_error\.tif: exists already"):
        declouds(scene, out, CONFIG, restorer=measured())
    assert error_map_path(out).read_text() == "mine"
    assert not out.exists()
    declouds(scene, out, CONFIG, restorer=measured(), overwrite=True)
    assert read(error_map_path(out)).shape == (1, 480, 600)
    (tmp_path / "folder_error.tif").mkdir()
    with pytest.raises(OutputError, match=r"folder_error\.tif: is a folder"):
        declouds(scene, tmp_path / "folder.tif", CONFIG, restorer=measured(), overwrite=True)
    here = error_map_path(scene.with_name("scene.tif"))
    here.write_bytes(scene.read_bytes())
    with pytest.raises(OutputError, match="is the input itself"):
        declouds(here, scene.with_name("scene.tif"), CONFIG, restorer=measured(), overwrite=True)
    names = ["a/town.tif", "b/town_error.tif"]
    with pytest.raises(ConfigError, match="both an output and another's map"):
        list(declouds_many(names, tmp_path / "many", CONFIG))
    with pytest.raises(ConfigError, match="without a map of errors"):
        declouds_array(xr.DataArray(np.zeros((4, 8, 8)), dims=("band", "y", "x")), CONFIG)


def test_what_would_be_taken_for_a_part_of_the_map_is_not_lost(scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "q.tif"
    for suffix in (".msk", ".ovr", ".aux.xml"):
        beside = tmp_path / f"q_error.tif{suffix}"
        beside.write_bytes(scene.read_bytes())
        with pytest.raises(OutputError, match=rf"q_error\.tif\{suffix}: would be taken"):
            declouds(scene, out, CONFIG, restorer=measured())
        with pytest.raises(OutputError, match=rf"q_error\.tif\{suffix}: is read by this run"):
            declouds(beside, out, CONFIG, restorer=measured(), overwrite=True)
    declouds(scene, out, CONFIG, restorer=measured(), overwrite=True)
    assert sorted(file.name for file in tmp_path.glob("q*")) == ["q.tif", "q_error.tif"]


def test_coarser_work_has_the_same_map(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "in.tif", cloudy_pixels(300, 320))
    model = replace(darker(gsd_m=1.0), errors=TABLE)
    maps = []
    for gsd in ("native", "model"):
        out = tmp_path / f"{gsd}.tif"
        declouds(path, out, replace(CONFIG, gsd=gsd), restorer=model)
        maps.append(read(error_map_path(out)))
    np.testing.assert_array_equal(maps[0], maps[1])
    assert (maps[0] > 0).any()
