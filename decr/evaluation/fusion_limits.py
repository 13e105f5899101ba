"""What a weight W between two estimates could gain: their errors at each step, with the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decr.evaluation.analysis import Bench
from decr.evaluation.sampling import Fused
from decr.evaluation.tiles import Tile

Float64 = NDArray[np.float64]

WINDOW_PX = 8
"""Side of the windows that get a best W of their own, between one W for all and one per pixel."""
_HEADS = (
    ("mean_w", "mean W"),
    ("reference", "reference"),
    ("diffusion", "diffusion"),
    ("correlation", "correl."),
    ("half", "W = 0.5"),
    ("learnt", "learnt W"),
    ("best", "best one W"),
    ("windows", f"per {WINDOW_PX}x{WINDOW_PX} px"),
    ("pixels", "per pixel"),
)


def limits(bench: Bench) -> list[dict[str, float]]:
    """Means over tiles, for each step of the full model's sampling, of what `limits_of` tells."""
    found: dict[int, list[dict[str, float]]] = {}
    for number, tile in enumerate(bench.tiles):

        def keep(step: Fused, tile: Tile = tile) -> None:
            reference, diffusion, weight = (
                image[0].double().cpu().numpy()
                for image in (step.reference, step.diffusion, step.weight)
            )
            # In shares of white, which is 2 in unit.
            truth = tile.clear.astype(np.float64)
            errors = [(image - truth) / 2.0 for image in (reference, diffusion)]
            found.setdefault(step.t, []).append(limits_of(errors[0], errors[1], weight))

        bench.restored(number, on_fusion=keep)
    return [
        {"t": t, **{name: float(np.mean([tile[name] for tile in tiles])) for name in tiles[0]}}
        for t, tiles in found.items()
    ]


def limits_of(reference: Float64, diffusion: Float64, weight: Float64) -> dict[str, float]:
    """How near to the truth W * reference + (1 - W) * diffusion comes, by what W is.

    Parameters
    ----------
    reference, diffusion
        (C, H, W) errors of the two estimates, shares of white, with sign.
    weight
        (C, H, W) W as it counted.

    Notes
    -----
    It is of the fusion alone: after it a model's output also has the reference's levels, where its
    card says ``level_px``, and is clipped to unit.

    Returns
    -------
    dict
        ``mean_w``; ``correlation`` of the two errors, about 0; PSNR in dB of ``reference``,
        ``diffusion``, ``half`` (W = 0.5), ``learnt``, and with a W in 0..1 that is chosen by the
        truth: ``best`` (one number, ``best_w``), ``windows`` (one per `WINDOW_PX` square) and
        ``pixels`` (one per band and pixel).

    Examples
    --------
    >>> too_bright, too_dark = np.full((1, 8, 8), 0.1), np.full((1, 8, 8), -0.3)
    >>> found = limits_of(too_bright, too_dark, np.full((1, 8, 8), 0.5))
    >>> round(found["reference"], 6), round(found["best_w"], 6), round(found["correlation"], 6)
    (20.0, 0.75, -1.0)
    """

    def one(w: Float64 | float) -> float:
        """PSNR in dB; an error of 0 counts as 1e-6 of white, so that means stay finite."""
        error = w * reference + (1.0 - w) * diffusion
        return float(-10.0 * np.log10(max(float((error**2).mean()), 1e-12)))

    product = float((reference * diffusion).mean())
    norms = float(np.sqrt((reference**2).mean() * (diffusion**2).mean()))
    best = float(_best(reference, diffusion, (0, 1, 2))[0, 0, 0])
    return {
        "mean_w": float(weight.mean()),
        "correlation": product / norms if norms > 0 else 0.0,
        "reference": one(1.0),
        "diffusion": one(0.0),
        "half": one(0.5),
        "learnt": one(weight),
        "best_w": best,
        "best": one(best),
        "windows": one(_by_window(reference, diffusion)),
        "pixels": one(_best(reference, diffusion, ())),
    }


def _best(reference: Float64, diffusion: Float64, axes: tuple[int, ...]) -> Float64:
    """The W in 0..1 of the least squared error over some axes; 0.5 where it does not matter."""
    apart = reference - diffusion
    # Not by sum(axis=()), which would be a sum over all.
    above, below = -diffusion * apart, apart**2
    if axes:
        above, below = above.sum(axes, keepdims=True), below.sum(axes, keepdims=True)
    some = below > 0
    return np.where(some, np.clip(above / np.where(some, below, 1.0), 0.0, 1.0), 0.5)


def _by_window(reference: Float64, diffusion: Float64) -> Float64:
    """The best W of each band and window, at each pixel; the last windows may be smaller."""
    weight = np.empty_like(reference)
    for row in range(0, reference.shape[1], WINDOW_PX):
        for col in range(0, reference.shape[2], WINDOW_PX):
            part = np.s_[:, row : row + WINDOW_PX, col : col + WINDOW_PX]
            weight[part] = _best(reference[part], diffusion[part], (1, 2))
    return weight


def described(rows: Sequence[Mapping[str, float]]) -> str:
    """A table of the steps, and in words what it means for a learnt W against W = 0.5."""
    lines = [
        "what W could gain, step by step: PSNR of W reference + (1 - W) diffusion, dB, on the full "
        "model's way,",
        "before its level_px and clipping; correlation of their errors; "
        '"best" and "per" choose W in 0..1 by the truth',
        f"{'t':>5}" + "".join(f"  {head:>10}" for _, head in _HEADS),
    ]
    for row in rows:
        cells = "".join(
            f"  {row[name]:10.{3 if name in ('mean_w', 'correlation') else 2}f}"
            for name, _ in _HEADS
        )
        lines.append(f"{int(row['t']):5}{cells}")
    return "\n".join([*lines, verdict(rows)])


def verdict(rows: Sequence[Mapping[str, float]]) -> str:
    """Why a learnt W is, or is not, better than 0.5: from the fusion of the last step."""
    last: Mapping[str, Any] = rows[-1]
    over = {name: last[name] - last["half"] for name in ("best", "windows", "learnt")}
    return (
        f"at the last step the errors of reference and diffusion correlate "
        f"{last['correlation']:.2f}, and W = 0.5 is {last['half']:.2f} dB; above it are, with the "
        f"truth, the best single W of a tile ({last['best_w']:.2f} on average) by "
        f"{over['best']:.2f} dB and the best W of each {WINDOW_PX} x {WINDOW_PX} px by "
        f"{over['windows']:.2f} dB; learnt W is {abs(over['learnt']):.2f} dB "
        f"{'above' if over['learnt'] >= 0 else 'below'} it"
    )
