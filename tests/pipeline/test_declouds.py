"""Whole runs: what changes and what does not, whatever the batch, the area or an interruption."""

from __future__ import annotations

import itertools
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from rasterio.control import GroundControlPoint
from rasterio.errors import NotGeoreferencedWarning
from rasterio.rpc import RPC
from rasterio.shutil import copy as gdal_copy
from rasterio.warp import transform_geom

from decr.config import DecloudConfig
from decr.errors import DecrError, DecrWarning, OutputError, OutputExistsError, SceneError
from decr.geo import sources
from decr.geo.aoi import read_aoi
from decr.geo.scene import open_scene
from decr.pipeline.declouds import declouds
from decr.pipeline.first_pass import plan_scene
from decr.pipeline.outputs import check_outputs, outputs_of
from decr.predictor import Restorer
from decr.progress import silent
from tests.pipeline.scenes import GRID, cloudy_pixels, darker, read, same, write_scene

FAST: dict[str, Any] = {"detector": "threshold", "tile_px": 64, "overlap_px": 16}


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return write_scene(tmp_path / "scene.tif", cloudy_pixels(700, 900))


def test_only_cloudy_pixels_change(scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tif"
    result = declouds(scene, out, DecloudConfig(**FAST), restorer=darker())
    before, after = read(scene), read(out)
    differ = (before != after).any(axis=0)
    assert result.changed_px == differ.sum() > 0
    # Clouds, grown by margin and feather (28 m = 56 px) and one detection cell, hold every change.
    near = np.zeros(differ.shape, bool)
    cloudy = before[0] == 1900
    for row, col in np.argwhere(cloudy[::8, ::8]) * 8:
        near[max(0, row - 90) : row + 90, max(0, col - 90) : col + 90] = True
    assert not differ[~near].any()
    assert differ[cloudy].all()
    assert result.copied > 0


def test_a_scene_that_is_replaced_while_the_output_is_written_is_told(
    scene: Path, tmp_path: Path
) -> None:
    out, other = tmp_path / "out.tif", write_scene(tmp_path / "other.tif", cloudy_pixels(700, 900))

    def replace_scene(step: str, done: int, total: int) -> None:
        if step == "write" and other.exists():
            other.replace(scene)

    with pytest.raises(SceneError, match="it was changed since"):
        declouds(scene, out, DecloudConfig(**FAST), restorer=darker(), on_progress=replace_scene)
    assert not other.exists()
    assert not out.exists()


@pytest.mark.parametrize("which", ["the last part", "a new mask"])
def test_a_change_of_any_file_is_told_however_many_there_are(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    virtual, mask = tmp_path / "a.vrt", tmp_path / "scene.tif.msk"
    gdal_copy(scene, virtual, driver="VRT")
    monkeypatch.setattr(sources, "_STATES", 1)  # of two

    def spoil(step: str, done: int, total: int) -> None:
        if (step, done) == ("write", 0) and which == "the last part":
            os.utime(scene, (1, 1))
        elif step == "write" and done == 0:
            write_scene(mask, np.ones((1, 700, 900), np.uint8), names=None)

    given = virtual if which == "the last part" else scene
    with pytest.raises(SceneError, match=r"scene\.tif.*since the run began; leave all files"):
        declouds(
            given, tmp_path / "o.tif", DecloudConfig(**FAST), restorer=darker(), on_progress=spoil
        )
    assert not (tmp_path / "o.tif").exists()


def test_overviews_that_come_meanwhile_do_no_harm(scene: Path, tmp_path: Path) -> None:
    def look(step: str, done: int, total: int) -> None:
        if (step, done) == ("write", 0):
            write_scene(tmp_path / "scene.tif.ovr", np.ones((4, 350, 450), np.uint8))

    outs = tmp_path / "o.tif", tmp_path / "p.tif"
    for out, progress in zip(outs, (look, silent), strict=True):
        declouds(scene, out, DecloudConfig(**FAST), restorer=darker(), on_progress=progress)
    assert outs[0].read_bytes() == outs[1].read_bytes()


@pytest.mark.parametrize("becomes", ["gone", "cut"])
def test_the_output_is_not_blamed_for_a_part_that_fails_while_it_is_written(
    scene: Path, tmp_path: Path, becomes: str
) -> None:
    virtual = tmp_path / "v.vrt"
    gdal_copy(scene, virtual, driver="VRT")

    def spoil(step: str, done: int, total: int) -> None:
        if step == "write" and done == 0:
            scene.unlink() if becomes == "gone" else os.truncate(scene, 10_000)

    with pytest.raises(SceneError, match=r"scene\.tif.*where the run began"):
        declouds(
            virtual, tmp_path / "o.tif", DecloudConfig(**FAST), restorer=darker(), on_progress=spoil
        )
    assert not (tmp_path / "o.tif").exists()


def test_batch_size_does_not_matter(scene: Path, tmp_path: Path) -> None:
    outputs = []
    for batch in (1, 3, 4):
        out = tmp_path / f"{batch}.tif"
        declouds(scene, out, DecloudConfig(**FAST, batch=batch), restorer=darker())
        outputs.append(out.read_bytes())
    assert outputs[0] == outputs[1] == outputs[2]


def test_progress_is_told_from_the_start_and_after_every_batch(scene: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    result = declouds(
        scene,
        tmp_path / "out.tif",
        DecloudConfig(**FAST, batch=2),
        restorer=darker(),
        on_progress=lambda *step: told.append(step),
    )
    tiles = [done for stage, done, _ in told if stage == "restore"]
    assert {total for stage, _, total in told if stage == "restore"} == {result.restored}
    assert (tiles[0], tiles[-1]) == (0, result.restored)
    assert {b - a for a, b in itertools.pairwise(tiles)} <= {1, 2}
    assert [stage for stage, *_ in told][-1] == "write"
    assert [done for stage, done, _ in told if stage == "plan"] == list(range(10))  # blocks


def test_an_area_gives_the_same_pixels_as_the_whole(scene: Path, tmp_path: Path) -> None:
    whole, part = tmp_path / "whole.tif", tmp_path / "part.tif"
    corners = [GRID @ point for point in ((100, 50), (520, 90), (610, 500), (60, 430), (100, 50))]
    area = {"type": "Polygon", "coordinates": [[list(c) for c in corners]]}
    geojson = tmp_path / "aoi.geojson"
    geojson.write_text(json.dumps(transform_geom("EPSG:32650", "EPSG:4326", area, precision=12)))
    declouds(scene, whole, DecloudConfig(**FAST), restorer=darker())
    result = declouds(scene, part, DecloudConfig(**FAST, aoi=geojson), restorer=darker())
    source, full, cut = read(scene), read(whole), read(part)
    grid = open_scene(scene).grid
    inside = read_aoi(geojson, grid).mask(grid.window)
    assert 0.2 < inside.mean() < 0.4
    np.testing.assert_array_equal(cut[:, ~inside], source[:, ~inside])
    np.testing.assert_array_equal(cut[:, inside], full[:, inside])
    assert 0 < result.changed_px < (source != full).any(axis=0).sum()


def test_a_users_mask_decides(scene: Path, tmp_path: Path) -> None:
    mask = np.zeros((1, 700, 900), "uint8")
    mask[0, 300:340, 600:660] = 1
    mask_path = write_scene(tmp_path / "mask.tif", mask, names=None)
    out = tmp_path / "out.tif"
    config = DecloudConfig(**FAST, cloud_mask=mask_path, margin_m=0, feather_m=0)
    result = declouds(scene, out, config, restorer=darker())
    differ = (read(scene) != read(out)).any(axis=0)
    assert differ[300:340, 600:660].all()
    rows, cols = np.nonzero(differ)
    # One detection cell of slack at most: 8 px at 0.5 m.
    assert rows.min() >= 300 - 8
    assert rows.max() < 340 + 8
    assert cols.min() >= 600 - 8
    assert cols.max() < 660 + 8
    assert result.ccp_before == pytest.approx(40 * 60 / (700 * 900), rel=0.3)


def test_model_gsd_changes_through_a_coarser_grid(scene: Path, tmp_path: Path) -> None:
    out, identity = tmp_path / "out.tif", tmp_path / "same.tif"
    config = DecloudConfig(**FAST, gsd="model", full=True)
    declouds(scene, identity, config, restorer=same(gsd_m=1.0))
    np.testing.assert_array_equal(read(identity), read(scene))
    declouds(scene, out, config, restorer=darker(gsd_m=1.0))
    before, after = read(scene).astype(float), read(out).astype(float)
    assert (after != before).mean() > 0.9
    # Detail finer than the model's pixel survives: the change itself is smooth at block borders.
    change = after - before
    assert np.abs(np.diff(change, axis=2)).mean() < 0.2 * np.abs(np.diff(before, axis=2)).mean()


def test_gsd_far_from_the_models_is_said(scene: Path, tmp_path: Path) -> None:
    with pytest.warns(DecrWarning, match="trained at 2 m"):
        declouds(scene, tmp_path / "o.tif", DecloudConfig(**FAST), restorer=same(gsd_m=2.0))


def test_panchromatic_scene_feeds_every_model_band(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "pan.tif", cloudy_pixels(200, 300)[:1], names=None)
    declouds(
        path,
        tmp_path / "o.tif",
        DecloudConfig(**FAST, full=True),
        restorer=darker(("red", "green", "blue")),
    )
    assert (read(path) != read(tmp_path / "o.tif")).mean() > 0.9


def test_restored_pixels_never_become_nodata(tmp_path: Path) -> None:
    pixels = cloudy_pixels(150, 150)
    path = write_scene(tmp_path / "in.tif", pixels, nodata=0)
    black = Restorer("black", "1", darker().bands, None, {}, {}, lambda t, c: t * 0 - 1.0)
    declouds(
        path,
        tmp_path / "o.tif",
        DecloudConfig(**FAST, full=True, dn_range=(0, 2047)),
        restorer=black,
    )
    assert (read(tmp_path / "o.tif") == 1).all()


def test_plan_counts_every_tile_and_writes_nothing(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "in.tif", cloudy_pixels(700, 900))
    config = DecloudConfig(**FAST, model=str(tmp_path / "absent.safetensors"))
    with pytest.raises(DecrError, match="absent"):
        plan_scene(path, config)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.tif"]


@pytest.mark.parametrize("case", ["exists", "folder", "no folder", "input"])
def test_targets_that_cannot_be_are_refused_and_nothing_is_replaced(
    scene: Path, tmp_path: Path, case: str
) -> None:
    out = {
        "exists": tmp_path / "old.tif",
        "folder": tmp_path,
        "input": scene,
        "no folder": tmp_path / "nowhere" / "o.tif",
    }[case]
    (tmp_path / "old.tif").write_text("old")
    with pytest.raises(OutputError) as error:
        declouds(scene, out, DecloudConfig(**FAST), restorer=same())
    assert str(out) in str(error.value)
    assert (tmp_path / "old.tif").read_text() == "old"


@pytest.mark.parametrize("source", [0, 2047])
def test_the_largest_possible_change_does_not_wrap(tmp_path: Path, source: int) -> None:
    path = write_scene(tmp_path / "in.tif", np.full((4, 100, 100), source, "uint16"))
    turned = Restorer("turned", "1", darker().bands, None, {}, {}, lambda t, c: -t)
    config = DecloudConfig(**FAST, full=True, dn_range=(0, 2047))
    declouds(path, tmp_path / "o.tif", config, restorer=turned)
    assert (read(tmp_path / "o.tif") == 2047 - source).all()


def behind_a_vrt(scene: Path, folder: Path) -> tuple[str, Path, dict[str, Path]]:
    made = folder / "in.vrt"
    gdal_copy(scene, made, driver="VRT")
    return str(made), scene, {}


def in_an_archive(scene: Path, folder: Path) -> tuple[str, Path, dict[str, Path]]:
    made = folder / "in.zip"
    with ZipFile(made, "w") as packed:
        packed.write(scene, "s.tif")
    return f"/vsizip/{made}/s.tif", made, {}


def with_a_mask(scene: Path, folder: Path) -> tuple[str, Path, dict[str, Path]]:
    made = folder / "in.tif"
    write_scene(made, read(scene)[:1], names=None)
    return str(scene), made, {"cloud_mask": made}


def with_an_area(scene: Path, folder: Path) -> tuple[str, Path, dict[str, Path]]:
    made = folder / "in.json"
    made.write_text("{}")
    return str(scene), made, {"aoi": made}


@pytest.mark.parametrize("arranged", [behind_a_vrt, in_an_archive, with_a_mask, with_an_area])
def test_nothing_that_is_read_is_overwritten(
    scene: Path,
    tmp_path: Path,
    arranged: Callable[[Path, Path], tuple[str, Path, dict[str, Path]]],
) -> None:
    path, victim, options = arranged(scene, tmp_path)
    before = victim.read_bytes()
    with pytest.raises(OutputError, match="never overwrites its input"):
        declouds(path, victim, DecloudConfig(**FAST, **options), restorer=same(), overwrite=True)
    assert victim.read_bytes() == before


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("/vsis3/bucket/x.tif", "/vsis3/bucket/x.tif: outputs are written to files of this mach"),
        ("https://a.b/x.tif", "https:/a.b/x.tif: outputs are written to files of this machine"),
        ("x.tif.gz", "x.tif.gz: GeoTIFFs are written, and .gz means another format"),
        ("x.ZIP", "x.ZIP: GeoTIFFs are written, and .zip means another format"),
        ("-", "-: outputs go to files; choose a name that ends in .tif"),
        ("x.png", "GeoTIFFs are written, and .png means another format; choose .* ends in .tif"),
    ],
)
def test_names_of_other_places_and_formats_are_refused(
    scene: Path, monkeypatch: pytest.MonkeyPatch, out: str, said: str
) -> None:
    monkeypatch.chdir(scene.parent)
    with pytest.raises(OutputError, match=said):
        declouds(scene, Path(out), DecloudConfig(**FAST), restorer=same())


@pytest.mark.parametrize("name", ["o.tif", "o_error.tif"])
def test_pipes_and_devices_are_not_replaced(scene: Path, tmp_path: Path, name: str) -> None:
    pipe, config = tmp_path / name, DecloudConfig(error_map=True)
    os.mkfifo(pipe)
    for overwrite in (False, True):
        with pytest.raises(OutputError, match=rf"{name}: is no ordinary file; give another name"):
            check_outputs(str(scene), config, outputs_of(tmp_path / "o.tif", config), overwrite)
    assert pipe.is_fifo()


def test_what_gdal_would_take_for_a_part_of_the_output_is_not_lost(
    scene: Path, tmp_path: Path
) -> None:
    config, out = DecloudConfig(**FAST), tmp_path / "o.tif"
    for suffix in (".msk", ".ovr", ".aux.xml"):
        beside = tmp_path / f"o.tif{suffix}"
        beside.write_text("precious")
        with pytest.raises(OutputExistsError, match=rf"o\.tif\{suffix}: would be taken.*delete it"):
            declouds(scene, out, config, restorer=same())
        assert beside.read_text() == "precious"
        beside.unlink()
        with pytest.raises(OutputError, match=r"part of another raster.*ends in \.tif"):
            declouds(scene, scene.with_name(f"scene.tif{suffix}"), config, restorer=same())
    mask = write_scene(tmp_path / "o.tif.msk", np.ones((1, 700, 900), "uint8"), names=None)
    masked = DecloudConfig(cloud_mask=mask, tile_px=64, overlap_px=16)
    with pytest.raises(OutputError, match=r"o\.tif\.msk: is read by this run"):
        declouds(scene, out, masked, restorer=same(), overwrite=True)
    declouds(scene, out, config, restorer=same(), overwrite=True)
    assert not mask.exists()


def test_names_that_gdal_cannot_write_down_are_refused_before_any_work(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DecloudConfig(**FAST)
    for name in (os.fsdecode("幽州".encode("gbk")), "a\x01b"):
        folder = tmp_path / name
        folder.mkdir()
        inside = folder / "scene.tif"
        inside.write_bytes(scene.read_bytes())
        with pytest.raises(OutputError, match=r"o\.tif'.*UTF-8 text.*symbolic link"):
            declouds(scene, folder / "o.tif", config, restorer=same())
        with pytest.raises(SceneError, match=r"scene\.tif'.*UTF-8 text"):
            declouds(inside, tmp_path / "o.tif", config, restorer=same())
        monkeypatch.chdir(folder)
        with pytest.raises(OutputError, match="UTF-8 text"):
            declouds("scene.tif", "o.tif", config, restorer=same())
        assert [file.name for file in folder.iterdir()] == ["scene.tif"]
    link = tmp_path / "link"
    link.symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    assert declouds("link/scene.tif", "link/o.tif", config, restorer=same()).changed_px == 0


def _placed_by(kind: str) -> dict[str, Any]:
    """How a scene of 300 x 320 px without a transform is tied to the ground."""
    if kind == "points":
        corners = ((0, 0), (0, 320), (300, 0), (300, 320))
        gcps = [GroundControlPoint(r, c, 5e5 + 0.5 * c, 4e6 - 0.5 * r) for r, c in corners]
        return {"gcps": gcps}
    one, two, three = (np.eye(20)[n].tolist() for n in range(3))
    offsets = dict(zip(("line_off", "samp_off", "lat_off", "long_off", "height_off"),
                       (150.0, 160.0, 40.0, 117.0, 100.0), strict=True))  # fmt: skip
    scales = dict(zip(("line_scale", "samp_scale", "lat_scale", "long_scale", "height_scale"),
                      (150.0, 160.0, 0.01, 0.01, 500.0), strict=True))  # fmt: skip
    ratios = {"line_num_coeff": three, "samp_num_coeff": two}
    ratios |= {"line_den_coeff": one, "samp_den_coeff": one}
    return {"crs": None} | ({"rpcs": RPC(**offsets, **scales, **ratios)} if kind == "rpcs" else {})


@pytest.mark.parametrize("kind", ["nothing", "points", "rpcs"])
def test_what_has_no_transform_is_no_reason_to_warn(tmp_path: Path, kind: str) -> None:
    pixels = cloudy_pixels(300, 320)
    scene = write_scene(tmp_path / "s.tif", pixels, transform=None, **_placed_by(kind))
    mask = (pixels[:1] == 1900).astype(np.uint8)
    unplaced: dict[str, Any] = {"names": None, "transform": None, "crs": None}
    clouds = write_scene(tmp_path / "m.tif", mask, **unplaced)
    config = DecloudConfig(cloud_mask=clouds, tile_px=64, overlap_px=16)
    with warnings.catch_warnings():
        warnings.simplefilter("error", NotGeoreferencedWarning)
        result = declouds(scene, tmp_path / "o.tif", config, restorer=darker())
    differ = (read(tmp_path / "o.tif") != pixels).any(axis=0)
    assert result.changed_px == differ.sum() > 0
