"""The command line, called in this process."""

from __future__ import annotations

from click.testing import CliRunner, Result

from cli.main import main


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])
