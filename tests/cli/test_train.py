"""`decr train` from the outside: options become a recipe, mistakes become one line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from cli.main import main
from decr.predictor import load_restorer
from decr.training.folders import recipe_from_folders
from decr.training.plan import planned
from decr.zoo.bundle import read_card
from tests.pipeline.scenes import write_scene
from tests.tiny import tiny_bundle

NAMES = ("red", "green", "blue")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["train", *(str(a) for a in arguments)])


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Twelve real pairs of 130 px; which are kept for testing is decided by their names."""
    folder = tmp_path / "my_pairs"
    for side, bright in (("cloudy", 150), ("clear", 0)):
        (folder / side).mkdir(parents=True)
        for n in range(12):
            pixels = np.random.default_rng(n).integers(20, 100, (3, 130, 130))
            pixels[:, :60] += bright
            write_scene(folder / side / f"p_{n:02d}.tif", pixels.astype(np.uint8), names=NAMES)
    return folder


def test_pairs_and_a_bundle_fine_tune_with_one_command(pairs: Path, tmp_path: Path) -> None:
    start, out = tiny_bundle(tmp_path, 3), tmp_path / "mine"
    result = run(
        "reference", "--pairs", pairs, "--from-bundle", start, "--steps", 1, "-o", out, "-q"
    )
    assert result.exit_code == 0, result.output
    path = out / "mine.safetensors"
    assert result.stdout.split() == [str(path)]
    card = read_card(path)
    assert (card.name, card.bands, card.gsd_m) == ("mine", NAMES, 0.5)
    assert card.provenance["data"] == "my_pairs"
    assert card.provenance["preset"] == "finetune"
    assert card.provenance["stages"] == "reference 1 steps"
    assert "reference 0." in card.provenance["losses"]
    assert card.provenance["started_from"].startswith("tiny3_3.safetensors, sha256 ")
    assert 0 < card.provenance["pairs"] < 12
    assert [p.name for p in (out / "samples").iterdir()] == ["reference_00001.png"]
    # Pairs whose split is not "train" are validated with.
    assert "validation_loss" in (out / "reference.jsonl").read_text()
    # The other networks are the start's: the bundle is whole.
    assert set(card.parts) == {"reference", "cnp", "wa"}
    tile = np.zeros((1, 3, 32, 32), np.float32)
    assert np.isfinite(load_restorer(path, device="cpu").restore(tile, [(0, 0)])).all()


def test_dry_run_says_what_would_be_trained(pairs: Path, tmp_path: Path) -> None:
    result = run("coarse", "--pairs", pairs, "--gsd", 0.5, "-o", tmp_path / "run", "--dry-run")
    assert result.exit_code == 0, result.output
    first, second = result.stdout.splitlines()
    assert first.startswith("run: 0 clear images, 0.0 Mpx, 0 labelled, ")
    assert first.endswith("pairs; bands red, green, blue")
    trained, _, held = map(int, re.findall(r"(\d+) (?:pairs|clear images)", first)[1:])
    assert trained + held == 12
    assert held > 0
    assert second == "  coarse: 1000 steps of 16, 64 px, lr 0.001"
    asked = recipe_from_folders("all", pairs=(pairs,), gsd_m=0.5, name="mine")
    told = planned(asked, tmp_path / "run").splitlines()
    assert [line.split(":")[0] for line in told] == [
        "mine",
        *(f"  {name}" for name in asked.stages),
    ]
    assert planned(asked, tmp_path / "run", "coarse").splitlines() == [told[0], second]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("more", [("--dry-run",), ("--steps", 1)])
def test_it_is_told_how_far_the_look_for_white_is(tmp_path: Path, more: tuple[object, ...]) -> None:
    for split in ("train", "val"):
        for side in ("cloudy", "clear"):
            (tmp_path / split / side).mkdir(parents=True)
            dn = np.random.default_rng([len(split), len(side)]).integers(1, 900, (3, 130, 130))
            write_scene(tmp_path / split / side / "a.tif", dn.astype(np.uint16), names=NAMES)
    asked = ("reference", "--pairs", tmp_path, "--gsd", 0.5, "-o", tmp_path / "run", *more)
    result = run(*asked)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("looking for white: 100%") == 1
    assert "looking for white" not in run(*asked, "-q").stderr


def test_a_dry_run_refuses_what_a_training_would(pairs: Path, tmp_path: Path) -> None:
    for side in ("cloudy", "clear"):
        (pairs / side / "p_01.tif").write_bytes((pairs / side / "p_00.tif").read_bytes())
    options = ("--pairs", pairs, "--holdout", "p_00", "--gsd", 0.5, "-o", tmp_path / "run")
    result = run("coarse", *options, "--dry-run")
    assert result.exit_code == 1
    assert "p_00, for validation, is the same image as p_01, which is trained on" in result.stderr


def test_a_training_out_of_time_says_so_and_goes_on_later(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = tiny_bundle(tmp_path, 3)
    options = ("--pairs", pairs, "--from-bundle", start, "--steps", 2, "-o", tmp_path / "run", "-q")
    result = run("reference", *options, "--max-minutes", 0)
    assert (result.exit_code, result.stdout) == (130, "")
    assert "decr: stopped before the end; run the same command to go on" in result.stderr
    assert not list((tmp_path / "run").glob("*.safetensors"))
    with monkeypatch.context() as patch:  # to torchrun any other code is a crash
        patch.setenv("TORCHELASTIC_RUN_ID", "1")
        assert run("reference", *options, "--max-minutes", 0).exit_code == 0
    assert run("reference", *options).stdout.strip().endswith("run.safetensors")


def test_one_of_many_processes_tells_warnings(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--pairs", pairs, "--from-bundle", tiny_bundle(tmp_path, 3), "--steps", 1, "-q")
    assert "decr: warning" in run("reference", *options, "-o", tmp_path / "first").stderr
    monkeypatch.setattr("decr.training.place.leads", lambda: False)
    assert "decr: warning" not in run("reference", *options, "-o", tmp_path / "second").stderr
    assert run("reference", *options, "-o", tmp_path / "third", "--dry-run").output == ""


@pytest.mark.parametrize("alone", [("WORLD_SIZE", "2"), ("RANK", "3")])
def test_half_of_what_torchrun_says_is_one_process(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: tuple[str, str]
) -> None:
    for key in ("WORLD_SIZE", "RANK"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv(*alone)
    options = ("--pairs", pairs, "--from-bundle", tiny_bundle(tmp_path, 3), "--steps", 1, "-q")
    result = run("reference", *options, "-o", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip().endswith("run.safetensors")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("all", "-o", "run"), "give --recipe FILE, or folders"),
        (("all", "--recipe", "r.toml", "--clear", "c", "-o", "run"), "--clear and --recipe"),
        (("all", "--recipe", "r.toml", "--steps", "3", "-o", "run"), "--steps and --recipe"),
        (("finest", "--clear", "c", "-o", "run"), "'finest' is not one of"),
        (("all", "--clear", "c"), "Missing option '-o'"),
        (("all", "--clear", "c", "--white", "-5", "-o", "run"), "Invalid value for '--white'"),
        (("all", "--clear", "c", "--gsd", "-1", "-o", "run"), "Invalid value for '--gsd'"),
        (("all", "--clear", "c", "--white", "nan", "-o", "run"), "Invalid value for '--white'"),
        (("all", "--clear", "c", "--steps", "0", "-o", "run"), "Invalid value for '--steps'"),
        (("all", "--clear", "c", "--max-minutes", "-1", "-o", "run"), "'--max-minutes'"),
        (("all", "--clear", "c", "--max-minutes", "nan", "-o", "run"), "nan is not a number from"),
        (("all", "--clear", "c", "--max-minutes", "inf", "-o", "run"), "inf is not a number from"),
    ],
)
def test_contradictions_are_usage_errors(arguments: tuple[str, ...], says: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert says in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("all", "--recipe", "none.toml", "-o", "run"), "none.toml: cannot read the recipe"),
        (("all", "--recipe", "photo.toml", "-o", "run"), "photo.toml: not valid TOML"),
        (("all", "--clear", "absent", "-o", "run"), "absent: no raster there"),
    ],
)
def test_mendable_errors_are_one_line(
    arguments: tuple[str, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photo.toml").write_bytes(b"\xff\xd8\xff")
    result = run(*arguments)
    assert result.exit_code == 1
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_run_where_nothing_can_be_written_is_one_error(pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    options = ("--pairs", pairs, "--gsd", 0.5, "--steps", 1, "-q")
    result = run("reference", *options, "-o", tmp_path / "file" / "run")
    assert result.exit_code == 1
    assert "file/run: cannot write there" in result.stderr


def test_a_name_that_no_file_can_have_is_refused_before_training(
    pairs: Path, tmp_path: Path
) -> None:
    options = ("--pairs", pairs, "--gsd", 0.5, "--steps", 1, "-q", "-o", tmp_path / "run")
    result = run("reference", *options, "--name", "sub/mine")
    assert result.exit_code == 1
    assert "name has a wrong value, 'sub/mine'" in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_stage_without_those_before_it_is_refused(pairs: Path, tmp_path: Path) -> None:
    result = run("weights", "--pairs", pairs, "--gsd", 0.5, "-o", tmp_path / "run", "-q")
    assert result.exit_code == 1
    assert "stage weights needs a trained cnp and reference" in result.stderr
