"""Tests of the script behind results.md: the page holds what was measured."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from decr.evaluation.analyse import ANALYSES, Analysis
from decr.evaluation.evaluate import EvaluationConfig, evaluate
from decr.evaluation.subjects import Sampling
from docs.make_results import PAGE, PICTURES, PROTOCOLS, Ran, page, sample_pair
from tests.evaluation.test_evaluate import pair_set


def test_the_page_is_filled() -> None:
    text = PAGE.read_text()
    for part in (*(f"## Protocol {name}" for name in PROTOCOLS), "| spagan_rice2 |", "no change"):
        assert part in text
    for name in ANALYSES:
        assert f"decr analyse {name} " in text
        assert (PICTURES / f"analysis_{name}.png").is_file()


def test_a_page_shows_its_rows_and_texts(tmp_path: Path) -> None:
    found = evaluate(
        EvaluationConfig(
            pair_set(tmp_path / "set"),
            ("none",),
            split="all",
            lpips=False,
            sampling=Sampling(device="cpu"),
        )
    )
    text = page([found], [Ran(Analysis("steps", {}, "a table of steps", b""), 2.0)])
    mean = sum(row.scores["psnr"] or 0.0 for row in found.rows) / 3
    assert f"| no change | {mean:.2f} [" in text
    assert "a table of steps" in text
    assert "2 s together" in text


def test_the_sample_pair_is_a_set(tmp_path: Path) -> None:
    folder = sample_pair(tmp_path / "set")
    with Image.open(folder / "cloudy" / "harbour.tif") as image:
        assert image.size == (600, 500)
