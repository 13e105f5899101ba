"""`decr evaluate`: models over a set of real pairs, one row of scores per model and image."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decr.dataset.changed import CHANGED, changed
from decr.dataset.duplicates import Duplicate, find_duplicates
from decr.dataset.layouts import list_pairs
from decr.dataset.manifest import PairFile, of_split
from decr.dataset.pairs import PairImage
from decr.errors import DatasetError
from decr.evaluation.metrics import SSIM_WINDOW_PX
from decr.evaluation.perceptual import (
    BACKBONE_SHA256,
    HEADS_SHA256,
    MIN_SIDE_PX,
    Lpips,
    find_backbone,
    load_lpips,
)
from decr.evaluation.protocols import (
    UNITS,
    Protocol,
    Scores,
    of_levels,
    of_unit,
    protocol_named,
    resized,
    scored,
    size_at,
    unit_of,
)
from decr.evaluation.statistics import DRAWS, LEVEL
from decr.evaluation.subjects import Sampling, Subject, common_bands, restored_by, subjects_of
from decr.evaluation.tiles import PairSource, bands_of_pairs, pairs_with
from decr.evaluation.versions import versions
from decr.geo.reader import reader
from decr.geo.scene import open_scene
from decr.progress import OnProgress, each_told, silent

MASK = (
    f"cloudy: |cloudy - clear|, mean over bands and 3 x 3 pixels, is at least {CHANGED:g} of white "
    "in the pair itself, at the size that is measured; clear: all others"
)
"""What cloudy and clear pixels are, in every output."""


@dataclass(frozen=True, slots=True)
class EvaluationConfig:
    """What is evaluated on what, and how.

    Attributes
    ----------
    source
        Real pairs.
    models
        Embedded names, bundle files, names of installed packages, or "none".
    protocol
        One of `decr.evaluation.protocols.PROTOCOLS`.
    lpips
        False leaves LPIPS out.
    backbone
        File with AlexNet's weights; None looks for it, see `find_backbone`.
    sampling
        How models are run; its seed is the bootstrap's, too.
    """

    source: PairSource
    models: tuple[str, ...]
    protocol: str = "standard"
    lpips: bool = True
    backbone: Path | None = None
    sampling: Sampling = field(default_factory=Sampling)


@dataclass(frozen=True, slots=True)
class Row:
    """Scores of one model on one image.

    Attributes
    ----------
    changed_share
        Share of pixels that count as cloudy, 0..1.
    seconds
        Wall time of the restoration; 0 for no change.
    scores
        By column; None where a score does not exist.
    """

    model: str
    image: str
    changed_share: float
    seconds: float
    scores: Scores


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """All rows, and everything needed to know what they mean.

    Attributes
    ----------
    facts
        Plain values for files: protocol, LPIPS, versions, data, models.
    models, images
        Names in order; there is a row for each two of them.
    duplicates
        Copies found among the clear images, named; those that were left out are in the facts.
    """

    config: EvaluationConfig
    protocol: Protocol
    layout: str
    bands: tuple[str, ...]
    facts: Mapping[str, Any]
    models: tuple[str, ...]
    images: tuple[str, ...]
    rows: tuple[Row, ...]
    duplicates: tuple[Duplicate, ...]

    def column(self, model: str, name: str) -> list[float | None]:
        """Scores of a model in the order of the images."""
        return [row.scores.get(name) for row in self.rows if row.model == model]


def evaluate(config: EvaluationConfig, on_progress: OnProgress = silent) -> Evaluation:
    """Restore every image of a set with every model, and compare with the truth.

    Everything that can fail is tried before the first image is restored: LPIPS' backbone, models,
    pairs and their sizes.

    Parameters
    ----------
    on_progress
        Called with ("white", "duplicates" or "evaluate", done, total).

    Raises
    ------
    BundleError
        If a model or LPIPS' backbone is missing or damaged.
    DatasetError
        If the set does not fit, lacks the bands, or holds images that cannot be scored.
    ConfigError
        For an unknown protocol or models that cannot be compared.
    SceneError
        If an image cannot be read.
    """
    protocol = protocol_named(config.protocol)
    lpips = load_lpips(config.backbone, config.sampling.device) if config.lpips else None
    folder = config.source.folder()
    layout = folder.layout
    listed = list_pairs(folder.path, layout)
    have = bands_of_pairs(folder, listed)
    subjects = subjects_of(config.models, "nir" in have, config.sampling)
    bands = common_bands(subjects) or have
    if protocol.luma and len(bands) not in (3, 4):
        raise DatasetError(
            f"{folder.path}: has {len(bands)} band{'s' if len(bands) != 1 else ''} "
            f"({', '.join(bands)}), {protocol.name} is for 3 or 4; use --protocol standard"
        )
    pairs = pairs_with(folder, bands, on_progress)
    duplicates = _duplicates(listed, {p.name for p in pairs}, config, on_progress)
    dropped = {copy.second for copy in duplicates} if protocol.drop_duplicates else set()
    kept = [pair for pair in pairs if pair.name not in dropped]
    _check_sizes(config, kept, len(pairs), protocol, layout)
    rows = [
        _rows(pair, subjects, bands, protocol, layout, lpips)
        for pair in each_told("evaluate", kept, on_progress)
    ]
    asked = {pair.name for pair in of_split(listed, folder.split, folder.path)}
    facts = {
        **_facts(config, protocol, layout, bands, subjects, kept, sorted(dropped), duplicates),
        "passed_over": sorted(asked - {pair.name for pair in pairs}),
    }
    names = tuple(subject.name for subject in subjects)
    return Evaluation(
        config,
        protocol,
        layout,
        bands,
        facts,
        names,
        tuple(pair.name for pair in kept),
        # By model, then image.
        tuple(of_pair[i] for i in range(len(names)) for of_pair in rows),
        tuple(duplicates),
    )


def _rows(
    pair: PairImage,
    subjects: Sequence[Subject],
    bands: tuple[str, ...],
    protocol: Protocol,
    layout: str,
    lpips: Lpips | None,
) -> list[Row]:
    """One row per model."""
    scale = np.float32(255.0 / pair.white)
    cloudy, clear = (
        resized(side.astype(np.float32) * scale, protocol, layout)
        for side in (pair.cloudy, pair.clear)
    )
    mask = changed(cloudy / np.float32(255.0), clear / np.float32(255.0))
    unit, rows = unit_of(cloudy, protocol), []
    for subject in subjects:
        if subject.restore is None:
            output, seconds = of_levels(cloudy, protocol, from_share=True), 0.0
        else:
            started = time.perf_counter()
            restored = restored_by(subject, unit, bands)
            output = of_unit(restored, protocol, from_share=subject.reference_alone)
            seconds = time.perf_counter() - started
        truth = of_levels(clear, protocol, from_share=subject.reference_alone)
        scores = scored(output, truth, mask, protocol, lpips)
        rows.append(Row(subject.name, pair.name, float(mask.mean()), seconds, scores))
    return rows


def _check_sizes(
    config: EvaluationConfig, kept: list[PairImage], read: int, protocol: Protocol, layout: str
) -> None:
    if not kept:
        raise DatasetError(
            f"{config.source.data}: all {read} images are copies of others, so {protocol.name} has "
            "none to measure; use --protocol standard"
        )
    least = MIN_SIDE_PX if config.lpips else SSIM_WINDOW_PX
    for pair in kept:
        height, width = size_at(pair.clear.shape[1], pair.clear.shape[2], protocol, layout)
        if min(height, width) < least:
            remedy = ", or leave LPIPS out with --no-lpips" if config.lpips else ""
            raise DatasetError(
                f"{config.source.data}: {pair.name} would be measured at {height} x {width} "
                f"pixels, fewer than the {least} that the scores need; leave it out of the set"
                f"{remedy}"
            )


def _duplicates(
    listed: Sequence[PairFile], chosen: set[str], config: EvaluationConfig, told: OnProgress
) -> list[Duplicate]:
    """Copies among the evaluated clear images, and of images of other splits among them."""
    others = [p for p in listed if p.name not in chosen] if config.source.split != "all" else []
    # A copy is told as the second of two: training images come first.
    files = [*others, *(p for p in listed if p.name in chosen)]

    def images() -> Iterator[tuple[str, NDArray[np.generic]]]:
        seen = set()
        for pair in each_told("duplicates", files, told):
            # Several cloudy images may share a clear one; that is no copy within a split.
            if (pair.clear, pair.name in chosen) not in seen:
                seen.add((pair.clear, pair.name in chosen))
                scene = open_scene(pair.clear, config.source.bands or pair.bands)
                with reader(scene) as source:
                    yield pair.name, source.read(scene.grid.window, scene.bands.data_indices)[0]

    return [d for d in find_duplicates(images()) if d.second in chosen]


def _facts(
    config: EvaluationConfig,
    protocol: Protocol,
    layout: str,
    bands: tuple[str, ...],
    subjects: Sequence[Subject],
    kept: Sequence[PairImage],
    dropped: Sequence[str],
    duplicates: Sequence[Duplicate],
) -> dict[str, Any]:
    """What every file says."""
    return {
        "protocol": protocol.name,
        "protocol_says": protocol.says,
        "lpips": lpips_facts(config.lpips, config.backbone),
        "units": dict(UNITS),
        "mask": MASK,
        "data": config.source.data.resolve().name,
        "layout": layout,
        "split": config.source.split,
        "images": len(kept),
        "cut": [
            {"image": p.name, "stored_px": list(p.cut_from), "used_px": list(p.clear.shape[1:])}
            for p in kept
            if p.cut_from
        ],
        "bands": list(bands),
        "white": sorted({pair.white for pair in kept}),
        "models": {
            s.name: {"sha256": s.version, "bands": list(s.bands), **s.settings} for s in subjects
        },
        "tile_px": config.sampling.tile_px,
        "overlap_px": config.sampling.overlap_px,
        "bootstrap": {"draws": DRAWS, "level": LEVEL, "seed": config.sampling.seed},
        "duplicates": [asdict(d) for d in duplicates],
        "left_out": list(dropped),
        "versions": versions(),
    }


def lpips_facts(measured: bool, backbone: Path | None) -> dict[str, str]:
    """What files say of LPIPS."""
    if not measured:
        return {"left_out": "not measured"}
    return {
        "version": "0.1",
        "backbone": "AlexNet (ImageNet)",
        "file": find_backbone(backbone).name,
        "backbone_sha256": BACKBONE_SHA256,
        "linear_layers_sha256": HEADS_SHA256,
    }
