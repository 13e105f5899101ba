"""The stages of training as data: what learns, what is frozen, by which loss."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the coarse-to-fine strategy.

    Attributes
    ----------
    trains, frozen
        Parts of a bundle: "reference", "cnp", "wa", "detector".
    loss
        "restore" (the reference's), "noise" (Eq. 7), "weight" (Eq. 14), "joint" (Eq. 15), "mask".
    """

    name: str
    trains: tuple[str, ...]
    frozen: tuple[str, ...]
    loss: str

    @property
    def noisy(self) -> bool:
        """Whether its loss is one of diffusion, with timesteps and noise."""
        return self.loss in ("noise", "weight", "joint")


STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage("reference", ("reference",), (), "restore"),
        Stage("detector", ("detector",), (), "mask"),
        Stage("coarse", ("cnp",), (), "noise"),
        Stage("weights", ("wa",), ("reference", "cnp"), "weight"),
        Stage("joint", ("cnp", "wa"), ("reference",), "joint"),
    )
}

ORDER = ("reference", "coarse", "weights", "joint")
"""The restoring stages in the order in which they build on one another."""
