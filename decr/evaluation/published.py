"""Scores as the authors of Diffusion Enhancement printed them, to stand beside measured ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from decr.dataset.published import cuhk_by_name

Row = tuple[str, float, float, float]
"""Method, PSNR in dB, SSIM, LPIPS."""


@dataclass(frozen=True, slots=True)
class PublishedSet:
    """A set of the paper's tables.

    Attributes
    ----------
    name
        Of the set.
    images
        Test images; None where they were not stated.
    bands
        Bands that were scored.
    rows
        As printed in Sui et al., TGRS 2024: at 256 px, DE with 50 steps and a floor of W of 0.3.
    """

    name: str
    images: int | None
    bands: int
    rows: tuple[Row, ...]


PUBLISHED: Mapping[str, PublishedSet] = MappingProxyType(
    {
        "rice1": PublishedSet(
            "RICE1",
            None,
            3,
            (
                ("SpA-GAN", 28.51, 0.912, 0.0503),
                ("AMGAN-CR", 26.50, 0.912, 0.0447),
                ("CVAE", 31.11, 0.973, 0.0149),
                ("MemoryNet", 34.43, 0.9865, 0.0067),
                ("MSDA-CR", 34.57, 0.9871, 0.0073),
                ("DE-MemoryNet", 35.53, 0.9882, 0.0055),
                ("DE-MSDA", 35.36, 0.9878, 0.0061),
            ),
        ),
        "rice2": PublishedSet(
            "RICE2",
            None,
            3,
            (
                ("SpA-GAN", 28.78, 0.788, 0.0963),
                ("AMGAN-CR", 28.34, 0.782, 0.1105),
                ("CVAE", 30.06, 0.847, 0.0743),
                ("MemoryNet", 32.89, 0.880, 0.0557),
                ("MSDA-CR", 33.17, 0.879, 0.0463),
                ("DE-MemoryNet", 33.64, 0.8825, 0.0476),
                ("DE-MSDA", 33.60, 0.8842, 0.0452),
            ),
        ),
        "cuhk-cr1": PublishedSet(
            "CUHK-CR1",
            134,
            4,
            (
                ("SpA-GAN", 21.00, 0.516, 0.0830),
                ("AMGAN-CR", 20.87, 0.499, 0.1075),
                ("CVAE", 24.25, 0.725, 0.1075),
                ("MemoryNet", 26.07, 0.774, 0.0315),
                ("MSDA-CR", 25.44, 0.748, 0.0374),
                ("DE-MemoryNet", 26.18, 0.7746, 0.0290),
                ("DE-MSDA", 25.74, 0.759, 0.0321),
            ),
        ),
        "cuhk-cr2": PublishedSet(
            "CUHK-CR2",
            111,
            4,
            (
                ("SpA-GAN", 19.68, 0.395, 0.1201),
                ("AMGAN-CR", 20.17, 0.490, 0.0932),
                ("CVAE", 22.63, 0.630, 0.0489),
                ("MemoryNet", 24.22, 0.684, 0.0403),
                ("MSDA-CR", 23.76, 0.666, 0.0433),
                ("DE-MemoryNet", 24.35, 0.6843, 0.0369),
                ("DE-MSDA", 23.97, 0.674, 0.0372),
            ),
        ),
    }
)


def published_set(folder: Path, layout: str) -> PublishedSet | None:
    """The published set that a folder holds, by its layout and name; None for any other.

    The two CUHK-CR sets share a layout and are told apart by the folder's name alone.

    Examples
    --------
    >>> published_set(Path("data/CUHK-CR2"), "cuhk").name
    'CUHK-CR2'
    >>> published_set(Path("data/rice2"), "folders") is None
    True
    """
    if layout != "cuhk":
        return PUBLISHED.get(layout)
    number = cuhk_by_name(folder)
    return None if number is None else PUBLISHED[f"cuhk-cr{number}"]


def differences(
    published: PublishedSet, protocol: str, images: int, bands: int, split: str
) -> list[str]:
    """What keeps measured scores from being compared with the printed ones, for people."""
    found = []
    if protocol != "de-paper":
        found.append(
            f"printed scores were made as de-paper does, these by {protocol}: no column can be "
            f"compared, LPIPS least of all (several times smaller as printed)"
        )
    if published.name.startswith("RICE"):
        found.append("the authors' split of RICE is not published, and RICE holds duplicates")
    if published.name == "CUHK-CR1":
        found.append(
            "36 of the 134 test images are copies of others by GeoCR's count, which flatters "
            "all that was trained on this set"
        )
    if published.images is not None and published.images != images:
        found.append(f"printed scores are of {published.images} images, these of {images}")
    if split != "test":
        found.append(f"these are of the split {split}, printed ones of test images")
    if published.bands != bands:
        found.append(f"printed scores are of {published.bands} bands, these of {bands}")
    return found
