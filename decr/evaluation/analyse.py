"""`decr analyse`: the paper's experiments by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from decr.errors import ConfigError
from decr.evaluation.analysis import Analyser, Analysis, Setting, write_analysis
from decr.evaluation.cost_analysis import costs
from decr.evaluation.fusion_analyses import trajectory, weights
from decr.evaluation.sweeps import ablation, floor, gsd, steps

__all__ = ["ANALYSES", "Analysis", "Setting", "ablation", "analyse", "write_analysis"]

ANALYSES: Mapping[str, Analyser] = MappingProxyType(
    {
        "weights": weights,
        "trajectory": trajectory,
        "steps": steps,
        "floor": floor,
        "cost": costs,
        "gsd": gsd,
        "ablation": ablation,
    }
)


def analyse(name: str, setting: Setting) -> Analysis:
    """Run one analysis.

    Raises
    ------
    ConfigError
        For an unknown name.
    """
    if name not in ANALYSES:
        raise ConfigError(f"no analysis is called {name!r}; there are {', '.join(ANALYSES)}")
    return ANALYSES[name](setting)
