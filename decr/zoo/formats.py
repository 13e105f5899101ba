"""Weights files of any kind, read without running anything in them: a flat dict of tensors."""

from __future__ import annotations

import json
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor

from decr.errors import BundleError
from decr.zoo.keras_files import HDF5_MAGIC, KERAS_MEMBER, read_h5, read_keras
from decr.zoo.limits import check_file, check_size, opened_zip, reason, shown

_CONTAINERS = (
    "state_dict",
    "state_dict_ema",
    "ema_state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "model_ema",
    "net",
    "network",
    "generator",
    "generator_state_dict",
    "gen",
    "G",
    "g_ema",
    "netG",
    "net_g",
    "params",
    "params_ema",
    "ema",
    "weights",
)
"""Names under which training scripts store a network beside other things."""

_WRAPPERS = ("module.", "_orig_mod.", "model.", "net.")
"""What DataParallel, torch.compile and training frameworks put before every key."""

_FLOATS = (
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz),
)
"""Numbers with a fraction that torch can compute with; those of 4 bits it only stores."""

_DEPTH = 4
_PICKLE_MAGIC = b"\x80"
_ZIP_MAGIC = b"PK\x03\x04"
_GZIP_MAGIC = b"\x1f\x8b"
_ARCHIVE = "an archive, not weights; unpack it and give the weights file inside"
_IMAGE_MAGIC = (b"II*\0", b"II+\0", b"MM\0*", b"MM\0+", b"\x89PNG")
"""Of the kinds that masks have: TIFF, BigTIFF and PNG."""
_GLOBAL = re.compile(r"GLOBAL (?:builtins\.|__builtin__\.)?([\w.]{1,100})")
_TAIL = 256
"""Bytes at the end of a pickle in which a name that it ends in begins."""
_NESTED = "torch._utils._rebuild_nested_tensor"
"""Torch refuses it as code since 2.15; older versions build the tensor."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a weights file; its kind is told by its contents, not by its name.

    Torch files (zip archives and the older pickles), safetensors, and Keras files (``.h5`` and
    ``.keras``). Containers such as ``{"state_dict": ...}`` and prefixes such as ``module.`` are
    taken off. Pickles are read by torch's restricted reader, which builds tensors and plain
    containers and calls nothing else; the configuration inside Keras files is never executed.

    Returns
    -------
    dict of str to Tensor
        Dense tensors on the CPU, floating ones without NaN or infinity, that no longer depend on
        the file. Keys of Keras files are "layer/leaf" with layers renumbered from 1, such as
        ``conv2d_1/kernel``.

    Raises
    ------
    BundleError
        Naming the file, what is wrong with it, and the way out.
    """
    path = Path(path)
    head = _head(path)
    if head.startswith(HDF5_MAGIC):
        return _checked(path, read_h5(path))
    if head.startswith(_ZIP_MAGIC):
        return _checked(path, _from_zip(path))
    if _is_safetensors(head) and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return _checked(path, _from_safetensors(path))
    if head.startswith(_PICKLE_MAGIC):
        return _checked(path, _unwrapped(path, _load_torch(path)))
    raise BundleError(f"{path}: {_no_weights(head)}")


def no_bundle(path: Path) -> str:
    """What a file is that cannot be read as safetensors, and the way out; it exists.

    Raises
    ------
    BundleError
        If the file cannot be read, or is empty.
    """
    head = _head(path)
    if head.startswith((HDF5_MAGIC, _ZIP_MAGIC, _PICKLE_MAGIC)):
        return (
            f"a file as torch or Keras writes, not a bundle of decr's; `decr models import {path} "
            f"-o NAME.safetensors` makes one of published weights; of a training of decr's own "
            f"take the bundle that lies beside its checkpoints"
        )
    if _is_safetensors(head):
        return "a damaged safetensors file; it may be truncated, download or train it again"
    return _no_weights(head)


def _is_safetensors(head: bytes) -> bool:
    return head[8:9] == b"{"


def _head(path: Path) -> bytes:
    check_file(path)
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise BundleError(f"{path}: cannot read the weights: {error.strerror}") from error
    if not head:
        raise BundleError(f"{path}: the file is empty (0 bytes); download it again")
    return head


def _no_weights(head: bytes) -> str:
    """Say what a file is that is no weights file."""
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the weights themselves; fetch them with `git lfs pull`"
    if head.startswith(_IMAGE_MAGIC):
        return "an image, not weights; a mask of clouds is given as --detector file:MASK"
    if head.startswith(_GZIP_MAGIC) or head[257:262] == b"ustar":
        return _ARCHIVE
    if head.lstrip()[:1] == b"<":
        return "a web page, not weights: the download failed; download the file itself"
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head):
        return "text, not weights: the download may have failed; download the file itself"
    return (
        "neither a torch file, safetensors nor a Keras file (.h5, .keras), or damaged at its "
        "start; download it again"
    )


def _from_zip(path: Path) -> dict[str, Any]:
    with opened_zip(path) as archive:
        if KERAS_MEMBER in archive.namelist():
            return dict(read_keras(path, archive))
        names = archive.namelist()
        if not any(name.endswith("/data.pkl") for name in names):
            numpy_only = all(name.endswith(".npy") for name in names)
            what = "arrays of NumPy; save them by torch.save as a state dict"
            raise BundleError(f"{path}: {what if numpy_only else _ARCHIVE}")
        _check_sums(path, archive)
    return _unwrapped(path, _load_torch(path))


def _check_sums(path: Path, archive: zipfile.ZipFile) -> None:
    """Hold the records of a torch file against their CRC-32, which torch itself does not."""
    right = {e.filename: _is_whole(archive, e) for e in archive.infolist() if e.file_size}
    wrong = [name for name, whole in right.items() if not whole]
    # Where all are wrong none was kept: torch.serialization.set_crc32_options(False).
    if wrong and len(wrong) < len(right):
        raise BundleError(
            f"{path}: a damaged torch file: {shown(wrong[0])} inside does not have its checksum; "
            f"download it again"
        )


def _is_whole(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    try:
        with archive.open(entry) as record:
            while record.read(2**20):
                pass
    except Exception:  # A reader that is fed noise can raise anything.
        return False
    return True


def _load_torch(path: Path) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Not mapped: numbers would change with the file, and a file cut short end the process.
            return torch.load(str(path), map_location="cpu", weights_only=True, mmap=False)
    except Exception as error:  # A reader that is fed noise can raise anything.
        raise BundleError(f"{path}: {_load_failure(error, path)}") from error


def _load_failure(error: Exception, path: Path) -> str:
    said = str(error)
    # Torch's own advice is to switch its protection off, which must not reach the user.
    if found := _GLOBAL.search(said):
        if _is_cut_in(path, found[1]):
            return "a damaged torch file; it is truncated, download it again"
        if found[1] == _NESTED:
            return "holds a nested tensor, not plain numbers; export dense floating-point weights"
        return (
            f"asks to run code ({found[1]}), which decr never does; export the network's "
            f"state_dict() alone, or get the file from its authors again"
        )
    if "TorchScript" in said:
        return "a TorchScript program, not weights; export the network's state_dict() instead"
    if "Weights only load failed" in said:
        return "a pickle, but not one of tensors; export the network's state_dict() with torch.save"
    return f"a damaged torch file ({reason(error)}); it may be truncated, download it again"


def _is_cut_in(path: Path, name: str) -> bool:
    """Whether a pickle ends within a name, of which torch takes the last byte for its end."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        last = file.read().rpartition(b"\n")[2]
    return name.endswith(".") or f".{name}".endswith("." + last[:-1].decode("latin-1"))


def _from_safetensors(path: Path) -> dict[str, Any]:
    try:
        metadata, tensors = read_safetensors(path)
    except BundleError:
        raise
    except Exception as error:  # A reader that is fed noise can raise anything.
        raise BundleError(
            f"{path}: not a readable safetensors file ({reason(error)}); it may be truncated, "
            f"download it again"
        ) from error
    if "decr" in metadata:
        raise BundleError(f"{path}: is a decr bundle already; pass it to --model as it is")
    # save_model() keeps one of several names of a tensor, and notes the others beside it.
    aliases = {key: tensors[kept] for key, kept in metadata.items() if kept in tensors}
    return _unwrapped(path, {**aliases, **tensors})


def read_safetensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """What a safetensors file says of itself, and its tensors.

    Raises
    ------
    BundleError
        If it is no file, far too large, or holds numbers of a type that is not read.
    SafetensorError
        If it is damaged.
    OSError
        If it cannot be read.
    """
    check_file(path)
    content = path.read_bytes()  # not mapped: see `_load_torch`
    try:
        tensors = load(content)
    except KeyError as error:  # The format has numbers of 4 and 6 bits, its reader has not.
        raise BundleError(
            f"{path}: holds numbers of a type that is not read (Dtype not understood: "
            f"{error.args[0]}); export dense floating-point weights"
        ) from error
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]).get("__metadata__") or {}, tensors


def _plain(payload: object) -> dict[Any, Any] | None:
    """The entries of a dict, or None; a pickle may have hidden the dict's own methods."""
    return dict(dict.items(payload)) if isinstance(payload, dict) else None


def _unwrapped(path: Path, payload: object) -> dict[Any, Any]:
    """Take off containers and prefixes around the state dict."""
    for _ in range(_DEPTH):
        entries = _plain(payload)
        if entries is None:
            raise BundleError(
                f"{path}: holds {type(payload).__name__}, not the state_dict() of a network"
            )
        if {"state", "param_groups"} <= entries.keys():
            raise BundleError(f"{path}: the state of an optimiser; pass the network's checkpoint")
        inside = [key for key in _CONTAINERS if isinstance(entries.get(key), dict)]
        if len(inside) == 1:  # Such as averages of its weights under a name that is not known.
            inside += _likes(entries, inside[0])
        if len(inside) > 1:
            raise BundleError(
                f"{path}: holds several networks ({', '.join(inside)}); save one of them alone"
            )
        if not inside:
            return _without_wrappers(entries)
        payload = entries[inside[0]]
    raise BundleError(f"{path}: dicts within dicts, with no network in the first {_DEPTH}")


def _likes(entries: dict[Any, Any], chosen: str) -> list[str]:
    """Keys of the entries that hold tensors of the same names as the chosen one."""
    names = {key: _without_wrappers(_plain(e) or {}).keys() for key, e in entries.items()}
    return [
        shown(key) for key in names if key != chosen and names[key] and names[key] == names[chosen]
    ]


def _without_wrappers(tensors: dict[Any, Any]) -> dict[Any, Any]:
    for _ in range(_DEPTH):
        for wrapper in _WRAPPERS:
            if tensors and all(isinstance(k, str) and k.startswith(wrapper) for k in tensors):
                tensors = {key.removeprefix(wrapper): value for key, value in tensors.items()}
    return tensors


def _checked(path: Path, entries: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Make sure that all values are tensors, dense, finite and of a sane size together."""
    if not entries:
        raise BundleError(f"{path}: holds no tensors")
    tensors: dict[str, Tensor] = {}
    for key, value in entries.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise BundleError(
                f"{path}: entry {shown(key)} is {type(value).__name__}, not a named tensor; export "
                f"the network's state_dict() alone"
            )
        # A new tensor has none of the attributes that a pickle may have set on the old one.
        tensors[key] = Tensor.detach(value)
    # Kinds and sizes before values: a tensor may claim more elements than memory has bytes.
    for key, value in tensors.items():
        dense = value.layout == torch.strided and value.device.type == "cpu"
        plain = value.dtype in _FLOATS if value.is_floating_point() else not value.is_complex()
        if not dense or not plain or value.is_quantized or value.is_nested:
            layout = "nested" if value.is_nested else value.layout
            raise BundleError(
                f"{path}: tensor {shown(key)} is {value.dtype} ({layout}, "
                f"{value.device.type}), not plain numbers; export dense floating-point weights"
            )
    check_size(path, sum(value.numel() * value.element_size() for value in tensors.values()))
    for key, value in tensors.items():
        if value.is_floating_point() and not bool(torch.isfinite(value.float()).all()):
            raise BundleError(
                f"{path}: tensor {shown(key)} holds NaN or infinite numbers; training has diverged "
                f"or the file is damaged, take another checkpoint"
            )
    return tensors
