"""A recipe: one TOML file that says on what, which networks, and how long to train."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from decr.dataset.clear import Folder
from decr.dataset.samples import PLAIN, Variety
from decr.errors import ConfigError
from decr.training.loop import TrainConfig
from decr.training.stages import STAGES
from decr.zoo.bundle import Part

DEFAULT_PARTS = {
    "reference": Part("compact", {"width": 16, "multipliers": [1, 2, 4, 6, 8], "blocks": 1}),
    "cnp": Part("cnp", {"width": 16, "multipliers": [1, 2, 4, 6], "blocks": 1}),
    "wa": Part("wa", {"width": 16, "multipliers": [1, 1, 2], "blocks": 1}),
    "detector": Part("cloudnet", {"width": 3}),
}
"""The compact networks that decr ships."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What `decr train` follows.

    Attributes
    ----------
    name
        Of the resulting bundle.
    bands
        Roles the networks take, in order.
    clear, labelled
        Imagery; labelled only for detectors.
    holdout
        Patterns of file names kept for validation.
    stages
        In order, with their settings.
    parts
        Networks by name.
    start
        A bundle to start from; may have more bands.
    variety
        How far samples stray from the clear imagery.
    """

    name: str
    bands: tuple[str, ...]
    clear: tuple[Folder, ...]
    labelled: tuple[Folder, ...]
    holdout: tuple[str, ...]
    stages: Mapping[str, TrainConfig]
    parts: Mapping[str, Part]
    gsd_m: float = 0.6
    gsd_range_m: tuple[float, float] = (0.3, 2.0)
    start: Path | None = None
    steps: int = 10
    prior_floor: float = 0.3
    licence: str = ""
    attribution: str = ""
    variety: Variety = PLAIN


def read_recipe(path: Path, root: Path) -> Recipe:
    """Read a recipe; folders in it are relative to ``root``.

    Raises
    ------
    ConfigError
        Naming the file and the key that is wrong, with the keys there are.
    """
    try:
        text = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the recipe ({error.strerror})") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML ({error})") from error
    _known(path, text, {f.name for f in fields(Recipe)})
    try:
        return _recipe(path, text, root)
    except ConfigError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"{path}: the recipe is incomplete or has a wrong value: {error}"
        ) from error


def _recipe(path: Path, text: dict[str, Any], root: Path) -> Recipe:
    stages = {}
    for name, values in text["stages"].items():
        if name not in STAGES:
            raise ConfigError(f"{path}: no stage is called {name!r}; there are {', '.join(STAGES)}")
        _known(path, values, {f.name for f in fields(TrainConfig)})
        stages[name] = TrainConfig(**values)
    _known(path, text.get("variety", {}), {f.name for f in fields(Variety)})
    needed = {p for name in stages for p in (*STAGES[name].trains, *STAGES[name].frozen)}
    parts = {name: part for name, part in DEFAULT_PARTS.items() if name in needed}
    for name, values in text.get("parts", {}).items():
        parts[name] = Part(values["architecture"], values.get("size", {}))
    return Recipe(
        name=str(text["name"]),
        bands=tuple(text["bands"]),
        clear=tuple(_folder(path, f, root) for f in text["clear"]),
        labelled=tuple(_folder(path, f, root) for f in text.get("labelled", ())),
        holdout=tuple(text.get("holdout", ())),
        stages=stages,
        parts=parts,
        gsd_m=float(text.get("gsd_m", 0.6)),
        gsd_range_m=tuple(text.get("gsd_range_m", (0.3, 2.0))),
        start=Path(text["start"]) if "start" in text else None,
        steps=int(text.get("steps", 10)),
        prior_floor=float(text.get("prior_floor", 0.3)),
        licence=str(text.get("licence", "")),
        attribution=str(text.get("attribution", "")),
        variety=Variety(**text.get("variety", {})),
    )


def _folder(path: Path, values: dict[str, Any], root: Path) -> Folder:
    _known(path, values, {f.name for f in fields(Folder)})
    return Folder(
        path=root / values["path"],
        bands=values.get("bands"),
        gsd_m=values.get("gsd_m"),
        white=values.get("white"),
        skip=tuple(values.get("skip", ())),
        weight=float(values.get("weight", 1.0)),
        masks=root / values["masks"] if "masks" in values else None,
        cloudy_from=int(values.get("cloudy_from", 1)),
    )


def _known(path: Path, values: Mapping[str, Any], allowed: set[str]) -> None:
    for key in values:
        if key not in allowed:
            raise ConfigError(
                f"{path}: unknown key {key!r}; there are {', '.join(sorted(allowed))}"
            )
