"""`decr analyse`: the paper's experiments by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from decr.evaluation.analysis import Analysis
from decr.evaluation.cost_analysis import costs
from decr.evaluation.fusion_analyses import trajectory, weights
from decr.evaluation.sweeps import ablation, floor, gsd, steps
from decr.evaluation.uncertainty import uncertainty

ANALYSES: Mapping[str, Callable[..., Analysis]] = MappingProxyType(
    {
        "weights": weights,
        "trajectory": trajectory,
        "steps": steps,
        "floor": floor,
        "cost": costs,
        "gsd": gsd,
        "ablation": ablation,
        "uncertainty": uncertainty,
    }
)
"""Each takes a `Setting`; ablation also trained variants by name, uncertainty also samples."""
