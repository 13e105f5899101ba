"""Tests of set layouts: every file finds its partner, and what does not fit is said plainly."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decr.dataset.layouts import LAYOUTS, layout_of, list_pairs, sniff_layout, split_from
from decr.dataset.manifest import SPLITS, _entry
from decr.errors import DatasetError, DecrWarning


def lay(root: Path, names: Iterable[str]) -> Path:
    """Empty files: listing opens none of them."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def cuhk(root: Path, nir: str) -> Path:
    files = [f"{s}/{side}/{n}.png" for s in ("train", "test") for side in ("cloud", "label")
             for n in (1, 2)]  # fmt: skip
    lay(root, files)
    where = {"inside": "{}/nir/{}/{}.png", "beside": "../nir/CUHK-CR1/{}/{}/{}.png", "none": ""}[
        nir
    ]
    if where:
        lay(root, (where.format(*f.removesuffix(".png").split("/")) for f in files))
    return root


def manifest(root: Path, *entries: Any) -> Path:
    text = "\n".join(e if isinstance(e, str) else json.dumps(e) for e in entries)
    (root / "pairs.jsonl").write_text(text)
    return root


def test_folders_pair_by_name_whatever_the_suffix(tmp_path: Path) -> None:
    lay(tmp_path, ["cloudy/a.tif", "cloudy/x/b.png", "clear/a.png", "clear/x/b.png", "clear/t.txt"])
    pairs = list_pairs(tmp_path, "folders")
    assert [p.name for p in pairs] == ["a", "x/b"]
    assert pairs[0].cloudy == tmp_path / "cloudy/a.tif"
    assert pairs[0].clear == tmp_path / "clear/a.png"
    assert all(p.cloudy_nir is None and p.split in SPLITS for p in pairs)
    assert sniff_layout(tmp_path) == "folders"


@pytest.mark.parametrize("nir", ["inside", "beside", "none"])
def test_cuhk_finds_near_infrared_in_either_place(tmp_path: Path, nir: str) -> None:
    root = cuhk(tmp_path / "CUHK-CR1", nir)
    pairs = list_pairs(root, "cuhk")
    assert [p.name for p in pairs] == ["test/1", "test/2", "train/1", "train/2"]
    assert [p.split for p in pairs] == ["test", "test", "train", "train"]
    for pair in pairs:
        assert pair.cloudy.parts[-2:] == ("cloud", f"{pair.name[-1]}.png")
        assert pair.clear.parts[-2:] == ("label", f"{pair.name[-1]}.png")
        if nir == "none":
            assert pair.cloudy_nir is None
        else:
            assert pair.cloudy_nir is not None
            assert pair.clear_nir is not None
            assert pair.cloudy_nir.parts[-2:] == pair.cloudy.parts[-2:]
            assert pair.clear_nir.parts[-2:] == pair.clear.parts[-2:]
            assert {"nir", pair.split} <= set(pair.clear_nir.parts)
            assert pair.clear_nir.is_file()


def test_a_missing_near_infrared_file_is_named(tmp_path: Path) -> None:
    root = cuhk(tmp_path / "CUHK-CR1", "inside")
    (root / "train/nir/label/2.png").unlink()
    with pytest.raises(DatasetError, match=r"2 is in cloud but not in label \(1 such"):
        list_pairs(root, "cuhk")
    (root / "train/nir/cloud/2.png").unlink()
    with pytest.raises(DatasetError, match="2 is in train in RGB but not in near infrared"):
        list_pairs(root, "cuhk")


@pytest.mark.parametrize("layout", ["rice1", "rice2", "tcloud", "whu"])
def test_sets_with_cloud_and_label_are_read_with_both_splits(tmp_path: Path, layout: str) -> None:
    lay(tmp_path, [f"{s}/{d}/7.png" for s in ("train", "test") for d in ("cloud", "label")])
    assert [p.split for p in list_pairs(tmp_path, layout)] == ["test", "train"]


def test_rice1_with_its_list_of_test_images(tmp_path: Path) -> None:
    lay(tmp_path, [f"{d}/{n}.png" for d in ("cloudy_image", "ground_truth") for n in range(6)])
    (tmp_path / "test_list.txt").write_text("1.png\r\n4.png\r\n")
    tested = [p.name for p in list_pairs(tmp_path, "rice1") if p.split == "test"]
    assert tested == ["1", "4"]


@pytest.mark.parametrize(
    "text",
    [
        "1.png\n\nx/4 b.png\n",
        "\ufeff1\r\nx/4 b\r\n",
        "ground_truth/1.png\nRICE\\cloudy_image\\x\\4 b.jpg",
        " 1.PNG \n4 b",
    ],
)
def test_names_in_a_list_may_leave_out_folders_and_suffix(tmp_path: Path, text: str) -> None:
    names = ("0", "1", "11", "x/4 b", "x/4")
    lay(tmp_path, [f"{d}/{n}.png" for d in ("cloudy_image", "ground_truth") for n in names])
    (tmp_path / "test_list.txt").write_text(text, encoding="utf-8")
    tested = [p.name for p in list_pairs(tmp_path, "rice1", skip=("0.*",)) if p.split == "test"]
    assert tested == ["1", "x/4 b"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"\n2.png 3.png\n", r"1 of its lines .* line 2: '2\.png 3\.png'; correct the names"),
        (b"8.png\n7.png", r"2 of its lines name no image, such as line 1: '8\.png'"),
        (b"1.png\n\xff\xfe", "cannot read the list of test images .* store it as UTF-8"),
    ],
)
def test_a_list_that_names_no_image_is_an_error(tmp_path: Path, text: bytes, said: str) -> None:
    lay(tmp_path, [f"{d}/{n}.png" for d in ("cloud", "label") for n in range(4)])
    (tmp_path / "test_list.txt").write_bytes(text)
    with pytest.raises(DatasetError, match=rf"test_list\.txt.*{said}"):
        list_pairs(tmp_path, "rice1")
    (tmp_path / "test_list.txt").write_text("1.png\n7.png")  # one was taken out of the set
    with pytest.warns(DecrWarning, match=r"1 of its lines name no image, such as line 2: '7\.png'"):
        assert [p.split for p in list_pairs(tmp_path, "rice1")].count("test") == 1
    (tmp_path / "test_list.txt").write_text("1.png\n2.png")
    # An image that is left out is there all the same.
    assert [p.split for p in list_pairs(tmp_path, "rice1", skip=("2.*",))] == [
        "train", "test", "train",
    ]  # fmt: skip


def test_images_may_have_names_that_begin_with_underscores(tmp_path: Path) -> None:
    lay(tmp_path, [f"{side}/{name}.tif" for side in ("cloudy", "clear") for name in ("__1", "b")])
    assert [pair.name for pair in list_pairs(tmp_path, "folders")] == ["__1", "b"]


def test_hidden_files_and_folders_are_no_images(tmp_path: Path) -> None:
    lay(tmp_path, ["cloudy/a.tif", "clear/a.tif", "clear/._a.tif", "cloudy/.thumbs/a.png"])
    (tmp_path / "cloudy" / "old.tif").mkdir()
    assert [p.name for p in list_pairs(tmp_path, "folders")] == ["a"]


def test_a_flat_set_is_split_by_name_alone(tmp_path: Path) -> None:
    names = [f"{d}/{n}.png" for d in ("cloud", "label") for n in range(100)]
    few = names[:30] + names[100:130]
    one = {p.name: p.split for p in list_pairs(lay(tmp_path / "one", names), "rice1")}
    two = {p.name: p.split for p in list_pairs(lay(tmp_path / "two", few), "rice1")}
    assert two.items() <= one.items()
    assert 8 <= sum(split == "test" for split in one.values()) <= 35


def test_sniffing_tells_layouts_apart(tmp_path: Path) -> None:
    flat = ["cloud/1.png", "label/1.png"]
    assert sniff_layout(lay(tmp_path / "T-Cloud", flat)) == "tcloud"
    assert sniff_layout(lay(tmp_path / "my_RICE1", flat)) == "rice1"
    assert sniff_layout(lay(tmp_path / "WHU_thin", flat)) == "whu"
    assert sniff_layout(lay(tmp_path / "some", [*flat, "mask/1.png"])) == "rice2"
    assert sniff_layout(cuhk(tmp_path / "My14", "inside")) == "cuhk"
    assert sniff_layout(manifest(tmp_path, {})) == "manifest"
    with pytest.raises(DatasetError, match="fit the layouts cuhk, rice1, rice2, tcloud, whu; say"):
        sniff_layout(lay(tmp_path / "data", flat))


def test_what_fits_nothing_is_described(tmp_path: Path) -> None:
    lay(tmp_path, ["images/1.png", "notes.txt"])
    with pytest.raises(
        DatasetError, match=r"looked for folders: cloudy/NAME.*found images/, notes"
    ):
        sniff_layout(tmp_path)
    with pytest.raises(DatasetError, match=r"the layout 'whu': looked for .*found images/, notes"):
        list_pairs(tmp_path, "whu")
    with pytest.raises(DatasetError, match="no such folder; check the name"):
        list_pairs(tmp_path / "absent", "folders")
    with pytest.raises(DatasetError, match="no layout is called 'rice'; there are folders"):
        list_pairs(tmp_path, "rice")
    lay(tmp_path, ["cloudy/.keep", "clear/.keep"])
    with pytest.raises(DatasetError, match="does not have the layout 'folders'"):
        list_pairs(tmp_path, "folders")


def test_files_without_partner_or_of_one_name_are_refused(tmp_path: Path) -> None:
    lay(tmp_path, ["cloudy/a.png", "cloudy/b.png", "clear/a.png"])
    with pytest.raises(DatasetError, match=r"b is in cloudy but not in clear \(1 such files\)"):
        list_pairs(tmp_path, "folders")
    assert [p.name for p in list_pairs(tmp_path, "folders", skip=("b.*",))] == ["a"]
    lay(tmp_path, ["clear/a.tif"])
    with pytest.raises(DatasetError, match=r"a\.tif: a\.png has the same name"):
        list_pairs(tmp_path, "folders")


def test_a_split_whose_images_are_of_another_kind_is_told(tmp_path: Path) -> None:
    sides = ("cloudy", "clear")
    lay(tmp_path, [f"train/{side}/a.png" for side in sides])
    lay(tmp_path, [f"test/{side}/b.GIF" for side in sides])
    with pytest.warns(DecrWarning, match=r"test: no image in cloudy and clear; \.gif files are"):
        assert [p.name for p in list_pairs(tmp_path, "folders")] == ["train/a"]


def test_a_manifest_is_read_whole(tmp_path: Path) -> None:
    lay(tmp_path, ["y/1.tif", "y/2.tif", "x/1.tif"])
    full = {"cloudy": "y/1.tif", "clear": "x/1.tif", "split": "val", "bands": "b,g,r,n",
            "gsd_m": 0.5, "white": 2047, "ccp": 0, "about": {"sensor": "any"}}  # fmt: skip
    manifest(tmp_path, full, "", {"cloudy": "y/2.tif", "clear": "x/1.tif"})
    one, two = list_pairs(tmp_path, "manifest")
    assert (one.name, one.split, one.bands, one.gsd_m, one.white, one.ccp) == (
        "y/1", "val", "b,g,r,n", 0.5, 2047.0, 0.0
    )  # fmt: skip
    assert one.cloudy == tmp_path / "y/1.tif"
    assert two.clear == tmp_path / "x/1.tif"
    assert two.white is None
    assert [p.name for p in list_pairs(tmp_path, "manifest", skip=("2.tif",))] == ["y/1"]


def test_a_manifest_may_begin_with_a_mark_and_hold_ends_of_paragraphs(tmp_path: Path) -> None:
    lay(tmp_path, ["y.tif", "x.tif"])
    line = '\ufeff{"cloudy": "y.tif", "clear": "x.tif", "about": {"said": "one\u2028two"}}\r\n'
    (tmp_path / "pairs.jsonl").write_bytes(line.encode())
    assert [p.name for p in list_pairs(tmp_path, "manifest")] == ["y"]


def test_clouded_images_of_one_ground_stay_in_one_split(tmp_path: Path) -> None:
    lay(tmp_path, [f"y/{n}.tif" for n in range(40)] + ["x.tif"])
    manifest(tmp_path, *({"cloudy": f"y/{n}.tif", "clear": "x.tif"} for n in range(40)))
    assert len({p.split for p in list_pairs(tmp_path, "manifest")}) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"gsd": 0.5}, "unknown key 'gsd'; the keys are cloudy, clear"),
        ({"split": "dev"}, "split is 'dev'; it must be one of train, val, test"),
        ({"bands": ["r"]}, "bands is .*write roles in file order"),
        ({"white": 0}, "white is 0; it must be a number above 0"),
        ({"white": True}, "white is True; it must be a number"),
        ({"gsd_m": float("nan")}, "gsd_m is nan; it must be a number"),
        ({"gsd_m": 10**400}, "gsd_m is 1000*; it must be a number"),
        ({"ccp": 1.5}, r"ccp is 1.5; it must be a number in 0\.\.1"),
        ({"clear": "no.tif"}, "there is no file 'no.tif'; check the name"),
        ({"clear": None}, "clear is None; it must name a file"),
        ({"clear": "../out.tif"}, "leaves the folder"),
        ({"clear": "a/../../out.tif"}, "leaves the folder"),
        ({"clear": "link/out.tif"}, "leaves the folder"),
        ({"clear": "a\0.tif"}, "there is no file"),
        ({"clear": "a" * 5000}, "there is no file"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    root = lay(tmp_path / "set", ["a.tif"])
    lay(tmp_path, ["out.tif"])
    (root / "link").symlink_to(tmp_path)
    good = {"cloudy": "a.tif", "clear": "a.tif"}
    manifest(root, good, good | change)
    with pytest.raises(DatasetError, match=f"pairs.jsonl, line 2: .*{said}"):
        list_pairs(root, "manifest")


def test_absolute_names_torn_lines_and_repeats_are_refused(tmp_path: Path) -> None:
    lay(tmp_path, ["a.tif"])
    line = {"cloudy": "a.tif", "clear": "a.tif"}
    for entries, said in (
        (({"cloudy": str(tmp_path / "a.tif"), "clear": "a.tif"},), "leaves the folder"),
        (('{"cloudy": "a.t',), "line 1: not JSON"),
        (("[]",), "line 1: not an object"),
        ((line, line), "line 2: a is there twice"),
        (("", " "), "holds no pair"),
    ):
        manifest(tmp_path, *entries)
        with pytest.raises(DatasetError, match=said):
            list_pairs(tmp_path, "manifest")
    (tmp_path / "pairs.jsonl").unlink()
    with pytest.raises(DatasetError, match=r"cannot read the manifest.*found a\.tif"):
        list_pairs(tmp_path, "manifest")


@given(line=st.text(max_size=40) | st.dictionaries(
    st.sampled_from(["cloudy", "clear", "white"]),
    st.text(max_size=8) | st.floats() | st.none() | st.lists(st.none(), max_size=1),
).map(json.dumps))  # fmt: skip
def test_no_line_does_anything_but_raise_a_dataset_error(line: str) -> None:
    with pytest.raises(DatasetError):
        _entry(Path("/nonexistent/set"), "here", line)


def test_every_layout_says_what_it_wants() -> None:
    assert all(layout.wanted for layout in LAYOUTS.values())


def test_sets_go_by_their_own_names_too(tmp_path: Path) -> None:
    assert layout_of(tmp_path, "cuhk-cr") == "cuhk"
    assert layout_of(tmp_path, "t-cloud") == "tcloud"
    assert layout_of(tmp_path, "whu") == "whu"
    assert layout_of(tmp_path / "RICE-1", "rice") == "rice1"
    assert layout_of(tmp_path / "rice_2", "rice") == "rice2"
    with pytest.raises(DatasetError, match="rice is rice1 or rice2"):
        layout_of(tmp_path, "rice")
    (tmp_path / "mask").mkdir()
    assert layout_of(tmp_path, "rice") == "rice2"
    lay(tmp_path, ["cloudy/a.tif", "clear/a.tif"])
    assert layout_of(tmp_path, None) == "folders"


def test_a_split_says_where_it_comes_from(tmp_path: Path) -> None:
    assert split_from(cuhk(tmp_path / "CUHK-CR1", "none"), "cuhk") == "folders"
    flat = lay(tmp_path / "RICE1", ["cloud/1.png", "label/1.png"])
    assert split_from(flat, "rice1") == "a hash of names"
    (flat / "test_list.txt").write_text("1.png")
    assert split_from(flat, "rice1") == "test_list.txt"


def test_a_manifest_may_name_near_infrared(tmp_path: Path) -> None:
    files = {side: f"{side}/1.png" for side in ("cloudy", "clear", "cloudy_nir", "clear_nir")}
    lay(tmp_path, files.values())
    (pair,) = list_pairs(manifest(tmp_path, files), "manifest")
    assert (pair.cloudy_nir, pair.clear_nir) == (
        tmp_path / "cloudy_nir/1.png", tmp_path / "clear_nir/1.png",
    )  # fmt: skip
    del files["clear_nir"]
    with pytest.raises(DatasetError, match="name both or neither"):
        list_pairs(manifest(tmp_path, files), "manifest")
    with pytest.raises(DatasetError, match=r"clear_nir '\.\./x\.png' leaves the folder"):
        list_pairs(manifest(tmp_path, files | {"clear_nir": "../x.png"}), "manifest")
    with pytest.raises(DatasetError, match="clear_nir is None; it must name a file"):
        list_pairs(manifest(tmp_path, files | {"clear_nir": None}), "manifest")
