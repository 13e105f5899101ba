"""Pictures inside a page: photographs as JPEG, masks and maps as PNG with few colours."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

UInt8 = NDArray[np.uint8]
_MAP_PX = 512
"""Of a map of numbers: they are hardly smooth, and PNG keeps all of them."""
Colour = tuple[int, int, int]

CLOUD: Colour = (213, 94, 0)
THIN: Colour = (240, 196, 25)
NO_DATA: Colour = (128, 128, 128)
WEIGHT: Colour = (122, 40, 160)
"""Colours of the layers. Vermilion, yellow and violet differ in lightness too, so that they are
told apart without seeing red or green."""

_RAMP: tuple[Colour, ...] = (
    (16, 36, 84),
    (48, 70, 116),
    (96, 104, 124),
    (146, 140, 120),
    (200, 182, 100),
    (252, 232, 92),
)
"""Dark blue over grey to yellow: lightness grows evenly, and no hue is lost to the colour-blind."""


def ramp() -> UInt8:
    """(256, 3) uint8: the colours of 0..255 in maps."""
    at = np.linspace(0, len(_RAMP) - 1, 256)
    channels = [np.interp(at, np.arange(len(_RAMP)), channel) for channel in np.array(_RAMP).T]
    colours: UInt8 = np.rint(np.stack(channels, axis=1)).astype(np.uint8)
    return colours


def photograph(picture: UInt8, longest_px: int = 1024) -> str:
    """A data URI of (h, w, 3) RGB as JPEG: small, and near enough for a quicklook."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    image.thumbnail((longest_px, longest_px), Image.Resampling.LANCZOS)
    return _uri(image, "JPEG", quality=82)


def cloud_layer(overlay: UInt8, longest_px: int = 1024) -> str:
    """A data URI of a mask as PNG: clouds tinted, with a full outline; no data grey.

    Parameters
    ----------
    overlay
        (h, w) codes as in `decr.report.values.SceneReport`; rows and columns are left out until it
        is no longer than ``longest_px``.
    """
    step = -(-max(overlay.shape) // longest_px)
    overlay = overlay[::step, ::step]
    codes = overlay.copy()
    codes[(overlay == 1) & _edge(overlay == 1)] = 4
    codes[(overlay == 3) & _edge(overlay == 3)] = 5
    faint, full = 96, 255
    colours = [(0, 0, 0), CLOUD, NO_DATA, THIN, CLOUD, THIN]
    return _indexed(codes, colours, [0, faint, 200, faint, full, full])


def weight_layer(weight: UInt8) -> str:
    """A data URI of a change weight (h, w), 0..255, as PNG: the heavier, the more opaque."""
    levels = np.arange(256)
    return _indexed(weight, [WEIGHT] * 256, [int(a) for a in np.rint(levels * 0.75)])


def ramp_layer(values: UInt8, shown: NDArray[np.bool_]) -> str:
    """A data URI of (h, w) 0..255 in the colours of `ramp`, as PNG; see-through elsewhere."""
    step = -(-max(values.shape) // _MAP_PX)
    values, shown = values[::step, ::step], shown[::step, ::step]
    # One colour makes room for "nothing": nobody tells 0 from 1.
    codes = np.where(shown, np.maximum(values, 1), 0).astype(np.uint8)
    colours: list[Colour] = [(int(r), int(g), int(b)) for r, g, b in ramp()]
    return _indexed(codes, colours, [0] + [255] * 255)


def _edge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of a mask that touch what is not in it, along an axis."""
    padded = np.pad(mask, 1, mode="edge")
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def _indexed(codes: UInt8, colours: list[Colour], alpha: list[int]) -> str:
    image = Image.fromarray(np.ascontiguousarray(codes)).convert("L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette([channel for colour in colours for channel in colour])
    return _uri(image, "PNG", optimize=True, transparency=bytes(alpha))


def _uri(image: Image.Image, kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    text = base64.b64encode(buffer.getvalue()).decode()
    return f"data:image/{kind.lower()};base64,{text}"
