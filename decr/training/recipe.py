"""A recipe: one TOML file that says on what, which networks, and how long to train."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from decr.dataset.clear import Folder
from decr.dataset.pairs import PairFolder
from decr.dataset.samples import PLAIN, Variety
from decr.errors import ConfigError
from decr.training.presets import PRESETS, PUBLISHED_REFERENCE
from decr.training.settings import TrainConfig
from decr.training.stages import STAGES
from decr.zoo.bundle import Part
from decr.zoo.embedded import EMBEDDED, embedded_path


def _compact(multipliers: list[int]) -> dict[str, Any]:
    return {"width": 16, "multipliers": multipliers, "blocks": 1, "bilinear": True}


DEFAULT_PARTS = {
    "reference": Part("compact", _compact([1, 2, 4, 6, 8])),
    "cnp": Part("cnp", _compact([1, 2, 4, 6])),
    "wa": Part("wa", _compact([1, 1, 2])),
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
    preset
        Where settings that the recipe leaves out come from.
    pairs, pair_share
        Real cloudy and clear pairs, and the share of samples taken from them where there is clear
        imagery, too.
    parts
        Networks by name.
    start
        A bundle to start from; may have more bands.
    variety
        How far samples stray from the clear imagery.
    lpips_backbone
        Weights for stages with a ``perceptual`` term, see `decr.evaluation.perceptual`.
    vgg16
        Weights for MSDA-CR's perceptual term, see `decr.training.published_perceptual`.
    date_pattern, other_date_share
        Where file names have their date (see `decr.dataset.dates.dated_partners`), and the share of
        samples over clear imagery whose truth is the same ground on another date.
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
    preset: str = "fast"
    pairs: tuple[PairFolder, ...] = ()
    pair_share: float = 0.5
    steps: int = 10
    prior_floor: float = 0.3
    licence: str = ""
    attribution: str = ""
    variety: Variety = PLAIN
    lpips_backbone: Path | None = None
    vgg16: Path | None = None
    date_pattern: str = ""
    other_date_share: float = 0.0

    def __post_init__(self) -> None:
        if not self.clear and not self.pairs:
            raise ConfigError(f"recipe {self.name!r}: names neither clear imagery nor pairs")
        if not 0.0 <= self.pair_share <= 1.0:
            raise ConfigError(f"pair_share must lie in 0..1, not {self.pair_share}")
        if not 0.0 <= self.other_date_share <= 1.0:
            raise ConfigError(f"other_date_share must lie in 0..1, not {self.other_date_share}")
        if self.other_date_share and not self.date_pattern:
            raise ConfigError(
                f"recipe {self.name!r}: other_date_share needs a date_pattern that says where file "
                f"names have their date, such as '_(?P<date>[0-9]{{4}})_'"
            )
        if "detector" in self.stages and len(self.stages) > 1:
            raise ConfigError(
                f"recipe {self.name!r}: a detector is a bundle of its own; give it its own recipe"
            )


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
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
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
    preset = str(text.get("preset", "fast"))
    tables = text["stages"]
    for name in tables:
        if name not in STAGES:
            raise ConfigError(f"{path}: no stage is called {name!r}; there are {', '.join(STAGES)}")
    parts = default_parts(tables)
    for name, values in text.get("parts", {}).items():
        _known(path, values, {f.name for f in fields(Part)})
        parts[name] = Part(values["architecture"], values.get("size", {}))
    _known(path, text.get("variety", {}), {f.name for f in fields(Variety)})
    stages = {}
    for name, values in tables.items():
        _known(path, values, {f.name for f in fields(TrainConfig)})
        stages[name] = replace(stage_settings(preset, name, parts), **values)
    return Recipe(
        name=str(text["name"]),
        bands=tuple(text["bands"]),
        clear=tuple(_folder(path, f, root) for f in text.get("clear", ())),
        labelled=tuple(_folder(path, f, root) for f in text.get("labelled", ())),
        holdout=tuple(text.get("holdout", ())),
        stages=stages,
        parts=parts,
        gsd_m=float(text.get("gsd_m", 0.6)),
        gsd_range_m=tuple(text.get("gsd_range_m", (0.3, 2.0))),
        start=_start(text["start"]) if "start" in text else None,
        preset=preset,
        pairs=tuple(_pair_folder(path, f, root) for f in text.get("pairs", ())),
        pair_share=float(text.get("pair_share", 0.5)),
        steps=int(text.get("steps", 10)),
        prior_floor=float(text.get("prior_floor", 0.3)),
        licence=str(text.get("licence", "")),
        attribution=str(text.get("attribution", "")),
        variety=Variety(**text.get("variety", {})),
        lpips_backbone=root / text["lpips_backbone"] if "lpips_backbone" in text else None,
        vgg16=root / text["vgg16"] if "vgg16" in text else None,
        date_pattern=str(text.get("date_pattern", "")),
        other_date_share=float(text.get("other_date_share", 0.0)),
    )


def default_parts(stages: Iterable[str]) -> dict[str, Part]:
    """The compact networks that some stages need."""
    needed = {p for name in stages for p in (*STAGES[name].trains, *STAGES[name].frozen)}
    return {name: part for name, part in DEFAULT_PARTS.items() if name in needed}


def stage_settings(preset: str, stage: str, parts: Mapping[str, Part]) -> TrainConfig:
    """Settings of a stage by a preset; a published reference has its own, whatever the preset.

    Raises
    ------
    ConfigError
        If there is no such preset.
    """
    if preset not in PRESETS:
        raise ConfigError(f"no preset is called {preset!r}; there are {', '.join(PRESETS)}")
    if stage == "reference" and parts["reference"].architecture != "compact":
        return PUBLISHED_REFERENCE
    return PRESETS[preset][stage]


def _start(start: str) -> Path:
    """A bundle to start from: the name of an embedded one, or a file."""
    return embedded_path(start) if start in EMBEDDED else Path(start)


def _pair_folder(path: Path, values: dict[str, Any], root: Path) -> PairFolder:
    _known(path, values, {f.name for f in fields(PairFolder)})
    return PairFolder(
        path=root / values["path"],
        layout=str(values.get("layout", "folders")),
        bands=values.get("bands"),
        gsd_m=values.get("gsd_m"),
        white=values.get("white"),
        split=None if values.get("split") == "all" else values.get("split", "train"),
        skip=tuple(values.get("skip", ())),
        weight=float(values.get("weight", 1.0)),
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
