"""From rows of scores to means with intervals, comparisons of models, and tables for people."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from itertools import combinations

from decr.errors import one_line
from decr.evaluation.evaluate import Evaluation
from decr.evaluation.protocols import METRICS, PARTS, better_is_higher
from decr.evaluation.published import differences, published_set
from decr.evaluation.statistics import Comparison, Mean, compare, mean_of

_DIGITS = {"psnr": 2, "ssim": 4, "lpips": 4, "lpips_standard": 4, "mae": 4, "sam": 2}
_TITLES = {
    "psnr": "PSNR",
    "ssim": "SSIM",
    "lpips": "LPIPS",
    "lpips_standard": "LPIPS standard",
    "mae": "MAE",
    "sam": "SAM",
}
_PART_TITLES = {"": "all pixels", "cloudy_": "cloudy pixels", "clear_": "clear pixels"}
_FEW = 20


def columns(evaluation: Evaluation) -> list[str]:
    """Score columns that exist, all pixels first."""
    have = {name for row in evaluation.rows for name in row.scores}
    return [part + name for part in PARTS for name in METRICS if part + name in have]


@functools.lru_cache(maxsize=1)  # each table asks, and draws of many images take seconds
def means(evaluation: Evaluation) -> dict[str, dict[str, Mean | None]]:
    """Mean by model and column; None where no image has the score."""
    found: dict[str, dict[str, Mean | None]] = {}
    for model in evaluation.models:
        found[model] = {}
        for name in columns(evaluation):
            values = [v for v in evaluation.column(model, name) if v is not None]
            found[model][name] = (
                mean_of(values, evaluation.config.sampling.seed) if values else None
            )
    return found


@functools.lru_cache(maxsize=1)
def comparisons(evaluation: Evaluation) -> dict[tuple[str, str], dict[str, Comparison]]:
    """Every two models, image by image, over the images on which both have the score."""
    found = {}
    for first, second in combinations(evaluation.models, 2):
        by_column = {}
        for name in columns(evaluation):
            both = [
                (a, b)
                for a, b in zip(
                    evaluation.column(first, name), evaluation.column(second, name), strict=True
                )
                if a is not None and b is not None
            ]
            if both:
                a_scores, b_scores = zip(*both, strict=True)
                by_column[name] = compare(
                    a_scores, b_scores, better_is_higher(name), evaluation.config.sampling.seed
                )
        found[first, second] = by_column
    return found


def described(evaluation: Evaluation) -> str:
    """Tables for a terminal: scores with intervals, published ones, comparisons, warnings."""
    lines = [
        f"{evaluation.facts['data']}: {len(evaluation.images)} image"
        f"{'s' if len(evaluation.images) != 1 else ''}, split "
        f"{evaluation.config.source.split}, bands {','.join(evaluation.bands)}, protocol "
        f"{evaluation.protocol.name}",
        *(f"  {line}" for line in (evaluation.protocol.says, *_measured(evaluation))),
        "",
    ]
    for part in PARTS:
        rows = [_head(evaluation, part), *_rows(evaluation, part)]
        if len(rows[0]) > 1:
            lines += [*_aligned(rows), ""]
    warned = map(one_line, _warned(evaluation))  # names of files may break lines
    lines += [*_published(evaluation), *_compared(evaluation), *warned]
    return "\n".join(lines).rstrip()


def _measured(evaluation: Evaluation) -> Iterator[str]:
    """What the figures mean, beside the protocol: units, parts, models, versions."""
    facts = evaluation.facts
    white, drawn = facts["white"], facts["bootstrap"]
    yield (
        f"white {white[0]:g}{f' to {white[-1]:g}' if len(white) > 1 else ''}; PSNR in dB, MAE as "
        f"share of white, SAM in degrees; in brackets: {100 * drawn['level']:g} % bootstrap "
        f"intervals over images ({drawn['draws']} draws, seed {drawn['seed']})"
    )
    yield facts["mask"]
    for name, model in facts["models"].items():
        if model["sha256"]:
            said = [f"sha256 {model['sha256'][:12]}"]
            said += [f"{key} {model[key]}" for key in model if key not in ("sha256", "bands")]
            tiles = f"in tiles of {facts['tile_px']} px that share {facts['overlap_px']}"
            yield one_line(f"{name}: {', '.join(said)}, {tiles}")
    if evaluation.config.lpips:
        lpips = facts["lpips"]
        yield f"LPIPS: {lpips['backbone']}, sha256 {lpips['backbone_sha256'][:12]}"
    yield ", ".join(f"{name} {version}" for name, version in facts["versions"].items())


def markdown(evaluation: Evaluation) -> str:
    """The tables of scores and of comparisons as Markdown, for docs/make_results.py."""
    lines = []
    for part in PARTS:
        rows = [_head(evaluation, part), *_rows(evaluation, part)]
        if len(rows[0]) > 1:
            lines += [_bars(rows[0]), _bars(["---"] * len(rows[0])), *map(_bars, rows[1:]), ""]
    for (first, second), found in comparisons(evaluation).items():
        rows = _comparison_rows(found)
        lines += [
            f"**{first} - {second}**",
            "",
            _bars(("score", "difference", "95 % interval", "won", "tied", "lost")),
            _bars(["---"] * 6),
            *map(_bars, rows),
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def value_text(value: float | None, column: str) -> str:
    """A score with the digits that it deserves."""
    name = column.removeprefix("cloudy_").removeprefix("clear_")
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.{_DIGITS[name]}f}"


def _head(evaluation: Evaluation, part: str) -> list[str]:
    return [_PART_TITLES[part], *(_TITLES[c.removeprefix(part)] for c in _of(evaluation, part))]


def _of(evaluation: Evaluation, part: str) -> list[str]:
    """Columns of a part."""
    return [c for c in columns(evaluation) if c in {part + name for name in METRICS}]


def _rows(evaluation: Evaluation, part: str) -> Iterator[list[str]]:
    for model, found in means(evaluation).items():
        yield [model, *(_interval(found[c], c) for c in _of(evaluation, part))]


def _interval(found: Mean | None, column: str) -> str:
    if found is None:
        return "-"
    ends = f"{value_text(found.low, column)}..{value_text(found.high, column)}"
    return f"{value_text(found.mean, column)} [{ends}]"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    wide = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, wide, strict=True))
        ).rstrip()
        for row in rows
    ]


def _bars(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _published(evaluation: Evaluation) -> list[str]:
    """Published rows, where the set is a published one, and what keeps them from comparison."""
    known = published_set(evaluation.config.source.data, evaluation.layout)
    if known is None:
        return []
    rows = [[f"{known.name}, as printed by Sui et al. 2024", "PSNR", "SSIM", "LPIPS"]]
    rows += [
        [name, f"{psnr:.2f}", f"{ssim:.4f}".rstrip("0"), f"{lpips:.4f}"]
        for name, psnr, ssim, lpips in known.rows
    ]
    if evaluation.protocol.bytes_to_lpips:
        rows += [
            [
                f"{model} (measured)",
                *(_interval(found.get(c), c) for c in ("psnr", "ssim", "lpips")),
            ]
            for model, found in means(evaluation).items()
        ]
    apart = differences(
        known,
        evaluation.protocol.name,
        len(evaluation.images),
        len(evaluation.bands),
        evaluation.config.source.split,
    )
    return [*_aligned(rows), *(f"  note: {line}" for line in apart), ""]


def _compared(evaluation: Evaluation) -> list[str]:
    lines = []
    for (first, second), found in comparisons(evaluation).items():
        rows = [
            [f"{first} - {second}", "difference", "95 % interval", "won", "tied", "lost"],
            *_comparison_rows(found),
        ]
        lines += [*_aligned(rows), ""]
    return lines


def _comparison_rows(found: dict[str, Comparison]) -> list[list[str]]:
    return [
        [
            name,
            value_text(one.difference.mean, name),
            f"{value_text(one.difference.low, name)}..{value_text(one.difference.high, name)}",
            str(one.won),
            str(one.tied),
            str(one.lost),
        ]
        for name, one in found.items()
    ]


def _warned(evaluation: Evaluation) -> list[str]:
    lines = [
        f"warning: {d.second} is {'the same image as' if d.exact else 'nearly the same image as'} "
        f"{d.first}" + ("" if d.exact else f" ({d.bits} of 143 bits differ)")
        for d in evaluation.duplicates
    ]
    cut = evaluation.facts["cut"]
    if cut:
        each = (
            f"{one['image']} ({' x '.join(map(str, one['used_px']))} of "
            f"{' x '.join(map(str, one['stored_px']))} px)"
            for one in cut
        )
        lines.append(
            f"warning: of {len(cut)} of {len(evaluation.images)} images only the largest rectangle "
            f"without invalid pixels is measured: {', '.join(each)}"
        )
    passed_over = evaluation.facts["passed_over"]
    if passed_over:
        lines.append(
            f"passed over, for want of a band or of valid pixels: {', '.join(passed_over)}"
        )
    left_out = evaluation.facts["left_out"]
    if left_out:
        lines.append(f"left out as copies: {', '.join(left_out)}")
    if not evaluation.config.lpips:
        lines.append("LPIPS was left out (--no-lpips)")
    if len(evaluation.images) < _FEW:
        lines.append(
            f"warning: too few images to rank models ({len(evaluation.images)}); bootstrap "
            f"intervals of so few are too narrow"
        )
    return lines
