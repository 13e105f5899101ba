"""The card of a bundle: what it says of itself, as a value and as text in the file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from decr.calibration import ErrorTable
from decr.diffusion.schedule import NoiseSchedule
from decr.errors import BundleError, ConfigError
from decr.models.registry import check_architecture
from decr.zoo.limits import reason

FORMAT = 1
MOST_LEVEL_PX = 100_000
"""Of a card: squares of any scene's side."""
KEY = "decr"
"""Of the file's metadata, under which the card is."""


@dataclass(frozen=True, slots=True)
class Part:
    """One network of a bundle: its architecture and its size (empty = the published one)."""

    architecture: str
    size: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Card:
    """What a bundle says of itself.

    Attributes
    ----------
    name
        Short name.
    bands
        Roles of the bands the networks take, in their order.
    gsd_m
        Ground sampling distance the networks were trained at, metres.
    gsd_range_m
        GSDs seen in training, metres; (0, 0) where not known.
    parts
        "reference", "cnp", "wa", "detector": whichever the bundle holds.
    steps, prior_floor
        Sampling defaults of a DE bundle.
    train_steps
        Length of the noise schedule's full chain.
    level_px
        Of a DE bundle: see `decr.diffusion.fusion.FusedDenoiser`.
    ranges
        DN ranges by dtype that the card declares, for example {"uint8": [0, 255]}. Of dtypes that
        are not listed, uint8 is 0 to 255; the range of others is estimated per scene.
    licence, provenance
        For people.
    errors
        How wrong restored pixels are on average (`decr models calibrate`); None if nobody measured
        these very weights.
    """

    name: str
    bands: tuple[str, ...]
    gsd_m: float
    parts: Mapping[str, Part]
    gsd_range_m: tuple[float, float] = (0.0, 0.0)
    steps: int = 50
    prior_floor: float = 0.3
    level_px: int = 0
    train_steps: int = 1000
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    licence: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    errors: ErrorTable | None = None

    @property
    def schedule(self) -> NoiseSchedule:
        """The full training chain (linear, as published)."""
        return NoiseSchedule.linear(self.train_steps)

    def respaced(self, steps: int | None = None) -> NoiseSchedule:
        """The chain that is sampled in ``steps``; None takes the card's.

        Raises
        ------
        ConfigError
            If the chain cannot be cut into that many.
        """
        try:
            return self.schedule.respaced(self.steps if steps is None else steps)
        except ConfigError as error:
            own = "" if steps else f", whose card says {self.steps} steps; give others with --steps"
            raise ConfigError(f"model {self.name}{own}: {error}") from error


def metadata_of(card: Card) -> dict[str, str]:
    """A card as the metadata of a file."""
    return {KEY: json.dumps({"format": FORMAT, **asdict(card)}, sort_keys=True)}


def card_from(path: Path, metadata: Mapping[str, str] | None) -> Card:
    """The card in the metadata of a file.

    Raises
    ------
    BundleError
        If there is none, or it is damaged or of a newer format.
    """
    if not metadata or KEY not in metadata:
        raise BundleError(
            f"{path}: a safetensors file, but not a bundle of decr's (no card inside); `decr "
            f"models import` makes one of published weights"
        )
    try:
        header = json.loads(metadata[KEY])
        if header["format"] != FORMAT:
            raise BundleError(
                f"{path}: bundle format {header['format']!r:.20}, this decr reads {FORMAT}; "
                f"install a newer decr"
            )
        del header["format"]
        header["parts"] = {
            k: Part(v["architecture"], v["size"]) for k, v in header["parts"].items()
        }
        if not isinstance(header["bands"], list):
            raise ValueError(f"bands is {header['bands']!r}")
        header["bands"] = tuple(header["bands"])
        header["gsd_range_m"] = tuple(header["gsd_range_m"])
        header["ranges"] = {k: (float(v[0]), float(v[1])) for k, v in header["ranges"].items()}
        if header.get("errors") is not None:
            header["errors"] = _error_table(header["errors"])
        card = Card(**header)
        check_card(card)
        return card
    except BundleError:
        raise
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        OverflowError,
        RecursionError,
    ) as error:
        raise BundleError(f"{path}: the card inside is damaged ({reason(error)})") from error


def check_card(card: Card) -> None:
    """Refuse values that would only fail later, or ask for endless work; raises ValueError."""
    checks = (
        # Names stand in tables and on terminals.
        (isinstance(card.name, str) and card.name.isprintable(), "name"),
        (0 < len(card.bands) <= 16 and all(isinstance(b, str) for b in card.bands), "bands"),
        (len(set(card.bands)) == len(card.bands) and "".join(card.bands).isprintable(), "bands"),
        # JSON has integers that no float can hold.
        (card.gsd_m > 0 and float(card.gsd_m) < math.inf, "gsd_m"),
        (
            len(card.gsd_range_m) == 2
            and 0 <= card.gsd_range_m[0] <= card.gsd_range_m[1] <= float(card.gsd_range_m[1]),
            "gsd_range_m",
        ),
        (type(card.train_steps) is int and 1 < card.train_steps <= 100_000, "train_steps"),
        (type(card.steps) is int and 1 <= card.steps <= card.train_steps, "steps"),
        (0 <= card.prior_floor <= 1, "prior_floor"),
        (type(card.level_px) is int and 0 <= card.level_px <= MOST_LEVEL_PX, "level_px"),
        (all(-math.inf < low < high < math.inf for low, high in card.ranges.values()), "ranges"),
        (all(isinstance(p.architecture, str) for p in card.parts.values()), "parts"),
        (all(isinstance(p.size, Mapping) for p in card.parts.values()), "parts"),
        (isinstance(card.licence, str), "licence"),
        (isinstance(card.provenance, Mapping), "provenance"),
    )
    for good, key in checks:
        if not good:
            raise ValueError(f"{key} is {getattr(card, key)!r}")
    for name, part in card.parts.items():
        check_architecture(name, part.architecture)


def _error_table(values: Mapping[str, Any]) -> ErrorTable:
    brightness, error = (tuple(float(n) for n in values[k]) for k in ("brightness", "error"))
    settings = {str(k): str(v) for k, v in values["settings"].items()}
    return ErrorTable(brightness, error, settings, str(values["about"]))
