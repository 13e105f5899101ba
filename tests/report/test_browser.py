"""Tests of the pages in a real browser: sliders slide, tables sort, no network is asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from decr.report.contact import PairPicture, contact_sheet
from decr.report.index import Entry, index_page
from decr.report.page import ccp_page
from decr.report.restoration import restoration_page
from decr.report.values import CcpReport, SceneReport
from tests.report.browser import WANTED, Tab, chromium, find_chromium
from tests.report.made import HOSTILE, clouds, picture, restoration, scene

AT = "Number(document.querySelector('#position').value)"
SAID = "document.querySelector('#tile').textContent"
LINE = "parseFloat(getComputedStyle(document.querySelector('.compare')).getPropertyValue('--at'))"


@pytest.fixture(scope="module")
def browser() -> Iterator[Tab]:
    command = find_chromium()
    if command is None:
        pytest.skip(f"no browser: there must be {WANTED}")
    with chromium(command) as tab:
        yield tab


@pytest.fixture
def tab(browser: Tab) -> Iterator[Tab]:
    """The tab, wide and light; after the test, nothing may have gone wrong or out."""
    browser.events.clear()
    browser.look(1200, 900)
    yield browser
    browser.evaluate("1")  # what is still on its way arrives before this answer
    browser.send("Emulation.setTouchEmulationEnabled", enabled=False)
    browser.send("Emulation.setEmulatedMedia", media="")
    assert browser.named("Runtime.exceptionThrown") == []
    assert browser.named("Runtime.consoleAPICalled") == []
    assert browser.named("Log.entryAdded") == []
    asked = [event["request"]["url"] for event in browser.named("Network.requestWillBeSent")]
    assert asked  # the page itself is seen, so others would be
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"}
    assert sum(url.startswith("file:") for url in asked) == 1


def opened(tab: Tab, folder: Path, page: str, *, scripts: bool = True) -> None:
    """Open a page, which may run scripts or not; those of the tests always run."""
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    tab.send("Emulation.setScriptExecutionDisabled", value=not scripts)
    tab.open(path)
    tab.send("Emulation.setScriptExecutionDisabled", value=False)


def test_the_slider_moves_by_mouse(tab: Tab, tmp_path: Path) -> None:
    opened(tab, tmp_path, restoration_page(restoration()))
    assert tab.evaluate(AT) == 50
    x, y = tab.place(".compare", 0.5)
    left, _ = tab.place(".compare", 0.2)
    tab.mouse("mouseMoved", left, y)
    assert tab.evaluate(AT) == 50  # not pressed
    tab.mouse("mousePressed", x, y)
    tab.mouse("mouseMoved", left, y)
    tab.mouse("mouseReleased", left, y)
    assert tab.evaluate(AT) == pytest.approx(20, abs=1)
    assert tab.evaluate(LINE) == pytest.approx(20, abs=1)
    tab.mouse("mouseMoved", x, y)
    assert tab.evaluate(AT) == pytest.approx(20, abs=1)


def test_the_slider_moves_by_touch(tab: Tab, tmp_path: Path) -> None:
    opened(tab, tmp_path, restoration_page(restoration()))
    x, y = tab.place(".compare", 0.5)
    right, _ = tab.place(".compare", 0.8)
    tab.touch("touchStart", (x, y))
    tab.touch("touchMove", (right, y))
    tab.touch("touchEnd")
    assert tab.evaluate(LINE) == pytest.approx(80, abs=1)


def test_the_slider_moves_by_keys(tab: Tab, tmp_path: Path) -> None:
    opened(tab, tmp_path, restoration_page(restoration()))
    tab.evaluate("document.querySelector('#position').focus()")
    for _ in range(4):
        tab.key("ArrowLeft")
    assert tab.evaluate(LINE) == 48
    tab.key("End")
    assert tab.evaluate(LINE) == 100
    told = tab.evaluate("document.querySelector('#position').getAttribute('aria-valuetext')")
    assert told == "100 % before, 0 % after"


def test_before_is_left_of_the_line_and_after_right_of_it(tab: Tab, tmp_path: Path) -> None:
    opened(tab, tmp_path, restoration_page(restoration()))
    at = "document.elementFromPoint(...{}).className"
    tab.evaluate(f"document.querySelector('#position').value = 30; {AT}")
    tab.evaluate("document.querySelector('#position').dispatchEvent(new Event('input'))")
    assert tab.evaluate(at.format(list(tab.place(".compare", 0.25, 0.3)))) == "before"
    assert tab.evaluate(at.format(list(tab.place(".compare", 0.35, 0.3)))) == "after"


def test_layers_are_shown_one_at_a_time_over_both_pictures(tab: Tab, tmp_path: Path) -> None:
    opened(tab, tmp_path, restoration_page(restoration()))
    every = "[...document.querySelectorAll('[data-layer]')]"
    shown = f"{every}.filter((e) => e.offsetParent).map((e) => e.dataset.layer)"
    assert tab.evaluate(shown) == []
    for layer in ("mask", "weight", "allocation"):
        tab.click(f"input[value={layer}] + span")
        assert tab.evaluate(shown) == [layer, layer]  # the picture and its legend
    # Made to take the pointer, it is what lies on top, on either side of the line.
    tab.evaluate(
        "document.querySelectorAll('img.layer').forEach((e) => e.style.pointerEvents = 'auto')"
    )
    for across in (0.1, 0.9):
        top = f"document.elementFromPoint(...{list(tab.place('.compare', across, 0.3))}).className"
        assert tab.evaluate(top) == "layer"
    tab.click("input[value=none] + span")
    assert tab.evaluate(shown) == []


def chips() -> list[SceneReport]:
    bare = {"quicklook": None, "overlay": None, "tiles": ()}
    found = [SceneReport(f"chip_{n}.tif", 10, 10, c, 100) for n, c in ((2, 30), (10, 5), (1, 90))]
    return [*found, SceneReport("empty.tif", 10, 10, 0, 0), scene(HOSTILE, **bare)]


NAMES_SHOWN = (
    "[...document.querySelectorAll('.sortable tbody tr')].filter((row) => row.offsetParent)"
    ".map((row) => row.cells[0].textContent)"
)


def test_the_table_sorts_by_the_header_that_is_pressed(tab: Tab, tmp_path: Path) -> None:
    opened(tab, tmp_path, ccp_page(CcpReport("chips", chips()[:4])))
    given = ["chip_2.tif", "chip_10.tif", "chip_1.tif", "empty.tif"]
    assert tab.evaluate(NAMES_SHOWN) == given
    head, sort = (
        "thead th:nth-child(2) button",
        "document.querySelector('thead th:nth-child(2)').getAttribute('aria-sort')",
    )
    tab.click(head)
    assert tab.evaluate(NAMES_SHOWN) == ["chip_1.tif", "chip_2.tif", "chip_10.tif", "empty.tif"]
    assert tab.evaluate(sort) == "descending"
    tab.click(head)
    assert tab.evaluate(NAMES_SHOWN) == ["chip_10.tif", "chip_2.tif", "chip_1.tif", "empty.tif"]
    assert tab.evaluate(sort) == "ascending"
    tab.click("thead th:nth-child(1) button")
    assert tab.evaluate(NAMES_SHOWN) == ["chip_1.tif", "chip_2.tif", "chip_10.tif", "empty.tif"]
    assert tab.evaluate(sort) == "none"


def test_the_filter_leaves_what_contains_the_text(tab: Tab, tmp_path: Path) -> None:
    opened(tab, tmp_path, ccp_page(CcpReport("chips", chips())))
    tab.click("#filter")
    tab.type("CHIP_1")
    assert tab.evaluate(NAMES_SHOWN) == ["chip_10.tif", "chip_1.tif"]
    assert tab.evaluate("document.querySelector('#shown').textContent") == "2 of 5 shown"
    tab.evaluate("document.querySelector('#filter').value = '';")
    tab.type("<script>")
    assert tab.evaluate(NAMES_SHOWN) == [HOSTILE]


def test_tiles_tell_their_numbers(tab: Tab, tmp_path: Path) -> None:
    shown = scene("one.tif")
    opened(tab, tmp_path, ccp_page(CcpReport("one.tif", [shown])))
    hint = tab.evaluate(SAID)
    tab.mouse("mouseMoved", *tab.place(".tilemap", 0.3, 0.4))  # row 38, column 38 of 96 x 128
    tile = next(t for t in shown.tiles if (t.row, t.col) == (32, 32))
    ccp = f"CCP {tile.cloudy_px / tile.valid_px:.3f} ({tile.cloudy_px:,} of {tile.valid_px:,} px)"
    assert tab.evaluate(SAID) == f"Row 32, column 32, 32 × 32 px: {ccp}"
    tab.evaluate("document.querySelector('.tilemap').focus()")
    tab.key("ArrowRight")
    assert tab.evaluate(SAID).startswith("Row 32, column 64,")
    tab.key("ArrowDown")
    assert tab.evaluate(SAID).startswith("Row 64, column 64,")
    tab.key("ArrowDown")  # stays at the border
    assert tab.evaluate(SAID).startswith("Row 64, column 64,")
    tab.mouse("mouseMoved", *tab.place("h1"))
    assert tab.evaluate(SAID) == hint


def test_a_tap_tells_the_tile_under_the_finger(tab: Tab, tmp_path: Path) -> None:
    opened(tab, tmp_path, ccp_page(CcpReport("one.tif", [scene("one.tif")])))
    tab.send("Emulation.setTouchEmulationEnabled", enabled=True, maxTouchPoints=1)
    # The click that follows a tap, with the focus that it gives, comes in its own time.
    tab.evaluate("window.clicks = 0; addEventListener('click', () => window.clicks++)")
    for count, (across, down, start) in enumerate(
        [(0.9, 0.9, "Row 64, column 96,"), (0.4, 0.5, "Row 32, column 32,")], 1
    ):
        tab.touch("touchStart", tab.place(".tilemap", across, down))
        tab.touch("touchEnd")
        wait = f"(done) => setInterval(() => window.clicks === {count} && done(1), 5)"
        tab.evaluate(f"new Promise({wait})")
        assert tab.evaluate(SAID).startswith(start)


SEEN = "[...document.querySelectorAll({})].filter((e) => e.checkVisibility()).length"


def test_without_scripts_a_restoration_shows_both_pictures(tab: Tab, tmp_path: Path) -> None:
    opened(tab, tmp_path, restoration_page(restoration()), scripts=False)
    box = "document.querySelector('.compare .{}').getBoundingClientRect().{}"
    edges = [(name, side) for name in ("before", "after") for side in ("left", "right")]
    places = [tab.evaluate(box.format(*edge)) for edge in edges]
    assert places == sorted(set(places))
    assert tab.evaluate("getComputedStyle(document.querySelector('.after')).clipPath") == "none"
    assert tab.evaluate(SEEN.format("'input, button, .rule, .screen'")) == 0


@pytest.mark.parametrize("kind", ["one", "many", "index", "sheet"])
def test_without_scripts_nothing_is_offered_that_needs_them(
    tab: Tab, tmp_path: Path, kind: str
) -> None:
    codes = clouds(32, 32)
    pair = PairPicture("a", picture(codes), picture(0 * codes), codes, 0.5, "train")
    pages = {
        "one": lambda: ccp_page(CcpReport("one.tif", [scene("one.tif")])),
        "many": lambda: ccp_page(CcpReport("chips", [scene("a.tif"), scene("b.tif")])),
        "index": lambda: index_page([Entry("a.tif", "a.html", 0.2, 0.1, 1.0, 3.0)] * 2),
        "sheet": lambda: contact_sheet("set", [pair], 1, {}, [], {}),
    }
    opened(tab, tmp_path, pages[kind](), scripts=False)
    assert tab.evaluate(SEEN.format("'input, .choice span, .screen'")) == 0
    masks = {"one": 1, "many": 2}.get(kind, 0)  # each picture's, and what their colours mean
    assert tab.evaluate(SEEN.format("'[data-layer=mask]'")) == masks + (masks > 0)
    assert "Press a heading" not in tab.evaluate("document.body.innerText")
    assert "Point at a tile" not in tab.evaluate("document.body.innerText")


def test_on_paper_headings_of_the_index_stay_whole(tab: Tab, tmp_path: Path) -> None:
    entries = [Entry(f"a_rather_long_name_{n}.tif", "a.html", 0.2, 0.1, 1.0, 3.0) for n in range(9)]
    entries.append(Entry("b.tif", note="hostile/a_rather_long_name_of_a_file.tif is no raster"))
    tab.look(700, 1000)
    opened(tab, tmp_path, index_page(entries))
    tab.send("Emulation.setEmulatedMedia", media="print")
    words = "[...document.querySelectorAll('thead button')].map((b) => b.innerText)"
    # A word that is broken has several boxes.
    boxes = (
        "[...document.querySelectorAll('thead button')].map((b) => {"
        "const [text, range] = [b.firstChild, document.createRange()];"
        "return [...text.data.matchAll(/\\S+/g)].map((found) => {"
        "range.setStart(text, found.index); range.setEnd(text, found.index + found[0].length);"
        "return range.getClientRects().length; }); }).flat()"
    )
    assert tab.evaluate(words)[1] == "CCP before"
    assert set(tab.evaluate(boxes)) == {1}
    assert tab.evaluate("document.documentElement.scrollWidth") <= 700
    # Headings that stick are empty on the sheets that follow.
    position = "getComputedStyle(document.querySelector('thead th')).position"
    assert tab.evaluate(position) == "static"
    inside = "getComputedStyle(document.querySelector('table').closest('section')).breakInside"
    assert tab.evaluate(inside) == "auto"


@pytest.mark.parametrize("width", [400, 1200])
def test_the_index_shows_all_of_what_went_wrong(tab: Tab, tmp_path: Path, width: int) -> None:
    note = "hostile/a_rather_long_name_of_a_file_0123456789.tif is no raster that GDAL knows " * 2
    tab.look(width, 900)
    opened(tab, tmp_path, index_page([Entry("a.tif", "a.html", 0.2, 0.1, 1.0, 3.0, note)] * 3))
    room = "(([s, c]) => [s.clientWidth, s.scrollWidth, c.clientWidth, c.scrollWidth])"
    of = "[document.querySelector('.scroll'), document.querySelector('td.wrap')]"
    shown, whole, cell, content = tab.evaluate(f"{room}({of})")
    assert cell >= 16 * 16
    assert content <= cell
    assert width == 400 or whole == shown


def test_the_index_leads_to_pages(tab: Tab, tmp_path: Path) -> None:
    opened(tab, tmp_path, index_page([Entry("a.tif", "a b.html", 0.2, 0.1, 1.0, 3.0)] * 2))
    assert tab.evaluate("document.querySelector('td a').href").endswith("/a%20b.html")


@pytest.mark.parametrize("width", [400, 1600])
@pytest.mark.parametrize("kind", ["one", "many", "restoration", "index"])
def test_pages_fit_narrow_and_wide_windows(tab: Tab, tmp_path: Path, kind: str, width: int) -> None:
    long = "a_rather_long_name_of_a_scene_as_providers_give_them_L1A_PAN_0123456789_20250101.tif"
    pages = {
        "one": lambda: ccp_page(CcpReport(long, [scene(long)], {"Detector": "ab" * 64})),
        "many": lambda: ccp_page(CcpReport(long, [scene(long, group="train") for _ in range(6)])),
        "restoration": lambda: restoration_page(restoration(long)),
        "index": lambda: index_page([Entry(long, "a.html", 0.2, 0.1, 1.0, 3.0, "a note " * 9)] * 3),
    }
    tab.look(width, 900, dark=width == 400)
    opened(tab, tmp_path, pages[kind]())
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    dark = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (dark == "rgb(18, 21, 24)") == (width == 400)


def test_a_script_in_a_name_does_not_run(tab: Tab, tmp_path: Path) -> None:
    opened(tab, tmp_path, ccp_page(CcpReport(HOSTILE, [scene(HOSTILE), scene(HOSTILE)])))
    assert tab.evaluate("document.querySelector('h1').textContent") == HOSTILE
    assert tab.named("Page.javascriptDialogOpening") == []
    # The policy holds against a script that got in all the same.
    inside = "<button id=in onclick=\\'window.ran = 1\\'>in</button>"
    tab.evaluate(f"document.querySelector('main').insertAdjacentHTML('afterbegin', '{inside}')")
    tab.click("#in")
    assert tab.evaluate("window.ran === undefined") is True
    refused(tab)


def test_the_policy_keeps_pages_from_asking(tab: Tab, tmp_path: Path) -> None:
    opened(tab, tmp_path, restoration_page(restoration()))
    ask = "fetch('http://127.0.0.1:9/').then(() => 'answered', (e) => e.message)"
    assert tab.evaluate(ask) == "Failed to fetch"
    refused(tab)  # and the fixture sees that nothing went out


def test_a_request_would_be_seen(browser: Tab, tmp_path: Path) -> None:
    opened(browser, tmp_path, '<img src="http://127.0.0.1:9/x.png" onerror="console.log(1)">')
    asked = [event["request"]["url"] for event in browser.named("Network.requestWillBeSent")]
    assert "http://127.0.0.1:9/x.png" in asked
    assert browser.named("Log.entryAdded")
    assert browser.named("Runtime.consoleAPICalled")


def refused(tab: Tab) -> None:
    """What the page's policy refused is logged; it is looked at here, and then forgotten."""
    tab.evaluate("new Promise((done) => setTimeout(done, 100))")
    said = [event["entry"]["text"] for event in tab.named("Log.entryAdded")]
    assert said
    assert all("Content Security Policy" in words for words in said)
    tab.events[:] = [event for event in tab.events if event.get("method") != "Log.entryAdded"]
