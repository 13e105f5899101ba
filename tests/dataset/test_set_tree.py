"""Tests of where images of a set lie: folders say their splits, and what is left out is told."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest

from decr.dataset.layouts import list_pairs, split_from
from decr.errors import DatasetError, DecrWarning
from tests.dataset.test_layouts import lay


def test_folders_may_have_splits(tmp_path: Path) -> None:
    lay(tmp_path, [f"{s}/{side}/a.tif" for s in ("train", "val") for side in ("cloudy", "clear")])
    assert [(p.name, p.split) for p in list_pairs(tmp_path, "folders")] == [
        ("train/a", "train"),
        ("val/a", "val"),
    ]


@pytest.mark.parametrize(
    ("name", "split"),
    [("Train", "train"), ("VAL", "val"), ("validation", "val"), ("Testing", "test")],
)
def test_folders_of_splits_may_have_common_names(tmp_path: Path, name: str, split: str) -> None:
    around = lay(tmp_path / "around", [f"{name}/{side}/a.tif" for side in ("cloudy", "clear")])
    within = lay(tmp_path / "within", [f"{side}/x/{name}/a.tif" for side in ("cloudy", "clear")])
    for root, called in ((around, f"{name}/a"), (within, f"x/{name}/a")):
        (pair,) = list_pairs(root, "folders")
        assert (pair.name, pair.split, pair.split_by_hash) == (called, split, False)
        assert split_from(root, "folders") == "folders"


def test_folders_within_the_sides_split_a_set(tmp_path: Path) -> None:
    lay(tmp_path, [f"{side}/{split}/{n}.png" for side in ("cloudy", "clear")
                   for split in ("train", "test") for n in range(20)])  # fmt: skip
    assert all(p.split == p.name.split("/")[0] for p in list_pairs(tmp_path, "folders"))
    lay(tmp_path, ["cloudy/more/x.png", "clear/more/x.png"])
    with pytest.warns(DecrWarning, match="1 of 41 pairs, such as more/x, lie in no folder train"):
        assert sum(p.split_by_hash for p in list_pairs(tmp_path, "folders")) == 1


def test_a_list_of_test_images_comes_before_folders_within_the_sides(tmp_path: Path) -> None:
    lay(tmp_path, [f"{side}/{split}/{n}{split}.png" for side in ("cloud", "label")
                   for split in ("train", "test") for n in range(2)])  # fmt: skip
    (tmp_path / "test_list.txt").write_text("0train\n")
    tested = [p.name for p in list_pairs(tmp_path, "rice1") if p.split == "test"]
    assert tested == ["train/0train"]
    assert split_from(tmp_path, "rice1") == "test_list.txt"


def test_a_link_from_another_name_of_a_split_adds_nothing(tmp_path: Path) -> None:
    lay(tmp_path, [f"{split}/{side}/1.png" for side in ("cloudy", "clear")
                   for split in ("train", "val")])  # fmt: skip
    (tmp_path / "Validation").symlink_to(tmp_path / "val")
    (tmp_path / "TRAIN").symlink_to(tmp_path / "train")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [p.name for p in list_pairs(tmp_path, "folders")] == ["train/1", "val/1"]


def test_folders_that_may_not_be_entered_are_no_part_of_a_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(tmp_path, [f"{where}{side}/1.png" for side in ("cloudy", "clear")
                   for where in ("", "lost+found/")])  # fmt: skip
    with pytest.warns(DecrWarning, match=r"lost\+found: 2 images"):
        list_pairs(tmp_path, "folders")
    monkeypatch.setattr(os, "access", lambda path, mode: path.name != "lost+found")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list_pairs(tmp_path, "folders")) == 1


def test_a_split_without_its_clear_images_is_refused(tmp_path: Path) -> None:
    lay(tmp_path, ["train/cloudy/a.png", "train/clear/a.png", "test/cloudy/b.png"])
    with pytest.raises(DatasetError, match=r"test: b is in cloudy but not in clear \(1 such files"):
        list_pairs(tmp_path, "folders")
    alone: list[str] = []
    assert [p.name for p in list_pairs(tmp_path, "folders", alone=alone)] == ["train/a"]
    assert alone == [f"{tmp_path / 'test'}: b is in cloudy but not in clear"]
    assert len(list_pairs(tmp_path, "folders", skip=("b.*",))) == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["dev/cloudy/b.png", "dev/clear/b.png"], "dev: 2 images .*; call it train, val or test"),
        (["cloudy/b.png", "clear/b.png"], "set: 2 images .*; move its folders cloudy and clear"),
        (["test/Cloudy/b.png"], "test: 1 images .* call its folders cloudy and clear"),
    ],
)
def test_images_beside_the_splits_are_told(tmp_path: Path, more: list[str], said: str) -> None:
    root = lay(tmp_path / "set", ["train/cloudy/a.png", "train/clear/a.png", *more])
    with pytest.warns(DecrWarning, match=said):
        assert [p.name for p in list_pairs(root, "folders")] == ["train/a"]
    with warnings.catch_warnings():  # what a recipe skips is left out knowingly
        warnings.simplefilter("error")
        assert [p.name for p in list_pairs(root, "folders", skip=("b.*",))] == ["train/a"]


def test_a_link_to_a_folder_is_told(tmp_path: Path) -> None:
    root = lay(tmp_path / "set", ["cloudy/a.png", "clear/a.png"])
    lay(tmp_path, ["more/b.png"])
    (root / "cloudy" / "more").symlink_to(tmp_path / "more")
    with pytest.warns(DecrWarning, match="cloudy/more: a link to a folder is not followed"):
        assert [p.name for p in list_pairs(root, "folders")] == ["a"]
