"""The bundle: one safetensors file that holds networks and everything needed to use them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor, nn

from decr.errors import BundleError, OutputError
from decr.files import file_sha256, scratch_folder
from decr.models.registry import create
from decr.zoo.card import Card, Part, card_from, check_card, metadata_of
from decr.zoo.formats import no_bundle, read_safetensors
from decr.zoo.limits import check_file, is_utf8, reason, shown

_OTHER_KINDS = (
    *(".pth", ".pt", ".ckpt", ".bin", ".pkl", ".h5", ".hdf5", ".keras", ".onnx", ".npz", ".zip"),
    *(".tif", ".tiff", ".json", ".toml"),
)
"""Suffixes that a bundle's name does not end in."""
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A loaded bundle: its card, its networks (eval mode, float32, CPU) and the file's SHA-256.

    ``dtype`` is what the file keeps weights as.
    """

    card: Card
    networks: Mapping[str, nn.Module]
    sha256: str
    dtype: torch.dtype


def save_bundle(
    path: Path, card: Card, networks: Mapping[str, nn.Module], dtype: torch.dtype = torch.float16
) -> None:
    """Write a bundle; weights are stored as ``dtype``, integer tensors as they are.

    A tensor with a number that ``dtype`` cannot hold stays as it is: variances of batch norms may
    exceed the 65,504 of 16 bits.

    Raises
    ------
    BundleError
        If card and networks name different parts, or the card could not be read again.
    OutputError
        If the file cannot be written.
    """
    if set(card.parts) != set(networks):
        raise BundleError(f"the card names {sorted(card.parts)}, networks are {sorted(networks)}")
    tensors: dict[str, Tensor] = {}
    for part, network in networks.items():
        for key, value in network.state_dict().items():
            stored = value.detach().cpu()
            if stored.is_floating_point() and _fits(stored, dtype):
                stored = stored.to(dtype)
            tensors[f"{part}/{key}"] = stored.clone().contiguous()
    _save(path, card, tensors)


def _fits(tensor: Tensor, dtype: torch.dtype) -> bool:
    """Whether no finite number of a tensor becomes infinite as another type."""
    finite = tensor[torch.isfinite(tensor)]
    return bool(torch.isfinite(finite.to(dtype)).all())


def _save(path: Path, card: Card, tensors: Mapping[str, Tensor]) -> None:
    """Write beside the file and rename: nobody ever sees half a bundle."""
    try:
        check_card(card)
    except ValueError as error:
        raise BundleError(f"{path}: its card would make no sense: {error}") from error
    target = path.resolve()  # a link stays one
    part = target.with_name(f".{target.name}.part")
    try:
        # Its save_file would leave a hidden file of another name whenever it is killed.
        with part.open("wb") as file:
            file.write(save(dict(tensors), metadata=metadata_of(card)))
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{path}: cannot be written ({error}); choose another folder") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def check_output(out: Path, inputs: Sequence[Path], overwrite: bool) -> None:
    """Refuse to write a bundle where it cannot be or must not be.

    Parameters
    ----------
    inputs
        Files that it must not replace.

    Raises
    ------
    OutputError
        Naming the file and the remedy.
    """
    if out.is_dir() or not out.parent.is_dir():
        raise OutputError(
            f"{out}: is a folder, or lies in a folder that does not exist; give a file's name"
        )
    if out.exists():
        if not out.is_file():
            raise OutputError(f"{out}: is a device or pipe, not a file; give the name of a file")
        if any(path.exists() and out.samefile(path) for path in inputs):
            raise OutputError(f"{out}: is the checkpoint itself; give the bundle another name")
        if not overwrite:
            raise OutputError(f"{out}: exists already; pass --overwrite to replace it")
    if not is_utf8(out):
        raise OutputError(f"{out}: its name or a folder's is not UTF-8; give another")
    if out.suffix.lower() in _OTHER_KINDS:
        raise OutputError(
            f"{out}: bundles are safetensors files, and {out.suffix} means another kind; choose a "
            f"name that ends in .safetensors"
        )


@contextmanager
def bundle_output(out: Path, inputs: Sequence[Path], overwrite: bool) -> Iterator[None]:
    """As `check_output`, and keep other processes from writing the same bundle meanwhile."""
    check_output(out, inputs, overwrite=True)
    with scratch_folder(out.with_name(f".{out.name}.decr-models"), out):
        check_output(out, inputs, overwrite)
        yield


def save_with_card(source: Path, out: Path, card: Card) -> None:
    """Write a bundle's tensors, bit for bit, under another card; ``out`` may be ``source``.

    Raises
    ------
    BundleError
        If the source cannot be read.
    OutputError
        If ``out`` cannot be written.
    """
    _save(out, card, _read(source)[1])


def read_card(path: Path) -> Card:
    """The card of a bundle without loading its weights.

    Raises
    ------
    BundleError
        If the file is missing, damaged, no bundle, or of a newer format.
    """
    return card_from(path, _read(path)[0])


def load_bundle(path: Path) -> Bundle:
    """Load a bundle strictly: every tensor used, every shape right, every number finite.

    Raises
    ------
    BundleError
        Naming the file and what is wrong with it.
    """
    with unchanged(path) as digest:
        metadata, tensors = _read(path)
        card = card_from(path, metadata)
    networks: dict[str, nn.Module] = {}
    for name, part in card.parts.items():
        prefix = f"{name}/"
        mine = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        # First without memory: a card may claim a network far larger than the file.
        with torch.device("meta"):
            _check_fit(path, name, _created(path, card, part), mine)
        network = _created(path, card, part).float()  # whatever torch's default is
        network.load_state_dict(mine)
        networks[name] = network.eval().requires_grad_(False)
    extra = [k for k in tensors if k.split("/", 1)[0] not in card.parts]
    if extra:
        raise BundleError(f"{path}: tensor {shown(extra[0])} belongs to no part of the card")
    halves = any(tensor.dtype == torch.float16 for tensor in tensors.values())
    return Bundle(card, networks, digest, torch.float16 if halves else torch.float32)


def _created(path: Path, card: Card, part: Part) -> nn.Module:
    try:
        return create(part.architecture, len(card.bands), part.size)
    except BundleError as error:
        raise BundleError(f"{path}: {reason(error)}") from error


def _check_fit(path: Path, name: str, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Check that tensors fit a network: same keys, same shapes, finite numbers.

    Raises
    ------
    BundleError
        Naming the file, the part and the first tensor that does not fit.
    """
    wanted = network.state_dict()
    for problem, keys in (
        ("lacks", wanted.keys() - tensors.keys()),
        ("has unknown", tensors.keys() - wanted.keys()),
    ):
        if keys:
            raise BundleError(
                f"{path}: part {name!r} {problem} tensor {shown(min(keys))} ({len(keys)} in all); "
                f"the file was made for another network or is incomplete"
            )
    for key, value in tensors.items():
        if value.shape != wanted[key].shape:
            raise BundleError(
                f"{path}: tensor {name}/{key} has shape {tuple(value.shape)!s:.80}, the network "
                f"needs {tuple(wanted[key].shape)}"
            )
        if not _of_kind(value.dtype, wanted[key].dtype):
            raise BundleError(
                f"{path}: tensor {name}/{key} holds {str(value.dtype).removeprefix('torch.')}, the "
                f"network needs {_KINDS[wanted[key].is_floating_point()]}; store it as such"
            )
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise BundleError(f"{path}: tensor {name}/{key} holds NaN or infinite numbers")


_KINDS = ("whole numbers", "numbers of 16, 32 or 64 bits with a fraction")


def _of_kind(dtype: torch.dtype, wanted: torch.dtype) -> bool:
    """Whether a tensor of one type may be loaded as another without becoming something else."""
    if wanted.is_floating_point or dtype.is_floating_point:
        return wanted.is_floating_point and dtype in _FLOATS
    return not dtype.is_complex and (dtype == torch.bool) == (wanted == torch.bool)


def weights_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal.

    Raises
    ------
    BundleError
        If the file cannot be read, or is far too large for weights.
    """
    check_file(Path(path))
    try:
        return file_sha256(Path(path))
    except OSError as error:
        raise BundleError(f"{path}: cannot read the weights: {error.strerror}") from error


@contextmanager
def unchanged(path: Path) -> Iterator[str]:
    """The SHA-256 of a file that is read inside: those bytes, and no others, were read.

    Raises
    ------
    BundleError
        If the file cannot be read, or another process wrote it meanwhile; that goes before what
        the reader made of it.
    """
    digest = weights_sha256(path)
    try:
        yield digest
    finally:
        check_same(path, digest, weights_sha256(path))


def check_same(path: Path, before: str, after: str) -> None:
    """Raise BundleError where a file has another SHA-256 than before."""
    if before != after:
        raise BundleError(
            f"{path}: changed while it was read; try again once no other process writes it"
        )


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    path = Path(path)
    if not path.is_file():
        raise BundleError(f"{path}: no such weights file; `decr models list` names those shipped")
    try:
        return read_safetensors(path)
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{path}: {no_bundle(path)}") from error
