"""Calls and tables that `decr dataset build` cannot work with."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from decr.dataset.acquisitions import PairRow, read_rows


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["one.tif"], "give CLOUDY and CLEAR"),
        (["a.tif", "b.tif", "--pairs", "p.csv"], "give CLOUDY and CLEAR"),
        (["--pairs", "p.csv", "--cloudy-date", "2024-01-01"], "columns of the table"),
        (["a.tif", "b.tif", "--max-nodata", "3"], "share of pixels"),
        (["a.tif", "b.tif", "--size", "8"], "32"),
        (["a.tif", "b.tif", "--white", "inf"], "must be numbers above 0"),
        (["a.tif", "b.tif", "--white", "nan"], "must be numbers above 0"),
        (
            ["a.tif", "b.tif", "--block", "-1"],
            "a block of -1.0 m and a buffer of 250.0 m cannot be",
        ),
        (["a.tif", "b.tif", "--block", "inf"], "cannot be: give finite ones, a --block above 0"),
        (["a.tif", "b.tif", "--buffer", "nan"], "a buffer of nan m cannot be"),
        (["a.tif", "b.tif", "--test-share", "nan"], "nan"),
    ],
)
def test_impossible_calls_are_usage_errors(arguments: list[str], said: str, tmp_path: Path) -> None:
    out = str(tmp_path / "set")
    done = CliRunner().invoke(main, ["dataset", "build", *arguments, "-o", out])
    assert done.exit_code == 2
    assert said in done.output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "wanted are cloudy and clear"),
        ("cloudy,clear,colour\na,b,c\n", "colour"),
        ("cloudy,clear\n", "holds no pair"),
        ("cloudy,clear\na.tif,\n", "line 2"),
        ("cloudy,clear\nno.tif,no.tif\n", "no.tif cannot be opened"),
        ("\x00\xff", "p.csv"),
        ("cloudy,clear,cloudy_date\n\na,b,03.05.2024\n", "p.csv, line 3: '03.05.2024' is no date"),
    ],
)
def test_a_wrong_table_is_one_error(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(text, encoding="latin-1")
    arguments = ["dataset", "build", "--pairs", str(tmp_path / "p.csv")]
    done = CliRunner().invoke(main, [*arguments, "-o", str(tmp_path / "set")])
    assert done.exit_code == 1
    assert done.output.startswith("decr: ")
    assert said in done.output
    assert not (tmp_path / "set").exists()


def test_a_table_may_have_spaces_around_its_commas(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text('cloudy , clear, site\na.tif, "b.tif" , here \n')
    (row,) = read_rows(tmp_path / "p.csv")
    assert row == PairRow(tmp_path / "a.tif", tmp_path / "b.tif", "here")
