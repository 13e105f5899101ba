"""Write docs/reference/cli.md from the commands' own --help: ``python docs/capture_help.py``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "reference" / "cli.md"
_HEAD = """# Command line

Made by `python docs/capture_help.py` from the commands' own help. Do not edit it by hand.

Results go to standard output. Progress bars, warnings and errors go to standard error; so do lines
that GDAL prints by itself where a disk is full.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | something you can mend: one line says what is wrong and the way out; the output is untouched |
| 2 | an option or argument that makes no sense |
| 130 | interrupted, or out of `--max-minutes`; the same command goes on |
"""


def commands(
    command: click.Command, context: click.Context
) -> Iterator[tuple[click.Command, click.Context]]:
    """A command and all commands below it, each with its context."""
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from commands(
                child,
                click.Context(
                    child, context, name, terminal_width=_WIDTH, max_content_width=_WIDTH
                ),
            )


_WIDTH = 90


def captured() -> str:
    """The whole page."""
    from cli.main import main

    top = click.Context(
        main,
        info_name="decr",
        terminal_width=_WIDTH,
        max_content_width=_WIDTH,
        **main.context_settings,
    )
    pages = [_HEAD]
    for command, context in commands(main, top):
        body = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
        pages.append(f"## {context.command_path}\n\n```text\n{body}\n```\n")
    return "\n".join(pages)


def main() -> None:
    """Write the page."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(captured())


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
