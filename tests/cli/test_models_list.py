"""`decr models list`: one line per embedded model, in columns."""

from __future__ import annotations

from click.testing import CliRunner

from cli.main import main
from decr.zoo.bundle import read_card
from decr.zoo.embedded import EMBEDDED, embedded_path


def test_the_columns_of_all_models_are_one_below_the_other() -> None:
    lines = CliRunner().invoke(main, ["models", "list"]).stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(EMBEDDED)
    bands = [",".join(read_card(embedded_path(name)).bands) for name in EMBEDDED]
    starts = [line.index(f" {said} ") for line, said in zip(lines, bands, strict=True)]
    assert len(set(starts)) == 1
