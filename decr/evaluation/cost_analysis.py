"""What networks cost: the paper's Table X recomputed, and a model measured (Table X)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from decr.evaluation.analysis import Analysis, Bench, Setting, bench_of
from decr.evaluation.sampling import Fusion
from decr.evaluation.versions import versions
from decr.models.cost import COUNTED, PAPER_IMAGES, SIDE, TABLE_X, Cost, cost, inputs, true_macs
from decr.report.chart import bars, png


def costs(setting: Setting) -> Analysis:
    """Parameters and operations of the paper's networks and of a model; its seconds per tile."""
    bench = bench_of(replace(setting, lpips=False))
    networks, card = bench.networks, bench.networks.bundle.card
    published = [cost(name, 3) for name in COUNTED if name in TABLE_X]
    parts = {}
    for name, network in networks.bundle.networks.items():
        given = tuple(x.to(networks.device) for x in inputs(name, len(card.bands)))
        parts[name] = {
            "parameters": sum(p.numel() for p in network.parameters()),
            "gmac": true_macs(network, given) / 1e9,
        }
    timed = {"reference": _seconds(bench, "reference"), "model": _seconds(bench, "learnt")}
    per_step = parts["cnp"]["gmac"] + parts["wa"]["gmac"]
    whole = parts["reference"]["gmac"] + setting.steps * per_step
    values: dict[str, Any] = {
        "model": card.name,
        "model_sha256": networks.bundle.sha256,
        "counted_for": f"one image of {SIDE} x {SIDE} px, one pass; paper: {PAPER_IMAGES} images",
        "parts": parts,
        "steps": setting.steps,
        "gmac_per_image": whole,
        "seconds_per_tile": timed,
        "side_px": setting.side_px,
        "device": str(networks.device),
        "threads": torch.get_num_threads(),
        "published": [
            {
                "name": one.name,
                "parameters": one.parameters,
                "gmac": one.gmac,
                "paper_rule_gmac_two_images": PAPER_IMAGES * one.paper_gmac,
                "table_x_complexity": TABLE_X[one.name][0],
                "table_x_params_m": TABLE_X[one.name][1],
            }
            for one in published
        ],
        "versions": versions(),
    }
    groups = {
        one.name: {
            "counted by torch": one.gmac,
            "printed in Table X, per image": TABLE_X[one.name][0] / PAPER_IMAGES,
        }
        for one in published
    }
    groups |= {card.name: {"counted by torch": per_step}}
    figure = png(bars("Operations of one pass over one image", groups, "GMAC, 256 x 256 px"))
    return Analysis("cost", values, _described(published, values), figure)


def _described(published: Sequence[Cost], values: Mapping[str, Any]) -> str:
    """The numbers as a table for people."""
    model, timed = values["model"], values["seconds_per_tile"]
    lines = [f"{'network':26} {'parameters':>12} {'GMAC':>9} {'by the paper':>12} {'Table X':>9}"]
    lines += [
        f"{one.name:26} {one.parameters:12,} {one.gmac:9.2f} "
        f"{PAPER_IMAGES * one.paper_gmac:12.2f} {TABLE_X[one.name][0]:9.2f}"
        for one in published
    ]
    lines += [
        f"{model + ', ' + name:26} {int(found['parameters']):12,} {found['gmac']:9.2f}"
        for name, found in values["parts"].items()
    ]
    lines += [
        f"{model}, {values['steps']} steps and reference: {values['gmac_per_image']:.2f} GMAC per "
        f"{SIDE} px image",
        f"{values['side_px']} px tile: {timed['model']:.3f} s, of which the reference takes "
        f"{timed['reference']:.3f} s ({values['device']}, {values['threads']} threads)",
        "by the paper: GMAC for two images by its profiler's rules, which leave out attention, "
        "steps and, for de, the reference",
    ]
    return "\n".join(lines)


def _seconds(bench: Bench, fusion: Fusion) -> float:
    """Wall time per tile, after one that warms up."""
    bench.restored(0, fusion=fusion)
    start = time.perf_counter()
    for number in range(len(bench.tiles)):
        bench.restored(number, fusion=fusion)
    return (time.perf_counter() - start) / len(bench.tiles)
