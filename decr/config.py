"""The options of every verb as frozen dataclasses, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from decr.errors import ConfigError

Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True, slots=True)
class DecloudConfig:
    """How a scene is restored.

    Attributes
    ----------
    model
        "embedded", the name of an embedded bundle, or a path.
    detector
        "compact" (embedded weights), "threshold", or the path of a detector's bundle.
    bands
        Roles of the scene's bands in file order, such as "b,g,r,n"; None reads them from the file.
    dn_range
        DN that map to -1 and +1; None asks the model card, then the scene.
    tile_px, overlap_px
        Inference tile and how far neighbours overlap.
    steps, prior_floor
        DDIM steps and the paper's eta; None takes the model card's.
    seed
        Of the noise field.
    full
        Restore every valid pixel, as the paper does, not only cloudy ones.
    cloud_mask
        A raster whose non-zero pixels are cloudy, instead of a detector.
    threshold
        Cloud probability from which a pixel counts as cloudy.
    margin_m, feather_m
        Clouds grow by the margin, then the change fades out over the feather, metres; on a scene
        of large pixels at least 3 and 4 pixels, unless 0.
    aoi
        GeoJSON that limits the work.
    gsd
        "native" works on the scene's pixels, "model" at the model's ground sampling distance.
    batch
        Tiles handed to the model at once. Results do not depend on it.
    device
        "auto", "cpu" or "cuda".
    precision
        "auto" is bfloat16 where the device has units for it, else float32.
    compile
        Compile the networks with torch before the first tile. Takes minutes and needs a C++
        compiler; on a CPU in float32 it was measured to be slower.
    """

    model: str = "embedded"
    detector: str = "compact"
    bands: str | None = None
    dn_range: tuple[float, float] | None = None
    tile_px: int = 256
    overlap_px: int = 64
    steps: int | None = None
    prior_floor: float | None = None
    seed: int = 0
    full: bool = False
    cloud_mask: Path | None = None
    threshold: float = 0.5
    margin_m: float = 12.0
    feather_m: float = 16.0
    aoi: Path | None = None
    gsd: Literal["native", "model"] = "native"
    batch: int = 4
    device: str = "auto"
    precision: Precision = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        _check(
            self.tile_px >= 32 and self.tile_px % 16 == 0,
            f"tile must be a multiple of 16 and at least 32 px, not {self.tile_px}",
        )
        _check(
            0 <= self.overlap_px <= self.tile_px // 2,
            f"overlap must lie in 0..{self.tile_px // 2} px for tiles of {self.tile_px} px, "
            f"not {self.overlap_px}",
        )
        _check(
            self.steps is None or 1 <= self.steps <= 1000,
            f"steps must lie in 1..1000, not {self.steps}",
        )
        _check(
            self.prior_floor is None or 0 <= self.prior_floor <= 1,
            f"the prior floor must lie in 0..1, not {self.prior_floor}",
        )
        _check(0 < self.threshold <= 1, f"the threshold must lie in (0, 1], not {self.threshold}")
        _check(
            self.margin_m >= 0 and self.feather_m >= 0,
            "the cloud margin and feather must not be negative",
        )
        _check(self.batch >= 1, f"batch must be at least 1, not {self.batch}")
        _check(
            self.dn_range is None or self.dn_range[0] < self.dn_range[1],
            f"the DN range {self.dn_range} is empty; the first number must be the smaller",
        )
        _check(
            not (self.full and self.cloud_mask is not None),
            "full restores every pixel, so a cloud mask would have no effect; drop one of them",
        )


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)
