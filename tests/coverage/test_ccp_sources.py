"""What is looked at: scenes, folders of chips with splits, sets of pairs, and their masks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from decr.coverage.sources import Source, find_sources, mask_of
from decr.errors import ConfigError, SceneError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def listed(*paths: Path) -> list[tuple[str, str | None]]:
    return [(s.name, s.group) for s in find_sources([str(path) for path in paths])]


def test_a_file_behind_an_address_is_one_source_of_its_name() -> None:
    assert find_sources(["/vsicurl/https://host/a.b.tif?x=1"]) == [
        Source("a.b", "/vsicurl/https://host/a.b.tif?x=1")
    ]


def test_a_folder_is_its_images_with_splits_on_the_way(tmp_path: Path) -> None:
    touch(tmp_path, "train/x/a.png", "test/a.tif", "b.JPG", "notes.txt", ".hidden/c.png")
    assert listed(tmp_path) == [("b", None), ("test/a", "test"), ("train/x/a", "train")]
    touch(tmp_path / "other", "Validation/a.png")
    assert listed(tmp_path / "other") == [("Validation/a", "val")]


def test_reports_among_the_images_are_none(tmp_path: Path) -> None:
    made = ("histogram.png", "a_mask.tif", "a_probability.tif", "x/b_weight.tif")
    for report in ("", "one/"):
        touch(tmp_path, *(f"{report}{name}" for name in made))
        names = [{"name": name} for name in ("a", "x/b")]
        (tmp_path / report / "ccp.json").write_text(json.dumps({"scenes": names}))
    touch(tmp_path, "a.tif", "one/d_mask.tif", "two/c.tif", "b.tif.decr-work/patch_0_0.tif")
    assert listed(tmp_path) == [("a", None), ("one/d_mask", None), ("two/c", None)]
    touch(tmp_path / "three", "ccp.json", "a_mask.tif")  # another program's
    assert listed(tmp_path / "three") == [("a_mask", None)]


def test_of_a_published_set_the_cloudy_side_counts(tmp_path: Path) -> None:
    sides = ("cloud", "label", "nir/cloud", "nir/label")
    folder = tmp_path / "CUHK-CR1"
    touch(folder, *(f"{s}/{d}/{n}.png" for s in ("train", "test") for d in sides for n in "12"))
    assert listed(folder) == [
        ("test/cloud/1", "test"), ("test/cloud/2", "test"),
        ("train/cloud/1", "train"), ("train/cloud/2", "train"),
    ]  # fmt: skip
    assert {source.gsd_m for source in find_sources([str(folder)])} == {0.5}


def test_sets_that_only_their_gsd_tells_apart_are_still_sets(tmp_path: Path) -> None:
    sides = ("cloud", "label")
    touch(tmp_path, *(f"{s}/{d}/1.png" for s in ("train", "test") for d in sides))
    assert listed(tmp_path) == [("test/cloud/1", "test"), ("train/cloud/1", "train")]
    assert {source.gsd_m for source in find_sources([str(tmp_path)])} == {None}


def test_several_folders_keep_apart(tmp_path: Path) -> None:
    one, two = touch(tmp_path / "one", "a.png"), touch(tmp_path / "two", "a.png")
    assert listed(one, two) == [("one/a", None), ("two/a", None)]
    with pytest.raises(ConfigError, match="would both be called a"):
        find_sources([str(one / "a.png"), str(two / "a.png")])


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="holds no image"):
        find_sources([str(tmp_path)])


def test_masks_have_the_names_of_their_images(tmp_path: Path) -> None:
    masks = touch(tmp_path, "train/a.png", "b.tif", "c.tif", "c.png", "file.tif")
    assert mask_of(masks / "file.tif", Source("x", "x")) == masks / "file.tif"
    assert mask_of(masks, Source("train/a", "")) == masks / "train" / "a.png"
    assert mask_of(masks, Source("images/b", "")) == masks / "b.tif"
    with pytest.raises(SceneError, match=r"c\.tif and c\.png"):
        mask_of(masks, Source("c", ""))
    with pytest.raises(SceneError, match="no mask is called d"):
        mask_of(masks, Source("d", ""))
