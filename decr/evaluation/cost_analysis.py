"""What networks cost: the paper's Table X recomputed, and a model measured (Table X)."""

from __future__ import annotations

import time
from typing import Any

import torch

from decr.evaluation.analysis import Analysis, Setting
from decr.evaluation.sampling import load_networks, sampled
from decr.evaluation.tiles import cut_tiles
from decr.evaluation.versions import versions
from decr.models.cost import COUNTED, PAPER_IMAGES, SIDE, TABLE_X, cost, inputs, true_macs
from decr.report.chart import bars, png
from decr.zoo.embedded import find_bundle


def costs(setting: Setting) -> Analysis:
    """Parameters and operations of the paper's networks and of a model; its seconds per tile."""
    networks = load_networks(find_bundle(setting.model, scene_has_nir=False), setting.device)
    card = networks.bundle.card
    tiles = cut_tiles(setting.source, networks.bands, setting.side_px, setting.count)
    published = [cost(name, 3) for name in COUNTED if name in TABLE_X]
    parts = {}
    for name, network in networks.bundle.networks.items():
        given = tuple(x.to(networks.device) for x in inputs(name, len(card.bands)))
        parts[name] = {
            "parameters": sum(p.numel() for p in network.parameters()),
            "gmac": true_macs(network, given) / 1e9,
        }
    timed = {"reference": _seconds(networks, tiles, setting, "reference")}
    timed["model"] = _seconds(networks, tiles, setting, "learnt")
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
    lines = [f"{'network':26} {'parameters':>12} {'GMAC':>9} {'by the paper':>12} {'Table X':>9}"]
    lines += [
        f"{one.name:26} {one.parameters:12,} {one.gmac:9.2f} "
        f"{PAPER_IMAGES * one.paper_gmac:12.2f} {TABLE_X[one.name][0]:9.2f}"
        for one in published
    ]
    lines += [
        f"{card.name + ', ' + name:26} {int(found['parameters']):12,} {found['gmac']:9.2f}"
        for name, found in parts.items()
    ]
    lines += [
        f"{card.name}, {setting.steps} steps and reference: {whole:.2f} GMAC per {SIDE} px image",
        f"{setting.side_px} px tile: {timed['model']:.3f} s, of which the reference takes "
        f"{timed['reference']:.3f} s ({networks.device}, {torch.get_num_threads()} threads)",
        "by the paper: GMAC for two images by its profiler's rules, which leave out attention, "
        "steps and, for de, the reference",
    ]
    groups = {
        one.name: {
            "counted by torch": one.gmac,
            "printed in Table X, per image": TABLE_X[one.name][0] / PAPER_IMAGES,
        }
        for one in published
    }
    groups |= {card.name: {"counted by torch": per_step}}
    figure = png(bars("Operations of one pass over one image", groups, "GMAC, 256 x 256 px"))
    return Analysis("cost", values, "\n".join(lines), figure)


def _seconds(networks: Any, tiles: Any, setting: Setting, fusion: Any) -> float:
    """Wall time per tile, after one that warms up."""
    start = 0.0
    for number, tile in enumerate([tiles[0], *tiles]):
        if number == 1:
            start = time.perf_counter()
        sampled(
            networks,
            tile.cloudy,
            number,
            steps=setting.steps,
            floor=setting.floor,
            fusion=fusion,
            seed=setting.seed,
        )
    return (time.perf_counter() - start) / len(tiles)
