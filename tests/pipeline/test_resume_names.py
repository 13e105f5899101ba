"""Which other command goes on with finished work, and what is said where it is thrown away."""

from __future__ import annotations

import errno
import json
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decr.config import DecloudConfig
from decr.errors import DecrWarning, OutputError
from decr.pipeline.declouds import DecloudResult, declouds
from decr.pipeline.identity import job_of
from decr.pipeline.journal import still_whole, work_dir
from decr.pipeline.prepare import prepare
from decr.zoo.bundle import save_bundle
from tests.pipeline.scenes import cloudy_pixels, darker, same, write_scene
from tests.tiny import DETECTOR, tiny_card, tiny_networks

FAST: dict[str, Any] = {"detector": "threshold", "tile_px": 64, "overlap_px": 16}
AREA = [[116.99, 36.13], [117.01, 36.13], [117.01, 36.15], [116.99, 36.15], [116.99, 36.13]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Holds a scene, a mask, an area, weights and a link to itself, and is the current one."""
    write_scene(tmp_path / "s.tif", cloudy_pixels(200, 300))
    write_scene(tmp_path / "m.tif", np.ones((1, 200, 300), np.uint8), names=None)
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [AREA]}))
    save_bundle(tmp_path / "d.safetensors", tiny_card(DETECTOR, 3), tiny_networks(DETECTOR, 3))
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _job(start: str, **options: Any) -> dict[str, Any]:
    detector = f"{start}d.safetensors"
    given = {"detector": detector, "model": f"{start}d.safetensors", "aoi": f"{start}a.geojson"}
    config = DecloudConfig(**{**given, **options})
    return job_of(prepare(f"{start}s.tif", config, same()))


@pytest.mark.parametrize("start", ["", "./", "link/", "{}/", "{}//link/../{}/"])
def test_a_job_is_the_same_however_names_are_written(folder: Path, start: str) -> None:
    there = start.format(folder, folder.name)
    for mask in (False, True):
        masks = [{"cloud_mask": f"{place}m.tif"} if mask else {} for place in ("", there)]
        assert _job("", **masks[0]) == _job(there, **masks[1])
    assert _job("") != _job("", seed=1)


def test_a_job_has_all_names_whole(folder: Path) -> None:
    job = _job("", cloud_mask="m.tif")
    names = {"scene": "s.tif", "aoi": "a.geojson", "cloud_mask": "m.tif", "model": "d.safetensors"}
    told = {"scene": job["scene"], **job["options"]}
    assert {key: told[key] for key in names} == {k: f"{folder}/{n}" for k, n in names.items()}
    assert set(job["files"]) == {f"{folder}/{name}" for name in ("s.tif", "m.tif", "a.geojson")}
    shutil.copy("s.tif", "t.tif")
    Path("t.tif").replace("link/s.tif")
    assert _job("", cloud_mask="m.tif") != job  # another file of that name


def test_names_of_decr_and_bands_that_the_file_has_are_no_other_job(folder: Path) -> None:
    plain = job_of(prepare("s.tif", DecloudConfig(**FAST), same()))
    (folder / "threshold").write_text("no detector")
    assert job_of(prepare("s.tif", DecloudConfig(**FAST, bands="b,g,r,n"), same())) == plain
    assert job_of(prepare("s.tif", DecloudConfig(**FAST, bands="r,g,b,n"), same())) != plain


def _cut(monkeypatch: pytest.MonkeyPatch, name: str, **options: Any) -> None:
    """Leave all blocks finished and no output."""

    def stopped(*arguments: object, **more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("decr.pipeline.declouds.write_cog", stopped)
        with pytest.raises(KeyboardInterrupt):
            _restored(name, **options)


def _restored(name: str, **options: Any) -> DecloudResult:
    return declouds(name, "o.tif", DecloudConfig(**{**FAST, **options}), restorer=darker())


@pytest.mark.parametrize("first", ["s.tif", "{}/s.tif"])
def test_a_run_goes_on_by_another_name_of_its_scene(
    folder: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    _cut(monkeypatch, first.format(folder))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _restored("./s.tif", bands="b,g,r,n").resumed


def test_finished_work_is_thrown_away_with_a_warning_that_says_what_is_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _cut(monkeypatch, "s.tif")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DecrWarning, match=r"throws away \d+ finished parts .*: seed 0 -> 5;"):
            _restored("s.tif", seed=5)
        assert _restored("s.tif").resumed  # nothing was gone when it was said


def test_what_is_other_is_told_once_and_in_short(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _cut(monkeypatch, "s.tif", seed=1)
    os.utime("s.tif", (1, 1))
    changes = {"tile_px": 96, "overlap_px": 8, "threshold": 0.25, "margin_m": 8, "feather_m": 2}
    with pytest.warns(DecrWarning) as caught:
        _restored("s.tif", **changes)
    (said,) = [str(w.message) for w in caught if "throws away" in str(w.message)]
    assert said.startswith("o.tif.decr-work: throws away ")
    assert "margin_m 12.0 -> 8.0, overlap_px 16 -> 8, seed 1 -> 0, threshold 0.5 -> 0.25" in said
    assert said.endswith("; to keep such work, name another output")
    assert " and 2 more; " in said


def test_a_changed_scene_and_a_damaged_job_are_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _cut(monkeypatch, "s.tif")
    os.utime("s.tif", (1, 1))
    size = Path("s.tif").stat().st_size
    with pytest.warns(DecrWarning, match=rf"/s\.tif \[{size}, \d+\] -> \[{size}, 1000000000\];"):
        _cut(monkeypatch, "s.tif")
    Path("o.tif.decr-work/job.json").write_bytes(b"\0\xff")
    with pytest.warns(DecrWarning, match=r"its job\.json is damaged"):
        _restored("s.tif")


def test_keys_of_addresses_are_not_told(tmp_path: Path) -> None:
    address = "https://host/s.tif?sig="
    with work_dir(tmp_path / "o.tif", {"scene": f"{address}OLDSECRET"}) as work:
        work.note("block", 0, 0)
    with (
        pytest.warns(DecrWarning, match=r"scene https://host/s\.tif by another query;"),
        work_dir(tmp_path / "o.tif", {"scene": f"{address}SECRET"}) as work,
    ):
        assert not work.done


@pytest.mark.parametrize(("number", "kept"), [(errno.EMFILE, True), (errno.EIO, False)])
def test_work_that_is_only_out_of_reach_is_not_to_be_deleted(
    tmp_path: Path, number: int, kept: bool
) -> None:
    with pytest.raises(OutputError) as told, still_whole(tmp_path / "b.npz", tmp_path):
        raise OSError(number, os.strerror(number))
    assert ("ulimit -n" in str(told.value)) == kept
    assert ("what is finished is kept" in str(told.value)) == kept
    assert ("delete the folder" in str(told.value)) != kept


def test_a_run_that_was_only_to_be_tidied_up_loses_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("decr.pipeline.declouds.discard", killed)
        with pytest.raises(KeyboardInterrupt):
            _restored("s.tif")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        declouds("s.tif", "o.tif", DecloudConfig(**FAST, seed=1), restorer=darker(), overwrite=True)
    assert not Path("o.tif.decr-work").exists()
