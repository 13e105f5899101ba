"""The stages of training as data: what learns, what is frozen, on which size, by which loss."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the coarse-to-fine strategy.

    Attributes
    ----------
    trains, frozen
        Parts of a bundle: "reference", "cnp", "wa", "detector".
    size_px
        Side of the training samples.
    shrink
        Factor by which whole samples are shrunk first (the coarse stage sees whole images small).
    loss
        "restore" (the reference's), "noise" (Eq. 7), "weight" (Eq. 14), "joint" (Eq. 15), "mask".
    """

    name: str
    trains: tuple[str, ...]
    frozen: tuple[str, ...]
    size_px: int
    shrink: int
    loss: str


STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage("reference", ("reference",), (), 128, 1, "restore"),
        Stage("detector", ("detector",), (), 192, 1, "mask"),
        Stage("coarse", ("cnp",), (), 64, 2, "noise"),
        Stage("weights", ("wa",), ("reference", "cnp"), 128, 1, "weight"),
        Stage("joint", ("cnp", "wa"), ("reference",), 128, 1, "joint"),
    )
}

ORDER = ("reference", "coarse", "weights", "joint")
"""The order in which `decr train all` runs the restoring stages."""
