"""Tests of the presets: all stages are there, and the published one says what was published."""

from __future__ import annotations

import pytest

from decr.errors import ConfigError
from decr.training.presets import PRESETS, PUBLISHED_REFERENCE
from decr.training.published import ARCHITECTURES
from decr.training.recipe import DEFAULT_PARTS, stage_settings
from decr.training.settings import TrainConfig
from decr.training.stages import STAGES
from decr.zoo.card import Part


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_has_every_stage(preset: str) -> None:
    assert set(PRESETS[preset]) == set(STAGES)


@pytest.mark.parametrize("stage", ["coarse", "weights", "joint"])
def test_the_paper_is_followed(stage: str) -> None:
    config = PRESETS["paper"][stage]
    assert {config.rate(step) for step in (0, 1, 10, config.steps)} == {1e-5}
    assert (config.ema, config.ema_warmup, config.clip) == (0.9999, False, 0.0)
    wanted = (256, "whole", 16) if stage == "joint" else (64, "whole", 64)
    assert (config.size_px, config.shrink, config.batch) == wanted


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("preset", PRESETS)
def test_published_references_keep_their_published_settings(preset: str, architecture: str) -> None:
    parts = DEFAULT_PARTS | {"reference": Part(architecture)}
    config = stage_settings(preset, "reference", parts)
    assert config is PUBLISHED_REFERENCE
    assert config.rate(0) == config.rate(99_999) == 1e-4
    assert (config.size_px, config.shrink, config.clip) == (256, "whole", 0)


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ConfigError, match="no preset is called 'slow'; there are fast, finetune"):
        stage_settings("slow", "coarse", DEFAULT_PARTS)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"size_px": 100}, "multiple of 16"),
        ({"shrink": 0}, "shrink must be"),
        ({"shrink": "half"}, "shrink must be"),
        ({"accumulate": 9}, "1..batch"),
        ({"schedule": "linear"}, '"cosine" or "constant"'),
        ({"ema": 1.0}, "ema must lie"),
        ({"clip": -1.0}, "cannot be negative"),
        *(
            ({key: 0}, "at least 1 and lr above 0")
            for key in ("steps", "batch", "lr", "save_every")
        ),
        ({"squares": -1.0}, "squares must be at least 0.*turns in"),
        ({"turns": 0}, "squares must be at least 0.*turns in"),
        ({"turns": 9}, "squares must be at least 0.*turns in"),
        ({"clear_weight": 0.0}, "clear_weight"),
    ],
)
def test_impossible_settings_are_named(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        TrainConfig(**wrong)  # type: ignore[arg-type]
