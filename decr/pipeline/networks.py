"""Which networks a run uses, and loading the very same ones in any process."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import lru_cache
from importlib.metadata import EntryPoint
from pathlib import Path

import decr
from decr.cloud.detector import Detector, threshold_detector
from decr.cloud.ice import without_ice
from decr.config import DecloudConfig
from decr.device import default_lanes, ready_device
from decr.errors import ConfigError
from decr.files import there
from decr.forks import fork_lock
from decr.geo.names import absolute_name
from decr.offered import offered_detector, offered_restorer
from decr.pipeline.omnicloudmask import omnicloudmask_detector
from decr.plugins import detector_plugin
from decr.predictor import Restorer, load_detector, load_restorer
from decr.zoo.bundle import check_same, weights_sha256
from decr.zoo.embedded import EMBEDDED, embedded_path, find_bundle, others_model

DETECTORS = ("compact", "threshold", "cloudnet", "omnicloudmask", "file:MASK")
"""Names that `--detector` knows by itself."""

COMPACT = ("embedded-detector", "embedded-detector-fine-nir", "embedded-detector-fine")
"""The networks of `compact`: for scenes no finer than its cells, and for finer ones in turn."""

CLOUDNET_VARIABLE = "DECR_CLOUDNET"
"""Of the environment: the bundle that the name cloudnet stands for."""

_LOADING = fork_lock()
"""A worker has several threads that all want the networks at once; one of them loads them."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The options that decide which restorer is loaded; see `DecloudConfig`."""

    model: str
    nir: bool
    seed: int
    steps: int | None
    prior_floor: float | None
    device: str
    precision: str
    compile_px: int | None


@dataclass(frozen=True, slots=True)
class DetectorChoice:
    """The options that decide which detector is loaded."""

    detector: str
    device: str


@dataclass(frozen=True, slots=True)
class Named:
    """Networks for a process that must load them itself.

    Attributes
    ----------
    choice
        What to load.
    version, settings
        What the loaded networks must say of themselves, or the bytes would not be the same.
    lanes
        Tiles at a time.
    decr
        Version of the program that asks.
    """

    choice: ModelChoice | DetectorChoice
    version: str
    settings: tuple[tuple[str, str], ...]
    lanes: int | None
    decr: str = decr.__version__


def model_choice(config: DecloudConfig, scene_has_nir: bool) -> ModelChoice:
    """What a run's options say of its model."""
    return ModelChoice(
        os.fspath(config.model),
        scene_has_nir,
        config.seed,
        config.steps,
        config.prior_floor,
        config.device,
        config.precision,
        config.tile_px if config.compile else None,
    )


def named(
    choice: ModelChoice | DetectorChoice, like: Restorer | Detector, lanes: int | None
) -> Named:
    """A name for networks that must be like these."""
    settings = tuple(sorted(like.settings.items())) if isinstance(like, Restorer) else ()
    version = like.version if isinstance(like, Restorer) else like.versions
    return Named(choice, version, settings, lanes)


def in_any_folder(name: str, offered: Callable[[str], EntryPoint | None]) -> str:
    """The name of a bundle file as it holds in every folder; those of decr and packages stay.

    Parameters
    ----------
    offered
        What a package offers by a name; not asked for decr's own, which come first.
    """
    known = {*DETECTORS, "embedded", *EMBEDDED}
    return name if name in known or offered(name) is not None else absolute_name(name)


def restorer_of(choice: ModelChoice, lanes: int | None = None) -> Restorer:
    """The model: of an installed package, embedded, or a bundle file.

    Raises
    ------
    ConfigError, BundleError
        If there is no such model, or it cannot be loaded.
    """
    plugin = others_model(choice.model)
    if plugin is not None:
        return offered_restorer(plugin, choice.seed, choice.device)
    return load_restorer(
        find_bundle(choice.model, choice.nir),
        steps=choice.steps,
        prior_floor=choice.prior_floor,
        seed=choice.seed,
        device=choice.device,
        precision=choice.precision,
        compile_px=choice.compile_px,
        lanes=lanes,
    )


def detector_of(choice: DetectorChoice, lanes: int | None = None) -> Detector:
    """The detector: compact (embedded), threshold, cloudnet, omnicloudmask, or another's.

    Others are entry points of the group ``decr.detectors``, and bundle files. The networks of the
    last four files stay in memory, 5 MB for each of those embedded, since loading takes longer than
    looking at a small scene; a file with other bytes is loaded anew.

    Raises
    ------
    ConfigError, BundleError
        If there is no such detector, or it cannot be loaded.
    """
    name = choice.detector
    if name == "threshold":
        return threshold_detector()
    if name in ("compact", "embedded-detector"):
        plain, *fine = (
            _loaded_detector(embedded_path(part), choice.device, lanes) for part in COMPACT
        )
        return replace(plain, fine=tuple(fine), ice=without_ice(plain))
    if name in EMBEDDED:
        return _loaded_detector(embedded_path(name), choice.device, lanes)
    if name == "cloudnet":
        return _loaded_detector(_cloudnet_bundle(), choice.device, lanes)
    if name == "omnicloudmask":
        return omnicloudmask_detector(choice.device)
    plugin = detector_plugin(name)
    if plugin is not None:
        return offered_detector(plugin, choice.device)
    if there(name):
        return _loaded_detector(Path(name), choice.device, lanes)
    near = get_close_matches(name, (*DETECTORS, *COMPACT), 1)
    raise ConfigError(
        f"{name}: neither a detector's bundle file nor one of {', '.join(DETECTORS)}, nor of an "
        f"installed package{f'; is {near[0]} meant?' if near else ''}"
    )


def _loaded_detector(path: Path, device: str, lanes: int | None) -> Detector:
    """As `load_detector`, which is asked only if something that decides the result is new."""
    target = ready_device(device)
    return _kept_bundle(path, weights_sha256(path), str(target), lanes or default_lanes(target))


@lru_cache(maxsize=4)
def _kept_bundle(path: Path, sha256: str, device: str, lanes: int) -> Detector:
    loaded = load_detector(path, device, lanes)
    check_same(path, sha256, loaded.version)
    return loaded


def _cloudnet_bundle() -> Path:
    """The Cloud-Net that the user imported; its weights are not decr's to ship."""
    path = os.environ.get(CLOUDNET_VARIABLE)
    if not path:
        raise ConfigError(
            f"Cloud-Net's weights are its authors' and do not ship with decr: import yours "
            f"(decr models import cloudnet.h5 -o cloudnet.safetensors), then give that file as "
            f"--detector, or its path in the variable {CLOUDNET_VARIABLE}"
        )
    return Path(path)


def the_restorer(networks: Restorer | Named) -> Restorer:
    """The restorer itself, or the one that is named, loaded once per process.

    Raises
    ------
    ConfigError
        If this process has another decr, other weights, or would compute otherwise.
    """
    if isinstance(networks, Restorer):
        return networks
    assert isinstance(networks.choice, ModelChoice)
    _same("decr", networks.decr, decr.__version__)
    with _LOADING:
        loaded = _kept_restorer(networks.choice, networks.lanes, networks.version)
        if loaded.version != networks.version:
            _kept_restorer.cache_clear()  # the right file may be put there
    _same("model", networks.version, loaded.version)
    wanted = dict(networks.settings)
    for key in sorted({*wanted, *loaded.settings}):
        _same(key, wanted.get(key, "none"), loaded.settings.get(key, "none"))
    return loaded


def the_detector(networks: Detector | Named) -> Detector:
    """As `the_restorer`, for a detector."""
    if isinstance(networks, Detector):
        return networks
    assert isinstance(networks.choice, DetectorChoice)
    _same("decr", networks.decr, decr.__version__)
    with _LOADING:
        loaded = _kept_detector(networks.choice, networks.lanes, networks.version)
        if loaded.versions != networks.version:
            _kept_detector.cache_clear()
    _same("detector", networks.version, loaded.versions)
    return loaded


@lru_cache(maxsize=1)
def _kept_restorer(choice: ModelChoice, lanes: int | None, version: str) -> Restorer:
    # A file may have been replaced since: with its version, it is another one here.
    return restorer_of(choice, lanes)


@lru_cache(maxsize=1)
def _kept_detector(choice: DetectorChoice, lanes: int | None, version: str) -> Detector:
    return detector_of(choice, lanes)


def _same(what: str, wanted: str, found: str) -> None:
    if wanted != found:
        raise ConfigError(
            f"a worker has {what} {found} where this run has {wanted}; all workers of a run must "
            f"agree, or their pixels would not: give them the same decr, model file and device"
        )
