"""A recipe: one TOML file that says on what, which networks, and how long to train."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from decr.dataset.clear import Folder
from decr.dataset.layouts import layout_of
from decr.dataset.pairs import PairFolder
from decr.dataset.samples import PLAIN, Variety
from decr.diffusion.schedule import NoiseSchedule
from decr.errors import ConfigError, DatasetError
from decr.models.registry import check_architecture
from decr.training.checks import check_stem, number, texts, whole, wrong
from decr.training.presets import PRESETS, PUBLISHED_REFERENCE
from decr.training.settings import TrainConfig
from decr.training.stages import STAGES
from decr.zoo.card import MOST_LEVEL_PX, Part
from decr.zoo.embedded import EMBEDDED, embedded_path

_CHAIN = 1000
"""Steps of the diffusion that networks are trained with; sampling takes at most as many."""


def _compact(multipliers: list[int]) -> dict[str, Any]:
    return {"width": 16, "multipliers": multipliers, "blocks": 1, "bilinear": True}


DEFAULT_PARTS = {
    "reference": Part("compact", _compact([1, 2, 4, 6, 8])),
    "cnp": Part("cnp", _compact([1, 2, 4, 6])),
    "wa": Part("wa", _compact([1, 1, 2])),
    "detector": Part("cloudnet", {"width": 3}),
}
"""The compact networks that are trained where a recipe has no ``[parts]``."""


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
        A bundle to start from; what may differ is said in docs/recipes/README.md, as are the keys
        that are not listed here.
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
    level_px: int = 0
    licence: str = ""
    attribution: str = ""
    variety: Variety = PLAIN
    lpips_backbone: Path | None = None
    vgg16: Path | None = None
    date_pattern: str = ""
    other_date_share: float = 0.0

    def __post_init__(self) -> None:
        self._check_card()
        texts("holdout", self.holdout)
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

    def _check_card(self) -> None:
        """Refuse what a bundle could not say of itself, before hours of training."""
        for name, part in self.parts.items():
            try:
                check_architecture(name, part.architecture)
            except ValueError as error:
                raise ConfigError(str(error)) from error
        check_stem(self.name)
        if not texts("bands", self.bands) or len(set(self.bands)) < len(self.bands):
            raise wrong("bands", self.bands, "a list of at least one role, each once")
        number("gsd_m", self.gsd_m, above=0)
        ends = [number("gsd_range_m", end, least=0) for end in self.gsd_range_m]
        if len(ends) != 2 or ends[0] > ends[1]:
            raise wrong("gsd_range_m", ends, "two sizes, the smaller one first")
        if whole("steps", self.steps, least=1) > _CHAIN:
            raise wrong("steps", self.steps, f"a whole number in 1..{_CHAIN}")
        try:
            NoiseSchedule.linear(_CHAIN).respaced(self.steps)
        except ConfigError as error:
            raise ConfigError(f"steps of the bundle: {error}") from error
        if number("prior_floor", self.prior_floor, least=0) > 1:
            raise wrong("prior_floor", self.prior_floor, "a number in 0..1")
        if whole("level_px", self.level_px, least=0) > MOST_LEVEL_PX:
            raise wrong("level_px", self.level_px, f"a whole number in 0..{MOST_LEVEL_PX}")


def read_recipe(path: Path, root: Path) -> Recipe:
    """Read a recipe; folders in it are relative to ``root``.

    Raises
    ------
    ConfigError
        Naming the file and the key that is wrong, with the keys there are.
    DatasetError
        If the layout of a folder of pairs is not said and cannot be recognised.
    """
    try:
        text = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the recipe ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML ({error})") from error
    try:
        return _recipe(text, root)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    except DatasetError:  # a ValueError, which names its folder itself
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"{path}: the recipe is incomplete or has a wrong value: {error}"
        ) from error


def _recipe(text: dict[str, Any], root: Path) -> Recipe:
    _known(text, {f.name for f in fields(Recipe)})
    preset = str(text.get("preset", "fast"))
    tables = text["stages"]
    for name in tables:
        if name not in STAGES:
            raise ConfigError(f"no stage is called {name!r}; there are {', '.join(STAGES)}")
    parts = default_parts(tables)
    for name, values in text.get("parts", {}).items():
        with _table(f"[parts.{name}]"):
            _known(values, {f.name for f in fields(Part)})
        parts[name] = Part(values["architecture"], values.get("size", {}))
    stages = {}
    for name, values in tables.items():
        settings = stage_settings(preset, name, parts)
        with _table(f"[stages.{name}]"):
            _known(values, {f.name for f in fields(TrainConfig)})
            stages[name] = replace(settings, **values)
    return Recipe(
        name=str(text["name"]),
        bands=texts("bands", text["bands"]),
        clear=tuple(_folder("clear", f, root) for f in text.get("clear", ())),
        labelled=tuple(_folder("labelled", f, root) for f in text.get("labelled", ())),
        holdout=texts("holdout", text.get("holdout", ())),
        stages=stages,
        parts=parts,
        gsd_m=number("gsd_m", text.get("gsd_m", 0.6)),
        gsd_range_m=tuple(text.get("gsd_range_m", (0.3, 2.0))),
        start=_start(text["start"]) if "start" in text else None,
        preset=preset,
        pairs=tuple(_pair_folder(f, root) for f in text.get("pairs", ())),
        pair_share=number("pair_share", text.get("pair_share", 0.5)),
        steps=whole("steps", text.get("steps", 10)),
        prior_floor=number("prior_floor", text.get("prior_floor", 0.3)),
        level_px=whole("level_px", text.get("level_px", 0)),
        licence=str(text.get("licence", "")),
        attribution=str(text.get("attribution", "")),
        variety=_variety(text.get("variety", {})),
        lpips_backbone=root / text["lpips_backbone"] if "lpips_backbone" in text else None,
        vgg16=root / text["vgg16"] if "vgg16" in text else None,
        date_pattern=str(text.get("date_pattern", "")),
        other_date_share=number("other_date_share", text.get("other_date_share", 0.0)),
    )


def _variety(values: dict[str, Any]) -> Variety:
    with _table("[variety]"):
        _known(values, {f.name for f in fields(Variety)})
        return Variety(**{key: number(key, value) for key, value in values.items()})


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


def _pair_folder(values: dict[str, Any], root: Path) -> PairFolder:
    with _table("[[pairs]]"):
        _known(values, {f.name for f in fields(PairFolder)})
        path, said = root / values["path"], values.get("layout")
        # A recipe may be read where its imagery is not.
        layout = layout_of(path, said) if said or path.is_dir() else "folders"
        return PairFolder(
            path=path,
            layout=layout,
            bands=values.get("bands"),
            gsd_m=_positive(values, "gsd_m"),
            white=_positive(values, "white"),
            split=values.get("split", "train"),
            skip=texts("skip", values.get("skip", ())),
            weight=_positive(values, "weight") or 1.0,
        )


def _folder(kind: str, values: dict[str, Any], root: Path) -> Folder:
    with _table(f"[[{kind}]]"):
        _known(values, {f.name for f in fields(Folder)})
        return Folder(
            path=root / values["path"],
            bands=values.get("bands"),
            gsd_m=_positive(values, "gsd_m"),
            white=_positive(values, "white"),
            skip=texts("skip", values.get("skip", ())),
            weight=_positive(values, "weight") or 1.0,
            masks=root / values["masks"] if "masks" in values else None,
            cloudy_from=whole("cloudy_from", values.get("cloudy_from", 1)),
        )


def _positive(values: Mapping[str, Any], key: str) -> float | None:
    """A number above 0, or None where nothing is said."""
    return number(key, values[key], above=0) if key in values else None


def _known(values: Mapping[str, Any], allowed: set[str]) -> None:
    for key in values:
        if key not in allowed:
            raise ConfigError(f"unknown key {key!r}; there are {', '.join(sorted(allowed))}")


@contextmanager
def _table(name: str) -> Iterator[None]:
    """Errors of values with the table that they are in."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error
