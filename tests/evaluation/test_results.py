"""Tests of the script behind results.md: the page holds what was measured."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from decr.evaluation.analyse import ANALYSES
from decr.evaluation.analysis import Analysis
from decr.evaluation.evaluate import EvaluationConfig, evaluate
from decr.evaluation.subjects import Sampling
from decr.evaluation.tiles import PairSource
from docs.make_results import HEAD, PAGE, PICTURES, PROTOCOLS, SAID, TITLES, Ran, page, sample_pair
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
            PairSource(pair_set(tmp_path / "set"), split="all"),
            ("none",),
            lpips=False,
            sampling=Sampling(device="cpu"),
        )
    )
    text = page([found], [Ran(Analysis("steps", {}, "a table of steps", b""), 2.0)])
    mean = sum(row.scores["psnr"] or 0.0 for row in found.rows) / 3
    assert f"| no change | {mean:.2f} [" in text
    assert "a table of steps" in text
    assert "2 s together" in text
    both = Ran(
        Analysis("ablation", {}, "of pairs", b""),
        1.0,
        Analysis("ablation", {}, "of the scene", b""),
    )
    text = page([found], [both])
    assert (
        text.index("of pairs") < text.index("simulated sample scene") < text.index("of the scene")
    )
    # The figure is of the pairs.
    assert (
        text.index("of pairs")
        < text.index("analysis_ablation.png")
        < text.index("simulated sample scene")
    )


def test_the_sample_pair_is_a_set(tmp_path: Path) -> None:
    folder = sample_pair(tmp_path / "set")
    with Image.open(folder / "cloudy" / "harbour.tif") as image:
        assert image.size == (600, 500)


def test_the_pages_words_are_the_scripts_and_true_of_its_numbers() -> None:
    text = PAGE.read_text()
    assert text.startswith(HEAD)
    assert all(said in text for said in SAID.values())
    weights = [float(line.split()[1]) for line in table_of(text, "weights")]
    assert weights == sorted(weights, reverse=True)
    last = table_of(text, "trajectory")[-1].split()
    untouched = float(text.split("no change: ")[1].split()[0])
    assert float(last[2]) < untouched < float(last[1])
    errors = [line.split() for line in table_of(text, "uncertainty")]
    assert all(float(error) > 3 * float(spread) for spread, error in errors)
    for steps in ablations(text):
        alike = [float(line.split()[4]) for line in steps if line.strip()[:1].isdigit()]
        assert alike[-1] == max(alike) > 0.8
        assert alike[0] < 0.6


def test_the_commands_by_hand_say_where_lpips_has_its_weights() -> None:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("decr ")]
    measuring = [line for line in lines if "--data PAIRS" in line]
    assert len(measuring) == len(PROTOCOLS) + len(ANALYSES)
    assert all("--lpips-backbone WEIGHTS" in line for line in measuring)


def ablations(text: str) -> list[list[str]]:
    """The steps' tables of the ablation: of the real pairs, and of the sample scene."""
    body = text.split(f"### {TITLES['ablation']}\n")[1].split("\n### ")[0]
    tables = [block.split("```")[0].splitlines() for block in body.split("```text\n")[1:]]
    assert len(tables) == 2
    return tables


def table_of(text: str, name: str) -> list[str]:
    """Lines of numbers of an analysis' first table; an empty line ends it."""
    body = text.split(f"### {TITLES[name]}\n")[1].split("```text\n")[1].split("```")[0]
    first = body.split("\n\n")[0]
    return [line for line in first.splitlines() if line.strip()[:1].isdigit()]
