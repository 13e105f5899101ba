"""Tests of the one command behind each embedded bundle: steps begin with what earlier ones made."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from decr.training.recipe import read_recipe
from decr.zoo.embedded import EMBEDDED
from docs import train_embedded
from docs.train_embedded import CHAINS, RECIPES, Average, Train, run, shortened


@pytest.mark.parametrize("name", CHAINS)
def test_every_step_begins_with_what_one_before_made(name: str) -> None:
    made: set[str] = set()
    for step in CHAINS[name]:
        if isinstance(step, Train):
            start = read_recipe(RECIPES / step.recipe, Path("imagery")).start
            needed = [] if start is None else [str(start)]
        else:
            needed = [step.first, step.second]
        assert set(needed) <= made, f"{step} needs {needed}"
        made.add(step.product(RECIPES))
    bundle = f"embedded-{name}".replace("_", "-")
    assert CHAINS[name][-1].product(RECIPES) == f"runs/{name}/{bundle}.safetensors"


def test_the_chains_are_all_embedded_bundles_and_all_their_recipes() -> None:
    assert {f"embedded-{name}".replace("_", "-") for name in CHAINS} == set(EMBEDDED)
    steps = [step for chain in CHAINS.values() for step in chain if isinstance(step, Train)]
    assert sorted({s.recipe for s in steps}) == sorted(p.name for p in RECIPES.glob("embedded_*"))


@pytest.mark.parametrize("path", sorted(RECIPES.glob("embedded_*.toml")), ids=lambda p: p.stem)
def test_a_shortened_recipe_differs_in_its_steps_only(path: Path, tmp_path: Path) -> None:
    short = tmp_path / path.name
    short.write_text(shortened(path.read_text(), 3))
    a, b = read_recipe(path, tmp_path), read_recipe(short, tmp_path)
    assert a.steps == b.steps
    assert {config.last for config in b.stages.values()} == {3}
    kept = re.compile(r"^(steps|until) = .*\n", re.MULTILINE)
    assert kept.sub("", path.read_text()) == kept.sub("", short.read_text())


FAKE = """
import sys
from pathlib import Path
out = Path(sys.argv[sys.argv.index("-o") + 1])
print("ran", *sys.argv[1:])
if out.suffix:
    out.write_text("mean")
elif "fail" not in out.name:
    out.mkdir(parents=True)
    (out / f"{out.name}.safetensors").write_text("trained")
else:
    sys.exit(1)
"""


def recipes_of(folder: Path, *names: str) -> Path:
    recipes = folder / "recipes"
    recipes.mkdir()
    for name in names:
        (recipes / f"embedded_{name}.toml").write_text(f'name = "{name}"\n')
    (folder / "cli.py").write_text(FAKE)
    return recipes


def test_steps_run_in_order_and_finished_ones_are_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    recipes = recipes_of(tmp_path, "a", "b")
    first, second = "runs/a/a.safetensors", "runs/b/b.safetensors"
    chain = (Train("a"), Train("b"), Average(first, second, 0.3, "mean"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert run(chain, recipes, tmp_path, tmp_path, "-q").read_text() == "mean"
    told = [line for line in capfd.readouterr().out.splitlines() if line.startswith("ran")]
    assert [line.split()[1] for line in told] == ["train", "train", "models"]
    assert [line.endswith("-q") for line in told] == [True, True, False]
    (tmp_path / second).unlink()
    (tmp_path / "runs" / "b").rmdir()
    run(chain, recipes, tmp_path, tmp_path)
    assert capfd.readouterr().out.count("ran") == 1


def test_a_step_that_fails_ends_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipes = recipes_of(tmp_path, "fail", "b")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(SystemExit) as stopped:
        run((Train("fail"), Train("b")), recipes, tmp_path, tmp_path)
    assert stopped.value.code == 1
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_prints_the_commands_and_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["train_embedded", "rgb", "--root", "imagery", "-o", str(out), "--dry-run"]
    monkeypatch.setattr(sys, "argv", arguments)
    train_embedded.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(CHAINS["rgb"])
    assert all(line.startswith(("decr train all ", "decr models average ")) for line in lines)
    assert not out.exists()
