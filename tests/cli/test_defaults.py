"""Options and the dataclasses that they fill agree: equal defaults, and names that are known."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path

import click
import pytest

from cli.main import main
from decr.config import CcpConfig, DecloudConfig
from decr.dataset.build_set import BuildOptions
from decr.dataset.chip_rules import Limits
from decr.dataset.layouts import LAYOUTS, layout_of
from decr.dataset.write_pairs import PairOptions
from decr.evaluation.analysis import Setting
from decr.evaluation.evaluate import EvaluationConfig
from decr.evaluation.subjects import Sampling
from decr.evaluation.tiles import PairSource
from decr.geo.pansharpen import PansharpenOptions

# Commands keep the first help option that they made, so all contexts must agree on its names.
TOP = click.Context(main, info_name="decr", **main.context_settings)


def command_of(path: str) -> click.Command:
    command: click.Command = main
    for name in path.split():
        assert isinstance(command, click.Group)
        found = command.get_command(TOP, name)
        assert found is not None
        command = found
    return command


@pytest.mark.parametrize(
    ("path", "arguments", "kinds"),
    [
        ("declouds", "a.tif -o b.tif", [DecloudConfig]),
        ("plan", "a.tif", [DecloudConfig]),
        ("ccp", "a.tif", [CcpConfig]),
        ("dataset build", "a.tif b.tif -o set", [BuildOptions, Limits, CcpConfig]),
        ("dataset simulate", "a.tif -o set", [PairOptions]),
        ("dataset import", "set -o new", [CcpConfig]),
        ("analyse steps", "--data set", [Setting, PairSource]),
        ("evaluate", "--data set --model none", [EvaluationConfig, PairSource, Sampling]),
        ("pansharpen", "a.tif b.tif -o c.tif", [PansharpenOptions]),
    ],
)
def test_options_have_the_defaults_of_their_dataclass(
    path: str, arguments: str, kinds: list[type]
) -> None:
    given = command_of(path).make_context(path, arguments.split(), parent=TOP).params
    for kind in kinds:
        shared = [one for one in fields(kind) if one.name in given and one.default is not MISSING]
        assert shared, kind
        for one in shared:
            if one.name != "skies":  # a name on the command line
                assert given[one.name] == one.default, (kind, one.name)


def test_every_published_layout_can_be_imported_by_its_name(tmp_path: Path) -> None:
    (layout,) = (p for p in command_of("dataset import").params if p.name == "layout")
    assert isinstance(layout.type, click.Choice)
    named = {layout_of(tmp_path, name) for name in layout.type.choices if name != "rice"}
    assert named == set(LAYOUTS) - {"manifest"}
