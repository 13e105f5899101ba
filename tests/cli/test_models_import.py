"""`decr models import`: a bundle and its card, or one line, exit code 1 and no output."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from cli.main import main
from decr.zoo.bundle import load_bundle
from tests.zoo import checkpoints
from tests.zoo.checkpoints import SMALL, de_checkpoint, network, published
from tests.zoo.hostile import HOSTILE

ROOT = Path(__file__).parents[2]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["models", *(str(a) for a in arguments)])


@pytest.fixture
def spagan(tmp_path: Path) -> Path:
    path = tmp_path / "weights.pth"
    torch.save(published("spagan", network("spagan", 3)), path)
    return path


def test_the_card_is_printed_as_info_does(tmp_path: Path, spagan: Path) -> None:
    out = tmp_path / "b.safetensors"
    options = ("--bands", "b,g,r", "--gsd", "0.5", "--licence", "CC0", "--name", "mine")
    result = run("import", spagan, "-o", out, *options)
    assert result.exit_code == 0, result.output
    assert result.stdout == run("info", out).stdout
    for part in ("mine", "blue, green, red", "0.5 m", "CC0", "SpA-GAN generator", "weights.pth"):
        assert part in result.stdout
    assert load_bundle(out).card.bands == ("blue", "green", "red")


def test_two_files_become_one_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints.make_sizes_small(monkeypatch)
    nets = {n: network(n, 4, SMALL[n]) for n in ("cnp", "wa", "amgan")}
    torch.save(de_checkpoint(nets["cnp"], nets["wa"]), tmp_path / "ema.pt")
    torch.save(published("amgan", nets["amgan"]), tmp_path / "am.pth")
    arguments = ("import", tmp_path / "ema.pt", "--as", "de", "-o", tmp_path / "b.safetensors")
    alone = run(*arguments)
    assert (alone.exit_code, alone.stdout) == (1, "")
    assert "--reference FILE" in alone.stderr
    both = run(*arguments, "--reference", tmp_path / "am.pth")
    assert both.exit_code == 0, both.output
    assert "red, green, blue, nir" in both.stdout


def test_an_existing_bundle_is_kept(tmp_path: Path, spagan: Path) -> None:
    out = tmp_path / "b.safetensors"
    out.write_text("precious")
    result = run("import", spagan, "-o", out)
    assert result.exit_code == 1
    assert "--overwrite" in result.stderr
    assert out.read_text() == "precious"
    assert run("import", spagan, "-o", out, "--overwrite").exit_code == 0


def check_refused(result: Result, folder: Path, *left: str) -> None:
    """Exit code 1, one line that names the bad file, nothing printed, nothing new in the folder."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("decr: ")
    assert "bad.pth" in result.stderr
    assert sorted(p.name for p in folder.iterdir()) == sorted(["bad.pth", *left])


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_give_one_line(tmp_path: Path, kind: str) -> None:
    bad = tmp_path / "bad.pth"
    HOSTILE[kind][0](bad)
    check_refused(run("import", bad, "-o", tmp_path / "b.safetensors"), tmp_path)


def test_hostile_references_give_one_line(tmp_path: Path, spagan: Path) -> None:
    bad = tmp_path / "bad.pth"
    HOSTILE["torch zip with code"][0](bad)
    result = run("import", spagan, "--reference", bad, "-o", tmp_path / "b.safetensors")
    check_refused(result, tmp_path, spagan.name)


def test_no_traceback_from_a_real_process(tmp_path: Path) -> None:
    bad = tmp_path / "bad.pth"
    HOSTILE["legacy torch with code"][0](bad)
    arguments = ["models", "import", str(bad), "-o", str(tmp_path / "b.safetensors")]
    done = subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "asks to run code (exec)" in done.stderr
    assert list(tmp_path.iterdir()) == [bad]


def test_the_output_must_be_named(spagan: Path) -> None:
    result = run("import", spagan)
    assert result.exit_code == 2
    assert "--out" in result.output
