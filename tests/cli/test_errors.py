"""Bad input: one clear line, exit code 1 (2 for usage), and nothing under the output's name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner, Result

from cli.main import main
from decr.zoo.embedded import embedded_path
from tests.cli.invoked import run
from tests.pipeline.scenes import cloudy_pixels, write_scene

ROOT = Path(__file__).parents[2]


def check_one_line(result: Result, *parts: str) -> None:
    """Exit code 1, one line, no traceback, and everything the line should name."""
    assert result.exit_code == 1, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("decr:")]
    errors = [line for line in lines if not line.startswith("decr: warning")]
    assert len(errors) == 1, result.stderr
    assert "Traceback" not in result.output
    for part in parts:
        assert part in errors[0], errors[0]


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    """The output's name; afterwards neither it nor any work may be there."""
    path = tmp_path / "result" / "out.tif"
    path.parent.mkdir()
    yield path
    path.parent.chmod(0o755)
    assert list(path.parent.iterdir()) == []


def test_a_scene_that_is_not_there_is_one_line(tmp_path: Path, out: Path) -> None:
    check_one_line(run("declouds", tmp_path / "no.tif", "-o", out), "no.tif")


def test_text_named_tif_is_one_line(tmp_path: Path, out: Path) -> None:
    (tmp_path / "text.tif").write_text("hello\n" * 100)
    check_one_line(run("declouds", tmp_path / "text.tif", "-o", out), "text.tif")


@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_a_truncated_tiff_is_one_line(scene: Path, out: Path, share: float) -> None:
    data = scene.read_bytes()
    scene.write_bytes(data[: int(len(data) * share)])
    check_one_line(run("declouds", scene, "-o", out), "scene.tif")


def test_bands_without_names_that_lack_one_the_model_needs_are_one_line(
    tmp_path: Path, out: Path
) -> None:
    path = write_scene(tmp_path / "rgb.tif", cloudy_pixels(90, 90)[:3], names=None)
    said = ("rgb.tif: scene has 3 bands", "nir missing; pass --bands")
    check_one_line(run("declouds", path, "-o", out, "--model", "embedded-rgbn", "-q"), *said)
    check_one_line(run("ccp", path, "--detector", "embedded-detector-fine-nir", "-q"), *said)


def test_two_bands_that_nobody_names_are_one_line(tmp_path: Path, out: Path) -> None:
    path = write_scene(tmp_path / "two.tif", cloudy_pixels(90, 90)[:2], names=None)
    check_one_line(run("declouds", path, "-o", out), "two.tif", "--bands")


def test_a_scene_that_is_all_nodata_is_one_line(tmp_path: Path, out: Path) -> None:
    path = write_scene(tmp_path / "empty.tif", np.zeros((4, 300, 300), "uint16"), nodata=0)
    check_one_line(run("declouds", path, "-o", out), "empty.tif", "nodata")


@pytest.mark.parametrize("where", ["missing folder", "a file as folder"])
def test_an_output_without_a_folder_is_one_line(scene: Path, tmp_path: Path, where: str) -> None:
    folder = tmp_path / "absent" if where == "missing folder" else scene
    check_one_line(run("declouds", scene, "-o", folder / "out.tif"), "out.tif")


def test_a_model_that_needs_near_infrared_is_one_line_for_a_scene_of_colours(
    tmp_path: Path, out: Path
) -> None:
    names = ["red", "green", "blue"]
    path = write_scene(tmp_path / "rgb.tif", cloudy_pixels(90, 90)[:3], names=names)
    check_one_line(run("declouds", path, "-o", out, "--model", "embedded-rgbn"), "nir")


@pytest.mark.parametrize("damage", ["truncated", "noise", "empty", "detector"])
def test_weights_that_are_damaged_or_a_detectors_are_one_line(
    scene: Path, tmp_path: Path, out: Path, damage: str
) -> None:
    good = embedded_path("embedded-rgbn").read_bytes()
    bad = {
        "truncated": good[: len(good) // 2],
        "noise": os.urandom(5000),
        "empty": b"",
        "detector": embedded_path("embedded-detector").read_bytes(),
    }[damage]
    model = tmp_path / "bad.safetensors"
    model.write_bytes(bad)
    check_one_line(run("declouds", scene, "-o", out, "--model", model), "bad.safetensors")


def test_a_full_disk_is_one_line_and_work_is_kept(scene: Path, tmp_path: Path) -> None:
    """A tiny file system of its own, as root can mount; finished work stays for another try."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if mount.returncode != 0:
        pytest.skip(f"cannot mount a small file system: {mount.stderr.decode().strip()}")
    try:
        result = run("declouds", scene, "-o", disk / "out.tif", "--steps", "1", "--full")
        check_one_line(result, "out.tif", "space")
        assert not (disk / "out.tif").exists()
        assert (disk / "out.tif.decr-work" / "journal.jsonl").stat().st_size > 0
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_existing_output_is_kept(scene: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.tif"
    old.write_text("precious")
    check_one_line(run("declouds", scene, "-o", old), "old.tif", "--overwrite")
    assert old.read_text() == "precious"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--overlap", "200"], "overlap"),
        (["--tile", "100"], "tile"),
        (["--range", "9,1"], "range"),
        (["--range", "much"], "0,2047"),
        (["--steps", "0"], "steps"),
        (["--nonsense"], "nonsense"),
    ],
)
def test_usage_errors_exit_with_2(scene: Path, out: Path, arguments: list[str], said: str) -> None:
    result = run("declouds", scene, "-o", out, *arguments)
    assert result.exit_code == 2
    assert said in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("ccp", "a.tif"),
        ("dataset", "simulate", "a.tif", "-o", "o"),
        ("dataset", "import", "set", "-o", "o"),
        ("evaluate", "--data", "set", "--model", "none"),
        ("models", "import", "a.pth", "-o", "o.safetensors"),
        ("train", "all", "--clear", "photos", "-o", "o"),
    ],
)
@pytest.mark.parametrize("gsd", ["0", "nan", "inf"])
def test_every_verb_refuses_a_gsd_alike(arguments: tuple[str, ...], gsd: str) -> None:
    result = run(*arguments, "--gsd", gsd)
    assert result.exit_code == 2, result.output
    assert "Invalid value for '--gsd'" in result.stderr


def test_options_the_library_refuses_are_usage_errors(tmp_path: Path) -> None:
    result = run("dataset", "simulate", "a.tif", "-o", tmp_path / "o", "--test-share", "nan")
    assert result.exit_code == 2, result.output
    assert "share for testing" in result.stderr


def test_no_traceback_from_a_real_process(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "cli",
            "declouds",
            str(tmp_path / "no.tif"),
            "-o",
            str(tmp_path / "o.tif"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("decr: ")


@pytest.mark.parametrize("arguments", [["--version"], ["models", "list"]])
def test_a_full_standard_output_is_one_line(arguments: list[str]) -> None:
    full = Path("/dev/full")
    if not full.is_char_device():
        pytest.skip("no /dev/full here")
    command = [sys.executable, "-m", "cli", *arguments]
    usual = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    with full.open("w") as nowhere:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=usual,
            stdout=nowhere,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("decr: standard output"), done.stderr
    assert "space" in done.stderr


def test_a_library_that_cannot_be_loaded_is_one_line(
    scene: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cli.plan", None)
    done = CliRunner().invoke(main, ["plan", str(scene)])
    assert done.exit_code == 1
    assert done.output.count("\n") == 1
    assert "a library cannot be loaded (import of cli.plan" in done.output
    assert "ulimit -v" in done.output


@pytest.mark.parametrize(
    ("command", "stopped", "said"),
    [
        (("declouds", "{}", "-o", "o.tif"), "decr.pipeline.declouds.declouds", "to go on"),
        (("pansharpen", "{}", "{}", "-o", "o.tif"), "decr.geo.pansharpen.pansharpen", "begin"),
    ],
)
def test_an_interrupted_command_says_whether_it_goes_on(
    scene: Path,
    command: tuple[str, ...],
    stopped: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*arguments: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stopped, interrupted)
    result = run(*(part.format(scene) for part in command))
    assert result.exit_code == 130
    *first, line = result.stderr.splitlines()
    assert line.startswith("decr: interrupted; run the same command again to ")
    assert said in line
    # Said before the threads at work are waited for.
    stops = "decr: warning: interrupted: stops after the tiles at hand"
    assert first == ([stops] if command[0] == "declouds" else [])


def test_only_networks_that_are_counted_can_be_counted() -> None:
    result = run("models", "cost", "patchgan")
    check_one_line(result, "'patchgan'", "spagan", "cloudnet")
    assert "patchgan" not in result.stderr.split("there are")[1]


def test_swapped_images_are_told(scene: Path, tmp_path: Path) -> None:
    pan = write_scene(tmp_path / "pan.tif", np.ones((1, 300, 400), "uint16"), names=None)
    result = run("pansharpen", scene, pan, "-o", tmp_path / "o.tif")
    check_one_line(result, "scene.tif", "has 4", "swapped")


def test_a_mask_beside_a_detector_is_refused(scene: Path, tmp_path: Path) -> None:
    both = ("--cloud-mask", tmp_path / "m.tif", "--detector")
    result = run("plan", scene, *both, "threshold")
    assert result.exit_code == 2
    assert "goes instead of a detector" in result.stderr
    assert run("plan", scene, *both, f"file:{tmp_path / 'm.tif'}").exit_code == 1  # there is none


def test_a_palette_is_no_brightness(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "p.tif", np.ones((1, 90, 90), "uint8"), names=None)
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {1: (200, 10, 10, 255)})
    result = run("plan", path)
    assert result.exit_code == 1
    assert "palette" in result.stderr
    assert "-expand rgb" in result.stderr
