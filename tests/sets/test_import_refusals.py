"""What `decr dataset import` refuses, in one line each, and that it leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from decr.errors import DatasetError
from decr.sets.import_set import import_set
from decr.sets.upkeep import verify_set
from tests.sets.made_published import QUICK, SIDE, cuhk, ground, images, png, run


def break_partner(root: Path) -> None:
    (root / "train" / "cloud" / "3.png").unlink()


def break_size(root: Path) -> None:
    for side in ("cloud", "nir/cloud"):
        png(root / "train" / side / "3.png", ground(3)[:3, :40])


def break_nir_size(root: Path) -> None:
    png(root / "train" / "nir" / "label" / "3.png", ground(3)[:3, :40])


def break_bytes(root: Path) -> None:
    path = root / "train" / "label" / "3.png"
    path.write_bytes(path.read_bytes()[:900])


def break_kind(root: Path) -> None:
    (root / "train" / "label" / "3.png").write_text("this is no picture")


def break_alpha(root: Path) -> None:
    """All of it transparent."""
    empty = np.concatenate([ground(3)[:3], np.zeros((1, SIDE, SIDE), np.uint8)])
    png(root / "train" / "cloud" / "3.png", empty)


@pytest.mark.parametrize(
    ("damage", "parts"),
    [
        (break_partner, ("train: 3 is in label but not in cloud", "add its partner")),
        (break_size, ("cloud/3.png has 40 x 64 pixels but", "label/3.png has 64 x 64", "cut both")),
        (break_nir_size, ("nir/label/3.png: differs from", "in size or type; store both alike")),
        (break_bytes, ("label/3.png",)),
        (break_kind, ("label/3.png",)),
        (break_alpha, ("cloud/3.png: no pixel of it is valid there and in", "take both out")),
    ],
)
def test_a_damaged_set_is_one_line_and_leaves_nothing(
    tmp_path: Path, damage: Callable[[Path], None], parts: tuple[str, ...]
) -> None:
    few = {name: dn for name, dn in images().items() if name in ("train/3", "train/4", "test/23")}
    root = cuhk(tmp_path / "CUHK-CR1", few)
    damage(root)
    (problem,) = verify_set(root).problems
    assert parts[0] in problem
    done = run(root, "-o", tmp_path / "set", "--detector", "threshold")
    assert done.exit_code == 1, done.output
    (line,) = done.stderr.splitlines()
    for part in parts:
        assert part in line
    assert not (tmp_path / "set").exists()


def test_other_mistakes_are_one_line(tmp_path: Path) -> None:
    few = {name: dn for name, dn in images().items() if name in ("train/3", "test/23")}
    published, out = cuhk(tmp_path / "CUHK-CR1", few), tmp_path / "done"
    import_set(published, out, "cuhk-cr", QUICK)
    (tmp_path / "CUHK-CR1.zip").touch()
    for arguments, said in (
        ((tmp_path / "no",), "no: there is no such folder; check the name"),
        ((tmp_path / "CUHK-CR1.zip",), "CUHK-CR1.zip: is a file, but a set is a folder; unpack it"),
        ((published, "--layout", "rice"), "rice is rice1 or rice2"),
        ((published, "--layout", "folders"), "looked for cloudy/NAME and clear/NAME"),
        ((out,), "has a manifest (pairs.jsonl) already"),
        ((published, "--detector", "file:nowhere"), "file:nowhere is no folder"),
    ):
        done = run(*arguments, "-o", tmp_path / "set")
        assert done.exit_code == 1, done.output
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert not (tmp_path / "set").exists()


def test_names_that_would_meet_are_refused(tmp_path: Path) -> None:
    for name in ("a/b", "a_b"):
        png(tmp_path / "WHU" / "train" / "cloud" / f"{name}.png", ground(1)[:3])
        png(tmp_path / "WHU" / "train" / "label" / f"{name}.png", ground(1)[:3])
    done = run(tmp_path / "WHU", "-o", tmp_path / "set", "--layout", "whu")
    assert done.exit_code == 1
    assert "would both be stored as train/clear/a_b; rename one of the two pairs" in done.stderr


def test_a_name_of_two_lines_is_refused(tmp_path: Path) -> None:
    root = cuhk(tmp_path / "CUHK-CR1", {"train/a\nb": ground(1)})
    with pytest.raises(DatasetError, match=r"the name 'train/a\\nb' has several lines"):
        import_set(root, tmp_path / "set", "cuhk-cr", QUICK)
    assert not (tmp_path / "set").exists()
