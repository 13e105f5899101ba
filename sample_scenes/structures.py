"""Things that stand on the ground: trees, buildings, cars and boats."""

from __future__ import annotations

import numpy as np

from sample_scenes import spectra
from sample_scenes.canvas import Canvas, Label, cover, paint, rectangle
from sample_scenes.spectra import Spectrum


def tree(
    canvas: Canvas, x: float, y: float, radius_m: float, height_m: float, leaves: Spectrum
) -> None:
    """Plant a tree: a lumpy dome that hides what is lower."""
    rng = canvas.rng
    lobes, phase, tint = (
        rng.uniform(0.0, 0.16, 2),
        rng.uniform(0, 2 * np.pi, 2),
        rng.normal(0, 1, 2),
    )
    patch = rectangle(canvas, (x, y), (2.4 * radius_m, 2.4 * radius_m), 0.0)
    if patch is None:
        return
    theta = np.arctan2(patch.across, patch.along)
    edge = radius_m * (
        1 + lobes[0] * np.sin(3 * theta + phase[0]) + lobes[1] * np.sin(5 * theta + phase[1])
    )
    rho = np.hypot(patch.along, patch.across) / edge
    dome = np.sqrt(np.clip(1.0 - rho**2, 0.0, 1.0))
    lumps = canvas.lumps[patch.window]
    top = height_m * (0.5 + 0.5 * dome) + 0.35 * lumps
    share = cover(canvas, ((1.0 - rho) * edge).astype(np.float32))
    wins = top > canvas.height[patch.window]
    share = np.where(wins, share, 0.0).astype(np.float32)
    colour = (
        leaves
        * (1 + 0.12 * tint[0])
        * np.array([1.0, 1.0 + 0.05 * tint[1], 1.0 + 0.08 * tint[1], 1.0], np.float32)
    )
    shade = 1.0 + 0.05 * lumps
    paint(canvas, patch.window, share, (colour[:, None, None] * shade).astype(np.float32))
    solid = share > 0.5
    canvas.height[patch.window][solid] = top[solid]
    relief = 0.75 * min(radius_m, 4.0) * dome + 0.22 * lumps
    canvas.relief[patch.window][solid] = relief[solid]


def flat(
    canvas: Canvas,
    centre: tuple[float, float],
    size: tuple[float, float],
    angle: float,
    colour: Spectrum,
    label: Label | None = None,
    texture: float = 0.04,
) -> None:
    """Lay a flat rectangle on the ground: a yard, a lawn, a marking."""
    patch = rectangle(canvas, centre, size, angle)
    if patch is None:
        return
    tone = 1.0 + texture * (0.7 * canvas.mid[patch.window] + 0.5 * canvas.fine[patch.window])
    painted = (colour[:, None, None] * tone).astype(np.float32)
    paint(canvas, patch.window, cover(canvas, patch.inset), painted, label)


def building(
    canvas: Canvas,
    centre: tuple[float, float],
    size: tuple[float, float],
    angle: float,
    roof: Spectrum,
    *,
    eaves_m: float = 4.5,
    pitch: float = 0.7,
    hipped: bool = False,
    ribs: float = 0.03,
) -> None:
    """Build a house or shed with a gabled, hipped or (pitch 0) flat roof.

    Parameters
    ----------
    centre, size, angle
        As for ``rectangle``; the ridge follows the length.
    pitch
        Rise over run of the roof.
    ribs
        Contrast of the rows of tiles or sheets.
    """
    patch = rectangle(canvas, centre, size, angle)
    if patch is None:
        return
    share = cover(canvas, patch.inset)
    run = np.minimum(size[1] / 2 - np.abs(patch.across), size[0] if not hipped else patch.inset)
    rise = np.clip(run, 0.0, None) * pitch
    weather = 0.04 * canvas.mid[patch.window] + 0.03 * canvas.fine[patch.window]
    tone = 1.0 + weather + ribs * np.sin(patch.along * 3.1)
    if pitch == 0:
        # The parapet of a flat roof is lighter than the felt inside it.
        tone = tone + 0.35 * (np.abs(patch.inset - 0.4) < 0.4)
    else:
        tone = tone + 0.18 * (np.abs(patch.across) < 0.3)
    painted = (roof[:, None, None] * tone).astype(np.float32)
    paint(canvas, patch.window, share, painted, Label.ROOF)
    solid = share > 0.5
    canvas.height[patch.window][solid] = (eaves_m + rise)[solid]
    canvas.relief[patch.window][solid] = rise[solid]


def on_roof(
    canvas: Canvas,
    centre: tuple[float, float],
    angle: float,
    shift: tuple[float, float],
    size: tuple[float, float],
    colour: Spectrum,
    taller_m: float = 0.0,
) -> None:
    """Put something on a roof, ``shift`` metres along and across from its centre."""
    cos, sin = np.cos(angle), np.sin(angle)
    at = (centre[0] + shift[0] * cos - shift[1] * sin, centre[1] + shift[0] * sin + shift[1] * cos)
    patch = rectangle(canvas, at, size, angle)
    if patch is None:
        return
    share = cover(canvas, patch.inset)
    paint(canvas, patch.window, share, colour)
    canvas.height[patch.window][share > 0.5] += np.float32(taller_m)


def car(canvas: Canvas, x: float, y: float, angle: float) -> None:
    """Park a car, or sometimes a van."""
    rng = canvas.rng
    van = rng.random() < 0.15
    size = (6.2, 2.2) if van else (4.4, 1.9)
    patch = rectangle(canvas, (x, y), size, angle)
    if patch is None:
        return
    colour = spectra.PAINTWORK[
        rng.choice(len(spectra.PAINTWORK), p=[0.3, 0.2, 0.2, 0.1, 0.1, 0.05, 0.05])
    ]
    share = cover(canvas, patch.inset)
    paint(canvas, patch.window, share, colour)
    for window_at, thick in ((size[0] * 0.18, 0.9), (-size[0] * 0.3, 0.6)):
        pane = thick / 2 - np.abs(patch.along - window_at)
        paint(
            canvas, patch.window, cover(canvas, np.minimum(pane, patch.inset)) * 0.8, spectra.GLASS
        )
    canvas.height[patch.window][share > 0.5] = 2.3 if van else 1.5


def boat(canvas: Canvas, x: float, y: float, angle: float, length_m: float) -> None:
    """Moor a boat: a pointed hull with a cabin."""
    width = length_m * 0.3
    patch = rectangle(canvas, (x, y), (length_m, width), angle)
    if patch is None:
        return
    rng = canvas.rng
    forward = np.clip(patch.along / (length_m / 2), -1.0, 1.0)
    beam = width / 2 * np.where(forward > 0, 1 - forward**2, 1 - 0.15 * forward**2)
    inset = np.minimum(beam - np.abs(patch.across), length_m / 2 - np.abs(patch.along))
    share = cover(canvas, inset.astype(np.float32))
    hull = spectra.PAINT if rng.random() < 0.7 else spectra.PAINTWORK[rng.integers(1, 6)]
    paint(canvas, patch.window, share, hull * np.float32(rng.uniform(0.7, 1.1)), Label.ROOF)
    deck = cover(canvas, (inset - 0.45).astype(np.float32))
    paint(canvas, patch.window, deck * 0.7, spectra.TIMBER)
    canvas.height[patch.window][share > 0.5] = 1.2
    on_roof(
        canvas,
        (x, y),
        angle,
        (-0.08 * length_m, 0.0),
        (0.3 * length_m, 0.55 * width),
        spectra.PAINT,
        taller_m=1.4,
    )
