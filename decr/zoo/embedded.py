"""The bundles that ship inside decr, by name."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import resources
from importlib.metadata import EntryPoint
from pathlib import Path

from decr.errors import BundleError
from decr.files import there
from decr.plugins import model_plugin

EMBEDDED = {
    "embedded-rgbn": "embedded_rgbn.safetensors",
    "embedded-rgb": "embedded_rgb.safetensors",
    "embedded-detector": "embedded_detector.safetensors",
    "embedded-detector-fine": "embedded_detector_fine.safetensors",
    "embedded-detector-fine-nir": "embedded_detector_fine_nir.safetensors",
}
"""Name -> file in ``decr.weights``."""


def embedded_path(name: str) -> Path:
    """Where an embedded bundle lies on disk."""
    return Path(str(resources.files("decr.weights"))) / EMBEDDED[name]


def others_model(name: str) -> EntryPoint | None:
    """As `model_plugin`, None also for the names of decr's own models: they come first."""
    return None if name in ("embedded", *EMBEDDED) else model_plugin(name)


def find_bundle(model: str, scene_has_nir: bool) -> Path:
    """The file of a model: "embedded" picks by the scene's bands, a known name, or a path.

    Raises
    ------
    BundleError
        If neither an embedded name nor an existing file.
    ConfigError
        If two packages offer a model of that name.
    """
    if model == "embedded":
        return embedded_path("embedded-rgbn" if scene_has_nir else "embedded-rgb")
    if model in EMBEDDED:
        return embedded_path(model)
    path = Path(model)
    if there(path):
        return path
    plugin = model_plugin(model)
    if plugin is not None:
        raise BundleError(
            f"{model}: a model of an installed package ({plugin.value}), which has no bundle "
            f"file; name one, or a bundle inside decr (`decr models list`)"
        )
    if path.suffix or path.name != model:
        raise BundleError(
            f"{model}: no such file; `decr models list` names the bundles inside decr"
        )
    near = get_close_matches(model, ("embedded", *EMBEDDED), 1)
    hint = f"is {near[0]} meant?" if near else "`decr models list` names the latter"
    raise BundleError(
        f"{model}: neither a file nor a model of an installed package nor one inside decr; {hint}"
    )
