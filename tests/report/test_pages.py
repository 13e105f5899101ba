"""Tests of the pages without a browser: whole, escaped, self-contained, small, and honest."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decr.report.document import DEFINITION, data_block, document, text
from decr.report.index import Entry, index_page
from decr.report.page import MOST_PICTURES, MOST_ROWS, ccp_page, grouped, pictured
from decr.report.restoration import restoration_page
from decr.report.values import CcpReport, FeatureCcp, SceneReport
from tests.report.made import HOSTILE, Read, decoded, outside, restoration, scene


def one() -> str:
    return ccp_page(CcpReport("one.tif", [scene("one.tif")], {"Detector": "compact"}))


def many(count: int = 40, **more: object) -> str:
    groups = ("train", "test")
    scenes = [scene(f"c{i}.tif", seed=i, group=groups[i % 2], **more) for i in range(count)]
    return ccp_page(CcpReport("chips", scenes))


def index() -> str:
    done = Entry("a.tif", "a.html", 0.2, 0.01, 1.01, 12.5)
    return index_page([done, Entry("b.tif", note="b.tif is empty (0 bytes)")])


PAGES = {
    "one": one,
    "many": many,
    "restoration": lambda: restoration_page(restoration()),
    "index": index,
}


@pytest.mark.parametrize(("height", "width", "style"), [(2, 96, "16.0000"), (96, 2, "0.0625")])
def test_oblong_scenes_are_drawn_less_oblong(height: int, width: int, style: str) -> None:
    view = scene("strip.tif", height, width)
    strip = replace(view, height=40 * height, width=29 * width)
    shown = {"before": view.quicklook, "after": view.quicklook, "overlay": view.overlay}
    other = restoration("r.tif", allocation=None, weight=view.overlay, **shown)
    for page in (ccp_page(CcpReport("strip.tif", [strip])), restoration_page(other)):
        assert set(re.findall(r"--shape:([\d.]+)", page)) == {style}
        assert "longer than 16 : 1 and drawn less oblong" in page
    assert "One pixel of the picture is 29 × 40 of the scene." in ccp_page(CcpReport("s", [strip]))
    assert "less oblong" not in one() + PAGES["restoration"]()


@pytest.mark.parametrize("kind", PAGES)
def test_pages_ask_for_nothing(kind: str) -> None:
    page = PAGES[kind]()
    links = [link for link in outside(page) if link != "a.html"]
    assert links == []
    policy = next(
        a["content"]
        for a in Read(page).all("meta")
        if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "http" not in policy
    assert "connect-src" not in policy  # so default-src counts


@pytest.mark.parametrize("kind", PAGES)
def test_the_one_script_is_the_one_that_may_run(kind: str) -> None:
    page = PAGES[kind]()
    scripts = [a for a in Read(page).all("script") if a.get("type") != "application/json"]
    assert len(scripts) == 1
    (code,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page
    assert not [key for _, a in Read(page).elements for key in a if key.startswith("on")]


@pytest.mark.parametrize("kind", PAGES)
def test_pages_can_be_read_without_seeing(kind: str) -> None:
    read = Read(PAGES[kind]())
    assert read.all("html")[0]["lang"] == "en"
    assert len(read.all("h1")) == 1
    assert all(a.get("alt") for a in read.all("img"))
    labelled = {a.get("for") for a in read.all("label")}
    for control in read.all("input"):
        radio = control["type"] in ("radio", "checkbox")  # inside their labels
        assert radio or control.get("id") in labelled
    for cell in read.all("th"):
        assert cell["scope"] in ("row", "col")


def test_hostile_names_stay_text() -> None:
    report = CcpReport(HOSTILE, [scene(HOSTILE, group=HOSTILE, facts={HOSTILE: HOSTILE})] * 3)
    single = CcpReport(HOSTILE, report.scenes[:1], {HOSTILE: HOSTILE})
    shown = restoration(
        HOSTILE, facts={HOSTILE: HOSTILE}, stages_s={HOSTILE: 1.0}, seams={HOSTILE: 2.0}
    )
    entry = Entry(HOSTILE, HOSTILE + ".html", note=HOSTILE)
    for page in (ccp_page(report), ccp_page(single), restoration_page(shown), index_page([entry])):
        read = Read(page)
        assert "alert('x')" in read.text
        assert "<script>alert" not in page
        assert page.count("<script>") == 1
        assert "javascript:" not in page


def test_a_page_of_a_hostile_name_is_linked_as_a_file() -> None:
    page = index_page([Entry("x", "javascript:alert(1).html"), Entry("y", "a b#c?.html")])
    assert [a["href"] for a in Read(page).all("a")] == [
        "javascript%3Aalert%281%29.html",
        "a%20b%23c%3F.html",
    ]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_comes_back_as_it_was(words: str) -> None:
    assert html.unescape(text(words)) == words
    assert not {*text(words)} & {*"<>\"'"}


def test_names_that_are_no_unicode_can_be_written() -> None:
    name = b"caf\xe9.tif".decode("utf-8", "surrogateescape")
    page = ccp_page(CcpReport(name, [scene(name)] * 2))
    assert "caf\\udce9.tif" in page
    page.encode("utf-8")
    assert text("\udce9") == "\\udce9"
    index_page([Entry(name, name)]).encode("utf-8")


def test_data_cannot_end_its_script() -> None:
    block = data_block("d", ["</script><b>"])
    assert block.count("</script>") == 1
    inner = block.partition(">")[2].rpartition("</script>")[0]
    assert json.loads(inner) == ["</script><b>"]


def test_a_page_without_scripts_may_run_none() -> None:
    assert "script-src 'none'" in document("t", "k", "", "", [])


def test_one_scene_says_its_numbers_with_units_and_definition() -> None:
    shown = scene("one.tif", thin_px=100)
    read = Read(ccp_page(CcpReport("one.tif", [shown], {"Threshold": "0.5"})))
    ccp = shown.cloudy_px / shown.valid_px
    for words in (f"{ccp:.3f}", f"{shown.cloudy_px:,} px", DEFINITION, "Threshold", "EPSG:32650"):
        assert words in read.text
    # Thin cloud is told as CCP is: of valid pixels.
    assert f"{100 * 100 / shown.valid_px:.1f} %" in read.text
    assert "of valid pixels are thin cloud" in read.text
    assert "sortable" not in ccp_page(CcpReport("one.tif", [shown]))  # nothing to sort


def test_images_that_failed_are_named_with_the_reason() -> None:
    failed = {"<b>.tif": "is no raster & more"}
    page = ccp_page(CcpReport("chips", [scene("one.tif")], failed=failed))
    for words in ("Failed", "<b>.tif", "is no raster & more", "1 could not be measured"):
        assert words in Read(page).text
    assert "Failed" not in Read(ccp_page(CcpReport("chips", [scene("one.tif")]))).text


def test_a_thousand_chips_make_a_small_page_that_says_what_it_left_out() -> None:
    page = many(1000)
    read = Read(page)
    assert len(page) < 1_500_000
    shown = [a for a in read.all("img") if str(a["src"]).startswith("data:image/jpeg")]
    assert len(shown) == MOST_PICTURES
    assert f"{MOST_PICTURES} of 1,000 scenes have a picture here" in read.text
    # From the least to the most cloudy.
    known = [float(str(a["alt"]).rpartition(" ")[2]) for a in shown]
    assert known == sorted(known)
    assert known[-1] > known[0]
    assert len(read.all("tr")) == 1001 + len(re.findall('<tr><th scope="row"', page))


def test_only_scenes_that_are_shown_need_pictures() -> None:
    measured = [scene(f"c{i}", seed=i, quicklook=None, overlay=None) for i in range(100)]
    wanted = {id(s) for s in pictured(measured)}
    assert len(wanted) == MOST_PICTURES
    full = [scene(s.name, seed=i) if id(s) in wanted else s for i, s in enumerate(measured)]
    page = ccp_page(CcpReport("chips", full))
    everything = [scene(s.name, seed=i) for i, s in enumerate(measured)]
    assert page == ccp_page(CcpReport("chips", everything))


def test_rows_are_capped_and_that_is_said() -> None:
    scenes = [SceneReport(f"s{i}", 10, 10, i % 101, 100) for i in range(MOST_ROWS + 10)]
    page = ccp_page(CcpReport("many", scenes))
    assert page.count('<td title="s') == MOST_ROWS
    assert f"the {MOST_ROWS:,} cloudiest are listed" in page


def test_scenes_without_a_valid_pixel_have_no_ccp() -> None:
    empty = SceneReport("empty.tif", 10, 10, 0, 0)
    page = ccp_page(CcpReport("t", [scene("a.tif"), empty]))
    assert 'data-v="NaN"' in page
    assert "1 scene without a valid pixel is in no bin" in page
    alone = ccp_page(CcpReport("t", [empty]))
    assert not re.search(r"\bnan\b", Read(alone).text, re.IGNORECASE)
    assert math.isnan(grouped([empty, empty])[0][""][0])


def test_groups_are_in_a_known_order() -> None:
    scenes = [
        scene("a", group="val"),
        scene("b", group="test"),
        scene("c", group="train"),
        scene("d"),
    ]
    assert list(grouped(scenes)[0]) == ["train", "test", "val", ""]


def test_pictures_of_another_size_are_refused() -> None:
    wrong = np.zeros((5, 5), np.uint8)
    with pytest.raises(ValueError, match="not of the size"):
        ccp_page(CcpReport("t", [scene("a", overlay=wrong)]))
    for layer in ("overlay", "weight", "allocation"):
        with pytest.raises(ValueError, match=f"{layer}.*not of the size"):
            restoration_page(restoration(**{layer: wrong}))
    with pytest.raises(ValueError, match="at least one scene"):
        ccp_page(CcpReport("t", []))


def test_a_scene_without_pictures_has_a_page() -> None:
    bare = scene("a", quicklook=None, overlay=None, tiles=())
    page = ccp_page(CcpReport("t", [bare]))
    assert not Read(page).all("img")
    assert "Where the clouds are" not in page


def test_a_restoration_says_all_that_is_known() -> None:
    page = restoration_page(restoration())
    read = Read(page)
    for words in (
        "0.250",
        "0.013",
        "1.020",
        "7.50",
        "grey levels",
        "94.9 s",
        "93.00 s",
        "abababab",
        DEFINITION,
    ):
        assert words in read.text, words
    layers = [a["data-layer"] for a in read.all("img") if "data-layer" in a]
    assert layers == ["mask", "weight", "allocation"]
    photographs = [
        decoded(str(a["src"])).size for a in read.all("img") if "layer" not in str(a["class"])
    ]
    assert photographs == [(120, 90)] * 2


def test_a_restoration_is_silent_about_what_is_not_known() -> None:
    page = restoration_page(restoration(allocation=None, ccp_after=None, seams={}, stages_s={}))
    assert "Mean W" not in page
    assert "not measured" in page
    assert "Tile borders" not in page
    assert "Time by stage" not in page
    assert not re.search(r"\bnan\b", Read(page).text, re.IGNORECASE)


def test_w_is_shown_where_pixels_may_change_from_its_least_to_its_greatest() -> None:
    weight = np.zeros((90, 120), np.uint8)
    weight[:45] = 255
    allocation = np.full((90, 120), 255, np.uint8)
    allocation[:30] = 102
    page = restoration_page(restoration(weight=weight, allocation=allocation))
    (source,) = [a["src"] for a in Read(page).all("img") if a.get("data-layer") == "allocation"]
    shown = np.asarray(decoded(str(source)).convert("RGBA"))
    assert (shown[:45, :, 3] == 255).all()
    assert (shown[45:, :, 3] == 0).all()
    assert shown[0, 0, :3].sum() < shown[40, 0, :3].sum()
    assert "W 0.40" in page


def test_features_are_listed_with_their_scene_where_there_are_several() -> None:
    areas = [FeatureCcp("barn & yard", 5, 10, 2), FeatureCcp("far away", 0, 0, 0)]
    alone = ccp_page(CcpReport("t", [scene("a.tif", features=areas)]))
    read = Read(alone)
    for words in ("Features", "barn & yard", "0.500", "0.200", "far away", "Thin share"):
        assert words in read.text
    assert not re.search(r"\bnan\b", read.text, re.IGNORECASE)
    both = ccp_page(CcpReport("t", [scene("a.tif", features=areas), scene("b.tif")]))
    assert re.search('<tr><td title="a.tif">[^\n]*<td title="barn &amp; yard">', both)
    assert "Features" not in Read(ccp_page(CcpReport("t", [scene("b.tif")]))).text
    many_areas = [FeatureCcp(f"f{i}", 0, 1) for i in range(MOST_ROWS + 1)]
    page = ccp_page(CcpReport("t", [scene("a.tif", features=many_areas)]))
    assert page.count('<td title="f') == MOST_ROWS
    assert "features.csv has all" in page
