"""Pansharpening on a full disk, or killed: one error, nothing left, and a next run as if new."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from decr.errors import OutputError, SceneError
from decr.geo import pansharpen as pansharpen_module
from decr.geo.pansharpen import pansharpen
from tests.geo.full_disk import files_up_to
from tests.geo.two_images import images


@pytest.mark.parametrize("file", ["pan.vrt", "ms.vrt", "fused.vrt", "described.vrt"])
def test_a_full_disk_is_one_error_also_while_virtual_files_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    pan, ms = images(tmp_path, 400, 400)
    out, write_bytes = tmp_path / "o" / "out.tif", Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name == file:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"out\.tif: cannot be written \(No space .* run again$"):
        pansharpen(pan, ms, out)
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize("share", [0.004, 0.5, 0.97])
def test_a_full_disk_is_told_of_the_output_and_the_images(tmp_path: Path, share: float) -> None:
    """Of the mask, which is small, and of what both are fused to."""
    pan, ms = images(tmp_path, nodata=0)
    with rasterio.open(pan, "r+") as file:
        file.write(np.zeros((1, 100, 90), np.uint16), window=Window(300, 200, 90, 100))
    whole, out = tmp_path / "whole.tif", tmp_path / "o" / "out.tif"
    pansharpen(pan, ms, whole)
    with (
        pytest.raises(OutputError) as error,
        files_up_to(int(whole.stat().st_size * share)),
    ):
        pansharpen(pan, ms, out)
    assert str(error.value).startswith(f"{out}: cannot be written")
    assert "decr-pansharpen" not in str(error.value)
    assert "is kept" not in str(error.value)
    assert list(out.parent.iterdir()) == []
    pansharpen(pan, ms, out)
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("which", [0, 1])
def test_an_image_that_is_replaced_while_both_are_fused_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    given, out = images(tmp_path, 400, 400), tmp_path / "o" / "out.tif"
    (tmp_path / "others").mkdir()
    other = images(tmp_path / "others", 400, 400)[which]
    written = pansharpen_module.write_cog

    def late(*args: object, **kwargs: object) -> None:
        other.replace(given[which])
        written(*args, **kwargs)

    monkeypatch.setattr(pansharpen_module, "write_cog", late)
    with pytest.raises(SceneError, match="it was changed since"):
        pansharpen(*given, out)
    assert list(out.parent.iterdir()) == []


def test_a_run_killed_after_its_rename_is_cleared_by_the_next(tmp_path: Path) -> None:
    pan, ms = images(tmp_path, 400, 400)
    out, work = tmp_path / "out.tif", tmp_path / ".out.tif.decr-pansharpen"
    pansharpen(pan, ms, out)
    before = out.read_bytes()
    work.mkdir()
    (work / "mask.tif").write_text("of a run that was killed")
    with pytest.raises(OutputError, match="exists already"):
        pansharpen(pan, ms, out)
    assert not work.exists()
    assert out.read_bytes() == before


def test_an_output_that_another_process_makes_meanwhile_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pan, ms = images(tmp_path, 400, 400)
    out = tmp_path / "out.tif"

    def meanwhile(folder: Path) -> Path:
        out.write_text("the other's")
        return folder

    monkeypatch.setattr("decr.geo.pansharpen.writable_folder", meanwhile)
    with pytest.raises(OutputError, match="exists already"):
        pansharpen(pan, ms, out)
    assert out.read_text() == "the other's"
