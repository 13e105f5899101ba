"""Reports of drawn scenes, and a reader of pages that complains of what is not well formed."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from decr.report.values import RestorationReport, SceneReport, TileCcp

HOSTILE = "<script>alert('x')</script>\"'&.tif"
_VOID = {"meta", "link", "img", "input", "br"}


def clouds(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """(height, width) codes: a round cloud, and no data in the last columns."""
    rng = np.random.default_rng(seed)
    row, col = rng.random(2) * (height, width)
    y, x = np.mgrid[:height, :width]
    codes = (np.hypot(y - row, x - col) < rng.uniform(0.05, 0.6) * height).astype(np.uint8)
    codes[:, width - width // 16 :] = 2
    return codes


def picture(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Brown ground under white clouds."""
    ground = np.random.default_rng(0).integers(60, 110, (*codes.shape, 3))
    ground[codes == 1] = 245
    return ground.astype(np.uint8)


def scene(name: str, height: int = 96, width: int = 128, seed: int = 0, **more: Any) -> SceneReport:
    """A scene with a quicklook, a mask and tiles of 32 px, all of which agree."""
    codes = clouds(height, width, seed)
    cloudy, valid = codes == 1, codes != 2
    tiles = tuple(
        TileCcp(
            r,
            c,
            32,
            32,
            int(cloudy[r : r + 32, c : c + 32].sum()),
            int(valid[r : r + 32, c : c + 32].sum()),
        )
        for r in range(0, height, 32)
        for c in range(0, width, 32)
    )
    values: dict[str, Any] = {
        "tiles": tiles,
        "quicklook": picture(codes),
        "overlay": codes,
        "facts": {"CRS": "EPSG:32650"},
    }
    return SceneReport(
        name, height, width, int(cloudy.sum()), int(valid.sum()), **{**values, **more}
    )


def restoration(name: str = "clear.tif", **more: Any) -> RestorationReport:
    """A restoration with everything known."""
    codes = clouds(90, 120)
    weight = np.where(codes == 1, 255, 0).astype(np.uint8)
    values: dict[str, Any] = {
        "before": picture(codes),
        "after": picture(np.zeros_like(codes)),
        "overlay": codes,
        "weight": weight,
        "allocation": np.where(weight > 0, 100 + codes * 20, 0).astype(np.uint8),
        "ccp_before": 0.25,
        "ccp_after": 0.0125,
        "seams": {
            "score": 1.02,
            "score_on_grid": 1.0,
            "overlap_rms": 7.5,
            "tone_rms_before": 7.0,
            "tone_rms": 3.5,
        },
        "stages_s": {"preparing": 0.5, "survey": 0.2, "restore": 93.0, "write": 1.2, "report": 0.6},
        "facts": {"Model": "embedded-rgbn", "Model weights, SHA-256": "ab" * 32},
    }
    return RestorationReport(name, **{**values, **more})


class Read(HTMLParser):
    """A page taken apart.

    Attributes
    ----------
    elements
        (tag, attributes) in order.
    text
        Text outside scripts and styles.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open, f"not closed: {self._open}"
        ids = [a["id"] for _, a in self.elements if "id" in a]
        assert len(ids) == len(set(ids)), "an id appears twice"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"{tag} was not open"
        assert self._open.pop() == tag, f"{tag} closed out of turn"

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("script", "style"):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of all elements of a kind."""
        return [attributes for found, attributes in self.elements if found == tag]


def outside(page: str) -> list[str]:
    """Whatever in a page could make a browser ask for something, save data URIs and anchors."""
    found = [
        value
        for _, attributes in Read(page).elements
        for key, value in attributes.items()
        if key in ("src", "href", "srcset", "action", "data", "poster", "background")
        and not (value or "").startswith("data:")
    ]
    return found + re.findall(r"@import|url\(|fetch\(|XMLHttpRequest|WebSocket|import\(", page)


def decoded(uri: str) -> Image.Image:
    """The picture in a data URI."""
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
